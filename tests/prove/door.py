"""The door before Redis: one for each process, so that every call is known by who made it.

Calls are taken apart, named, and passed on one by one; replies are counted against them. At the place where the trap of the
lane is armed the call or the reply waits until the trap has done its work, and goes on or is dropped with its connection.
What the door saw of marks and outcomes is what a second copy at the relay is later judged by. This module is the proxy
between a process and Redis.
"""

import asyncio
import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple, cast

from tests.prove.resp import Call, Names, Stream, pack
from tests.prove.trap import Trap

CHUNK = 1 << 16


def check(ends: list[Any]) -> None:
    """Raises what ended a pump, unless it was the network or us."""
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, OSError):
            raise end


class Noted(NamedTuple):
    """A mark or an outcome that Redis has taken. ``who`` is an incarnation of a worker, ``at`` monotonic."""

    what: str
    who: str
    email: str
    at: float


class Door:
    """A unix socket of one process slot. ``who`` is its present incarnation; ``notes`` of all doors of a lane go by email."""

    def __init__(self, path: Path, upstream: Path, trap: Trap, names: Names, notes: dict[str, list[Noted]]) -> None:
        self.path = path
        self.who = ""
        self._upstream = upstream
        self._trap = trap
        self._names = names
        self._notes = notes
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """What the process gets as ``REDIS_URL``."""
        return f"unix://{self.path}"

    async def start(self) -> None:
        """Listens."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Closes it and every connection through it."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut(self) -> None:
        """Cuts every connection that stands."""
        for task in list(self._open):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self._upstream)
        pending: deque[Call] = deque()
        who = self.who
        pumps = [
            asyncio.create_task(self._calls(reader, back, pending, who)),
            asyncio.create_task(self._replies(there, writer, pending, who)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            back.transport.abort()
            check(await asyncio.gather(*pumps, return_exceptions=True))

    async def _calls(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, pending: deque[Call], who: str) -> None:
        stream = Stream()
        while data := await reader.read(CHUNK):
            for words in stream.feed(data):
                call = self._names.of(words)
                if self._trap.is_at(call.name, "before"):
                    await back.drain()
                    if not await self._trap.pass_by(call.name, "before", who):
                        return
                pending.append(call)
                back.write(pack(words))
            await back.drain()

    async def _replies(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, pending: deque[Call], who: str) -> None:
        stream = Stream()
        while data := await there.read(CHUNK):
            for reply in stream.feed(data):
                call = pending.popleft()
                self._note(call, reply, who)
                if not await self._trap.pass_by(call.name, "after", who, reply):
                    return
            writer.write(data)
            await writer.drain()

    def _note(self, call: Call, reply: Any, who: str) -> None:
        if call.name not in ("mark", "settle") or not isinstance(reply, list):
            return
        for email, said in zip(call.emails, cast(list[Any], reply), strict=True):
            if said == b"ok" or (isinstance(said, list) and said[0] == b"ok"):
                self._notes[email].append(Noted(call.name, who, email, time.monotonic()))
