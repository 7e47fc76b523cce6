"""What the API keeps an eye on in Redis: is it there, is it safe, has it room, which routes do the workers serve.

This module is the watch beside the requests; nothing in a request's way asks these questions.
"""

import asyncio
import time

from loguru import logger

from service.accept import Acceptance
from tasks import maillog
from tasks.errors import StoreUnavailable
from tasks.ledger import Ledger, RedisHealth
from tasks.queue import Queue
from tasks.safety import FULL_SHARE, eviction_problem

LOOK_SECONDS = 2.0
ROUTES_SECONDS = 5.0
EASE_SHARE = 0.75


class StoreWatch:
    """Watches until it is cancelled. ``unsafe`` is set, with the reason in ``why``, when Redis' settings may lose mail."""

    def __init__(self, ledger: Ledger, queue: Queue, acceptance: Acceptance, *, allow_eviction: bool) -> None:
        self._ledger = ledger
        self._queue = queue
        self._acceptance = acceptance
        self._allow_eviction = allow_eviction
        self._away_since: float | None = None
        self._said = 0.0
        self._routes_at = float("-inf")
        self.unsafe = asyncio.Event()
        self.why = ""

    async def run(self) -> None:
        """Looks every few seconds; says what changed, and once a minute that Redis is still away."""
        while True:
            try:
                await self._look()
                self._found()
            except StoreUnavailable as error:
                self._missed(error)
            except Exception:  # noqa: BLE001 (the watch goes on)
                logger.exception("the watch over Redis failed; it goes on")
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        health = await self._ledger.redis()
        problem = eviction_problem(health)
        if problem and not self._allow_eviction:
            self.why = problem
            self.unsafe.set()
        self._acceptance.refusal = refusal(health, self._acceptance.refusal)
        if time.monotonic() - self._routes_at > ROUTES_SECONDS:
            self._acceptance.routes = await self._queue.routes()
            self._routes_at = time.monotonic()

    def _found(self) -> None:
        if self._away_since is not None:
            maillog.store_found(round(time.monotonic() - self._away_since))
        self._away_since = None

    def _missed(self, error: StoreUnavailable) -> None:
        now = time.monotonic()
        if self._away_since is None or now - self._said > 60:
            maillog.store_lost(str(error))
            self._said = now
        self._away_since = now if self._away_since is None else self._away_since


def refusal(health: RedisHealth, before: str) -> str:
    """Why no new mail is taken for want of memory, or nothing; with some slack, so that it does not flicker."""
    if health.memory_max <= 0:
        return ""
    share = health.memory / health.memory_max
    if share >= FULL_SHARE or (before and share >= EASE_SHARE):
        return f"Redis uses {share:.0%} of its memory"
    return ""
