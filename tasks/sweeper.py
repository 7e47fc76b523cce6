"""The sweeper: looks at every email that is not final, a page at a time, and puts right what a crash or a damaged Redis left.

One worker at a time does it, elected by a key that expires. At the start of each reign, and from then on round and round:

- waiting mail without a place in its lane, without a trigger, or held in no set, is put back to its old place
- mail whose ``expires_at`` came while it waited ends
- records that have expired leave the indexes

A page costs a few milliseconds however long the queue is. This module is the sweeper.
"""

import asyncio
import secrets

from loguru import logger

from tasks import keys
from tasks.errors import StoreUnavailable
from tasks.ledger import STATES, Ledger
from tasks.levers import Levers
from tasks.script import Script
from tasks.store import Group

PAGE = 200
TURN_SECONDS = 0.5
ROUND_SECONDS = 20.0
"""A round that has nothing to mend is followed by the next after this long."""
REIGN_SECONDS = 10
RETAINED_PAGE = 500
BUSY_SECONDS = 0.1
"""After a page that was mostly expired: 5,000 a second are forgotten, more than are ever sent, so that no index grows."""


class Sweeper:
    """Sweeps one Redis. ``routes`` are those that this process's workers serve; ``retain_records`` in seconds."""

    def __init__(self, group: Group, ledger: Ledger, levers: Levers, *, routes: list[str], retain_records: float) -> None:
        self._group = group
        self._ledger = ledger
        self._levers = levers
        self._routes = routes
        self._retain_us = round(retain_records * 1e6)
        self._name = secrets.token_hex(8)
        self._sweep, self._forget = Script("sweep"), Script("forget")
        self.mended = 0

    async def run(self) -> None:
        """Sweeps for ever, while it is this process's turn."""
        while True:
            try:
                if await self._is_elected():
                    await self.round()
            except StoreUnavailable:
                pass  # said by whoever works with the queue
            except Exception:  # noqa: BLE001 (this task must go on)
                logger.exception("a sweep failed; the next one comes")
            await asyncio.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Looks at everything once."""
        cursor, seen, mended = "-inf", 0, 0
        while cursor:
            last, count, fixed, over = await self._group.run(self._sweep, cursor, PAGE, *self._routes)
            for id_ in over:
                await self._end(id_.decode())
            seen, mended, cursor = seen + int(count), mended + int(fixed), last.decode()
            if cursor:
                await self._pause(TURN_SECONDS)
        if mended:
            self.mended += mended
            logger.warning("the sweeper put {} of {} waiting emails right", mended, seen)
        await self._forget_expired()

    async def _end(self, id_: str) -> None:
        record = await self._ledger.record(id_)
        if record is not None:
            await self._levers.expire(record)

    async def _forget_expired(self) -> None:
        before = await self._now_us() - self._retain_us
        cursor = "-inf"
        while cursor:
            last, gone = await self._group.run(self._forget, cursor, RETAINED_PAGE, before, *STATES)
            cursor = last.decode()
            if cursor:
                await self._pause(BUSY_SECONDS if int(gone) > RETAINED_PAGE // 2 else TURN_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Between two pages; the reign is renewed."""
        await asyncio.sleep(seconds)
        await self._is_elected()

    async def _is_elected(self) -> bool:
        if await self._group.command("SET", keys.SWEEPER, self._name, "NX", "EX", REIGN_SECONDS + round(ROUND_SECONDS)):
            return True
        if await self._group.command("GET", keys.SWEEPER) != self._name.encode():
            return False
        await self._group.command("EXPIRE", keys.SWEEPER, REIGN_SECONDS + round(ROUND_SECONDS))
        return True

    async def _now_us(self) -> int:
        seconds, micros = await self._group.command("TIME")
        return int(seconds) * 1_000_000 + int(micros)
