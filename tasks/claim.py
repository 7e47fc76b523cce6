"""An email in a worker's hands: what a claim gives, and what is settled of it.

This module is what goes between the queue and those who carry its emails.
"""

from typing import Literal, cast

import msgspec

from tasks.email import Lane
from tasks.record import Delivery, Event, HeldFor, Letter, State

LEASE_SECONDS = 15.0
BEAT_SECONDS = 3.0

_letter = msgspec.json.Decoder(Letter).decode
_deliveries = msgspec.json.Decoder(list[Delivery]).decode


class Put(msgspec.Struct, frozen=True):
    """What became of a put. ``replayed``: the Idempotency-Key was used for the same body, ``id`` is the first email's;
    ``conflict``: it was used for another one."""

    what: Literal["put", "stored", "replayed", "conflict"]
    id: str
    accepted: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One email in a worker's hands. ``before`` is the state it was found in; ``now`` and ``born`` are milliseconds by
    Redis' clock, ``accepted`` microseconds. ``answer_lost``: the dot of attempt ``dot`` went out and nobody has written what
    became of it.
    """

    id: str
    token: str
    before: State
    letter: Letter
    deliveries: list[Delivery]
    attempt: int
    round: int
    dot: int
    starts: int
    accepted: int
    born: int
    expires: int | None
    lane: Lane
    route: str
    now: int

    @property
    def answer_lost(self) -> bool:
        return self.before == "sending" and self.dot > 0


class Claimed(msgspec.Struct, frozen=True):
    """The answer to one claim. ``next_due`` is in seconds, None when nothing waits; ``relays`` maps names to their state.

    ``suspects`` were passed over: emails in whose hands workers have died, each to be tried alone.
    """

    claims: list[Claim]
    next_due: float | None
    more: bool
    relays: dict[str, str]
    suspects: int = 0


class Settlement(msgspec.Struct, kw_only=True):
    """What is to be written of an attempt. ``delay`` in seconds (None: no next attempt).

    ``attempt_counts``: False gives the attempt back. ``starts`` are the claims so far that ended badly; ``route`` replaces the
    record's where it is not empty. ``took`` is the time from acceptance to the relay's 250 in ms, where all of it went in the
    first attempt.
    """

    state: State
    deliveries: list[Delivery]
    delay: float | None = None
    held_for: HeldFor | None = None
    why: str = ""
    attempt_counts: bool = True
    starts: int = 0
    route: str = ""
    keep_content: float = 0
    events: list[Event] = []
    sent: int = 0
    failed: int = 0
    deferred: int = 0
    took: int | None = None


def read_claim(fields: list[bytes], token: str) -> Claim:
    """A claim as ``claim.lua`` gives it. Raises ``ValueError`` and msgspec's errors for a record of another version."""
    id_, before, letter, deliveries, attempt, round_, dot, starts, accepted, born, expires, lane, route, now = fields
    return Claim(
        id=id_.decode(),
        token=token,
        before=cast(State, before.decode()),
        letter=_letter(letter),
        deliveries=_deliveries(deliveries),
        attempt=int(attempt),
        round=int(round_),
        dot=int(dot),
        starts=int(starts),
        accepted=int(accepted),
        born=int(born),
        expires=int(expires) if expires else None,
        lane=cast(Lane, lane.decode()),
        route=route.decode(),
        now=int(now),
    )
