"""The worker's parts, put together by hand: what ``python -m tasks`` and arq's own command both start from.

This module is the wiring of the ground floor.
"""

import asyncio
import socket

import msgspec

from tasks import log
from tasks.judge import Terms
from tasks.ledger import Ledger
from tasks.levers import Levers
from tasks.mailbox import Mailbox
from tasks.pool import Pool
from tasks.postman import Postman
from tasks.queue import Queue
from tasks.relay import Relay, parse_relays
from tasks.secret import Secret
from tasks.settings import Settings, read
from tasks.smtp import Timeouts
from tasks.store import ArqRedis, Group
from tasks.store import connect as connect_store
from tasks.sweeper import Sweeper
from tasks.values import passwords

SHORTEST_SECRET = 6
"""Shorter texts are not hidden: they would blank out half of every line."""


class Parts(msgspec.Struct):
    """Everything a worker process works with. ``start`` begins the work beside the queue's."""

    settings: Settings
    client: ArqRedis
    group: Group
    queue: Queue
    ledger: Ledger
    mailbox: Mailbox
    postman: Postman
    sweeper: Sweeper
    sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks after the relays and sweeps."""
        await self.postman.start()
        self.sweeping = asyncio.create_task(self.sweeper.run())

    async def stop(self) -> None:
        """Ends that, and gives the connections back."""
        if self.sweeping is not None:
            self.sweeping.cancel()
            await asyncio.gather(self.sweeping, return_exceptions=True)
        await self.postman.stop()
        await self.group.close()


def connect(settings: Settings) -> ArqRedis:
    """The client of the process; it connects when first used."""
    return connect_store(settings.redis.reveal())


def read_for_worker() -> Settings:
    """The settings of a worker process: it cannot do without a relay. Raises ``SettingsInvalid``."""
    return read(required=["SMTP_URL"], checks={"SMTP_URL": parse_relays})


def relays(settings: Settings) -> list[Relay]:
    """The relays of ``SMTP_URL``; none where it is not set."""
    return parse_relays(settings.smtp_url.reveal()) if settings.smtp_url is not None else []


def secrets(settings: Settings) -> list[Secret]:
    """Every secret of the settings, whole and in its parts, for the log to hide."""
    texts: set[str] = set()
    for whole in (settings.admin_password, settings.api_keys, settings.smtp_url, settings.redis_url):
        if whole is not None:
            texts.add(whole.reveal())
    for url in (settings.smtp_url, settings.redis_url):
        if url is not None:
            texts |= passwords(url.reveal())
    for entry in settings.api_keys.reveal().split(",") if settings.api_keys is not None else ():
        texts.add(entry.partition(":")[2].partition(":")[0])
    return [Secret(text) for text in sorted(texts, key=len, reverse=True) if len(text) >= SHORTEST_SECRET]


def build(settings: Settings, client: ArqRedis) -> Parts:
    """The parts of one worker. Opens nothing yet."""
    group = Group(client, replicas=settings.redis_wait_replicas)
    queue = Queue(group, retain_records=settings.retain_records, limit=settings.queue_limit)
    mailbox = Mailbox(group, limit=settings.mailbox_limit, age=settings.mailbox_age)
    timeouts = Timeouts(**settings.smtp_timeouts)
    hello = settings.smtp_hello or socket.getfqdn()
    pools = [Pool(relay, timeouts, size=settings.smtp_connections, hello=hello) for relay in relays(settings)]
    terms = Terms(settings.retry_delays, settings.max_age, settings.retain_content)
    postman = Postman(queue, pools, mailbox, terms)
    ledger = Ledger(group, queue)
    levers = build_levers(settings, group, queue, ledger)
    sweeper = Sweeper(group, ledger, levers, routes=list(postman.routes), retain_records=settings.retain_records)
    return Parts(settings, client, group, queue, ledger, mailbox, postman, sweeper)


def build_levers(settings: Settings, group: Group, queue: Queue, ledger: Ledger) -> Levers:
    """The levers, for workers and pages alike."""
    return Levers(group, queue, ledger, retain_records=settings.retain_records, retain_content=settings.retain_content)


async def begin_worker() -> Parts:
    """For arq's own command, once its loop runs: parts, background work."""
    settings = read_for_worker()
    log.loop_exception_handler(asyncio.get_running_loop())
    parts = build(settings, connect(settings))
    await parts.start()
    return parts
