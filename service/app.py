"""The HTTP application, put together by hand.

This module is the wiring of an API process.
"""

import contextlib
import functools
from collections.abc import AsyncGenerator
from importlib import metadata
from pathlib import Path

import msgspec
from litestar import Litestar
from litestar.types import ASGIApp

from service import errors
from service.accept import Acceptance
from service.api import client_routes, health_routes, put_email
from service.capture import capture_routes
from service.clients import Keyring, parse_api_keys
from service.docs import docs_routes, openapi_config
from service.edge import Edge
from service.express import Express
from service.guard import Guard
from service.hosts import known_hosts
from service.monitor import monitor_routes
from service.storewatch import StoreWatch
from tasks import parts
from tasks.checked import Limits
from tasks.ledger import Ledger
from tasks.limiter import Limiter
from tasks.mailbox import Mailbox
from tasks.queue import Queue
from tasks.settings import Settings
from tasks.store import ArqRedis, Group, disconnect
from web.pages import page_routes
from web.pulse import Pulse

ACCEPT_SECONDS = 2.0
"""A POST waits no longer than this for Redis."""


class Service(msgspec.Struct, frozen=True):
    """An API process's parts."""

    settings: Settings
    client: ArqRedis
    group: Group
    watch: StoreWatch
    app: ASGIApp


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("email-micro-service")
    except metadata.PackageNotFoundError:
        return "0"


def readme() -> str:
    """The README, which is the info page too."""
    try:
        return (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    except OSError:
        return "# Email Micro Service\n\nThe README is not installed here. The API is described at [/docs](/docs).\n"


def build(settings: Settings) -> Service:
    """The application and what it works with. Connects to nothing yet. Raises ``SettingsInvalid``."""
    fixed = parse_api_keys(settings.api_keys.reveal()) if settings.api_keys is not None else {}
    client = parts.connect(settings)
    group = Group(client, timeout=ACCEPT_SECONDS, replicas=settings.redis_wait_replicas)
    queue = Queue(
        group,
        retain_records=settings.retain_records,
        limit=settings.queue_limit,
        recipient_limit=settings.recipient_limit,
    )
    ledger = Ledger(group, queue)
    mailbox = Mailbox(group, limit=settings.mailbox_limit, age=settings.mailbox_age)
    limits = Limits(settings.max_message_bytes, settings.max_recipients, settings.smtp_utf8)
    acceptance = Acceptance(queue, limits)
    guard = Guard(Keyring(group, fixed), Limiter(group))
    levers = parts.build_levers(settings, group, queue, ledger)

    pulse = Pulse(ledger)
    pages = page_routes(
        ledger=ledger,
        levers=levers,
        mailbox=mailbox,
        pulse=pulse,
        group=group,
        settings=settings,
        version=version(),
        readme=readme(),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None, None]:
        yield
        await group.close()
        await disconnect(client)

    app = Litestar(
        [
            client_routes(guard, acceptance, ledger, levers),
            capture_routes(guard, mailbox),
            health_routes(ledger),
            monitor_routes(pulse, version()),
            *docs_routes(),
            pages,
        ],
        exception_handlers=errors.HANDLERS,
        openapi_config=openapi_config(version()),
        logging_config=None,
        request_max_body_size=settings.max_request_bytes,
        lifespan=[lifespan],
    )
    watch = StoreWatch(ledger, queue, acceptance, allow_eviction=settings.redis_allow_eviction)
    put = functools.partial(put_email, acceptance=acceptance)
    express = Express(app, guard, put, settings.max_request_bytes)
    return Service(settings, client, group, watch, Edge(express, hosts=known_hosts(settings)))
