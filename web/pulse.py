"""The figures and the verdict on them, asked for at most once a second, however many look.

This module is what stands between many readers and Redis.
"""

import asyncio
import time
from typing import Final

from tasks.errors import StoreUnavailable
from tasks.figures import Figures
from tasks.ledger import Ledger
from web.verdict import Verdict, judge, store_away

FRESH_SECONDS: Final = 1.0


class Pulse:
    """The figures of one process, no older than ``seconds``; that Redis is away is remembered for as long."""

    def __init__(self, ledger: Ledger, seconds: float = FRESH_SECONDS) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._found: Figures | StoreUnavailable | None = None
        self._until = 0.0

    async def figures(self) -> Figures:
        """How things stand. Raises ``StoreUnavailable``."""
        async with self._lock:
            if self._found is None or time.monotonic() >= self._until:
                try:
                    self._found = await self._ledger.figures()
                except StoreUnavailable as error:
                    self._found = error
                self._until = time.monotonic() + self._seconds
            found = self._found
        if isinstance(found, StoreUnavailable):
            raise StoreUnavailable(str(found), found.retry_after, code=found.code)
        return found

    async def verdict(self) -> Verdict:
        """How the service is doing; raises nothing."""
        try:
            return judge(await self.figures())
        except StoreUnavailable as error:
            return store_away(error)

    def forget(self) -> None:
        """The next to ask gets new figures: something was done just now."""
        self._found = None
