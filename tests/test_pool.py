"""The pool: how many connections a relay sees, how long each lives, and who comes next."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from tasks import pool as pools
from tasks.outcome import Outcome
from tasks.pool import Pool, Slot
from tasks.relay import parse_relays
from tasks.smtp import RelayTrouble, StaleSession, Timeouts
from tests.letters import MESSAGE
from tests.processes import until
from tests.relay import Close, Delay, ScriptedRelay


@pytest.fixture
async def relay() -> AsyncGenerator[ScriptedRelay, None]:
    async with ScriptedRelay() as made:
        yield made


@pytest.fixture
async def new_pool(relay: ScriptedRelay) -> AsyncGenerator[Callable[..., Pool], None]:
    made: list[Pool] = []

    def make(size: int = 10, **timeouts: float) -> Pool:
        [where] = parse_relays(f"smtp+plain://127.0.0.1:{relay.port}")
        made.append(Pool(where, Timeouts(**{"quit": 0.5, **timeouts}), size=size, hello="test.example"))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def mark() -> bool:
    return True


async def deliver(slot: Slot, to: str = "a@dest.example") -> dict[str, Outcome]:
    while True:
        session = await slot.session()
        try:
            return await session.deliver("s@shop.example", [to], MESSAGE, mark, accepted_before=True)
        except StaleSession:
            continue


async def send(pool: Pool, to: str = "a@dest.example") -> str:
    async with pool.slot() as slot:
        return (await deliver(slot, to))[to].kind


async def test_one_connection_carries_one_email_after_another(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    pool = new_pool()
    assert [await send(pool) for _ in range(20)] == ["ok"] * 20
    assert (relay.connections, pool.open, len(relay.emails)) == (1, 1, 20)


async def test_no_more_connections_than_the_size(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    relay.replies["DATA"] = lambda _: Delay(0.02)
    pool = new_pool(3)
    assert set(await asyncio.gather(*(send(pool) for _ in range(20)))) == {"ok"}
    assert (relay.connections, pool.open) == (3, 3)


async def test_who_asks_first_goes_first(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    pool = new_pool(1)
    order = [f"{n}@dest.example" for n in range(30)]
    await asyncio.gather(*(send(pool, to) for to in order))
    assert [taken.recipients[0] for taken in relay.emails] == order


async def test_who_gives_up_waiting_blocks_nobody(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    pool = new_pool(1)
    tasks = [asyncio.create_task(send(pool, f"{n}@dest.example")) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in done if isinstance(one, str)] == ["ok"] * 10
    assert [taken.recipients[0] for taken in relay.emails] == [f"{n}@dest.example" for n in range(0, 20, 2)]
    assert await send(pool) == "ok"


async def test_a_slot_without_a_session_takes_no_connection(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    pool = new_pool()
    async with pool.slot():
        pass
    assert (relay.connections, pool.open) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "value", "emails", "connections"),
    [("MESSAGES", 3, 10, 4), ("AGE_SECONDS", 0.0, 3, 3), ("IDLE_SECONDS", 0.0, 3, 3)],
)
async def test_a_connection_ends_with_quit_at_its_limit(
    relay: ScriptedRelay, new_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch,
    limit: str, value: float, emails: int, connections: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(pools, limit, value)
    pool = new_pool()
    assert [await send(pool) for _ in range(emails)] == ["ok"] * emails
    assert relay.connections == connections
    await pool.close()
    assert sum(line.upper() == "QUIT" for line in relay.log) == connections
    assert pool.open == 0


async def test_trimming_ends_what_is_idle_for_too_long_and_keeps_the_rest(
    relay: ScriptedRelay, new_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.replies["DATA"] = lambda _: Delay(0.02)
    pool = new_pool()
    await asyncio.gather(*(send(pool) for _ in range(4)))
    assert pool.open == 4
    pool.trim()
    assert pool.open == 4
    await asyncio.sleep(0.1)
    await send(pool)
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.1)
    pool.trim()
    assert pool.open == 1
    await until(lambda: relay.open == 1)


async def test_a_connection_that_the_relay_ended_meanwhile_is_replaced_before_use(
    relay: ScriptedRelay, new_pool: Callable[..., Pool]
) -> None:
    pool = new_pool()
    await send(pool)
    await relay.stop()
    await relay.start()
    assert await send(pool) == "ok"
    assert (relay.connections, pool.open) == (2, 1)


async def test_a_relay_that_says_something_unasked_is_left(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    pool = new_pool()
    await send(pool)
    relay.say(b"421 4.3.2 going down\r\n")
    await asyncio.sleep(0.02)
    assert await send(pool) == "ok"
    assert relay.connections == 2


async def test_a_stale_connection_found_at_mail_is_replaced_at_once(
    relay: ScriptedRelay, new_pool: Callable[..., Pool]
) -> None:
    pool = new_pool()
    await send(pool)
    relay.replies["MAIL"] = [Close("421 4.4.2 idle for too long")]
    assert await send(pool) == "ok"
    assert (relay.connections, pool.open, len(relay.emails)) == (2, 1, 2)


async def test_a_connection_in_the_middle_of_a_transaction_is_never_lent_again(
    relay: ScriptedRelay, new_pool: Callable[..., Pool]
) -> None:
    relay.replies["RCPT"] = {"slow@dest.example": Delay(5)}
    pool = new_pool()
    task = asyncio.create_task(send(pool, "slow@dest.example"))
    await until(lambda: any(line.upper().startswith("RCPT") for line in relay.log))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pool.open == 0
    assert await send(pool) == "ok"
    assert [taken.recipients for taken in relay.emails] == [["a@dest.example"]]


async def test_a_relay_that_cannot_be_reached_leaves_no_connection_and_no_slot_behind(
    relay: ScriptedRelay, new_pool: Callable[..., Pool]
) -> None:
    pool = new_pool(1)
    await relay.stop()
    for _ in range(3):
        with pytest.raises(RelayTrouble):
            await send(pool)
    assert pool.open == 0
    await relay.start()
    assert await send(pool) == "ok"


async def test_a_hung_greeting_holds_only_its_own_slot(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    relay.replies["banner"] = [Delay(5)]
    pool = new_pool(2, greeting=0.3)
    first = asyncio.create_task(send(pool))
    await until(lambda: relay.connections == 1)
    assert await send(pool) == "ok"
    with pytest.raises(RelayTrouble):
        await first


async def test_a_relay_that_is_back_sees_one_connection_first_and_then_twice_as_many(
    relay: ScriptedRelay, new_pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import gate

    monkeypatch.setattr(gate, "RAMP_SECONDS", 0.1)
    relay.replies["DATA"] = lambda _: Delay(0.02)
    pool = new_pool(8)
    pool.ramp()
    tasks = [asyncio.create_task(send(pool, f"{n}@dest.example")) for n in range(60)]
    seen: set[int] = set()
    while not all(task.done() for task in tasks):
        seen.add(relay.open)
        await asyncio.sleep(0.005)
    assert {1, 2, 4, 8} <= seen
    assert max(seen) == 8
    assert [task.result() for task in tasks] == ["ok"] * 60


async def test_a_relay_that_refuses_one_more_connection_gets_no_more(
    relay: ScriptedRelay, new_pool: Callable[..., Pool]
) -> None:
    pool = new_pool(5)
    assert not pool.shrink()  # nothing is open: it is the relay that refuses, not the number
    await send(pool)
    assert pool.shrink()
    relay.replies["DATA"] = lambda _: Delay(0.01)
    await asyncio.gather(*(send(pool) for _ in range(10)))
    assert relay.connections == 1


async def test_closing_says_quit_on_every_idle_connection(relay: ScriptedRelay, new_pool: Callable[..., Pool]) -> None:
    relay.replies["DATA"] = lambda _: Delay(0.02)
    pool = new_pool()
    await asyncio.gather(*(send(pool) for _ in range(3)))
    await pool.close()
    assert sum(line.upper() == "QUIT" for line in relay.log) == 3
    await until(lambda: relay.open == 0)
