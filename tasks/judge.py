"""From the outcomes of an attempt to what is written: states, the next attempt, events, counters.

Per recipient, always: one recipient's outcome never changes another's. This module is pure.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from tasks import retry
from tasks.claim import Claim, Settlement
from tasks.outcome import Outcome
from tasks.record import Delivery, Event, derive_state

OPEN_STATES = frozenset({"waiting", "deferred", "uncertain"})
THROTTLED_SECONDS = 60.0
"""Until the next attempt where the relay asked for a lower pace; such an attempt is not counted."""
KEEP_UNSENT_SECONDS = 7 * 86400
"""How long the content of an email that did not get through is kept, so that it can be sent again."""


class Terms(msgspec.Struct, frozen=True):
    """What the operator has set: ``RETRY_DELAYS`` and ``MAX_AGE`` in seconds, ``RETAIN_CONTENT`` in seconds."""

    delays: Sequence[float]
    max_age: float
    retain_content: float


def pending(deliveries: Sequence[Delivery]) -> list[str]:
    """The recipients that an attempt is for."""
    return [delivery.to for delivery in deliveries if _is_open(delivery)]


def end_of_life(claim: Claim, terms: Terms) -> tuple[int, bool]:
    """When the email's life ends (ms by Redis' clock), and whether that is its own ``expires_at``."""
    by_age = claim.born + round(terms.max_age * 1000)
    return (claim.expires, True) if claim.expires is not None and claim.expires <= by_age else (by_age, False)


def judge(
    claim: Claim,
    outcomes: Mapping[str, Outcome],
    terms: Terms,
    *,
    now: int,
    relay: str,
    tls: str | None,
    dice: Callable[[], float],
) -> Settlement:
    """What to write after an attempt. ``now`` in ms by Redis' clock; ``outcomes`` by recipient.

    Where any recipient's outcome is ``hold`` the whole email is held for the relay and the attempt is given back, unless
    another recipient's part was decided in it: that one keeps its outcome.
    """
    last = claim.letter.on_uncertain == "hold"
    deliveries = [_apply(delivery, outcomes.get(delivery.to), relay, now, last=last) for delivery in claim.deliveries]
    events = [_event(claim, to, outcome, relay, tls, now) for to, outcome in outcomes.items()]
    kinds = [outcome.kind for outcome in outcomes.values()]
    settlement = Settlement(
        state="queued",
        deliveries=deliveries,
        events=events,
        sent=kinds.count("ok"),
        failed=kinds.count("fail"),
        deferred=kinds.count("defer") + kinds.count("uncertain"),
        attempt_counts=any(kind != "hold" for kind in kinds),
    )
    held = next((outcome for outcome in outcomes.values() if outcome.kind == "hold"), None)
    if held is not None:
        settlement.held_for, settlement.why = "relay", f"{relay}: {held.said}"
        return settlement
    _finish(settlement, claim, outcomes, terms, now=now, dice=dice)
    if settlement.delay is None and claim.attempt == 1 and claim.before == "queued" and "ok" in kinds:
        settlement.took = max(0, now - claim.accepted // 1000)
    return settlement


def ended(claim: Claim, terms: Terms, *, now: int) -> Settlement | None:
    """The settlement of an email whose life is over before this attempt, or None while it lives."""
    end, own = end_of_life(claim, terms)
    if now < end:
        return None
    deliveries = [_end(delivery, own) for delivery in claim.deliveries]
    state = derive_state(deliveries)
    text = "its expires_at came first" if own else "not delivered within MAX_AGE"
    return Settlement(
        state=state,
        deliveries=deliveries,
        why=text,
        attempt_counts=False,
        keep_content=KEEP_UNSENT_SECONDS,
        events=[Event(at=now, what=state, text=text)],
        failed=sum(delivery.state in {"failed", "expired"} for delivery in deliveries),
    )


def answer_lost(claim: Claim, terms: Terms, *, now: int, lost: int | None = None) -> Settlement:
    """The settlement of an attempt whose dot may have gone out and whose answer nobody could write.

    Without ``lost`` that is the attempt before this claim's, whose worker died or froze; with it, this claim's own.
    """
    what = Outcome("uncertain", "dot")
    last = claim.letter.on_uncertain == "hold"
    deliveries = [_apply(delivery, what, delivery.relay or "", now, last=last) for delivery in claim.deliveries]
    settlement = Settlement(
        state="uncertain",
        deliveries=deliveries,
        attempt_counts=lost is not None,
        deferred=len(pending(claim.deliveries)),
        events=[
            Event(
                at=now,
                what="uncertain",
                attempt=claim.dot if lost is None else lost,
                stage="dot",
                text="the worker stopped between the final dot and the relay's answer: the relay may have the email",
            )
        ],
    )
    _finish(settlement, claim, dict.fromkeys(pending(claim.deliveries), what), terms, now=now, dice=lambda: 0.5)
    return settlement


def _finish(
    settlement: Settlement, claim: Claim, outcomes: Mapping[str, Outcome], terms: Terms, *, now: int, dice: Callable[[], float]
) -> None:
    """Sets state, delay, why and how long the content stays."""
    end, _ = end_of_life(claim, terms)
    remaining = max(0.0, (end - now) / 1000)
    settlement.state = derive_state(settlement.deliveries)
    if settlement.state == "uncertain":
        settlement.why = "the relay's last answer was lost: it may have the email"
        left = {delivery.state for delivery in settlement.deliveries if _is_open(delivery)}
        if "uncertain" in left and (remaining > 0 or left != {"uncertain"}):
            settlement.delay = retry.uncertain_delay(remaining)
        elif left - {"uncertain"}:
            settlement.delay = min(_defer(settlement.deliveries, outcomes, terms, claim, end, dice), remaining)
    elif settlement.state == "deferred":
        settlement.delay = min(_defer(settlement.deliveries, outcomes, terms, claim, end, dice), remaining)
        settlement.why = next(
            (f"the relay said {o.said}" if o.reply else o.said for o in outcomes.values() if o.kind == "defer"), "not yet tried"
        )
    elif settlement.state in {"failed", "partly_sent"}:
        settlement.why = next((_said(delivery) for delivery in settlement.deliveries if delivery.state == "failed"), "")
    if settlement.delay is None:
        whole = settlement.state in {"sent", "captured", "cancelled"}
        settlement.keep_content = terms.retain_content if whole else KEEP_UNSENT_SECONDS


def _defer(
    deliveries: Sequence[Delivery],
    outcomes: Mapping[str, Outcome],
    terms: Terms,
    claim: Claim,
    end: int,
    dice: Callable[[], float],
) -> float:
    """Seconds until those that wait are tried again: the soonest that one of them may be."""
    life = (end - claim.born) / 1000
    delays: list[float] = []
    for delivery in deliveries:
        if not _is_open(delivery):
            continue
        outcome = outcomes.get(delivery.to)
        if outcome is None or outcome.at_once:
            return 0.0
        if outcome.fault is not None and outcome.fault.what == "mark_refused":
            return 0.0
        if outcome.throttled:
            delays.append(min(THROTTLED_SECONDS * (0.8 + 0.4 * dice()), life / 3))
            continue
        delays.append(
            retry.next_delay(terms.delays, max(1, delivery.attempts), life, dice=dice(), not_before=outcome.not_before)
        )
    return min(delays, default=0.0)


def _said(delivery: Delivery) -> str:
    """Why a delivery failed: the relay's words, or ours where it had none."""
    if delivery.reply is not None:
        return f"the relay said {delivery.reply.code} {delivery.reply.text}".strip()
    return delivery.fault or ""


def _is_open(delivery: Delivery) -> bool:
    """Whether it is to be tried again. The last lost answer, like any final state of one recipient, stops no other's."""
    return delivery.state in OPEN_STATES and (delivery.state != "uncertain" or delivery.uncertain < retry.UNCERTAIN_ATTEMPTS)


_STATES = {"ok": "sent", "defer": "deferred", "fail": "failed", "uncertain": "uncertain"}


def _apply(delivery: Delivery, outcome: Outcome | None, relay: str, now: int, *, last: bool) -> Delivery:
    """The delivery after ``outcome``. A final one never changes; an uncertain one stays so unless it is sent.

    A refusal after a lost answer says nothing about the first copy: uncertain then is its last word, as it is where the
    client wants no second copy (``last``). The last word is told by ``uncertain`` having reached its limit.
    """
    if outcome is None or not _is_open(delivery):
        return delivery
    state = delivery.state if outcome.kind == "hold" else _STATES[outcome.kind]
    uncertain = delivery.uncertain + (outcome.kind == "uncertain")
    if last and outcome.kind == "uncertain":
        uncertain = retry.UNCERTAIN_ATTEMPTS
    if delivery.state == "uncertain" and state in {"deferred", "failed"}:
        uncertain = retry.UNCERTAIN_ATTEMPTS if state == "failed" else uncertain
        state = "uncertain"
    free = outcome.kind == "hold" or outcome.at_once or outcome.throttled or outcome.stage == "mark"
    return msgspec.structs.replace(
        delivery,
        state=state,
        attempts=delivery.attempts + (not free),
        uncertain=uncertain,
        stage=outcome.stage,
        reply=outcome.reply,
        fault=outcome.fault.text if outcome.fault is not None else None,
        relay=relay,
        at=now,
    )


def _end(delivery: Delivery, own: bool) -> Delivery:
    if delivery.state not in OPEN_STATES or delivery.state == "uncertain":
        return delivery
    return msgspec.structs.replace(delivery, state="expired" if own else "failed")


_WORDS = {"ok": "sent", "defer": "deferred", "fail": "failed", "uncertain": "uncertain", "hold": "held"}


def _event(claim: Claim, to: str, outcome: Outcome, relay: str, tls: str | None, now: int) -> Event:
    return Event(
        at=now,
        what=_WORDS[outcome.kind],
        text=outcome.fault.text if outcome.fault is not None else "",
        attempt=claim.attempt,
        to=to,
        stage=outcome.stage,
        reply=outcome.reply,
        relay=relay,
        tls=tls,
    )
