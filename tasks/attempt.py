"""What one attempt came to, and how it is told in the mail log.

This module is the end of an attempt.
"""

import msgspec
from loguru import logger

from tasks import maillog
from tasks.claim import Claim, Settlement
from tasks.outcome import Fault, Outcome


class Attempt(msgspec.Struct, frozen=True):
    """What one attempt came to: what is to be written, and what the relay said to whom."""

    settlement: Settlement
    outcomes: dict[str, Outcome] = {}
    relay: str = ""
    alarm: bool = False


def tell(claim: Claim, attempt: Attempt, answer: str) -> None:
    """Writes the mail log's lines of an attempt. ``answer`` is what ``Queue.settle`` said."""
    settlement = attempt.settlement
    if answer != "ok":
        logger.warning("email {}: the outcome {} was not taken ({})", claim.id, settlement.state, answer)
    elif settlement.held_for is not None:
        maillog.held(claim.id, settlement.held_for, settlement.why, alarm=attempt.alarm)
    elif settlement.state == "captured":
        maillog.captured(claim.id, len(settlement.deliveries))
    elif attempt.outcomes:
        for to, outcome in attempt.outcomes.items():
            _tell_outcome(claim, to, outcome, attempt)
    else:
        _tell_changes(claim, settlement)


def _tell_outcome(claim: Claim, to: str, outcome: Outcome, attempt: Attempt) -> None:
    next_in = None if attempt.settlement.delay is None else round(attempt.settlement.delay)
    match outcome.kind:
        case "ok":
            maillog.sent(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt)
        case "fail":
            maillog.failed(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt)
        case "uncertain":
            maillog.uncertain(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt, next_in=next_in)
        case _:
            maillog.deferred(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt, next_in=next_in or 0)


def _tell_changes(claim: Claim, settlement: Settlement) -> None:
    """What was settled without the relay: lives that are over, and answers that were lost."""
    next_in = None if settlement.delay is None else round(settlement.delay)
    for before, after in zip(claim.deliveries, settlement.deliveries, strict=True):
        if before == after:
            continue
        if after.state in {"expired", "failed"}:
            maillog.expired(claim.id, after.to, settlement.why)
        elif after.state == "uncertain":
            lost = Outcome("uncertain", "dot", fault=Fault("closed", settlement.why))
            attempt = settlement.events[0].attempt or claim.attempt
            maillog.uncertain(claim.id, after.to, lost, relay=after.relay or "the relay", attempt=attempt, next_in=next_in)
