"""From the outcomes of an attempt to what is written: every mix that matters, without Redis or a relay."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.claim import Claim, Settlement
from tasks.judge import KEEP_UNSENT_SECONDS, Terms, answer_lost, end_of_life, ended, judge, pending
from tasks.outcome import Fault, Outcome, Reply
from tasks.record import Delivery, DeliveryState
from tasks.retry import UNCERTAIN_ATTEMPTS, UNCERTAIN_SECONDS
from tests.letters import a_letter

T = 1_800_000_000_000
DAY = 86_400_000
TERMS = Terms((60, 120, 300), 5 * 86400, 0)
A, B, C = "a@dest.example", "b@dest.example", "c@dest.example"

OK = Outcome("ok", "dot", Reply(250, "2.0.0 queued"))
LATER = Outcome("defer", "rcpt", Reply(450, "4.2.1 mailbox busy"))
NEVER = Outcome("fail", "rcpt", Reply(550, "5.1.1 no such user"))
HOLD = Outcome("hold", "rcpt", Reply(530, "5.7.0 sign in first"), alarm=True)
LOST = Outcome("uncertain", "dot", fault=Fault("timeout", "no answer within 600 s"))
AT_ONCE = Outcome("defer", "rcpt", Reply(452, "4.5.3 too many recipients"), at_once=True)
NO_MARK = Outcome("defer", "mark", fault=Fault("mark_refused", "the email was taken over"))
TOO_LARGE = Outcome("fail", "mail", fault=Fault("too_large", "the message has 9 bytes, the relay takes 8 at most"))


def a_claim(*deliveries: Delivery | str, expires: int | None = None, **changes: Any) -> Claim:
    found = [delivery if isinstance(delivery, Delivery) else Delivery(to=delivery) for delivery in deliveries or (A,)]
    letter = a_letter(on_uncertain=changes.pop("on_uncertain", "retry"), expires=expires)
    fields: dict[str, Any] = {
        "id": letter.id, "token": "t", "before": "queued", "letter": letter, "deliveries": found, "attempt": 1, "round": 1,
        "dot": 0, "starts": 1, "accepted": T * 1000, "born": T, "expires": expires, "lane": "normal", "route": "main", "now": T,
    }  # fmt: skip
    return Claim(**{**fields, **changes})


def judged(
    claim: Claim,
    outcomes: Mapping[str, Outcome],
    *,
    now: int = T + 40,
    terms: Terms = TERMS,
    dice: Callable[[], float] = lambda: 0.5,
) -> Settlement:
    return judge(claim, outcomes, terms, now=now, relay="r:25", tls="TLSv1.3", dice=dice)


def states(settlement: Settlement) -> dict[str, str]:
    return {delivery.to: delivery.state for delivery in settlement.deliveries}


def was(state: DeliveryState, *, to: str = A, **fields: Any) -> Delivery:
    return Delivery(to=to, state=state, **fields)


# one recipient


@pytest.mark.parametrize(
    ("outcome", "state", "delay", "why", "counts", "keep"),
    [
        (OK, "sent", None, "", (1, 0, 0), 0),
        (LATER, "deferred", 60, "the relay said 450 4.2.1 mailbox busy", (0, 0, 1), 0),
        (NEVER, "failed", None, "the relay said 550 5.1.1 no such user", (0, 1, 0), KEEP_UNSENT_SECONDS),
        (TOO_LARGE, "failed", None, "the message has 9 bytes, the relay takes 8 at most", (0, 1, 0), KEEP_UNSENT_SECONDS),
        (LOST, "uncertain", 900, "the relay's last answer was lost: it may have the email", (0, 0, 1), 0),
        (AT_ONCE, "deferred", 0, "the relay said 452 4.5.3 too many recipients", (0, 0, 1), 0),
        (NO_MARK, "deferred", 0, "the email was taken over", (0, 0, 1), 0),
    ],
)
def test_one_recipients_outcome_is_the_emails(
    outcome: Outcome, state: str, delay: float | None, why: str, counts: tuple[int, int, int], keep: float
) -> None:
    found = judged(a_claim(), {A: outcome})
    assert (found.state, found.delay, found.why, found.held_for) == (state, delay, why, None)
    assert (found.sent, found.failed, found.deferred) == counts
    assert found.keep_content == keep
    assert found.attempt_counts
    [event] = found.events
    what = {"ok": "sent", "defer": "deferred", "fail": "failed"}.get(outcome.kind, outcome.kind)
    assert (event.what, event.to, event.attempt, event.at, event.relay, event.tls) == (what, A, 1, T + 40, "r:25", "TLSv1.3")
    assert (event.stage, event.reply) == (outcome.stage, outcome.reply)
    [delivery] = found.deliveries
    assert (delivery.stage, delivery.reply, delivery.relay, delivery.at) == (outcome.stage, outcome.reply, "r:25", T + 40)
    assert delivery.fault == (outcome.fault.text if outcome.fault else None)


def test_trouble_of_the_relay_holds_the_email_and_uses_no_attempt_up() -> None:
    found = judged(a_claim(), {A: HOLD})
    assert (found.held_for, found.why, found.delay) == ("relay", "r:25: 530 5.7.0 sign in first", None)
    assert not found.attempt_counts
    assert (found.sent, found.failed, found.deferred) == (0, 0, 0)
    [delivery] = found.deliveries
    assert (delivery.state, delivery.attempts) == ("waiting", 0)
    assert [event.what for event in found.events] == ["held"]


@pytest.mark.parametrize(
    ("outcome", "attempts"), [(OK, 1), (LATER, 1), (NEVER, 1), (LOST, 1), (HOLD, 0), (AT_ONCE, 0), (NO_MARK, 0)]
)
def test_an_attempt_is_used_up_only_by_an_answer_about_this_recipient(outcome: Outcome, attempts: int) -> None:
    assert judged(a_claim(), {A: outcome}).deliveries[0].attempts == attempts


# several recipients


@pytest.mark.parametrize(
    ("outcomes", "state", "each"),
    [
        ([OK, OK, OK], "sent", "sent sent sent"),
        ([OK, NEVER, OK], "partly_sent", "sent failed sent"),
        ([NEVER, NEVER, NEVER], "failed", "failed failed failed"),
        ([OK, LATER, NEVER], "deferred", "sent deferred failed"),
        ([LATER, LATER, NEVER], "deferred", "deferred deferred failed"),
        ([LOST, LOST, NEVER], "uncertain", "uncertain uncertain failed"),
        ([LOST, LATER, NEVER], "uncertain", "uncertain deferred failed"),
        ([OK, AT_ONCE, AT_ONCE], "deferred", "sent deferred deferred"),
    ],
)
def test_each_recipient_keeps_its_own_outcome(outcomes: list[Outcome], state: str, each: str) -> None:
    found = judged(a_claim(A, B, C), dict(zip((A, B, C), outcomes, strict=True)))
    assert found.state == state
    assert states(found) == dict(zip((A, B, C), each.split(), strict=True))


@pytest.mark.parametrize(
    ("other", "state", "counts"), [(OK, "sent", (1, 0, 0)), (NEVER, "failed", (0, 1, 0)), (LATER, "deferred", (0, 0, 1))]
)
def test_what_was_decided_beside_a_relays_trouble_stays_decided(
    other: Outcome, state: str, counts: tuple[int, int, int]
) -> None:
    found = judged(a_claim(A, B), {A: other, B: HOLD})
    assert found.held_for == "relay"
    assert found.attempt_counts
    assert states(found) == {A: state, B: "waiting"}
    assert (found.sent, found.failed, found.deferred) == counts
    again = a_claim(*found.deliveries)
    assert pending(again.deliveries) == ([B] if state in {"sent", "failed"} else [A, B])


def test_a_final_recipient_is_never_touched_again() -> None:
    finals = [was(state, to=f"{state}@d.example") for state in ("sent", "captured", "failed", "expired", "cancelled")]
    claim = a_claim(*finals, A)
    found = judged(claim, {delivery.to: NEVER for delivery in claim.deliveries} | {A: OK})
    assert found.deliveries[:5] == finals
    assert pending(claim.deliveries) == [A]


def test_the_soonest_of_those_that_wait_says_when() -> None:
    claim = a_claim(was("deferred", attempts=2), was("waiting", to=B))
    assert judged(claim, {A: LATER, B: LATER}).delay == 60  # B's first, not A's third
    greylisted = msgspec.structs.replace(LATER, not_before=300)
    assert judged(claim, {A: greylisted, B: LATER}).delay == 60
    assert judged(claim, {A: greylisted, B: greylisted}).delay == 300


def test_a_recipient_that_got_no_outcome_is_tried_at_once() -> None:
    found = judged(a_claim(A, B), {A: OK})
    assert (found.state, found.delay, states(found)) == ("deferred", 0, {A: "sent", B: "waiting"})


# delays and the end of a life


@pytest.mark.parametrize(("before", "delay"), [(0, 60), (1, 120), (2, 300), (3, 300), (700, 300)])
def test_delays_follow_the_schedule(before: int, delay: float) -> None:
    assert judged(a_claim(was("deferred", attempts=before)), {A: LATER}).delay == delay


@pytest.mark.parametrize(("dice", "delay"), [(0.0, 48), (1.0, 72)])
def test_delays_are_spread(dice: float, delay: float) -> None:
    assert judged(a_claim(), {A: LATER}, dice=lambda: dice).delay == pytest.approx(delay)


def test_the_next_attempt_is_not_planned_beyond_expires_at() -> None:
    found = judged(a_claim(was("deferred", attempts=9), expires=T + 900_000), {A: LATER}, now=T + 890_000)
    assert (found.state, found.delay) == ("deferred", 10)


def test_an_email_that_outlived_itself_during_the_attempt_ends_at_once() -> None:
    claim = a_claim(expires=T + 1000)
    found = judged(claim, {A: LATER}, now=T + 5000)
    assert (found.state, found.delay) == ("deferred", 0)
    over = ended(msgspec.structs.replace(claim, deliveries=found.deliveries, now=T + 5001), TERMS, now=T + 5001)
    assert over is not None
    assert over.state == "expired"


def test_a_sent_email_is_sent_however_late() -> None:
    assert judged(a_claim(expires=T + 1000), {A: OK}, now=T + 5000).state == "sent"


@pytest.mark.parametrize(
    ("expires", "end", "own"),
    [
        (None, T + 5 * DAY, False),
        (T + 60_000, T + 60_000, True),
        (T + 5 * DAY, T + 5 * DAY, True),
        (T + 9 * DAY, T + 5 * DAY, False),
    ],
)
def test_a_life_ends_by_its_own_moment_or_by_age(expires: int | None, end: int, own: bool) -> None:
    assert end_of_life(a_claim(expires=expires), TERMS) == (end, own)


@pytest.mark.parametrize(
    ("before", "expires", "state", "each", "failed"),
    [
        (["waiting"], True, "expired", "expired", 1),
        (["waiting"], False, "failed", "failed", 1),
        (["deferred", "sent"], True, "partly_sent", "expired sent", 1),
        (["deferred", "sent"], False, "partly_sent", "failed sent", 1),
        (["deferred", "failed"], True, "expired", "expired failed", 2),
        (["uncertain"], True, "uncertain", "uncertain", 0),
        (["uncertain"], False, "uncertain", "uncertain", 0),
        (["uncertain", "deferred"], True, "uncertain", "uncertain expired", 1),
    ],
)
def test_an_ended_life_is_said_of_each_recipient(
    before: list[DeliveryState], expires: bool, state: str, each: str, failed: int
) -> None:
    deliveries = [was(one, to=f"{n}@d.example") for n, one in enumerate(before)]
    claim = a_claim(*deliveries, expires=T + 1 if expires else None)
    end, _ = end_of_life(claim, TERMS)
    assert ended(claim, TERMS, now=end - 1) is None
    found = ended(claim, TERMS, now=end)
    assert found is not None
    assert found.state == state
    assert [delivery.state for delivery in found.deliveries] == each.split()
    assert found.why == ("its expires_at came first" if expires else "not delivered within MAX_AGE")
    assert (found.delay, found.held_for, found.attempt_counts) == (None, None, False)
    assert found.keep_content == KEEP_UNSENT_SECONDS
    assert found.failed == failed
    assert [(event.what, event.text) for event in found.events] == [(state, found.why)]


# the answer to the dot was lost


@pytest.mark.parametrize(
    ("outcome", "state", "delay", "lost"),
    [
        (OK, "sent", None, 1),
        (LATER, "uncertain", UNCERTAIN_SECONDS, 1),
        (NEVER, "uncertain", None, UNCERTAIN_ATTEMPTS),  # says nothing about the first copy
        (LOST, "uncertain", UNCERTAIN_SECONDS, 2),
        (NO_MARK, "uncertain", UNCERTAIN_SECONDS, 1),
    ],
)
def test_what_may_have_arrived_is_sent_or_stays_uncertain(outcome: Outcome, state: str, delay: float | None, lost: int) -> None:
    found = judged(a_claim(was("uncertain", uncertain=1, attempts=1)), {A: outcome})
    assert (found.state, found.delay) == (state, delay)
    assert found.deliveries[0].uncertain == lost
    if delay is None and state == "uncertain":
        assert found.keep_content == KEEP_UNSENT_SECONDS


def test_the_relays_trouble_leaves_an_uncertain_one_uncertain() -> None:
    found = judged(a_claim(was("uncertain", uncertain=1)), {A: HOLD})
    assert (found.held_for, states(found), found.deliveries[0].uncertain) == ("relay", {A: "uncertain"}, 1)


def test_three_lost_answers_are_the_last_word() -> None:
    delivery = Delivery(to=A)
    delays: list[float | None] = []
    for _ in range(UNCERTAIN_ATTEMPTS):
        found = judged(a_claim(delivery), {A: LOST})
        [delivery] = found.deliveries
        delays.append(found.delay)
    assert delays == [900, 900, None]
    assert (found.state, pending(found.deliveries)) == ("uncertain", [])


def test_on_uncertain_hold_wants_no_second_copy() -> None:
    found = judged(a_claim(on_uncertain="hold"), {A: LOST})
    assert (found.state, found.delay, found.keep_content) == ("uncertain", None, KEEP_UNSENT_SECONDS)
    assert pending(found.deliveries) == []


@pytest.mark.parametrize("on_uncertain", ["retry", "hold"])
@pytest.mark.parametrize("other", [LATER, AT_ONCE])
def test_one_recipients_last_word_stops_no_other_recipient(on_uncertain: str, other: Outcome) -> None:
    """A's answer was lost for the last time, B was told «later»: B goes on, and A gets no further copy."""
    claim = a_claim(was("uncertain", uncertain=2), was("deferred", to=B, attempts=1), on_uncertain=on_uncertain)
    found = judged(claim, {A: LOST, B: other})
    assert states(found) == {A: "uncertain", B: "deferred"}
    assert found.delay == (0 if other.at_once else 120)
    assert found.state == "uncertain"
    assert pending(found.deliveries) == [B]
    then = judged(a_claim(*found.deliveries, on_uncertain=on_uncertain), {B: OK})
    assert (then.state, then.delay, states(then)) == ("uncertain", None, {A: "uncertain", B: "sent"})
    assert then.deliveries[0] == found.deliveries[0]


def test_after_a_lost_answer_a_fifth_of_what_is_left_of_a_short_life() -> None:
    assert judged(a_claim(expires=T + 100_000), {A: LOST}, now=T).delay == 20


def test_a_lost_answer_at_the_end_of_a_life_is_final() -> None:
    found = judged(a_claim(expires=T + 1000), {A: LOST}, now=T + 1000)
    assert (found.state, found.delay) == ("uncertain", None)


def test_at_the_end_of_a_life_those_that_wait_beside_an_uncertain_one_are_ended_too() -> None:
    claim = a_claim(A, B, expires=T + 1000)
    found = judged(claim, {A: LOST, B: LATER}, now=T + 2000)
    assert (found.state, found.delay) == ("uncertain", 0)
    over = ended(msgspec.structs.replace(claim, deliveries=found.deliveries), TERMS, now=T + 2001)
    assert over is not None
    assert (over.state, states(over)) == ("uncertain", {A: "uncertain", B: "expired"})


@pytest.mark.parametrize(
    ("before", "lost", "on_uncertain", "delay"),
    [
        ("waiting", 0, "retry", 900), ("deferred", 0, "retry", 900), ("uncertain", 1, "retry", 900),
        ("uncertain", 2, "retry", None), ("waiting", 0, "hold", None),
    ],
)  # fmt: skip
def test_a_worker_that_died_past_its_mark_leaves_an_uncertain_email(
    before: DeliveryState, lost: int, on_uncertain: str, delay: float | None
) -> None:
    claim = a_claim(
        was(before, uncertain=lost), was("sent", to=B), before="sending", dot=1, attempt=2, on_uncertain=on_uncertain
    )
    assert claim.answer_lost
    found = answer_lost(claim, TERMS, now=T)
    assert (found.state, found.delay, states(found)) == ("uncertain", delay, {A: "uncertain", B: "sent"})
    assert not found.attempt_counts  # this claim made none
    assert found.deferred == 1
    assert [(event.what, event.attempt, event.stage) for event in found.events] == [("uncertain", 1, "dot")]


@pytest.mark.parametrize(
    ("before", "dot", "attempt", "lost"),
    [
        ("sending", 1, 2, True),
        ("sending", 1, 4, True),
        ("sending", 0, 1, False),
        ("deferred", 1, 2, False),
        ("uncertain", 1, 2, False),
    ],
)
def test_an_answer_is_lost_only_where_an_attempt_was_marked_and_never_settled(
    before: str, dot: int, attempt: int, lost: bool
) -> None:
    assert a_claim(before=before, dot=dot, attempt=attempt).answer_lost is lost


# figures


@pytest.mark.parametrize(
    ("changes", "outcomes", "took"),
    [
        ({}, [OK], 40),
        ({"accepted": (T - 960) * 1000}, [OK], 1000),
        ({"accepted": (T + 999) * 1000}, [OK], 0),
        ({"attempt": 2}, [OK], None),
        ({"before": "scheduled"}, [OK], None),
        ({"before": "deferred"}, [OK], None),
        ({}, [LATER], None),
        ({}, [NEVER], None),
        ({}, [LOST], None),
    ],
)
def test_the_time_from_acceptance_to_the_250_is_that_of_first_attempts(
    changes: dict[str, Any], outcomes: list[Outcome], took: int | None
) -> None:
    assert judged(a_claim(**changes), {A: outcomes[0]}).took == took


def test_the_content_of_a_sent_email_is_kept_as_long_as_the_operator_says() -> None:
    keeps = Terms((60,), 86400, 3600)
    assert judged(a_claim(), {A: OK}, terms=keeps).keep_content == 3600
    assert judged(a_claim(A, B), {A: OK, B: NEVER}, terms=keeps).keep_content == KEEP_UNSENT_SECONDS


KINDS = {"ok": OK, "defer": LATER, "fail": NEVER, "hold": HOLD, "uncertain": LOST, "at_once": AT_ONCE, "no_mark": NO_MARK}
STATES: tuple[DeliveryState, ...] = ("waiting", "deferred", "uncertain", "sent", "failed")


@given(
    st.lists(
        st.tuples(st.sampled_from(STATES), st.integers(0, 3), st.sampled_from([*KINDS])),
        min_size=1, max_size=6,
    ),
    st.sampled_from(["retry", "hold"]), st.integers(-1000, 6 * DAY), st.none() | st.integers(0, 6 * DAY),
)  # fmt: skip
def test_whatever_comes_each_recipient_goes_its_own_way_and_none_is_forgotten(
    mix: list[tuple[Any, int, str]], on_uncertain: str, age: int, expires: int | None
) -> None:
    deliveries = [was(state, to=f"{n}@d.example", uncertain=lost) for n, (state, lost, _) in enumerate(mix)]
    claim = a_claim(*deliveries, on_uncertain=on_uncertain, expires=None if expires is None else T + expires)
    outcomes = {f"{n}@d.example": KINDS[kind] for n, (_, _, kind) in enumerate(mix) if f"{n}@d.example" in pending(deliveries)}
    found = judged(claim, outcomes, now=T + age)
    for before, after in zip(deliveries, found.deliveries, strict=True):
        if before.to not in outcomes:
            assert after == before
        elif outcomes[before.to].kind == "ok":
            assert after.state == "sent"
        alone = judged(
            a_claim(before, on_uncertain=on_uncertain, expires=claim.expires),
            {to: outcome for to, outcome in outcomes.items() if to == before.to},
            now=T + age,
        )
        assert alone.deliveries == [after]  # the others make no difference
    left = pending(found.deliveries)
    if found.held_for is None and found.delay is None:
        assert {delivery.state for delivery in found.deliveries if delivery.to in left} <= {"uncertain"}
        assert not left or T + age >= end_of_life(claim, TERMS)[0]
    if found.delay is not None:
        assert found.delay >= 0
        assert left
