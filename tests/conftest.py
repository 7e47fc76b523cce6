"""Fixtures that many tests share: a real Valkey, a group of connections to it, the queue in it."""

from collections.abc import AsyncGenerator, Generator

import pytest

from tasks.ledger import Ledger
from tasks.mailbox import Mailbox
from tasks.queue import Queue
from tasks.store import Group, connect
from tests.processes import Valkey, running_valkey


@pytest.fixture(scope="session")
def _shared_valkey() -> Generator[Valkey, None, None]:
    with running_valkey(persistent=False) as valkey:
        yield valkey


@pytest.fixture
async def group(_shared_valkey: Valkey) -> AsyncGenerator[Group, None]:
    """Connections to an empty Valkey."""
    client = connect(_shared_valkey.url)
    await client.flushall()
    made = Group(client)
    yield made
    await made.close()
    await client.aclose()


@pytest.fixture
def valkey(group: Group, _shared_valkey: Valkey) -> str:
    """The address of that Valkey."""
    del group
    return _shared_valkey.url


@pytest.fixture
def queue(group: Group) -> Queue:
    """The queue in it."""
    return Queue(group, retain_records=3600, limit=1000)


@pytest.fixture
def ledger(group: Group, queue: Queue) -> Ledger:
    """Its read side."""
    return Ledger(group, queue)


@pytest.fixture
def mailbox(group: Group) -> Mailbox:
    """A mailbox that keeps 10 for an hour."""
    return Mailbox(group, limit=10, age=3600)
