"""uvicorn inside our own process.

Signals stay with the caller: the server runs until the event it was given is set, then lets running requests finish.
What a single connection may cost is in `service.connection`, how a port is taken in `service.ports`.

This module is where HTTP begins and ends.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import uvicorn
from litestar.types import ASGIApp
from loguru import logger
from uvicorn.server import ServerState

from service.connection import Limits, Protocol
from service.ports import BACKLOG, CannotListen, PortTaken, listen

__all__ = ["AppNotStarted", "CannotListen", "Limits", "PortTaken", "listen", "serve"]


class AppNotStarted(RuntimeError):
    """The application's own start failed; the log has the reason."""


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals alone, says when it listens, and ends by an event instead of polling."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event, on_listening: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._stop = stop
        self._on_listening = on_listening

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_listening:
            self._on_listening()

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)  # the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1)


async def serve(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    graceful_seconds: float = 20,
    sockets: Sequence[socket.socket] | None = None,
    on_listening: Callable[[], None] | None = None,
    limits: Limits | None = None,
) -> None:
    """Serve an ASGI application until `stop` is set; end it that way, not by cancelling.

    Then no connection is taken any more, idle ones end, running requests have `graceful_seconds` to finish; those that
    have not by then are cancelled. After that the application's own shutdown runs. Where `sockets` are given, as made
    by `listen`, host and port only name them; they are closed at the end in any case.
    Raises PortTaken or CannotListen before the application starts, AppNotStarted when its start fails.
    """
    limits = limits or Limits()
    listening = list(sockets) if sockets is not None else listen(host, port)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast("type[asyncio.Protocol]", functools.partial(Protocol, limits=limits)),
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who a client is, its key says; X-Forwarded-For anybody can write
        backlog=BACKLOG,
        timeout_graceful_shutdown=cast("int", graceful_seconds),  # asyncio.wait_for takes fractions as well
        workers=1,
    )
    server = _Server(config, stop, on_listening)
    reaper = asyncio.create_task(_reap(server.server_state, limits))
    try:
        await server.serve(sockets=listening)
    except SystemExit as error:  # uvicorn's word for a failed start
        raise AppNotStarted("The application did not start; the log has the reason.") from error
    finally:
        reaper.cancel()
        await _cut(server.server_state)
        for sock in listening:
            sock.close()


async def _reap(state: ServerState, limits: Limits) -> None:
    """Cut off connections that were closed long ago but whose client does not read the end of its answer.

    Says so in the log, once a round, where there are as many connections as there may be.
    """
    seen: set[Any] = set()
    while True:
        await asyncio.sleep(limits.stall_seconds)
        closing = {connection for connection in state.connections if connection.transport.is_closing()}
        for connection in closing & seen:
            connection.transport.abort()
        seen = closing
        if len(state.connections) >= limits.connections:
            logger.warning("HTTP: all {} connections are taken, further ones get 503", limits.connections)


async def _cut(state: ServerState) -> None:
    """Let cancelled requests say so, for a moment, and end what is still connected."""
    if state.tasks:
        await asyncio.wait(list(state.tasks), timeout=1)
    for connection in list(state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)
