"""The Lua scripts, as they are given to Redis: with the names of the keys before them, and what both sides call a job.

This module is a script's text and name.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from tasks import keys

TAKE_MEMORY = frozenset({"accept", "keep"})
"""Scripts that a full Redis refuses. The others finish mail, which frees memory, and so go on (needs Redis 7)."""

READ_ONLY = frozenset({"figures", "page", "heads"})
"""Scripts that change nothing: a replica and a full Redis run them, too."""

MANY = frozenset({"accept", "mark", "settle"})
"""Scripts that carry out many calls in one run: each call's words follow their number, and the answers are a list."""

_ID = "0" * 36


def encode_job(job: dict[str, Any]) -> bytes:
    """arq's job dictionary as msgpack: data only, never pickle, which executes what is planted in Redis."""
    return msgspec.msgpack.encode(job)


class Script:
    """A Lua script by its file's name, with the names of the keys and the prelude before it."""

    __slots__ = ("is_for_many", "name", "sha", "source")

    def __init__(self, name: str) -> None:
        folder = Path(__file__).parent / "lua"
        self.name = name
        self.is_for_many = name in MANY
        body = (folder / "prelude.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")
        flags = "" if name in TAKE_MEMORY else " flags=no-writes" if name in READ_ONLY else " flags=allow-oom"
        self.source = f"#!lua{flags}\n" + _constants(body) + body
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()  # noqa: S324 (Redis names scripts so)


def _constants(body: str) -> str:
    """The keys' names as Lua locals (only those that the body uses), and the two halves of an encoded job."""
    lines = [f"local {name} = {getattr(keys, name)!r}" for name in keys.FOR_SCRIPTS if re.search(rf"\b{name}\b", body)]
    lanes = ", ".join(f"{lane} = {key!r}" for lane, key in keys.LANES.items())
    job = encode_job({"t": None, "f": "send", "a": [_ID], "k": {}, "et": 2**63})
    head, _, rest = job.partition(_ID.encode())
    halves = ["".join(f"\\{byte:03d}" for byte in half) for half in (head, rest[:-8])]
    return "\n".join([*lines, f"local LANES = {{{lanes}}}", f"local JOB_HEAD, JOB_TAIL = '{halves[0]}', '{halves[1]}'"]) + "\n"
