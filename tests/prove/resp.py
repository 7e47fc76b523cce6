"""Redis' protocol, as far as a door must read it: which call is this, and which reply belongs to it.

This module is the dictionary from bytes to the names of calls.
"""

from pathlib import Path
from typing import Any, NamedTuple

import hiredis

from tasks import keys, store
from tasks.script import MANY, Script

SCRIPTS = tuple(sorted(path.stem for path in Path(store.__file__).parent.glob("lua/*.lua") if path.stem != "prelude"))
_NOT_YET = object()


class Call(NamedTuple):
    """One command. ``name`` as points call it: accept, claim, content, «relay up», wait (BLPOP), tell (a worker's beat), …"""

    name: str
    words: list[bytes]

    @property
    def emails(self) -> list[str]:
        """The ids that a script for many is about, in the order of its answers."""
        found: list[str] = []
        at = 3
        while self.name in MANY and at < len(self.words):
            found.append(self.words[at + 1].decode())
            at += 1 + int(self.words[at])
        return found


class Names:
    """Tells calls apart. Knows the scripts of the product, and learns those that a client loads."""

    def __init__(self) -> None:
        self._scripts = {Script(name).sha.encode(): name for name in SCRIPTS}

    def learn(self, name: str, sha: str) -> None:
        """Another version of a script, as the honesty runs have it."""
        self._scripts[sha.encode()] = name

    def of(self, words: list[bytes]) -> Call:
        """The call that ``words`` are."""
        command = words[0].upper()
        if command == b"EVALSHA":
            name = self._scripts.get(words[1], "script")
            return Call(f"relay {words[4].decode()}" if name == "relay" else name, words)
        if command in {b"GET", b"MGET"} and words[1].startswith(keys.CONTENT.encode()):
            return Call("content", words)
        if command == b"SET" and words[1].startswith(keys.WORKER.encode()):
            return Call("tell", words)
        if command == b"BLPOP":
            return Call("wait", words)
        return Call(command.decode("ascii", "replace").lower(), words)


class Stream:
    """Takes bytes apart into whole values: commands on the way there, replies on the way back."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)

    def feed(self, data: bytes) -> list[Any]:
        """The values that are complete now."""
        self._reader.feed(data)
        found: list[Any] = []
        while (value := self._reader.gets()) is not _NOT_YET:
            found.append(value)
        return found


def pack(words: list[bytes]) -> bytes:
    """A command as it stands on the wire."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
