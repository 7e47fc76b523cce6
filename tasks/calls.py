"""The calls of one write to Redis, in as few commands as they can be.

::

    calls     accept(a)  GET k  accept(b)  mark(c)        each with somebody who waits for its answer
    frames    accept(2: a, b)   GET k      mark(1: c)     one command each; an answer for each of its calls

What a script costs before its first line (arguments, clock, the counters at its end) it then costs once for all of them. Order
is kept within a script. A large call stands alone and in pieces, since putting it together would copy it: 10 MB take 15 ms.

This module turns calls into bytes and answers into results; it sends nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import hiredis

from tasks.script import Script

LARGE = 64 * 1024
"""Bytes from which on a call is a frame of its own."""

pack = cast(Callable[[tuple[Any, ...]], bytes], hiredis.pack_command)
"""One command in Redis' protocol; hiredis' own hint for its argument is a tuple of one."""

_BEFORE_WORDS = len("\r\n$7\r\nEVALSHA\r\n$40\r\n\r\n$1\r\n0\r\n") + 1 + 40
"""Bytes of a script call before its words, without the digits of how many there are."""


class Call(NamedTuple):
    """A whole command of its own as well as a part of a frame. ``words`` are those of a script for many, else 0; ``large`` is
    the command in pieces, in place of ``packed``."""

    packed: bytes
    script: Script | None
    words: int
    future: asyncio.Future[Any]
    large: list[bytes] | None = None

    @property
    def tail(self) -> bytes:
        """What stands in the frame: the number of words, then these."""
        return self.packed[_BEFORE_WORDS + len(str(4 + self.words)) :]


def script_call(script: Script, args: tuple[Any, ...], future: asyncio.Future[Any]) -> Call:
    """Raises what hiredis does for arguments that are no text, bytes or numbers."""
    words = ("EVALSHA", script.sha, 0, len(args), *args) if script.is_for_many else ("EVALSHA", script.sha, 0, *args)
    count = len(args) if script.is_for_many else 0
    if any(len(arg) > LARGE for arg in args if isinstance(arg, bytes)):
        return Call(b"", script, count, future, _pieces(words))
    return Call(pack(words), script, count, future)


def _pieces(words: tuple[Any, ...]) -> list[bytes]:
    """The command with large words as they are, and all between them in one piece each."""
    pieces: list[bytes] = []
    between = b"*%d\r\n" % len(words)
    for word in words:
        packed = word if isinstance(word, bytes) and len(word) > LARGE else pack((word,))[len(b"*1\r\n") :]
        if packed is word:
            pieces += (b"%s$%d\r\n" % (between, len(word)), word)
            between = b"\r\n"
        else:
            between += packed
    return [*pieces, between]


def framed(batch: Sequence[Call]) -> list[list[Call]]:
    """The calls, those of one script for many together."""
    shared: dict[Script, list[Call]] = {}
    frames: list[list[Call]] = []
    for call in batch:
        if call.script is None or not call.words or call.large is not None or len(call.packed) > LARGE:
            frames.append([call])
        elif call.script in shared:
            shared[call.script].append(call)
        else:
            shared[call.script] = [call]
            frames.append(shared[call.script])
    return frames


def command_of(frame: list[Call]) -> list[bytes]:
    """A frame as one command, in pieces."""
    first = frame[0]
    if len(frame) == 1 or first.script is None:
        return first.large or [first.packed]
    count = 3 + sum(1 + call.words for call in frame)
    head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n0\r\n" % (count, first.script.sha.encode())
    return [head, *(call.tail for call in frame)]


def hand_out(frames: Sequence[list[Call]], answers: Sequence[Any], trouble: Callable[[BaseException], Exception]) -> None:
    """Gives each call its answer, or what ``trouble`` makes of its error. Whoever does not wait any more is left out."""
    for frame, answer in zip(frames, answers, strict=False):
        each = answer if frame[0].words and isinstance(answer, list) else [answer] * len(frame)
        for call, own in zip(frame, cast(list[Any], each), strict=True):
            if call.future.done():
                continue
            if isinstance(own, Exception):
                call.future.set_exception(trouble(own))
            else:
                call.future.set_result(own)
