"""How bodies come in: at a decent speed, and not more of them at once than memory was set aside for.

This module is the way in of request bodies.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from litestar.exceptions import HTTPException
from litestar.types import HTTPReceiveMessage, Receive

from service.whole import Whole

COLLECT_BYTES = 64 * 1024 * 1024
"""Bytes of answered bodies after which the garbage collector looks at what is young: a millisecond."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How fast a request body must arrive, and how much of all bodies may be in memory at once."""

    seconds: float = 300
    """The longest that one body may take, in all."""
    grace_seconds: float = 10
    """How long a body may lag behind `bytes_per_second`."""
    bytes_per_second: int = 4096
    """The slowest average speed."""
    held_bytes: int = 256 * 1024 * 1024
    """The most that the bodies of unanswered requests may hold together."""


class Bodies:
    """All bodies that are coming in, or whose requests are not answered yet."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self._held = self._released = 0
        self._waiting: set[Body] = set()
        self._is_watching = False

    def hold(self, size: int) -> bool:
        """Count bytes of a body that just arrived; False where they would be too many for all bodies together."""
        self._held += size
        return self._held <= self.limits.held_bytes

    def release(self, size: int) -> None:
        """The request is answered.

        What a framework keeps of it in circles (an exception, its traceback, its frames) is looked for after so many bytes:
        the garbage collector counts objects, and a few of them may hold a body of megabytes each.
        """
        self._held -= size
        self._released += size
        if self._released >= COLLECT_BYTES:
            self._released = 0
            gc.collect(1)

    def watch(self, body: "Body") -> None:
        """Watch over a body while its next piece is awaited, until `unwatch`.

        One clock for all bodies instead of `asyncio.timeout` for each piece, which costs 20 microseconds a request.
        """
        self._waiting.add(body)
        if not self._is_watching:
            self._is_watching = True
            self._watch()

    def unwatch(self, body: "Body") -> None:
        """The piece is here, or nobody waits for it any more."""
        self._waiting.discard(body)

    def _watch(self) -> None:
        now = time.monotonic()
        for body in self._waiting:
            body.end_if_late(now)
        self._is_watching = bool(self._waiting)
        if self._is_watching:
            asyncio.get_running_loop().call_later(min(0.5, self.limits.grace_seconds / 4), self._watch)


class Body:
    """The way in of one request's body."""

    def __init__(self, bodies: Bodies, receive: Receive, offer: Whole | None, *, is_expected: bool) -> None:
        self._bodies = bodies
        self._offer = offer
        # Only HTTP comes here, which Litestar's type for both protocols cannot say.
        self._receive = cast("Callable[[], Awaitable[HTTPReceiveMessage]]", receive)
        self._task: asyncio.Task[object] | None = None
        self._began = 0.0
        self._is_late = False
        self._is_whole = not is_expected
        self.size = 0

    async def receive(self) -> HTTPReceiveMessage:
        """The next piece of the body. Raises HTTPException 408 (too slow), 503 (no room) or 400 (cut off)."""
        if self._is_whole:
            return await self._receive()
        self._task = asyncio.current_task()
        self._began = self._began or time.monotonic()
        self._bodies.watch(self)
        try:
            message = await self._next()
        finally:
            self._bodies.unwatch(self)
        if message["type"] != "http.request":
            raise HTTPException(status_code=400, detail="The connection closed before the whole body had arrived.")
        self._take(len(message.get("body", b"")))
        self._is_whole = not message.get("more_body", False)
        return message

    def at_hand(self) -> bytes | bytearray | None:
        """All of the body, where it is here already and none was read. Raises HTTPException 503 (no room)."""
        body = self._offer.body() if self._offer is not None and not self.size else None
        if body is not None:
            self._is_whole = True
            self._take(len(body))
        return body

    async def whole(self) -> bytes:
        """All of an expected body, as it comes. Raises as `receive`."""
        pieces: list[bytes] = []
        while not self._is_whole:
            message = await self.receive()
            pieces.append(message["body"] if message["type"] == "http.request" else b"")
        body = b"".join(pieces)
        is_large = len(pieces) > 1
        pieces.clear()
        if is_large:
            await asyncio.sleep(0)  # putting together and reading 10 MB take 5 and 10 ms: others come between
        return body

    async def _next(self) -> HTTPReceiveMessage:
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if not self._is_late or (self._task and self._task.uncancel()):
                raise
        detail = "The body arrived too slowly. Send the request again."
        raise HTTPException(status_code=408, detail=detail, headers={"connection": "close"})

    def end_if_late(self, now: float) -> None:
        """Wake up who waits for the next piece if it is overdue: speed counts on average, after the grace."""
        limits = self._bodies.limits
        allowed = min(limits.seconds, limits.grace_seconds + self.size / limits.bytes_per_second)
        if self._task and not self._is_late and now > self._began + allowed:
            self._is_late = True
            self._task.cancel()

    def _take(self, size: int) -> None:
        self.size += size
        if not self._bodies.hold(size):
            detail = "Too many large requests at once. Send this one again in a few seconds."
            raise HTTPException(status_code=503, detail=detail, headers={"retry-after": "5"})
