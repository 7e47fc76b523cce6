"""The pages, served in this process by real HTTP parts against a real Valkey."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from litestar import Litestar

from service.edge import Edge
from tasks.ledger import Ledger
from tasks.levers import Levers
from tasks.mailbox import Mailbox
from tasks.queue import Queue
from tasks.settings import read
from tasks.store import Group
from web.pages import page_routes
from web.pulse import Pulse
from web.session import make_sign_in_link

PASSWORD = "correct horse battery"
ADDRESS = "http://testserver.local"
README = "# Email Micro Service\n\nSee [the licence](LICENSE).\n\n## Send\n\n`curl http://127.0.0.1:8014/send-email/`\n"


@asynccontextmanager
async def pages(group: Group, folder: Path, readme: str = README, **settings: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A browser without a session. ``settings`` are environment variables; an empty one is not set."""
    environ = {"ADMIN_PASSWORD": PASSWORD, "DATA_DIR": str(folder), **settings}
    queue = Queue(group, retain_records=3600)
    ledger = Ledger(group, queue)
    levers = Levers(group, queue, ledger, retain_records=3600, retain_content=0)
    mailbox = Mailbox(group, limit=10, age=10**9)
    router = page_routes(
        ledger=ledger, levers=levers, mailbox=mailbox, pulse=Pulse(ledger, 0), group=group, settings=read(environ),
        version="1.2.3", readme=readme,
    )  # fmt: skip
    app = Edge(Litestar([router], logging_config=None, openapi_config=None))
    transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, group: Group) -> None:
    """Gives the browser a session, by a one-time link."""
    link = await make_sign_in_link(group, ADDRESS)
    answer = await client.get(link)
    assert answer.status_code == 303, answer.text


@asynccontextmanager
async def signed_in(group: Group, folder: Path, **settings: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A browser with a session."""
    async with pages(group, folder, **settings) as client:
        await sign_in(client, group)
        yield client


def csrf(html: str) -> str:
    """The token in a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
    assert found is not None
    return found[1]
