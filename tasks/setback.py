"""What becomes of an email where no relay has judged it: it goes back, is held, or is tried later.

This module is pure, as ``judge`` is, which has the relay's word.
"""

import msgspec

from tasks.claim import Claim, Settlement
from tasks.judge import pending
from tasks.record import Delivery, Event, HeldFor

POISON_STARTS = 5


def back(claim: Claim) -> Settlement:
    """Not begun, or nothing can have been sent: to its old place in the lane, no attempt counted."""
    return Settlement(state="queued", deliveries=claim.deliveries, delay=0, attempt_counts=False)


def held(claim: Claim, reason: HeldFor, why: str, *, route: str = "") -> Settlement:
    """Aside until somebody, or the relay, releases it; no attempt counted."""
    event = Event(at=claim.now, what="held", text=why)
    return Settlement(
        state="held",
        deliveries=claim.deliveries,
        held_for=reason,
        why=why,
        attempt_counts=False,
        route=route,
        events=[event],
    )


def damaged(claim: Claim) -> Settlement:
    """The bytes do not match their SHA-256: held, never sent."""
    return held(claim, "damaged", "the stored message is not the one that was accepted")


def internal(claim: Claim) -> Settlement:
    """An error of ours: later again, and held after five."""
    if claim.starts >= POISON_STARTS:
        return held(claim, "internal", "five attempts ended in an error of this service; its log has the details")
    deliveries = [_deferred(delivery) for delivery in claim.deliveries]
    text = "an error of this service; its log has the details"
    event = Event(at=claim.now, what="deferred", attempt=claim.attempt, text=text)
    return Settlement(
        state="deferred",
        deliveries=deliveries,
        delay=60,
        why=event.text,
        starts=claim.starts,
        events=[event],
        deferred=len(pending(deliveries)),
    )


def _deferred(delivery: Delivery) -> Delivery:
    return msgspec.structs.replace(delivery, state="deferred") if delivery.state == "waiting" else delivery
