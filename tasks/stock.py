"""arq's own worker, for those who run ``arq tasks.worker.WorkerSettings``: it serves the normal lane, one job at a time.

``send`` takes the lease itself, so that both kinds of worker may run beside each other.

This module is the one job of the queue, and what arq's command reads.
"""

import asyncio
import secrets
import sys
import time
from typing import Any, ClassVar

import msgspec
from arq import Retry
from arq.worker import func
from loguru import logger

from tasks import keys, log, parts
from tasks.beat import tell
from tasks.claim import BEAT_SECONDS, LEASE_SECONDS, Claim
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.parts import Parts, begin_worker
from tasks.script import encode_job
from tasks.vitals import beat, worker_name

NEVER = 10**6
JOB_SECONDS = 6 * 3600
"""Far above any transaction: arq deletes a job that runs longer; our own deadlines end it before."""


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
    ctx["parts"] = parts = await begin_worker()
    ctx["claims"] = claims = dict[str, Claim]()
    ctx["beats"] = asyncio.create_task(_beats(parts, claims, time.time()))


async def _beats(parts: Parts, claims: dict[str, Claim], started: float) -> None:
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


STOCK: dict[str, Any] = {
    "job_timeout": JOB_SECONDS,
    "max_tries": NEVER,
    "keep_result": 0,
    "allow_abort_jobs": False,
    "job_serializer": encode_job,
    "job_deserializer": msgspec.msgpack.decode,
}


def worker_settings() -> type:
    """What ``arq tasks.worker.WorkerSettings`` reads. Made when asked for, so that an import does no work.

    arq asks before it says or does anything, so that the log is set up in time for its own first lines. Exits with 2 where a
    setting is wrong.
    """
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
        health_check_key = keys.ARQ_HEALTH + worker_name()
        on_startup = staticmethod(_start)
        on_shutdown = staticmethod(_stop)

    for name, value in STOCK.items():
        setattr(WorkerSettings, name, value)
    return WorkerSettings
