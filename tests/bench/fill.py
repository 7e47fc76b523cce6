"""Fills our queue quickly: the queue's own script and arguments, thousands in one write, no HTTP.

What one ``Queue.put`` would send is taken down once and repeated with other ids. This module is the pump.
"""

import hashlib
import socket
from typing import Any, cast

from tasks.queue import Queue
from tasks.record import Letter
from tasks.script import Script
from tasks.store import Group
from tests.bench.message import FROM, SUBJECT, TO, composed

_ID = "0" * 8 + "-0000-7000-8000-" + "0" * 12
_PAGE = 500


class _Notes:
    """Stands where a Group would and notes what is asked of it."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.script: Script | None = None

    async def run(self, script: Script, *args: str | bytes | float) -> list[bytes]:
        self.script = script
        self.words = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        return [b"put", args[0].encode() if isinstance(args[0], str) else b"", b"1"]


class Pump:
    """Puts emails into the Redis behind the socket ``path``. ``size`` is that of one message in bytes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self._message = b""
        self._sha256 = b""
        self._command = b""
        self._source = b""

    @property
    def size(self) -> int:
        """Bytes of one message."""
        return len(self._message)

    async def prime(self) -> None:
        """Takes down what a put sends."""
        made = composed(_ID)
        letter = Letter(
            id=_ID, client="shop", from_=FROM, to=[TO], subject=SUBJECT, sender=made.sender, message_id=made.message_id,
            sha256=made.sha256, size=len(made.message), created=1_800_000_000_000,
        )  # fmt: skip
        notes = _Notes()
        await Queue(cast(Group, notes), retain_records=3600).put(letter, made.recipients, made.message, "normal")
        assert notes.script is not None
        self._message, self._sha256 = made.message, made.sha256.encode()
        self._source = notes.script.source.encode()
        self._command = packed(b"EVALSHA", notes.script.sha.encode(), b"0", str(len(notes.words)).encode(), *notes.words)

    def fill(self, count: int) -> None:
        """Puts ``count`` emails; blocks."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self._path)
            answers = sock.makefile("rb")
            sock.sendall(packed(b"SCRIPT", b"LOAD", self._source))
            answers.readline(), answers.readline()
            left = count
            while left:
                page = min(_PAGE, left)
                sock.sendall(b"".join(self._next() for _ in range(page)))
                for _ in range(page):
                    _check(answers)
                left -= page

    def _next(self) -> bytes:
        self._count += 1
        id_ = b"%08x-0000-7000-8000-%012x" % (self._count, id(self) % 2**48)
        digest = hashlib.sha256(self._message.replace(_ID.encode(), id_)).hexdigest()
        return self._command.replace(self._sha256, digest.encode()).replace(_ID.encode(), id_)


def packed(*words: bytes) -> bytes:
    """One Redis command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _check(answers: Any) -> None:
    """Reads the three words of one put, in the list of one answer."""
    head = answers.readline() + answers.readline()
    words = [answers.readline() for _ in range(6)] if head == b"*1\r\n*3\r\n" else []
    if len(words) != 6 or words[1] != b"put\r\n":
        raise RuntimeError(f"a put was answered {head!r} {words!r}")
