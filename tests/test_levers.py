"""Levers and sweeper against a real Valkey."""

import asyncio

import pytest

from tasks import keys
from tasks.claim import Settlement
from tasks.ledger import Ledger
from tasks.levers import Levers
from tasks.outcome import Fault, Outcome
from tasks.queue import Queue
from tasks.record import Delivery
from tasks.store import Group
from tasks.sweeper import BUSY_SECONDS, TURN_SECONDS, Sweeper
from tests.letters import claim, claim_one, put

TO = "ada@dest.example"


@pytest.fixture
def levers(group: Group, queue: Queue, ledger: Ledger) -> Levers:
    return Levers(group, queue, ledger, retain_records=3600, retain_content=0)


@pytest.fixture
def sweeper(group: Group, ledger: Ledger, levers: Levers) -> Sweeper:
    return Sweeper(group, ledger, levers, routes=["main"], retain_records=3600)


async def settle(queue: Queue, state: str, delay: float | None = None, **more: object) -> str:
    """Claims the one email and settles it."""
    claimed = await claim_one(queue)
    delivery = Delivery(to=TO, state="failed" if state == "failed" else "deferred" if state == "deferred" else "sent")
    what = Settlement(state=state, deliveries=[delivery], delay=delay, keep_content=3600, **more)  # type: ignore[arg-type]
    assert (await queue.settle(claimed, what))[0] == "ok"
    return claimed.id


async def state(ledger: Ledger, id_: str) -> str:
    record = await ledger.record(id_)
    assert record is not None
    return record.state


async def test_a_cancelled_email_is_never_claimed_and_says_by_whom(queue: Queue, ledger: Ledger, levers: Levers) -> None:
    id_ = (await put(queue)).id
    assert await levers.cancel(id_, "client shop") == "done"
    assert await levers.cancel(id_, "client shop") == "already"
    assert (await claim(queue)).claims == []
    record = await ledger.record(id_)
    assert record is not None
    assert (record.state, record.deliveries[0].state, record.content_kept) == ("cancelled", "cancelled", False)
    assert [(event.what, event.by) for event in await ledger.events(record)] == [
        ("accepted", "shop"),
        ("cancelled", "client shop"),
    ]
    assert (await ledger.figures()).waiting == 0


async def test_cancelling_a_running_attempt_refuses_its_mark_and_past_the_mark_it_is_too_late(
    queue: Queue, levers: Levers
) -> None:
    first = (await put(queue)).id
    running = await claim_one(queue)
    assert await levers.cancel(first, "op") == "done"
    assert await queue.mark(running) != "ok"
    second = (await put(queue)).id
    running = await claim_one(queue)
    assert await queue.mark(running) == "ok"
    assert await levers.cancel(second, "op") == "too_late"


async def test_unknown_and_sent_emails_answer_what_is_the_case(queue: Queue, levers: Levers) -> None:
    id_ = (await put(queue)).id
    await settle(queue, "sent")
    assert [await levers.cancel(id_, "x"), await levers.retry(id_, "x"), await levers.hold(id_, "x")] == ["sent"] * 3
    assert await levers.release(id_, "x") == "already"
    for lever in (levers.cancel, levers.retry, levers.hold, levers.release):
        assert await lever("01a210b0-0000-7000-8000-000000000000", "x") == "gone"


async def test_retry_opens_a_new_round_and_old_writes_are_refused(queue: Queue, ledger: Ledger, levers: Levers) -> None:
    await put(queue)
    late = await claim_one(queue)
    failed = Settlement(state="failed", deliveries=[Delivery(to=TO, state="failed")], keep_content=3600, failed=1)
    await queue.settle(late, failed)
    assert await levers.retry(late.id, "operator") == "done"
    assert await levers.retry(late.id, "operator") == "already"
    record = await ledger.record(late.id)
    assert record is not None
    assert (record.state, record.round, record.deliveries[0].state) == ("queued", 2, "waiting")
    assert (await queue.settle(late, failed))[0] == "old"
    assert (await claim_one(queue)).id == late.id


async def test_retry_without_content_says_so(queue: Queue, group: Group, levers: Levers) -> None:
    await put(queue)
    id_ = await settle(queue, "failed")
    await group.command("DEL", keys.CONTENT + id_)
    assert await levers.retry(id_, "x") == "empty"


async def test_retry_of_a_deferred_email_is_now(queue: Queue, levers: Levers) -> None:
    await put(queue)
    id_ = await settle(queue, "deferred", 3600)
    assert (await claim(queue)).claims == []
    assert await levers.retry(id_, "x") == "done"
    assert (await claim_one(queue)).id == id_


async def test_hold_and_release_keep_the_place(queue: Queue, ledger: Ledger, levers: Levers) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    assert [await levers.hold(ids[0], "op"), await levers.hold(ids[0], "op")] == ["done", "already"]
    assert (await ledger.figures()).held == {"operator": 1}
    assert await levers.release(ids[0], "op") == "done"
    assert [one.id for one in (await claim(queue)).claims] == ids


async def test_what_waited_for_its_moment_waits_for_it_again_when_released(
    queue: Queue, ledger: Ledger, levers: Levers
) -> None:
    moment = await queue.now() + 60_000
    scheduled = (await put(queue, send_at=moment)).id
    await put(queue)
    deferred = await settle(queue, "deferred", 60)
    before = await ledger.record(deferred)
    assert before is not None
    for id_ in (scheduled, deferred):
        assert [await levers.hold(id_, "op"), await levers.release(id_, "op")] == ["done", "done"]
    assert [await state(ledger, scheduled), await state(ledger, deferred)] == ["scheduled", "deferred"]
    after = [await ledger.record(id_) for id_ in (scheduled, deferred)]
    assert [record.next_at for record in after if record is not None] == [moment, before.next_at]
    assert (await claim(queue)).claims == []
    assert await levers.retry(deferred, "op") == "done"
    assert [one.id for one in (await claim(queue)).claims] == [deferred]


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(queue: Queue, levers: Levers) -> None:
    await put(queue)
    assert [await levers.pause("op"), await levers.pause("op")] == ["done", "already"]
    assert (await claim(queue)).claims == []
    assert [await levers.resume("op"), await levers.resume("op")] == ["done", "already"]
    assert len((await claim(queue)).claims) == 1


async def test_a_probe_can_be_asked_for_now(queue: Queue, levers: Levers) -> None:
    assert await levers.probe("r:25", "op") == "already"
    await queue.relay_down("r:25", Outcome("hold", "auth", fault=Fault("no_auth", "no"), alarm=True))
    assert await queue.relay_probe("r:25") is False
    assert await levers.probe("r:25", "op") == "done"
    assert await queue.relay_probe("r:25") is True


@pytest.mark.parametrize("lost", ["lane", "trigger", "both", "claimed"])
async def test_what_fell_out_of_its_place_is_put_back(queue: Queue, group: Group, sweeper: Sweeper, lost: str) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    if lost == "claimed":  # a lane entry and the reaper's note of a dead worker, both gone
        taken = (await claim(queue, 1)).claims[0]
        assert taken.id == ids[0]
        await group.command("DEL", keys.LEASE + ids[0])
        await group.command("ZREM", keys.CLAIMED, ids[0])
    if lost in {"lane", "both", "claimed"}:
        await group.command("ZREM", keys.LANES["normal"], ids[0])
    if lost in {"trigger", "both"}:
        await group.command("DEL", keys.JOB + ids[0])
    await sweeper.round()
    assert sweeper.mended == 1
    assert await group.command("EXISTS", keys.JOB + ids[0]) == 1
    assert [one.id for one in (await claim(queue)).claims] == ids
    await sweeper.round()
    assert sweeper.mended == 1


async def test_held_mail_without_a_set_or_of_a_route_that_is_gone_is_found(
    queue: Queue, group: Group, ledger: Ledger, levers: Levers, sweeper: Sweeper
) -> None:
    first, second = (await put(queue)).id, (await put(queue)).id
    await levers.hold(first, "op")
    await group.command("DEL", keys.HELD + "operator")
    claimed = await claim_one(queue)
    held = Settlement(
        state="held", deliveries=claimed.deliveries, held_for="relay", route="abc", why="down", attempt_counts=False
    )
    await queue.settle(claimed, held)
    await sweeper.round()
    assert await state(ledger, second) == "queued"
    assert await levers.release(first, "op") == "done"
    assert [one.id for one in (await claim(queue)).claims] == [first, second]


async def test_mail_whose_life_ended_while_it_was_held_expires(
    queue: Queue, ledger: Ledger, levers: Levers, sweeper: Sweeper
) -> None:
    id_ = (await put(queue, expires=await queue.now() + 30)).id
    await levers.hold(id_, "op")
    while await queue.now() <= (await ledger_expires(ledger, id_)):
        pass
    await sweeper.round()
    assert await state(ledger, id_) == "expired"
    assert (await ledger.figures()).held == {}


async def ledger_expires(ledger: Ledger, id_: str) -> int:
    record = await ledger.record(id_)
    assert record is not None
    assert record.letter.expires is not None
    return record.letter.expires


async def test_expired_records_leave_the_indexes(group: Group, queue: Queue, ledger: Ledger, levers: Levers) -> None:
    await put(queue)
    id_ = await settle(queue, "sent")
    kept = (await put(queue)).id
    await group.command("DEL", keys.EMAIL + id_)
    sweeper = Sweeper(group, ledger, levers, routes=["main"], retain_records=0)
    await sweeper.round()
    assert await ledger.count() == 1
    assert await ledger.count("sent") == 0
    assert await state(ledger, kept) == "queued"


async def test_expired_records_are_forgotten_quicker_than_mail_is_sent(
    group: Group, queue: Queue, ledger: Ledger, levers: Levers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a thousand emails a second the indexes grew, when each page was followed by the long pause."""
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    await asyncio.gather(*(put(queue) for _ in range(1000)))
    left = (await ledger.page(limit=3)).records
    gone = [one for one in await group.command("ZRANGE", keys.EMAILS, 0, -1) if one.decode() not in {r.letter.id for r in left}]
    await group.command("DEL", *(keys.EMAIL + one.decode() for one in gone))
    sweeper = Sweeper(group, ledger, levers, routes=["main"], retain_records=0)
    monkeypatch.setattr("tasks.sweeper.PAGE", 2000)
    monkeypatch.setattr("tasks.sweeper.RETAINED_PAGE", 100)
    monkeypatch.setattr("tasks.sweeper.asyncio.sleep", sleep)
    await sweeper.round()
    assert pauses == [BUSY_SECONDS] * 10
    assert await ledger.count() == 3
    pauses.clear()
    monkeypatch.setattr("tasks.sweeper.RETAINED_PAGE", 1)
    await sweeper.round()
    assert pauses == [TURN_SECONDS] * 3


async def test_a_large_queue_is_swept_a_page_at_a_time(
    queue: Queue, group: Group, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.sweeper.TURN_SECONDS", 0)
    ids = [(await put(queue)).id for _ in range(450)]
    for id_ in ids[::3]:
        await group.command("ZREM", keys.LANES["normal"], id_)
    await sweeper.round()
    assert sweeper.mended == 150
    assert [one.id for one in (await claim(queue, 500, caps=(500, 500, 500))).claims] == ids
