"""The worker: arq's ``Worker`` with our claim, lease and wake-up, and ``WorkerSettings`` for arq's own command.

arq 0.28 polls, takes one job in three round trips, forgets a job whose worker died for minutes, and ends its process when
Redis is away. ``MailWorker`` keeps arq's job format, keys, concurrency and signals and replaces how jobs are found and
finished: it sleeps on the wake list (a token wakes one worker; at most 500 ms without one), claims in batches over the lanes,
holds leases, and survives a restart of Redis. ``arq tasks.worker.WorkerSettings`` is in ``stock``.

This module is our worker.
"""

import asyncio
import os
import secrets
import time
from signal import Signals
from typing import Any

from arq.worker import Worker, func
from loguru import logger

from tasks import keys
from tasks.beat import Beat, forget, tell
from tasks.claim import BEAT_SECONDS, Claim
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.parts import Parts
from tasks.safety import eviction_problem
from tasks.stock import JOB_SECONDS, NEVER, STOCK, send, worker_settings
from tasks.store import TROUBLE, disconnect
from tasks.vitals import beat, worker_name

IDLE_SECONDS = 0.5
SUSPECT_STARTS = 2
"""Claims that ended with the death of the worker, after which an email is tried alone (as ``claim.lua`` has it)."""

SHARES = (0.98, 0.9, 0.7)
"""The part of the slots that the high, normal and low lane may fill: a flood in one leaves room for those above, and the
high lane leaves a little for those below."""


class MailWorker(Worker):
    """Serves all lanes with the process's ``parts``."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(
            [func(send, name="send", max_tries=NEVER, timeout=JOB_SECONDS)],
            redis_pool=parts.client,
            max_jobs=parts.settings.worker_concurrency,
            job_completion_wait=max(1, round(parts.settings.worker_grace)),
            health_check_key=keys.ARQ_HEALTH + worker_name(),
            **STOCK,
        )
        self._parts = parts
        self._client = parts.client
        self._group = parts.group
        self._queue = parts.queue
        self._postman = parts.postman
        self._claims: dict[str, Claim] = {}
        self._token = secrets.token_hex(16)  # until its claim is answered: what a lost answer gave out is given out again
        self._look = asyncio.Event()
        self._due = 0.0
        self._more = True
        self._started = time.time()
        self._stopping = 0
        self._is_claiming = False
        self._is_checked = False
        self._is_draining = False

    async def main(self) -> None:
        """Works until a signal ends it. Trouble with Redis is waited out, said once a minute."""
        beats = asyncio.create_task(self._beats())
        waker = asyncio.create_task(self._wait_for_tokens())
        await self._parts.start()
        pause, said = 0.05, 0.0
        logger.info("worker {} serves {} slots", worker_name(), self.max_jobs)
        try:
            while True:
                try:
                    if not self._is_checked:
                        await self._check_store()
                    await self._turn()
                    pause = 0.05
                except (*TROUBLE, StoreUnavailable) as error:
                    if time.monotonic() - said > 60:
                        logger.warning("the queue cannot be read ({}); the worker waits for it", _reason(error))
                        said = time.monotonic()
                    await asyncio.sleep(pause)
                    pause, self._more = min(2.0, pause * 2), True
        finally:
            for task in (beats, waker):
                task.cancel()

    async def _check_store(self) -> None:
        """Refuses to work on a Redis that may evict mail. Raises ``SettingsInvalid`` and ``StoreUnavailable``."""
        problem = eviction_problem(await self._parts.ledger.redis())
        if problem and not self._parts.settings.redis_allow_eviction:
            raise SettingsInvalid([problem])
        self._is_checked = True

    async def _turn(self) -> None:
        """Sleeps until there may be something to do and a slot for it, then claims and starts."""
        room = self._room()
        if not self.allow_pick_jobs or room <= 0 or not self._more:
            self._look.clear()
            try:
                async with asyncio.timeout(min(IDLE_SECONDS, self._due) if room > 0 and self._due > 0 else IDLE_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                pass
            room = self._room()
        if not self.allow_pick_jobs or room <= 0:
            return
        used = dict.fromkeys(keys.LANES, 0)
        for claim in self._claims.values():
            used[claim.lane] += 1
        caps = [max(0, max(1, int(self.max_jobs * share)) - used[lane]) for lane, share in zip(used, SHARES, strict=True)]
        self._is_claiming, self._more, asked = True, False, time.monotonic()
        try:
            claimed = await self._queue.claim(
                self._token, min(room, 200), (caps[0], caps[1], caps[2]), self._postman.routes, idle=not self.tasks
            )
        finally:
            self._is_claiming = False
        self._token = secrets.token_hex(16)
        self._postman.hear(claimed.relays, asked=asked)
        self._due = claimed.next_due if claimed.next_due is not None else IDLE_SECONDS
        self._more = self._more or claimed.more  # a token may have come while the answer was on its way
        self._is_draining = claimed.suspects > 0 or any(claim.starts > SUSPECT_STARTS for claim in claimed.claims)
        self._postman.load(claimed.claims)
        for claim in claimed.claims:
            self._begin(claim)

    def _room(self) -> int:
        """Slots for new emails: none while a suspect is tried or waits to be tried alone."""
        return 0 if self._is_draining and self.tasks else self.max_jobs - len(self.tasks)

    def _begin(self, claim: Claim) -> None:
        before = self.tasks.get(claim.id)
        self._claims[claim.id] = claim
        self.job_counter += 1
        task = self.loop.create_task(self._carry(claim, before))
        self.tasks[claim.id] = task
        task.add_done_callback(lambda _: self._end(claim, task))

    def _end(self, claim: Claim, task: asyncio.Task[None]) -> None:
        if self.tasks.get(claim.id) is task:
            del self.tasks[claim.id], self._claims[claim.id]
        self.job_counter -= 1
        self._more = True
        self._look.set()

    async def _carry(self, claim: Claim, before: asyncio.Task[None] | None) -> None:
        """One claimed email: arq's bookkeeping is part of the settling write, so that nothing of arq's is called here.

        ``before`` is this worker's own attempt for the same email, under which the lease ran out, as where Redis' clock was
        set. Only when that one has said what it knows is there anything to find out.
        """
        try:
            if before is not None:
                await _end_of(before)
            await self._postman.carry(claim)
            self.jobs_complete += 1
        except asyncio.CancelledError:
            self.jobs_retried += 1

    async def _wait_for_tokens(self) -> None:
        """Turns tokens into wake-ups. A lost token costs at most ``IDLE_SECONDS``."""
        while True:
            if len(self.tasks) >= self.max_jobs or not self.allow_pick_jobs:
                await asyncio.sleep(0.02)  # leave the tokens to a worker that has room
                continue
            try:
                if await self._client.execute_command("BLPOP", keys.WAKE, IDLE_SECONDS):
                    self._more = True
                    self._look.set()
            except TROUBLE:
                await asyncio.sleep(0.2)
            except Exception:  # noqa: BLE001 (this task must go on)
                logger.exception("waiting for tokens failed; it goes on")
                await asyncio.sleep(IDLE_SECONDS)

    async def _beats(self) -> None:
        while True:
            try:
                for id_ in await self._queue.beat(list(self._claims.values())):
                    if id_ in self._claims:
                        logger.warning("email {}: the lease is somebody else's by now; no dot will go out", id_)
                await tell(self._group, self._beat())
            except StoreUnavailable:
                pass  # the main loop says so
            except Exception:  # noqa: BLE001 (without beats every long attempt is taken away and sent again)
                logger.exception("a beat failed; the next one comes")
            await asyncio.sleep(BEAT_SECONDS)

    def _beat(self) -> Beat:
        return beat(self._started, self._claims, self.max_jobs, self._postman)

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """The first signal: no new email, finish what is past its 354, give the rest back. A second one exits now."""
        self._stopping += 1
        if self._stopping > 1:
            logger.warning("a second {}: exiting now", Signals(signum).name)
            os._exit(1)
        self.allow_pick_jobs = False
        self._postman.is_stopping = True
        logger.info("{}: finishing {} emails, taking no new ones", Signals(signum).name, len(self.tasks))
        self._ending = self.loop.create_task(self._wind_up())

    async def _wind_up(self) -> None:
        """Waits for what is under way, at most the grace; what is left then is given back, or uncertain past its mark."""
        for id_, task in list(self.tasks.items()):
            if self._postman.may_interrupt(id_):
                task.cancel()
        end = time.monotonic() + self._job_completion_wait
        while (self.tasks or self._is_claiming) and time.monotonic() < end:  # noqa: ASYNC110 (two things, for seconds)
            await asyncio.sleep(0.01)
        left = [task for task in self.tasks.values() if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        logger.info("the worker ends: {} carried, {} given back or left", self.jobs_complete, self.jobs_retried)
        if self.main_task is not None:
            self.main_task.cancel()

    async def close(self) -> None:
        """Takes this worker's beat away and closes what it opened."""
        try:
            async with asyncio.timeout(3):
                await forget(self._group, worker_name())
        except (TimeoutError, StoreUnavailable):
            pass  # the beat expires by itself
        await self._parts.stop()
        await disconnect(self._client)


async def _end_of(before: asyncio.Task[None]) -> None:
    """Waits for another task; to be cancelled here cancels that one."""
    try:
        await asyncio.wait((before,))
    except asyncio.CancelledError:
        before.cancel()
        await asyncio.wait((before,))
        raise


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, StoreUnavailable) else type(error).__name__


def __getattr__(name: str) -> Any:
    if name == "WorkerSettings":
        return worker_settings()
    raise AttributeError(name)
