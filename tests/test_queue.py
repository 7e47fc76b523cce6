"""The queue's scripts against a real Valkey: order, leases, marks, outcomes."""

import asyncio
import random

import msgspec
import pytest
from arq.jobs import deserialize_job_raw

from tasks import keys
from tasks.claim import Settlement
from tasks.errors import QueueFull, StoreUnavailable
from tasks.ledger import Ledger
from tasks.outcome import Fault, Outcome, Reply, Stage
from tasks.queue import Queue, bucket
from tasks.record import Delivery, Event
from tasks.store import Group
from tests.letters import MESSAGE, a_letter, claim, claim_one, put

REFUSED = Outcome("hold", "connect", fault=Fault("refused", "connection refused"))


def sent(*, to: str = "ada@dest.example") -> Settlement:
    return Settlement(state="sent", deliveries=[Delivery(to=to, state="sent", attempts=1)], sent=1)


def deferred(delay: float) -> Settlement:
    return Settlement(state="deferred", deliveries=[Delivery(to="ada@dest.example", state="deferred", attempts=1)], delay=delay)


async def test_emails_are_claimed_in_the_order_of_their_puts(queue: Queue) -> None:
    ids = [(await put(queue)).id for _ in range(300)]
    found: list[str] = []
    while claims := (await claim(queue, 7)).claims:
        found += [one.id for one in claims]
    assert found == ids


async def test_puts_at_once_all_get_different_growing_scores(queue: Queue) -> None:
    answers = await asyncio.gather(*(put(queue) for _ in range(200)))
    assert len({answer.accepted for answer in answers}) == 200
    by_score = [answer.id for answer in sorted(answers, key=lambda answer: answer.accepted)]
    assert [one.id for one in (await claim(queue, 200, caps=(200, 200, 200))).claims] == by_score


async def test_the_same_id_again_is_no_second_email(queue: Queue, ledger: Ledger) -> None:
    letter = a_letter()
    first = await queue.put(letter, ["a@b.example"], b"x", "normal")
    again = await queue.put(letter, ["a@b.example"], b"x", "normal")
    assert (first.what, again.what, again.accepted) == ("put", "stored", first.accepted)
    assert await ledger.count() == 1


async def test_an_idempotency_key_replays_or_conflicts(queue: Queue, ledger: Ledger) -> None:
    first = await queue.put(a_letter(), ["a@b.example"], b"x", "normal", idempotency=("k 1", "h1"))
    same = await queue.put(a_letter(), ["a@b.example"], b"x", "normal", idempotency=("k 1", "h1"))
    other = await queue.put(a_letter(), ["a@b.example"], b"y", "normal", idempotency=("k 1", "h2"))
    foreign = await queue.put(a_letter(client="b"), ["a@b.example"], b"y", "normal", idempotency=("k 1", "h2"))
    assert (same.what, same.id) == ("replayed", first.id)
    assert (other.what, other.id) == ("conflict", first.id)
    assert foreign.what == "put"
    assert await ledger.count() == 2


async def test_a_full_queue_takes_nothing(group: Group, ledger: Ledger) -> None:
    small = Queue(group, retain_records=60, limit=2)
    await put(small)
    await put(small)
    with pytest.raises(QueueFull):
        await put(small)
    assert await ledger.count() == 2
    claimed = await claim_first(small)
    await small.settle(claimed, sent())
    assert (await put(small)).what == "put"


async def claim_first(queue: Queue):
    return (await claim(queue, 1)).claims[0]


async def test_lanes_are_claimed_best_first_within_their_caps(queue: Queue) -> None:
    low = [(await put(queue, lane="low")).id for _ in range(3)]
    normal = [(await put(queue)).id for _ in range(3)]
    high = [(await put(queue, lane="high")).id for _ in range(3)]
    found = [one.id for one in (await claim(queue, 6, caps=(9, 2, 9))).claims]
    assert found == [*high, *normal[:2], low[0]]


async def test_the_trigger_is_a_job_that_stock_arq_reads(queue: Queue, group: Group) -> None:
    id_ = (await put(queue)).id
    raw = await group.command("GET", keys.JOB + id_)
    assert await group.command("PTTL", keys.JOB + id_) == -1
    name, args, kwargs, tried, at = deserialize_job_raw(raw, deserializer=msgspec.msgpack.decode)
    assert (name, list(args), kwargs, tried) == ("send", [id_], {}, None)
    assert at > 1_700_000_000_000


async def test_an_email_is_claimed_once_while_its_lease_lives(queue: Queue) -> None:
    await put(queue)
    assert len((await claim(queue, token="a")).claims) == 1
    assert (await claim(queue, token="b")).claims == []


async def test_what_a_lost_answer_gave_out_is_given_out_again_by_its_token(queue: Queue, group: Group) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    lost = (await claim(queue, 2, token="lost")).claims
    found = (await claim(queue, token="lost")).claims
    assert [one.id for one in found] == ids, "in their places, and what came meanwhile behind them"
    assert [(one.attempt, one.starts, one.answer_lost) for one in found] == [(1, 1, False)] * 3, "nobody tried, nobody died"
    assert [one.token for one in lost] == ["lost"] * 2
    assert [await queue.mark(one) for one in found] == ["ok"] * 3
    assert (await claim(queue, token="lost")).claims == [], "past its mark an email stays where it is"
    assert [(await queue.settle(one, sent()))[0] for one in found] == ["ok"] * 3
    assert await group.command("PTTL", keys.ASKED + "lost") > 0


async def test_another_workers_mail_is_not_given_out_by_a_repeated_claim(queue: Queue) -> None:
    first, second = (await put(queue)).id, (await put(queue)).id
    [mine] = (await claim(queue, 1, token="mine")).claims
    assert [one.id for one in (await claim(queue, token="lost")).claims] == [second]
    assert [one.id for one in (await claim(queue, token="lost")).claims] == [second]
    assert mine.id == first
    assert await queue.mark(mine) == "ok"


async def test_a_scheduled_email_waits_for_its_moment_and_says_so(queue: Queue, ledger: Ledger) -> None:
    now = await queue.now()
    id_ = (await put(queue, send_at=now + 300)).id
    record = await ledger.record(id_)
    assert record is not None
    assert (record.state, record.next_at) == ("scheduled", now + 300)
    first = await claim(queue)
    assert first.claims == []
    assert first.next_due is not None
    assert 0 < first.next_due <= 0.3
    await asyncio.sleep(first.next_due + 0.02)
    assert len((await claim(queue)).claims) == 1


async def test_a_dead_workers_email_gets_its_old_place_back(queue: Queue, group: Group) -> None:
    ids = [(await put(queue)).id for _ in range(4)]
    dead = await claim(queue, 2, token="dead")
    assert [one.id for one in dead.claims] == ids[:2]
    for id_ in ids[:2]:  # the lease has run out
        await group.command("DEL", keys.LEASE + id_)
        await group.command("ZADD", keys.CLAIMED, 1, id_)
    found = (await claim(queue, token="alive")).claims
    assert [one.id for one in found] == ids
    assert [one.starts for one in found] == [2, 2, 1, 1]
    assert [one.answer_lost for one in found] == [False] * 4


async def test_the_mark_is_refused_to_whom_the_lease_is_lost(queue: Queue, group: Group) -> None:
    id_ = (await put(queue)).id
    frozen = await claim_one(queue, "frozen")
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    other = await claim_one(queue, "other")
    assert await queue.mark(frozen) == "lease"
    assert await queue.mark(other) == "ok"
    assert (await queue.settle(frozen, sent()))[0] == "old"
    assert (await queue.settle(other, sent()))[0] == "ok"


async def test_the_mark_is_refused_after_expires_at(queue: Queue) -> None:
    await put(queue, expires=await queue.now() + 50)
    claimed = await claim_one(queue)
    await asyncio.sleep(0.06)
    assert await queue.mark(claimed) == "expired"


async def test_a_worker_that_died_past_its_mark_leaves_an_answer_lost(queue: Queue, group: Group) -> None:
    id_ = (await put(queue)).id
    dead = await claim_one(queue, "dead")
    assert await queue.mark(dead) == "ok"
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    found = await claim_one(queue, "alive")
    assert found.answer_lost
    lost = Settlement(
        state="uncertain", deliveries=[Delivery(to="ada@dest.example", state="uncertain")], delay=60, attempt_counts=False
    )
    assert (await queue.settle(found, lost))[0] == "ok"
    # the frozen worker's definite answer comes late, and resolves it
    assert (await queue.settle(dead, sent()))[0] == "ok"


async def test_a_late_answer_is_taken_while_the_next_claim_has_not_said_that_it_is_lost(
    queue: Queue, ledger: Ledger, group: Group
) -> None:
    """Redis stood still for longer than the lease: the next claim comes before the outcome that waited all the time."""
    id_ = (await put(queue)).id
    slow = await claim_one(queue, "slow")
    assert await queue.mark(slow) == "ok"
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    found = await claim_one(queue, "quick")
    assert found.answer_lost
    assert (await queue.settle(slow, sent()))[0] == "ok"
    lost = [Delivery(to="ada@dest.example", state="uncertain", uncertain=1)]
    doubt = Settlement(state="uncertain", deliveries=lost, delay=60, attempt_counts=False)
    assert (await queue.settle(found, doubt))[0] == "sent"
    record = await ledger.record(id_)
    assert record is not None
    assert (record.state, record.deliveries[0].uncertain) == ("sent", 0)


async def test_a_late_answer_opens_what_had_ended_uncertain(queue: Queue, group: Group) -> None:
    """A worker that slept through its mark knows that no dot went out, though the email has ended uncertain meanwhile."""
    put_ = await queue.put(a_letter(on_uncertain="hold"), ["ada@dest.example"], MESSAGE, "normal", idempotency=("k", "h"))
    id_ = put_.id
    frozen = await claim_one(queue, "frozen")
    assert await queue.mark(frozen) == "ok"
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    lost = [Delivery(to="ada@dest.example", state="uncertain")]
    over = Settlement(state="uncertain", deliveries=lost, attempt_counts=False, keep_content=60)
    assert (await queue.settle(await claim_one(queue, "alive"), over))[0] == "ok"
    assert await group.command("ZSCORE", keys.OPEN, id_) is None
    answer, next_at = await queue.settle(frozen, Settlement(state="deferred", deliveries=lost, delay=60))
    assert (answer, next_at is not None) == ("ok", True)
    assert await group.command("ZSCORE", keys.OPEN, id_) is not None
    assert await group.command("EXISTS", keys.JOB + id_) == 1
    for key in (keys.EMAIL + id_, keys.CONTENT + id_, keys.IDEM + "shop:k"):  # what waits has no TTL
        assert await group.command("TTL", key) == -1, key


async def test_a_mark_is_not_forgotten_however_many_workers_die_after_it(queue: Queue, ledger: Ledger, group: Group) -> None:
    id_ = (await put(queue)).id
    assert await queue.mark(await claim_one(queue, "dead")) == "ok"
    for token in ("dies before it can settle", "this one too"):
        await group.command("DEL", keys.LEASE + id_)
        await group.command("ZADD", keys.CLAIMED, 1, id_)
        assert (await claim_one(queue, token)).answer_lost
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    found = await claim_one(queue, "alive")
    assert (found.answer_lost, found.dot, found.attempt) == (True, 1, 4)
    lost = Settlement(state="uncertain", deliveries=[Delivery(to="ada@dest.example", state="uncertain")], delay=0)
    assert (await queue.settle(found, lost))[0] == "ok"
    record = await ledger.record(id_)
    assert record is not None
    assert record.dot == 0  # what became of it is written
    then = await claim_one(queue, "dies before its mark")
    await group.command("DEL", keys.LEASE + id_)
    await group.command("ZADD", keys.CLAIMED, 1, id_)
    again = await claim_one(queue)
    assert (then.answer_lost, again.answer_lost) == (False, False)


async def test_a_final_email_leaves_nothing_to_do_and_its_record(queue: Queue, ledger: Ledger, group: Group) -> None:
    id_ = (await put(queue)).id
    claimed = await claim_one(queue)
    event = Event(at=1, what="sent", reply=Reply(250, "ok"))
    done = sent()
    done.events = [event]
    done.took = 7
    assert await queue.settle(claimed, done) == ("ok", None)
    record = await ledger.record(id_)
    assert record is not None
    assert (record.state, record.content_kept, record.next_at) == ("sent", False, None)
    assert [one.what for one in await ledger.events(record)] == ["accepted", "sent"]
    left = await group.command("KEYS", f"*{id_}")
    assert sorted(key.decode() for key in left) == [keys.EMAIL + id_, keys.EVENTS + id_]
    for key in left:
        assert 0 < await group.command("TTL", key) <= 3600
    for index in (*keys.LANES.values(), keys.OPEN, keys.CLAIMED):
        assert await group.command("ZCARD", index) == 0
    figures = await ledger.figures()
    assert (figures.states["sent"], figures.waiting) == (1, 0)
    assert sum(minute.sent for minute in figures.minutes) == 1
    for span in (figures.hour, figures.recent):
        assert (span.buckets, span.took, span.sent) == ({"normal": {10: 1}}, {"normal": 7}, 1)
    assert (figures.totals.accepted, figures.totals.sent, figures.totals.took) == (1, 1, {"normal": 7})
    assert sum(quarter.accepted for quarter in figures.quarters) == 1


async def test_settling_twice_changes_nothing(queue: Queue, ledger: Ledger) -> None:
    id_ = (await put(queue)).id
    claimed = await claim_one(queue)
    await queue.settle(claimed, sent())
    assert await queue.settle(claimed, deferred(1)) == ("sent", None)
    record = await ledger.record(id_)
    assert record is not None
    assert record.state == "sent"


async def test_a_deferred_email_comes_again_when_it_is_due(queue: Queue, ledger: Ledger) -> None:
    id_ = (await put(queue)).id
    _, next_at = await queue.settle(await claim_one(queue), deferred(0.2))
    record = await ledger.record(id_)
    assert record is not None
    assert (record.state, record.next_at, record.attempt) == ("deferred", next_at, 1)
    assert (await claim(queue)).claims == []
    await asyncio.sleep(0.22)
    again = await claim_one(queue)
    assert (again.attempt, again.before) == (2, "deferred")


async def test_given_back_it_keeps_its_place_and_its_attempt(queue: Queue) -> None:
    first, second = (await put(queue)).id, (await put(queue)).id
    claimed = (await claim(queue, 1)).claims[0]
    back = Settlement(state="queued", deliveries=claimed.deliveries, delay=0, attempt_counts=False)
    await queue.settle(claimed, back)
    found = (await claim(queue)).claims
    assert [one.id for one in found] == [first, second]
    assert found[0].attempt == 1


async def test_given_back_again_it_is_not_taken_from_whoever_has_it_by_now(queue: Queue, group: Group) -> None:
    """The answer to the first time was lost; meanwhile the next claim has the same number, and its dot may be out."""
    id_ = (await put(queue)).id
    first = await claim_one(queue)
    back = Settlement(state="queued", deliveries=first.deliveries, delay=0, attempt_counts=False)
    assert (await queue.settle(first, back))[0] == "ok"
    second = await claim_one(queue)
    assert await queue.mark(second) == "ok"
    assert (await queue.settle(first, back))[0] == "old"
    assert not (await claim(queue)).claims
    assert await group.command("HGET", keys.EMAIL + id_, "dot") == b"1"
    assert (await queue.settle(second, sent()))[0] == "ok"


async def test_a_claim_that_arrives_after_its_repetition_takes_no_outcome_from_anybody(queue: Queue) -> None:
    """The late one gives back what the repetition was answered with, and takes only a part of it again."""
    for _ in range(2):
        await put(queue)
    _, lost = (await claim(queue, 2, token="t")).claims
    await claim(queue, 1, token="t")
    other = await claim_one(queue)
    assert (other.id, other.attempt) == (lost.id, lost.attempt)
    assert await queue.mark(other) == "ok"
    assert await queue.mark(lost) == "lease"
    assert (await queue.settle(lost, deferred(0)))[0] == "old"
    assert (await queue.settle(other, sent()))[0] == "ok"


async def test_mail_of_a_relay_that_is_down_is_held_and_flows_in_order_when_it_is_back(
    queue: Queue, ledger: Ledger, group: Group
) -> None:
    ids = [(await put(queue)).id for _ in range(450)]
    claimed = (await claim(queue, 1)).claims[0]
    assert await queue.relay_down("r:25", REFUSED) is True
    assert await queue.relay_down("r:25", REFUSED) is False
    held = Settlement(state="held", deliveries=claimed.deliveries, held_for="relay", why="refused", attempt_counts=False)
    await queue.settle(claimed, held)
    while (await claim(queue)).more:
        pass
    figures = await ledger.figures()
    assert (figures.states["held"], figures.held) == (450, {"relay": 450})
    assert await group.command("ZCARD", keys.LANES["normal"]) == 0
    late = (await put(queue)).id
    assert await queue.relay_up("r:25")
    found: list[str] = []
    while claims := (await claim(queue, random.randint(1, 40), caps=(900, 900, 900))).claims:
        found += [one.id for one in claims]
    assert found == [*ids, late]
    record = await ledger.record(ids[7])
    assert record is not None
    told = [(event.what, event.text, event.by) for event in (await ledger.events(record))[1:]]
    assert told == [("held", f"r:25: {REFUSED.said}", None), ("resumed", "", "the relay, which takes mail again")]


async def test_one_probe_at_a_time_and_changed_settings_clear_the_word(queue: Queue, group: Group) -> None:
    assert await queue.relay_seen("r:25", "f1", "r") == "up"
    await queue.relay_down("r:25", REFUSED)
    assert await queue.relay_probe("r:25") is False  # 5 s first
    await group.command("HSET", keys.RELAY + "r:25", "probe_at", "1")
    assert [await queue.relay_probe("r:25"), await queue.relay_probe("r:25")] == [True, False]
    health = await queue.relay("r:25")
    assert (health.state, health.said) == ("down", "connection refused")
    assert 0 < (health.probe_at or 0) - await queue.now() <= 20_000  # whoever took the probe may be dead by then
    assert await queue.relay_seen("r:25", "f1", "r") == "down"
    assert await queue.relay_seen("r:25", "f2", "r") == "up"


@pytest.mark.parametrize(
    ("stage", "alarm", "first", "last"),
    [
        ("connect", False, 5, 20),
        ("starttls", True, 5, 20),
        ("ehlo", True, 5, 20),
        ("auth", True, 30, 300),
        ("mail", True, 30, 300),
    ],
)
async def test_a_relay_is_looked_at_again_soon_unless_asking_costs_something(
    queue: Queue, stage: Stage, alarm: bool, first: int, last: int
) -> None:
    outcome = Outcome("hold", stage, fault=Fault("refused", "no"), alarm=alarm)
    waits: list[int] = []
    for n in range(8):
        await queue.relay_down("r:25", outcome, probed=n > 0)
        health = await queue.relay("r:25")
        waits.append(round(((health.probe_at or 0) - await queue.now()) / 1000))
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (first, last)


async def test_beats_renew_leases_and_name_the_lost(queue: Queue, group: Group) -> None:
    await put(queue)
    await put(queue)
    claims = (await claim(queue)).claims
    await group.command("PEXPIRE", keys.LEASE + claims[0].id, 100)
    await group.command("SET", keys.LEASE + claims[1].id, "another")
    assert await queue.beat(claims) == [claims[1].id]
    assert await group.command("PTTL", keys.LEASE + claims[0].id) > 14000


async def test_nothing_of_a_waiting_email_expires(queue: Queue, group: Group) -> None:
    await put(queue)
    await queue.settle(await claim_one(queue), deferred(60))
    for key in await group.command("KEYS", "*"):
        if not key.startswith((keys.MINUTE.encode(), keys.QUARTER.encode(), keys.ASKED.encode())):
            assert await group.command("TTL", key) == -1, key


async def test_a_flushed_script_is_loaded_again(queue: Queue, group: Group) -> None:
    await put(queue)
    await group.command("SCRIPT", "FLUSH")
    assert [answer.what for answer in await asyncio.gather(*(put(queue) for _ in range(40)))] == ["put"] * 40


@pytest.mark.parametrize(
    ("field", "value"),
    [("letter", '{"id": 1}'), ("letter", "no JSON"), ("deliveries", '[{"to": "a@b.example", "state": "a newer word"}]')],
)
async def test_a_record_that_cannot_be_read_is_held_and_stops_no_other(
    queue: Queue, group: Group, field: str, value: str
) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    await group.command("HSET", keys.EMAIL + ids[1], field, value)
    assert [one.id for one in (await claim(queue)).claims] == [ids[0], ids[2]]
    assert await group.command("HMGET", keys.EMAIL + ids[1], "state", "held_for", field) == [
        b"held",
        b"damaged",
        value.encode(),
    ]
    assert await group.command("ZSCORE", keys.HELD + "damaged", ids[1]) is not None


async def test_a_stray_trigger_is_swept_from_the_lane(queue: Queue, group: Group) -> None:
    await group.command("ZADD", keys.LANES["normal"], 1, "no-such-email")
    assert (await claim(queue)).claims == []
    assert await group.command("ZCARD", keys.LANES["normal"]) == 0


@pytest.mark.parametrize(("ms", "bound"), [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (5000, 5000), (5001, 10000)])
def test_latency_buckets_are_1_2_5(ms: int, bound: int) -> None:
    assert bucket(ms) == bound


async def test_an_email_in_whose_hands_workers_died_is_tried_alone(queue: Queue, group: Group) -> None:
    ids = [(await put(queue)).id for _ in range(4)]
    await group.command("HSET", keys.EMAIL + ids[1], "starts", "2")
    busy = await claim(queue)
    assert [one.id for one in busy.claims] == [ids[0], ids[2], ids[3]]
    assert busy.suspects == 1
    later = (await put(queue)).id
    await group.command("ZADD", keys.LANES["normal"], "1", ids[1])  # its second is over
    alone = await queue.claim("t2", 50, (50, 50, 50), {"main": ["r:25"]}, idle=True)
    assert [(one.id, one.starts) for one in alone.claims] == [(ids[1], 3)]
    assert [one.id for one in (await claim(queue, token="t3")).claims] == [later]


async def test_a_repeated_outcome_answers_when_the_next_attempt_is(queue: Queue, ledger: Ledger) -> None:
    id_ = (await put(queue)).id
    claimed = await claim_one(queue)
    first = await queue.settle(claimed, deferred(60))
    assert await queue.settle(claimed, deferred(60)) == ("deferred", first[1])
    record = await ledger.record(id_)
    assert record is not None
    assert record.next_at == first[1]


async def test_a_repeated_uncertain_outcome_is_written_once(queue: Queue, ledger: Ledger) -> None:
    id_ = (await put(queue)).id
    claimed = await claim_one(queue)
    lost = Settlement(
        state="uncertain",
        deliveries=[Delivery(to="ada@dest.example", state="uncertain", uncertain=1)],
        delay=60,
        events=[Event(at=1, what="uncertain")],
    )
    assert (await queue.settle(claimed, lost))[0] == "ok"
    assert (await queue.settle(claimed, lost))[0] == "uncertain"
    record = await ledger.record(id_)
    assert record is not None
    assert [event.what for event in await ledger.events(record)] == ["accepted", "uncertain"]
    assert (await queue.settle(claimed, sent()))[0] == "ok"  # a definite answer that comes late resolves it


async def test_a_relay_taken_out_before_anybody_introduced_it_stays_out(queue: Queue) -> None:
    await queue.relay_down("r:25", REFUSED)
    assert await queue.relay_seen("r:25", "f1", "r") == "down"


async def test_a_record_that_cannot_be_read_breaks_no_list(queue: Queue, ledger: Ledger, group: Group) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    await group.command("HSET", keys.EMAIL + ids[1], "letter", b'{"version": 99}')
    assert [record.letter.id for record in (await ledger.page()).records] == [ids[2], ids[0]]
    assert await ledger.record(ids[1]) is None


async def test_a_closed_group_answers_that_it_is(queue: Queue, group: Group) -> None:
    await group.close()
    with pytest.raises(StoreUnavailable):
        await queue.waiting()
