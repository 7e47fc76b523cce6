"""What a process knows of its relays, and how it looks after them.

Trouble takes a relay out for all workers, through Redis; one probe at a time, by whichever worker comes first, looks whether it
is back. Then its connections ramp up, and the mail held for it flows in its old order. This module is the breaker of each relay
as one process sees it.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from loguru import logger

from tasks import maillog
from tasks.errors import StoreUnavailable
from tasks.outcome import Fault, Outcome
from tasks.pool import Pool
from tasks.queue import Queue
from tasks.routes import Route
from tasks.smtp import RelayTrouble

LOOK_SECONDS = 1.0
TRIM_SECONDS = 5.0
INTRODUCE_SECONDS = 60.0
_ELSEWHERE = Outcome("hold", "connect", fault=Fault("paused", "the relay is not taking mail"))


class RelayWatch:
    """The relays of one process. ``down`` holds those that are out, with what they said last."""

    def __init__(self, queue: Queue, pools: Mapping[str, Pool], routes: Sequence[Route]) -> None:
        self._queue = queue
        self._pools = pools
        self._routes = routes
        self._accepted: set[str] = set()
        self._unproven: set[str] = set(pools)
        """Relays that have taken nothing since they came (back): their next success says that all is well."""
        self._paced: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._shared: dict[str, float] = {}
        """When this process's word that a relay is out had reached Redis, monotonic; infinite while it is on its way."""
        self.down: dict[str, Outcome] = {}

    def start(self) -> None:
        """Begins to look after the relays."""
        self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._trim())]

    async def stop(self) -> None:
        """Ends that."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hear(self, relays: Mapping[str, str], *, asked: float = math.inf) -> None:
        """Takes over what all workers know: names to up, paced or down. ``asked`` is when Redis was asked for it, monotonic:
        an «up» older than what this process has said itself is no news, and would let mail past what has just been held."""
        for name, state in relays.items():
            if state == "down":
                self.down.setdefault(name, _ELSEWHERE)
            elif asked < self._shared.get(name, 0):
                continue
            elif self.down.pop(name, None) is not None:
                self._unproven.add(name)
                self._pools[name].ramp()
            if state == "paced":
                self._paced.add(name)
            else:
                self._paced.discard(name)

    def has_accepted(self, name: str) -> bool:
        """Whether this relay has taken mail since its settings changed."""
        return name in self._accepted

    async def learn(self, name: str, outcomes: Iterable[Outcome]) -> None:
        """Draws from one transaction's outcomes what concerns the relay. Never raises: the outcomes are known already."""
        found = list(outcomes)
        try:
            trouble = next((outcome for outcome in found if outcome.kind == "hold"), None)
            if trouble is not None:
                await self.take_out(name, trouble)
            elif name in self._unproven and any(outcome.kind == "ok" for outcome in found):
                await self._queue.relay_accepted(name)
                self._accepted.add(name)
                self._unproven.discard(name)
            if any(outcome.throttled for outcome in found):
                self._paced.add(name)
                await self._queue.relay_throttled(name)
        except StoreUnavailable as error:
            logger.warning("what relay {} said cannot be shared now: {}", name, error)

    async def take_out(self, name: str, outcome: Outcome) -> None:
        """Takes a relay out for all workers. Raises ``StoreUnavailable``; for this process it is out all the same."""
        self.down[name] = outcome
        self._shared[name] = math.inf
        try:
            is_news = await self._queue.relay_down(name, outcome)
        finally:
            self._shared[name] = time.monotonic()
        if is_news:
            waiting = await self._queue.waiting()
            maillog.relay_closed(name, outcome, waiting=waiting, next_in=30 if outcome.alarm else 5)

    async def wait_for_pace(self, name: str, is_stopping: Callable[[], bool]) -> bool:
        """Waits until the relay's pace allows another email; False where the process stops meanwhile."""
        rate = self._pools[name].relay.rate
        if rate is None and name not in self._paced:
            return True
        end = time.monotonic() + await self._queue.relay_pace(name, rate)
        while (left := end - time.monotonic()) > 0:
            if is_stopping():
                return False
            await asyncio.sleep(min(left, 0.5))
        return True

    async def _look(self) -> None:
        introduced = 0.0
        while True:
            try:
                if not introduced or time.monotonic() - introduced > INTRODUCE_SECONDS:
                    await self._introduce()
                    introduced = time.monotonic()
                for name in list(self.down):
                    if self.down[name] is _ELSEWHERE:
                        self.down[name] = await self._heard(name)
                    if await self._queue.relay_probe(name):
                        await self._probe(name)
            except StoreUnavailable:
                pass  # said by whoever works with the queue; nothing can be probed without it
            except Exception:  # noqa: BLE001 (this task must go on)
                logger.exception("looking after the relays failed; it goes on")
            await asyncio.sleep(LOOK_SECONDS)

    async def _heard(self, name: str) -> Outcome:
        """What another worker found a relay to be out for."""
        health = await self._queue.relay(name)
        fault = None if health.reply is not None else Fault("paused", health.said or "the relay is not taking mail")
        return Outcome("hold", health.stage or "connect", reply=health.reply, fault=fault, alarm=health.alarm)

    async def _introduce(self) -> None:
        """Says which relays this process uses; whatever was held against other settings of theirs is cleared by that."""
        await self._queue.tell_routes(self._routes)
        for name, pool in self._pools.items():
            asked = time.monotonic()
            self.hear({name: await self._queue.relay_seen(name, pool.relay.fingerprint(), pool.relay.name)}, asked=asked)
            if (await self._queue.relay(name)).has_accepted:
                self._accepted.add(name)

    async def _probe(self, name: str) -> None:
        """Tries a relay that is out: connects, and signs in where it has a password."""
        pool = self._pools[name]
        try:
            session = await pool.take()
        except RelayTrouble as trouble:
            self.down[name] = trouble.outcome
            await self._queue.relay_down(name, trouble.outcome, probed=True)
            return
        pool.put_back(session)
        since = (await self._queue.relay(name)).since
        if await self._queue.relay_up(name):
            after = max(0, (await self._queue.now() - since) // 1000)
            maillog.relay_open_again(name, after=after, waiting=await self._queue.waiting())
        self.hear({name: "up"})

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_SECONDS)
            for pool in self._pools.values():
                pool.trim()
