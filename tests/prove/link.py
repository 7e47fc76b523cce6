"""The wire between the workers and the relay, with the faults that wires have.

Each connection has a ``Wire``: it may wait, be thin, end after so many bytes, with or without a reset, or fall silent while
both ends think it stands. Which worker a connection belongs to is read from /proc. Every byte of both directions is written
to a file. This module is the TCP proxy before the relay.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from tests.prove.door import CHUNK, check

LOGGED = 4096
"""Bytes of a chunk that are written out; of longer ones the rest is only counted."""
MARGIN_SECONDS = 1.0
"""An answer that left so shortly before its connection broke may not have been read."""


class Wire(msgspec.Struct, frozen=True):
    """How a connection behaves. ``delay`` in seconds for each chunk, ``rate`` in bytes a second, ``bytes`` from the worker
    until ``end`` happens: cut (closed), reset, or silent (half-open: nothing arrives any more, either way)."""

    delay: float = 0
    rate: int = 0
    bytes: int = 0
    end: str = ""


def undisturbed(_: int) -> Wire:
    """A wire without faults, whatever the connection's number."""
    return Wire()


class Joined:
    """One connection. ``who`` made it; ``severed``: monotonic, from when on nothing got through; ``told``: when the worker was
    last told anything; ``late``: when an answer came so late that nobody may have waited for it."""

    def __init__(self, number: int, who: str, wire: Wire) -> None:
        self.number = number
        self.who = who
        self.wire = wire
        self.severed: float | None = None
        self.late: list[float] = []
        self.told = time.monotonic()
        self.bytes = 0

    def sever(self) -> None:
        """From now on nothing gets through."""
        self.severed = self.severed or time.monotonic()

    def may_have_lost(self, at: float) -> bool:
        """Whether an answer that left at this moment was perhaps not read."""
        return (self.severed is not None and at > self.severed - MARGIN_SECONDS) or any(
            abs(at - late) < MARGIN_SECONDS for late in self.late
        )


class Link:
    """Listens on a port of loopback; ``relay`` is the port behind it. ``owner`` finds who has a local port; ``choose`` gives
    each connection its wire; ``patience``: an answer later than this after the worker's last byte counts as lost."""

    def __init__(self, relay: int, owner: Callable[[int], str], log: Path, *, patience: float = 10**9) -> None:
        self.relay = relay
        self.port = 0
        self.patience = patience
        self.choose: Callable[[int], Wire] = undisturbed
        self.joined: dict[int, Joined] = {}
        """By the port that the relay sees."""
        self._owner = owner
        self._path = log
        self._log: TextIO | None = None
        self._count = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], Joined] = {}

    async def start(self) -> None:
        """Listens; on the port it had before, if any."""
        self._log = self._log or self._path.open("a", encoding="utf-8")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=sock, backlog=512, limit=CHUNK)

    @property
    def is_stopped(self) -> bool:
        """Whether it refuses connections."""
        return self._server is None

    async def stop(self) -> None:
        """Refuses connections and cuts those that stand."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def cut(self, which: Callable[[Joined], bool] = lambda _: True) -> None:
        """Resets every connection, or those that ``which`` names."""
        cutting = [(task, joined) for task, joined in self._open.items() if which(joined)]
        for task, joined in cutting:
            joined.sever()
            task.cancel()
        await asyncio.gather(*(task for task, _ in cutting), return_exceptions=True)

    async def heal(self) -> None:
        """Ends the faults of connections that stand; those that would end of themselves are cut."""
        self.choose = undisturbed
        for joined in self._open.values():
            if not joined.wire.end:
                joined.wire = Wire()
        await self.cut(lambda joined: bool(joined.wire.end))

    def flush(self) -> None:
        """Writes out what was on the wire so far."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._log is not None:
            self._log.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._count += 1
        joined = Joined(self._count, self._owner(writer.get_extra_info("peername")[1]), self.choose(self._count))
        self._open[task] = joined
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._join(joined, reader, writer)
        finally:
            del self._open[task]
            _abort(writer)

    async def _join(self, joined: Joined, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.relay, limit=CHUNK)
        self.joined[back.get_extra_info("sockname")[1]] = joined
        pumps = [
            asyncio.create_task(self._pump(joined, reader, back, ">")),
            asyncio.create_task(self._pump(joined, there, writer, "<")),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if joined.wire.end != "reset" and not writer.is_closing():  # let the last words out
                writer.close()
                await asyncio.wait({asyncio.create_task(writer.wait_closed())}, timeout=0.5)
        finally:
            for pump in pumps:
                pump.cancel()
            back.transport.abort()
            check(await asyncio.gather(*pumps, return_exceptions=True))

    async def _pump(self, joined: Joined, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: str) -> None:
        while data := await source.read(CHUNK if not joined.wire.rate else max(64, joined.wire.rate // 10)):
            wire = joined.wire
            if way == ">":
                joined.bytes += len(data)
            self._write(joined.number, way, data)
            if wire.end and joined.bytes >= wire.bytes:
                joined.sever()
                if wire.end == "silent":
                    await asyncio.sleep(3600)
                return
            await asyncio.sleep(wire.delay + (len(data) / wire.rate if wire.rate else 0))
            if way == "<":
                self._tell(joined)
            sink.write(data)
            await sink.drain()

    def _tell(self, joined: Joined) -> None:
        """The worker's question came after the last reply: no sooner did it begin to wait."""
        now = time.monotonic()
        if now - joined.told > self.patience:
            joined.late.append(now)
        joined.told = now

    def _write(self, number: int, way: str, data: bytes) -> None:
        if self._log is not None:
            rest = f" … {len(data)} bytes" if len(data) > LOGGED else ""
            self._log.write(f"{time.monotonic():.6f} {number} {way} {data[:LOGGED]!r}{rest}\n")


def _abort(writer: asyncio.StreamWriter) -> None:
    """Ends with a reset, which loses what has not been read."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
