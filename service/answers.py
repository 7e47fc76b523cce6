"""An email as ``GET /emails/{id}`` shows it.

This module turns records into JSON; it decides nothing else.
"""

import msgspec

from service.moments import iso
from tasks.email import Tag
from tasks.outcome import Reply
from tasks.reader import read
from tasks.record import Event, Record
from tasks.secret import name_alone


class DeliveryAnswer(msgspec.Struct, kw_only=True):
    """One recipient of an email."""

    to: str
    state: str
    attempts: int
    reply: Reply | None
    fault: str | None
    relay: str | None
    at: str | None


class EventAnswer(msgspec.Struct, kw_only=True):
    """One thing that happened to an email."""

    at: str
    what: str
    text: str
    attempt: int | None
    to: str | None
    stage: str | None
    reply: Reply | None
    relay: str | None
    tls: str | None
    by: str | None


class EmailAnswer(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """Everything known of an email: Resend's fields, then ours. ``html`` and ``text`` are null once the content is gone."""

    object: str = "email"
    id: str
    message_id: str
    from_: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    html: str | None
    text: str | None
    tags: list[Tag]
    created_at: str
    scheduled_at: str | None
    last_event: str
    state: str
    mode: str
    priority: str
    expires_at: str | None
    attempt: int
    next_attempt_at: str | None
    why: str | None
    last_reply: str | None
    flagged: bool
    recipients: list[DeliveryAnswer]
    events: list[EventAnswer]

    __repr__ = name_alone


_LAST_EVENT = {
    "scheduled": "scheduled",
    "queued": "queued",
    "sending": "queued",
    "deferred": "delivery_delayed",
    "held": "delivery_delayed",
    "uncertain": "delivery_delayed",
    "sent": "sent",
    "partly_sent": "sent",
    "captured": "sent",
    "failed": "failed",
    "expired": "failed",
    "cancelled": "canceled",
}


def show(record: Record, events: list[Event], content: bytes | None, next_at: int | None = None) -> EmailAnswer:
    """The answer for one email. ``next_at``: when it may move, where the record does not say.

    ``flagged``: the relay may have got it twice, or the service cannot know.
    """
    letter = record.letter
    parts = read(content) if content is not None else None
    replies = [delivery for delivery in record.deliveries if delivery.at is not None]
    last = max(replies, key=lambda delivery: delivery.at or 0, default=None)
    said = None
    if last is not None:
        said = f"{last.reply.code} {last.reply.text}".strip() if last.reply is not None else last.fault
    return EmailAnswer(
        id=letter.id,
        message_id=letter.message_id,
        from_=letter.from_,
        to=letter.to,
        cc=letter.cc,
        bcc=letter.bcc,
        reply_to=letter.reply_to,
        subject=letter.subject,
        html=parts.html if parts is not None else None,
        text=parts.text if parts is not None else None,
        tags=letter.tags,
        created_at=iso(letter.created) or "",
        scheduled_at=iso(letter.send_at),
        last_event=_LAST_EVENT[record.state],
        state=record.state,
        mode=letter.mode,
        priority=record.lane,
        expires_at=iso(letter.expires),
        attempt=record.attempt,
        next_attempt_at=iso(record.next_at if record.next_at is not None else next_at),
        why=why(record),
        last_reply=said,
        flagged=any(delivery.uncertain > 0 for delivery in record.deliveries),
        recipients=[
            DeliveryAnswer(
                to=delivery.to,
                state=delivery.state,
                attempts=delivery.attempts,
                reply=delivery.reply,
                fault=delivery.fault,
                relay=delivery.relay,
                at=iso(delivery.at),
            )
            for delivery in record.deliveries
        ],
        events=[
            EventAnswer(
                at=iso(event.at) or "",
                what=event.what,
                text=event.text,
                attempt=event.attempt,
                to=event.to,
                stage=event.stage,
                reply=event.reply,
                relay=event.relay,
                tls=event.tls,
                by=event.by,
            )
            for event in events
        ],
    )


def why(record: Record) -> str | None:
    """Why an email waits, or why it did not get through; None where there is nothing to explain."""
    if record.why:
        return record.why
    return {
        "scheduled": "it waits for its send_at",
        "queued": "it waits for a worker",
        "sending": "an attempt is running",
    }.get(record.state)
