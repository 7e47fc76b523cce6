"""The worker: arq's ``Worker`` with our claim, lease and wake-up, and ``WorkerSettings`` for arq's own command.

arq 0.28 polls, takes one job in three round trips, forgets a job whose worker died for minutes, and ends its process when
Redis is away. ``MailWorker`` keeps arq's job format, keys, concurrency and signals and replaces how jobs are found and
finished: it sleeps on the wake list (a token wakes one worker; at most 500 ms without one), claims in batches over the lanes,
holds leases, and survives a restart of Redis. ``arq tasks.worker.WorkerSettings`` serves the normal lane with arq's own
worker; ``send`` then takes the lease itself.

This module is the only one that knows arq's worker.
"""

import asyncio
import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Any, ClassVar

import msgspec
from arq import Retry
from arq.worker import Worker, func
from loguru import logger

from tasks import keys
from tasks.beat import Beat, forget, tell
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.parts import Parts
from tasks.postman import Postman
from tasks.queue import BEAT_SECONDS, LEASE_SECONDS, Claim
from tasks.safety import eviction_problem
from tasks.script import encode_job
from tasks.store import TROUBLE, disconnect

IDLE_SECONDS = 0.5
NEVER = 10**6
JOB_SECONDS = 6 * 3600
"""Far above any transaction: arq deletes a job that runs longer; our own deadlines end it before."""

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
            health_check_key=keys.ARQ_HEALTH + _name(),
            **_STOCK,
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
        logger.info("worker {} serves {} slots", _name(), self.max_jobs)
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
                await forget(self._group, _name())
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


def beat(started: float, claims: Mapping[str, Claim], slots: int, postman: Postman, *, stock: bool = False) -> Beat:
    """This process's beat. ``claims`` are the emails in its hands."""
    return Beat(
        name=_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=round(started * 1000),
        at=round(time.time() * 1000),
        in_hand=len(claims),
        slots=slots,
        carried=postman.carried,
        connections=postman.connections,
        memory=_memory(),
        relays=postman.relays,
        links=postman.links,
        stock=stock,
        since=min((claim.now for claim in claims.values()), default=None),
    )


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _memory() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, StoreUnavailable) else type(error).__name__


# arq's own worker


async def send(ctx: dict[str, Any], email_id: str) -> None:
    """The one job of the queue, as arq's own worker runs it. Never raises but arq's ``Retry``; final emails are a no-op."""
    parts: Parts = ctx["parts"]
    held: dict[str, Claim] = ctx["claims"]
    asked = time.monotonic()
    try:
        claimed = await parts.queue.claim(secrets.token_hex(16), 1, (1, 1, 1), parts.postman.routes, only=email_id)
    except StoreUnavailable:
        raise Retry(defer=5) from None
    if not claimed.claims:
        if claimed.more:
            raise Retry(defer=5)
        return
    parts.postman.hear(claimed.relays, asked=asked)
    claim = claimed.claims[0]
    held[claim.id] = claim
    try:
        _, next_at = await parts.postman.carry(claim, stock=True)
    except asyncio.CancelledError:
        raise Retry(defer=LEASE_SECONDS) from None
    finally:
        held.pop(claim.id, None)
    if next_at is not None:
        raise Retry(defer=max(0.0, (next_at - time.time() * 1000) / 1000))


async def _start(ctx: dict[str, Any]) -> None:
    from tasks.parts import begin_worker

    ctx["parts"] = parts = await begin_worker()
    ctx["claims"] = claims = dict[str, Claim]()
    ctx["beats"] = asyncio.create_task(_stock_beats(parts, claims, time.time()))


async def _stock_beats(parts: Parts, claims: dict[str, Claim], started: float) -> None:
    while True:
        try:
            await parts.queue.beat(list(claims.values()))
            await tell(parts.group, beat(started, claims, parts.settings.worker_concurrency, parts.postman, stock=True))
        except StoreUnavailable:
            pass  # arq's own loop says so
        except Exception:  # noqa: BLE001 (without beats every long attempt is taken away and sent again)
            logger.exception("a beat failed; the next one comes")
        await asyncio.sleep(BEAT_SECONDS)


async def _stop(ctx: dict[str, Any]) -> None:
    ctx["beats"].cancel()
    parts: Parts = ctx["parts"]
    await parts.stop()


_STOCK: dict[str, Any] = {
    "job_timeout": JOB_SECONDS,
    "max_tries": NEVER,
    "keep_result": 0,
    "allow_abort_jobs": False,
    "job_serializer": encode_job,
    "job_deserializer": msgspec.msgpack.decode,
}


def _worker_settings() -> type:
    """What ``arq tasks.worker.WorkerSettings`` reads. Made when asked for, so that an import does no work.

    arq asks before it says or does anything, so that the log is set up in time for its own first lines. Exits with 2 where a
    setting is wrong.
    """
    from tasks import log, parts

    try:
        found = parts.read_for_worker()
    except SettingsInvalid as error:
        for problem in error.problems:
            print(f"email-service: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    log.setup("worker", found.logs, found.log_level, secrets=parts.secrets(found))

    class WorkerSettings:
        functions: ClassVar[list[Any]] = [func(send, name="send", max_tries=NEVER, timeout=JOB_SECONDS)]
        redis_pool = parts.connect(found)
        queue_name = keys.LANES["normal"]
        max_jobs = found.worker_concurrency
        job_completion_wait = max(1, round(found.worker_grace))
        health_check_interval = 10
        health_check_key = keys.ARQ_HEALTH + _name()
        on_startup = staticmethod(_start)
        on_shutdown = staticmethod(_stop)

    for name, value in _STOCK.items():
        setattr(WorkerSettings, name, value)
    return WorkerSettings


def __getattr__(name: str) -> Any:
    if name == "WorkerSettings":
        return _worker_settings()
    raise AttributeError(name)
