"""One attempt, from the claim to the settled outcome, with a real Valkey and a scripted relay: what is sent, and what never."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from secrets import token_hex
from typing import Any

import pytest
from loguru import logger

from tasks import keys, relaywatch
from tasks.claim import Claim
from tasks.judge import Terms
from tasks.ledger import Ledger
from tasks.levers import Levers
from tasks.mailbox import Mailbox
from tasks.pool import Pool
from tasks.postman import Postman
from tasks.queue import Queue
from tasks.record import Record
from tasks.relay import parse_relays
from tasks.setback import POISON_STARTS
from tasks.smtp import Timeouts
from tasks.store import Group, connect
from tests.letters import MESSAGE, put
from tests.processes import running_valkey, until
from tests.relay import Close, Delay, Hang, ScriptedRelay

TERMS = Terms((60, 120), 86400, 0)
A, B = "ada@dest.example", "bob@dest.example"


class Office:
    """A postman with its queue, for tests. Every relay is a scripted one."""

    def __init__(self, group: Group, *relays: ScriptedRelay, terms: Terms = TERMS, size: int = 5) -> None:
        self.group = group
        self.queue = Queue(group, retain_records=3600)
        self.ledger = Ledger(group, self.queue)
        self.mailbox = Mailbox(group, limit=10, age=3600)
        timeouts = Timeouts(greeting=0.3, ehlo=0.3, mail=0.3, rcpt=0.3, data=0.3, dot=0.3, quit=0.1)
        urls = ",".join(f"smtp+plain://127.0.0.1:{relay.port}" for relay in relays)
        self.pools = [Pool(relay, timeouts, size=size, hello="test.example") for relay in parse_relays(urls)]
        self.postman = Postman(self.queue, self.pools, self.mailbox, terms)

    async def claims(self, token: str = "") -> list[Claim]:
        found = await self.queue.claim(token or token_hex(8), 50, (50, 50, 50), self.postman.routes, idle=True)
        self.postman.hear(found.relays)
        return found.claims

    async def claim(self, token: str = "") -> Claim:
        [found] = await self.claims(token)
        return found

    async def carry(self) -> Record:
        """Claims the one email that is due and carries it."""
        claim = await self.claim()
        await self.postman.carry(claim)
        return await self.record(claim.id)

    async def record(self, id_: str) -> Record:
        found = await self.ledger.record(id_)
        assert found is not None
        return found

    async def put(self, *to: str, **changes: Any) -> str:
        return (await put(self.queue, *to, **changes)).id

    async def make_due(self, id_: str) -> None:
        """Its next attempt is due now."""
        assert await self.group.command("ZSCORE", keys.LANES["normal"], id_)
        await self.group.command("ZADD", keys.LANES["normal"], "XX", 1, id_)

    async def lose_lease(self, id_: str) -> None:
        """As if the worker that has it had died fifteen seconds ago."""
        await self.group.command("DEL", keys.LEASE + id_)
        await self.group.command("ZADD", keys.CLAIMED, 1, id_)

    async def start(self) -> None:
        """Begins to look after the relays, which are known in Redis then."""
        await self.postman.start()

        async def is_known() -> bool:
            return bool(await self.group.command("EXISTS", keys.RELAY + self.pools[-1].relay.name))

        await until(is_known)

    async def close(self) -> None:
        await self.postman.stop()


@pytest.fixture
async def relay() -> AsyncGenerator[ScriptedRelay, None]:
    async with ScriptedRelay() as made:
        yield made


@pytest.fixture
async def second() -> AsyncGenerator[ScriptedRelay, None]:
    async with ScriptedRelay() as made:
        yield made


@pytest.fixture
async def new_office(group: Group) -> AsyncGenerator[Callable[..., Office], None]:
    made: list[Office] = []

    def make(*relays: ScriptedRelay, group: Group = group, **options: Any) -> Office:
        made.append(Office(group, *relays, **options))
        return made[-1]

    yield make
    for office in made:
        await office.close()


@pytest.fixture
def office(new_office: Callable[..., Office], relay: ScriptedRelay) -> Office:
    return new_office(relay)


def states(record: Record) -> dict[str, str]:
    return {delivery.to: delivery.state for delivery in record.deliveries}


def name_of(relay: ScriptedRelay) -> str:
    return f"127.0.0.1:{relay.port}"


async def whats(office: Office, record: Record) -> list[str]:
    return [event.what for event in await office.ledger.events(record)]


# the usual way


async def test_what_was_accepted_arrives_byte_for_byte_and_its_content_goes(office: Office, relay: ScriptedRelay) -> None:
    id_ = await office.put(A, B)
    record = await office.carry()
    [taken] = relay.emails
    assert (taken.message, taken.sender, taken.recipients) == (MESSAGE, "shop@shop.example", [A, B])
    assert (record.state, record.content_kept, record.attempt, record.dot) == ("sent", False, 1, 0)
    assert await whats(office, record) == ["accepted", "sent", "sent"]
    assert await office.ledger.content(id_) is None
    assert office.postman.carried == 1


async def test_every_attempt_sends_the_same_bytes_to_those_who_wait(office: Office, relay: ScriptedRelay) -> None:
    relay.replies["RCPT"] = {B: "450 4.2.1 busy"}
    id_ = await office.put(A, B)
    record = await office.carry()
    assert (record.state, states(record)) == ("deferred", {A: "sent", B: "deferred"})
    relay.replies.clear()
    await office.make_due(id_)
    record = await office.carry()
    assert (record.state, record.attempt) == ("sent", 2)
    assert [taken.recipients for taken in relay.emails] == [[A], [B]]
    assert {taken.message for taken in relay.emails} == {MESSAGE}


async def test_a_stale_connection_costs_no_attempt(office: Office, relay: ScriptedRelay) -> None:
    await office.put()
    await office.carry()
    relay.replies["MAIL"] = [Close("421 4.4.2 idle for too long")]
    await office.put()
    record = await office.carry()
    assert (record.state, record.attempt, record.deliveries[0].attempts) == ("sent", 1, 1)
    assert len(relay.emails) == 2


async def test_an_email_of_a_capturing_client_goes_to_the_mailbox_and_to_no_relay(office: Office, relay: ScriptedRelay) -> None:
    id_ = await office.put(A, B, mode="capture")
    record = await office.carry()
    found = await office.mailbox.get(id_)
    assert found is not None
    assert (found.message, found.client, found.sender, found.to, found.email) == (
        MESSAGE, "shop", "shop@shop.example", [A, B], id_,
    )  # fmt: skip
    assert (record.state, states(record)) == ("captured", {A: "captured", B: "captured"})
    assert await whats(office, record) == ["accepted", "captured"]
    assert relay.connections == 0


# what is never sent


async def test_it_knows_how_it_stands_with_each_relay(
    new_office: Callable[..., Office], relay: ScriptedRelay, second: ScriptedRelay
) -> None:
    office = new_office(relay, second)
    assert [(link.connections, link.said) for link in office.postman.links] == [(0, ""), (0, "")]
    await office.put()
    assert (await office.carry()).state == "sent"
    first, other = office.postman.links
    assert (first.connections, first.stage, first.said[:4], other.said) == (1, "dot", "250 ", "")
    assert first.reply is not None
    assert first.at > 0
    relay.replies["RCPT"] = "450 4.2.0 greylisted"
    await office.put()
    assert (await office.carry()).state == "deferred"
    assert office.postman.links[0].said == "450 4.2.0 greylisted"


@pytest.mark.parametrize("mode", ["live", "capture"])
@pytest.mark.parametrize("stored", [b"Subject: Hi\r\n\r\nhellO\r\n", b"", MESSAGE + b"x", None, MESSAGE * 40_000])
async def test_damaged_content_is_held_and_never_sent(
    office: Office, relay: ScriptedRelay, stored: bytes | None, mode: str
) -> None:
    id_ = await office.put(mode=mode)
    if stored is None:
        await office.group.command("DEL", keys.CONTENT + id_)
    else:
        await office.group.command("SET", keys.CONTENT + id_, stored)
    record = await office.carry()
    assert (record.state, record.held_for, record.attempt) == ("held", "damaged", 0)
    assert record.why == "the stored message is not the one that was accepted"
    assert await whats(office, record) == ["accepted", "held"]
    assert relay.emails == []
    assert await office.mailbox.count() == 0
    assert await office.claims() == []


async def test_a_life_that_is_over_ends_without_the_relay(office: Office, relay: ScriptedRelay) -> None:
    await office.put(expires=await office.queue.now() + 30)
    await asyncio.sleep(0.04)
    record = await office.carry()
    assert (record.state, record.why, record.attempt) == ("expired", "its expires_at came first", 0)
    assert relay.connections == 0


async def test_an_answer_that_a_dead_worker_lost_is_settled_without_the_relay(office: Office, relay: ScriptedRelay) -> None:
    id_ = await office.put()
    assert await office.queue.mark(await office.claim("dead")) == "ok"
    await office.lose_lease(id_)
    record = await office.carry()
    assert (record.state, record.attempt, record.deliveries[0].uncertain) == ("uncertain", 1, 1)
    assert record.next_at is not None
    assert record.next_at - await office.queue.now() == pytest.approx(900_000, abs=5000)
    assert relay.connections == 0
    await office.make_due(id_)
    assert (await office.carry()).state == "sent"


@pytest.mark.parametrize("why", ["lease", "cancelled", "expired", "next claim"])
async def test_the_dot_does_not_go_out_without_its_mark(office: Office, relay: ScriptedRelay, why: str) -> None:
    relay.replies["DATA"] = [Delay(0.15)]
    id_ = await office.put(expires=await office.queue.now() + (100 if why == "expired" else 60_000))
    claim = await office.claim()
    task = asyncio.create_task(office.postman.carry(claim))
    await until(lambda: "DATA" in relay.log)
    if why == "lease":
        await office.group.command("SET", keys.LEASE + id_, "another")
    elif why == "cancelled":
        levers = Levers(office.group, office.queue, office.ledger, retain_records=60, retain_content=0)
        assert await levers.cancel(id_, "shop") == "done"
    elif why == "next claim":
        await office.lose_lease(id_)
        assert (await office.claim("another")).id == id_
    await task
    assert relay.emails == []
    record = await office.record(id_)
    assert record.dot == 0
    assert record.state == {"lease": "sending", "cancelled": "cancelled", "expired": "deferred", "next claim": "sending"}[why]
    if why == "expired":
        assert (await office.carry()).state == "expired"
    assert relay.emails == []


async def test_a_stopping_postman_begins_nothing(office: Office, relay: ScriptedRelay) -> None:
    first, second = await office.put(), await office.put()
    office.postman.is_stopping = True
    for claim in await office.claims():
        await office.postman.carry(claim)
    for id_ in (first, second):
        record = await office.record(id_)
        assert (record.state, record.attempt) == ("queued", 0)
    assert relay.connections == 0
    office.postman.is_stopping = False
    assert [claim.id for claim in await office.claims()] == [first, second]


# what the log says


@pytest.fixture
def said() -> Generator[list[str], None, None]:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line).strip()), format="{level} {message}", level="INFO")
    yield lines
    logger.remove(sink)


async def test_the_log_says_whose_life_was_over_and_whose_answer_was_lost(office: Office, said: list[str]) -> None:
    id_ = await office.put(A, B, expires=await office.queue.now() + 30)
    await office.group.command("HSET", keys.EMAIL + id_, "deliveries", f'[{{"to":"{A}","state":"sent"}},{{"to":"{B}"}}]')
    await asyncio.sleep(0.04)
    assert (await office.carry()).state == "partly_sent"
    lost = await office.put()
    assert await office.queue.mark(await office.claim("dead")) == "ok"
    await office.lose_lease(lost)
    await office.carry()
    assert said[0] == f"WARNING expired for {B}: its expires_at came first"
    assert said[1].startswith(f"WARNING uncertain for {A}: the relay may have it from attempt 1, again in 900 s: ")
    assert len(said) == 2


async def test_an_error_of_ours_is_said_once_as_such(
    new_office: Callable[..., Office], relay: ScriptedRelay, said: list[str]
) -> None:
    relay.replies["RCPT"] = "450 4.2.1 busy"
    office = new_office(relay, terms=BROKEN)
    id_ = await office.put()
    await office.carry()
    [line] = said
    assert line.startswith(f"ERROR email {id_} met an error of ours; it is tried again later")


# broken off


async def test_broken_off_before_the_mark_it_is_back_in_its_place_at_once(office: Office, relay: ScriptedRelay) -> None:
    relay.replies["RCPT"] = [Hang()]
    id_ = await office.put()
    task = asyncio.create_task(office.postman.carry(await office.claim()))
    await until(lambda: any(line.startswith("RCPT") for line in relay.log))
    assert office.postman.may_interrupt(id_)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    record = await office.record(id_)
    assert (record.state, record.attempt) == ("queued", 0)
    relay.replies.clear()
    assert (await office.carry()).state == "sent"
    assert len(relay.emails) == 1


async def test_broken_off_past_the_mark_it_is_uncertain_for_the_next_worker(office: Office, relay: ScriptedRelay) -> None:
    relay.replies["DOT"] = [Hang()]
    id_ = await office.put()
    task = asyncio.create_task(office.postman.carry(await office.claim()))

    async def is_marked() -> bool:
        return (await office.record(id_)).dot == 1

    await until(is_marked)
    assert not office.postman.may_interrupt(id_)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await office.record(id_)).state == "sending"
    await office.lose_lease(id_)
    record = await office.carry()
    assert (record.state, record.deliveries[0].uncertain) == ("uncertain", 1)
    assert len(relay.emails) == 1  # as it may be


@pytest.mark.parametrize(
    ("action", "state"), [(Close(), "uncertain"), (Hang(), "uncertain"), ("451 busy", "deferred"), ("554 no", "failed")]
)
async def test_after_the_dot_only_silence_is_uncertain(office: Office, relay: ScriptedRelay, action: Any, state: str) -> None:
    relay.replies["DOT"] = action
    await office.put()
    assert (await office.carry()).state == state


# errors of ours

BROKEN = Terms((), 86400, 0)
"""Terms that no settings give: choosing a delay fails with IndexError."""


async def test_an_error_of_ours_defers_the_email_and_holds_it_after_five(
    new_office: Callable[..., Office], relay: ScriptedRelay
) -> None:
    office = new_office(relay, terms=BROKEN)
    relay.replies["RCPT"] = "450 4.2.1 busy"
    id_ = await office.put()
    for number in range(1, POISON_STARTS):
        record = await office.carry()
        assert (record.state, record.attempt, record.starts) == ("deferred", number, number)
        assert record.why == "an error of this service; its log has the details"
        assert record.next_at is not None
        await office.make_due(id_)
    record = await office.carry()
    assert (record.state, record.held_for) == ("held", "internal")
    assert await office.claims() == []
    assert relay.emails == []


async def test_an_error_of_ours_past_the_dot_sends_no_unflagged_copy(
    new_office: Callable[..., Office], relay: ScriptedRelay
) -> None:
    office = new_office(relay, terms=BROKEN)
    relay.replies["DOT"] = "451 4.3.0 busy"
    await office.put()
    record = await office.carry()
    assert (record.state, record.deliveries[0].uncertain) == ("uncertain", 1)


async def test_an_email_with_which_workers_keep_dying_is_held(office: Office, relay: ScriptedRelay) -> None:
    id_ = await office.put()
    other = await office.put()
    for _ in range(POISON_STARTS):
        claims = await office.claims("dies")
        assert id_ in [claim.id for claim in claims]
        for claim in claims:
            if claim.id == other:
                await office.postman.carry(claim)
        await office.lose_lease(id_)
    record = await office.carry()
    assert (record.state, record.held_for) == ("held", "crashes")
    assert record.why == "the worker died 5 times with this email in its hands"
    assert (await office.record(other)).state == "sent"
    assert len(relay.emails) == 1


async def test_attempts_that_end_in_order_do_not_count_as_deaths(office: Office, relay: ScriptedRelay) -> None:
    relay.replies["RCPT"] = "450 4.2.1 busy"
    id_ = await office.put()
    for _ in range(POISON_STARTS * 2):
        record = await office.carry()
        assert (record.state, record.starts) == ("deferred", 0)
        await office.make_due(id_)


# trouble with the relay


@pytest.mark.parametrize(
    ("stage", "reply", "alarm"),
    [
        ("banner", "554 5.7.1 go away", False),
        ("banner", "421 4.3.2 not now", False),
        ("banner", Hang(), False),
        ("EHLO", "550 5.7.1 no", False),
        ("MAIL", "530 5.7.0 authentication required", True),
        ("RCPT", "554 5.7.1 relay access denied", True),
    ],
)
async def test_the_relays_trouble_holds_the_mail_and_fails_none(
    office: Office, relay: ScriptedRelay, stage: str, reply: Any, alarm: bool
) -> None:
    relay.replies[stage] = reply
    id_ = await office.put()
    record = await office.carry()
    assert (record.state, record.held_for, record.attempt, states(record)) == ("held", "relay", 0, {A: "waiting"})
    assert record.next_at is None
    assert await office.ledger.content(id_) == MESSAGE
    health = await office.queue.relay(name_of(relay))
    assert (health.state, health.alarm) == ("down", alarm)
    assert health.said in (record.why or "")
    assert await office.claims() == []
    await office.put()
    assert await office.claims() == []  # held too, and without a try
    assert relay.connections == 1


async def test_a_relay_that_is_away_is_probed_and_its_mail_flows_in_order(
    office: Office, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaywatch, "LOOK_SECONDS", 0.02)
    await office.start()
    await relay.stop()
    ids = [await office.put(message=b"Subject: %d\r\n\r\nx\r\n" % n) for n in range(10)]
    for claim in await office.claims():
        await office.postman.carry(claim)
    assert {(await office.record(id_)).held_for for id_ in ids} == {"relay"}
    health = await office.queue.relay(name_of(relay))
    assert health.state == "down"
    await relay.start()

    async def is_up() -> bool:
        return (await office.queue.relay(name_of(relay))).state == "up"

    await asyncio.sleep(0.1)
    assert not await is_up()  # the first probe comes after 5 s
    await office.group.command("HSET", keys.RELAY + name_of(relay), "probe_at", "1")
    await until(is_up)
    claims: list[Claim] = []
    while len(claims) < 10:
        claims += await office.claims()
    for claim in claims:
        await office.postman.carry(claim)
    assert [taken.message for taken in relay.emails] == [b"Subject: %d\r\n\r\nx\r\n" % n for n in range(10)]
    assert {(await office.record(id_)).attempt for id_ in ids} == {1}


async def test_an_older_word_does_not_bring_back_a_relay_that_was_just_taken_out(office: Office, relay: ScriptedRelay) -> None:
    """A claim that was under way says «up» after a connection failed: the mail behind the held one must not overtake it."""
    ids = [await office.put(A), await office.put(B)]
    asked = time.monotonic()
    claims = await office.claims()
    await relay.stop()
    await office.postman.carry(claims[0])
    await relay.start()
    office.postman.hear({name_of(relay): "up"}, asked=asked)
    await office.postman.carry(claims[1])
    assert [(await office.record(id_)).state for id_ in ids] == ["held", "held"]
    office.postman.hear({name_of(relay): "up"}, asked=time.monotonic())
    await office.queue.relay_up(name_of(relay))
    for claim in [*await office.claims(), *await office.claims()]:
        await office.postman.carry(claim)
    assert [taken.recipients for taken in relay.emails] == [[A], [B]]


async def test_a_failed_probe_leaves_the_relay_down_and_says_the_new_reason(
    office: Office, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaywatch, "LOOK_SECONDS", 0.02)
    await office.start()
    await relay.stop()
    await office.put()
    await office.carry()
    await relay.start()
    relay.replies["banner"] = "554 5.3.2 closed for today"
    await office.group.command("HSET", keys.RELAY + name_of(relay), "probe_at", "1")

    async def said() -> bool:
        return "closed for today" in (await office.queue.relay(name_of(relay))).said

    await until(said)
    health = await office.queue.relay(name_of(relay))
    assert health.state == "down"
    assert health.probe_at is not None
    assert health.probe_at > await office.queue.now()


async def test_one_more_connection_refused_is_no_trouble_while_others_serve(office: Office, relay: ScriptedRelay) -> None:
    await office.put()
    await office.carry()
    relay.replies["banner"] = "421 4.7.0 too many connections"
    relay.replies["DATA"] = lambda _: Delay(0.05)
    ids = [await office.put() for _ in range(3)]
    await asyncio.gather(*(office.postman.carry(claim) for claim in await office.claims()))
    assert [(await office.record(id_)).state for id_ in ids] == ["sent"] * 3
    assert (await office.queue.relay(name_of(relay))).state == "up"


# a second relay


@pytest.mark.parametrize("trouble", ["refused", "banner", "EHLO"])
async def test_the_next_relay_takes_what_the_first_cannot_have_got(
    new_office: Callable[..., Office], relay: ScriptedRelay, second: ScriptedRelay, trouble: str
) -> None:
    office = new_office(relay, second)
    if trouble == "refused":
        await relay.stop()
    else:
        relay.replies[trouble] = "554 5.3.2 closed"
    await office.put()
    record = await office.carry()
    assert (record.state, record.deliveries[0].relay) == ("sent", name_of(second))
    assert (len(relay.emails), len(second.emails)) == (0, 1)
    assert (await office.queue.relay(name_of(relay))).state == "down"
    seen = relay.connections
    await office.put()
    assert (await office.carry()).state == "sent"
    assert (relay.connections, len(second.emails)) == (seen, 2)  # the first is not asked again before its probe


@pytest.mark.parametrize(
    ("stage", "reply", "state"),
    [
        ("MAIL", "451 4.3.0 later", "deferred"), ("MAIL", "550 5.1.8 bad sender", "failed"),
        ("RCPT", "450 4.2.1 later", "deferred"), ("RCPT", "550 5.1.1 no such user", "failed"),
        ("DATA", "451 4.3.0 later", "deferred"), ("DATA", "554 5.6.0 no", "failed"),
        ("DOT", "451 4.3.0 later", "deferred"), ("DOT", "554 5.7.1 spam", "failed"),
        ("DOT", Close(), "uncertain"), ("DOT", Hang(), "uncertain"),
    ],
)  # fmt: skip
async def test_the_next_relay_is_not_asked_about_an_email_that_the_first_has_answered_for(
    new_office: Callable[..., Office], relay: ScriptedRelay, second: ScriptedRelay, stage: str, reply: Any, state: str
) -> None:
    office = new_office(relay, second)
    relay.replies[stage] = reply
    await office.put()
    assert (await office.carry()).state == state
    assert second.connections == 0


async def test_an_email_that_the_first_relay_turned_away_goes_to_the_next_at_once(
    new_office: Callable[..., Office], relay: ScriptedRelay, second: ScriptedRelay
) -> None:
    office = new_office(relay, second)
    relay.replies["MAIL"] = "530 5.7.0 authentication required"
    id_ = await office.put()
    assert (await office.carry()).held_for == "relay"
    claims: list[Claim] = []
    for _ in range(3):
        claims += await office.claims()
    [claim] = claims
    await office.postman.carry(claim)
    record = await office.record(id_)
    assert (record.state, record.attempt, record.deliveries[0].relay) == ("sent", 1, name_of(second))


async def test_with_every_relay_out_the_mail_is_held(
    new_office: Callable[..., Office], relay: ScriptedRelay, second: ScriptedRelay
) -> None:
    office = new_office(relay, second)
    await relay.stop()
    await second.stop()
    await office.put()
    record = await office.carry()
    why = f"127.0.0.1:{second.port}: the relay refuses connections"
    assert (record.state, record.held_for, record.why) == ("held", "relay", why)


# Redis is away


async def test_without_redis_at_the_mark_there_is_no_dot(relay: ScriptedRelay, new_office: Callable[..., Office]) -> None:
    with running_valkey() as own:
        client = connect(own.url)
        office = new_office(relay, group=Group(client, timeout=0.5))

        def kill(_: str) -> None:
            own.stop(signal.SIGKILL)

        id_ = await office.put()
        relay.replies["DATA"] = kill
        task = asyncio.create_task(office.postman.carry(await office.claim()))
        await until(lambda: "DATA" in relay.log)
        await asyncio.sleep(0.1)
        assert relay.emails == []
        relay.replies.clear()
        await asyncio.to_thread(own.start)
        await task
        record = await office.record(id_)
        assert (record.state, record.deliveries[0].attempts, record.dot) == ("deferred", 0, 0)
        assert (await office.carry()).state == "sent"
        assert len(relay.emails) == 1
        await office.close()
        await office.group.close()
        await client.aclose()


@pytest.mark.parametrize("first", [True, False])
async def test_without_redis_at_the_outcome_it_is_written_later_and_nothing_is_sent_twice(
    relay: ScriptedRelay, new_office: Callable[..., Office], first: bool
) -> None:
    """Also with the first email of all, after which it is to be remembered that this relay has taken one."""
    with running_valkey() as own:
        client = connect(own.url)
        office = new_office(relay, group=Group(client, timeout=0.5))
        if not first:
            await office.put()
            await office.carry()
        id_ = await office.put()

        def kill(_: str) -> None:
            own.stop(signal.SIGKILL)

        relay.replies["DOT"] = kill
        before = len(relay.emails)
        task = asyncio.create_task(office.postman.carry(await office.claim()))
        await until(lambda: len(relay.emails) == before + 1)
        await asyncio.sleep(0.1)
        assert not task.done()
        relay.replies.clear()
        await asyncio.to_thread(own.start)
        assert (await task)[0] == "ok"
        record = await office.record(id_)
        assert (record.state, record.attempt) == ("sent", 1)
        assert await office.claims() == []
        assert len(relay.emails) == before + 1
        await office.close()
        await office.group.close()
        await client.aclose()


async def test_without_redis_at_the_content_the_email_goes_back(
    relay: ScriptedRelay, new_office: Callable[..., Office]
) -> None:
    with running_valkey() as own:
        client = connect(own.url)
        office = new_office(relay, group=Group(client, timeout=0.5))
        id_ = await office.put()
        claim = await office.claim()
        own.stop(signal.SIGKILL)
        task = asyncio.create_task(office.postman.carry(claim))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(own.start)
        await task
        record = await office.record(id_)
        assert (record.state, record.attempt) == ("queued", 0)
        assert relay.emails == []
        assert (await office.carry()).state == "sent"
        await office.close()
        await office.group.close()
        await client.aclose()
