"""Open connections to one relay, lent one transaction at a time, first come, first served.

A connection is opened when one is needed and none is idle, at most ``size`` at once; it ends after so many messages, so much
idle time, or so much age, since relays end them too, and less politely. This module is the pool; what is said on a connection
is ``smtp``'s.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tasks.gate import Gate
from tasks.relay import Relay
from tasks.smtp import Session, Timeouts

MESSAGES = 100
IDLE_SECONDS = 30.0
AGE_SECONDS = 600.0


class Pool:
    """At most ``size`` sessions with ``relay``. ``hello`` is the name in EHLO."""

    def __init__(self, relay: Relay, timeouts: Timeouts, *, size: int, hello: str) -> None:
        self.relay = relay
        self._timeouts = timeouts
        self._hello = hello
        self._gate = Gate(size)
        self._idle: deque[Session] = deque()
        self._farewells: set[asyncio.Task[None]] = set()
        self.open = 0

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator["Slot"]:
        """A place among the ``size``; waits for it in the order of asking."""
        await self._gate.enter()
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.give_back()
            self._gate.leave()

    async def take(self) -> Session:
        """An idle session that still answers, or a new one. Raises ``RelayTrouble``."""
        while self._idle:
            session = self._idle.pop()
            if self._is_fresh(session) and session.is_alive():
                return session
            self.discard(session)
        session = await Session.open(self.relay, self._timeouts, self._hello)
        self.open += 1
        return session

    def put_back(self, session: Session) -> None:
        """Keeps a usable session for the next one; ends any other."""
        if session.usable and self._is_fresh(session):
            self._idle.append(session)
        else:
            self.discard(session)

    def discard(self, session: Session) -> None:
        """Ends a session; the QUIT goes out beside the work."""
        self.open -= 1
        if not session.usable:
            session.close()
            return
        farewell = asyncio.create_task(session.quit())
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    def ramp(self) -> None:
        """For a relay that has just come back: one connection first, then twice as many every second."""
        self._gate.ramp()

    def shrink(self) -> bool:
        """For a relay that refuses another connection while it serves some: no more than those for a while.

        False where none is open: then it is the relay that refuses, not the number.
        """
        if self.open < 1:
            return False
        self._gate.shrink(self.open)
        return True

    def trim(self) -> None:
        """Ends sessions that have been idle or open for too long."""
        for session in list(self._idle):
            if not self._is_fresh(session):
                self._idle.remove(session)
                self.discard(session)

    async def close(self) -> None:
        """Says QUIT on every idle session."""
        while self._idle:
            self.discard(self._idle.pop())
        await asyncio.gather(*self._farewells, return_exceptions=True)

    def _is_fresh(self, session: Session) -> bool:
        now = time.monotonic()
        return session.messages < MESSAGES and now - session.last_used < IDLE_SECONDS and now - session.opened < AGE_SECONDS


class Slot:
    """One place in the pool, with the session that stands in it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._session: Session | None = None

    async def session(self) -> Session:
        """A session to use; asked again, another one (the first was stale)."""
        if self._session is not None:
            self._pool.discard(self._session)
            self._session = None
        self._session = await self._pool.take()
        return self._session

    def give_back(self) -> None:
        """Ends the loan."""
        if self._session is not None:
            self._pool.put_back(self._session)
            self._session = None
