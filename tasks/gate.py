"""Who may go now: at most so many at once, first come, first served, with a limit that can change.

This module is the gate before a relay's connections.
"""

import asyncio
from collections import deque
from collections.abc import Callable

RAMP_SECONDS = 1.0
SHRUNK_SECONDS = 300.0


class Gate:
    """Lets ``size`` through at once; fewer after ``ramp`` and ``shrink``."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.limit = size
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> None:
        """Waits for one's turn."""
        if self._inside < self.limit and not self._waiting:
            self._inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Makes room for the next."""
        self._inside -= 1
        self._admit()

    def ramp(self) -> None:
        """Starts anew with one at a time, doubling every second: for a relay that has just come back."""
        self.limit = 1
        self._after(RAMP_SECONDS, self._grow)

    def shrink(self, limit: int) -> None:
        """Allows fewer for five minutes: for a relay that takes no more connections than it has now."""
        self.limit = max(1, min(limit, self.limit))
        self._after(SHRUNK_SECONDS, self._grow)

    def _grow(self) -> None:
        self.limit = min(self.size, self.limit * 2)
        if self.limit < self.size:
            self._after(RAMP_SECONDS, self._grow)
        self._admit()

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, what)

    def _admit(self) -> None:
        while self._waiting and self._inside < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
