"""What Redis holds of an email, and the state derived from it.

::

    record (hash ems:email:<id>)
      ├── letter      what was settled at acceptance and never changes        (JSON, Letter)
      ├── deliveries  one entry a recipient: where it stands, last reply      (JSON, list[Delivery])
      └── state, lane, score, attempt, round, dot, …                          (plain fields that the scripts read)
    events (list ems:events:<id>)   what happened, oldest first               (JSON, Event)
    content (string ems:content:<id>)  the message's bytes

This module is the email's truth: data and pure functions, no Redis.
"""

from typing import Literal

import msgspec

from tasks.email import Lane, OnUncertain, Tag
from tasks.outcome import Reply, Stage
from tasks.secret import name_alone

State = Literal[
    "scheduled", "queued", "sending", "deferred", "held", "uncertain",
    "sent", "partly_sent", "captured", "failed", "expired", "cancelled",
]  # fmt: skip
"""An email's state; the words are defined in the README."""

FINAL: frozenset[State] = frozenset({"sent", "partly_sent", "captured", "failed", "expired", "cancelled"})
"""States without a next step. ``uncertain`` is final only when no next attempt is set."""
WAITING: tuple[State, ...] = ("scheduled", "queued", "sending", "deferred", "held", "uncertain")

DeliveryState = Literal["waiting", "sent", "captured", "deferred", "uncertain", "failed", "expired", "cancelled"]
HeldFor = Literal["relay", "operator", "damaged", "crashes", "internal"]

VERSION = 1
"""Written into every letter; a newer one than this is left alone by this code."""


class Delivery(msgspec.Struct, omit_defaults=True):
    """One email to one recipient, and how it stands. ``attempts`` counts SMTP transactions that used one up."""

    to: str
    state: DeliveryState = "waiting"
    attempts: int = 0
    uncertain: int = 0
    stage: Stage | None = None
    reply: Reply | None = None
    fault: str | None = None
    relay: str | None = None
    at: int | None = None


class Letter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What was settled at acceptance. Times are UTC milliseconds; ``sha256`` and ``size`` are of the message's bytes.

    ``sender`` is the envelope sender (the recipients are the deliveries); ``from_`` to ``reply_to`` are the header fields as
    the client wrote them.
    """

    id: str
    version: int = VERSION
    client: str
    mode: str = "live"
    from_: str
    to: list[str]
    cc: list[str] = []
    bcc: list[str] = []
    reply_to: list[str] = []
    subject: str
    tags: list[Tag] = []
    sender: str
    message_id: str
    sha256: str
    size: int
    created: int
    send_at: int | None = None
    expires: int | None = None
    on_uncertain: OnUncertain = "retry"

    __repr__ = name_alone


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an email's history. ``what`` is a word of ``maillog``; ``text`` a sentence for people."""

    at: int
    what: str
    text: str = ""
    attempt: int | None = None
    to: str | None = None
    stage: Stage | None = None
    reply: Reply | None = None
    relay: str | None = None
    tls: str | None = None
    by: str | None = None


class Record(msgspec.Struct, kw_only=True):
    """All of one email but its bytes. ``accepted`` and ``next_at`` are UTC milliseconds by Redis' clock.

    ``attempt`` numbers SMTP transactions from 1; ``dot`` is the last attempt whose final dot may have gone out (0: none);
    ``next_at`` is None when nothing is planned (final, or held).
    """

    letter: Letter
    deliveries: list[Delivery]
    state: State
    lane: Lane
    accepted: int
    accepted_us: int = 0
    attempt: int = 0
    round: int = 1
    dot: int = 0
    starts: int = 0
    next_at: int | None = None
    held_for: HeldFor | None = None
    route: str = "main"
    why: str | None = None
    content_kept: bool = True


def derive_state(deliveries: list[Delivery]) -> State:
    """The state of an email whose attempt has ended, from its recipients' alone.

    Anything still to be sent wins (an uncertain recipient before a deferred one); then the final words, a mix of sent and not
    sent being ``partly_sent``.
    """
    states = {delivery.state for delivery in deliveries}
    if "uncertain" in states:
        return "uncertain"
    if states & {"waiting", "deferred"}:
        return "deferred"
    if states == {"captured"}:
        return "captured"
    if states == {"sent"}:
        return "sent"
    if "sent" in states:
        return "partly_sent"
    for word in ("cancelled", "expired"):
        if word in states:
            return word
    return "failed"
