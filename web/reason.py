"""Why an email stands where it stands, and what comes next, in one line.

This module is pure: from a record to words.
"""

from collections.abc import Callable
from typing import Final

from tasks.figures import Figures
from tasks.record import Delivery, Record, State
from web.meaning import meaning
from web.phrases import ago, count

_HELD: Final = {
    "relay": "waits for the relay",
    "operator": "held by an operator",
    "damaged": "held: its stored bytes are not those accepted",
    "crashes": "held: the worker died with it in hand",
    "internal": "held: an error in this service",
}


def said(delivery: Delivery) -> str:
    """The relay's last words on one recipient, or why there were none."""
    if delivery.reply is not None:
        return f"{delivery.reply.code} {delivery.reply.text}".strip()
    return delivery.fault or ""


def reason(record: Record, now: int) -> str:
    """Why and what next. ``now`` in ms by Redis' clock."""
    return _BY_STATE[record.state](record, now)


def _again(record: Record, now: int) -> str:
    if record.next_at is None:
        return "not tried again by itself"
    return "tried again now" if record.next_at - now < 1000 else f"tried again {ago(record.next_at, now)}"


def _scheduled(record: Record, now: int) -> str:
    return "goes now" if record.next_at is None or record.next_at - now < 1000 else f"goes {ago(record.next_at, now)}"


def _queued(record: Record, _: int) -> str:
    return f"in the {record.lane} lane" + (f", to be attempt {record.attempt + 1}" if record.attempt else "")


def _sending(record: Record, _: int) -> str:
    return f"attempt {max(1, record.attempt)} is under way"


def _deferred(record: Record, now: int) -> str:
    return f"{record.why or 'put off'}; {_again(record, now)}"


def _held(record: Record, _: int) -> str:
    words = _HELD.get(record.held_for or "", "held")
    return f"{words}: {record.why}" if record.why and record.held_for in ("relay", "operator") else words


def _uncertain(record: Record, now: int) -> str:
    if record.next_at is None:
        return "the relay's last answer was lost: it may have the email; not tried again by itself"
    return f"the relay's last answer was lost; {_again(record, now)}, with the same Message-ID"


def _sent(record: Record, _: int) -> str:
    last = next((delivery for delivery in record.deliveries if delivery.state == "sent"), None)
    return said(last) if last is not None else ""


def _partly(record: Record, _: int) -> str:
    good = sum(delivery.state == "sent" for delivery in record.deliveries)
    return f"{good} of {count(len(record.deliveries), 'recipient')} sent; {_refusal(record)}"


def _failed(record: Record, _: int) -> str:
    return _refusal(record)


def _refusal(record: Record) -> str:
    bad = next((delivery for delivery in record.deliveries if delivery.state == "failed" and said(delivery)), None)
    if bad is None:
        return record.why or "refused"
    words = said(bad)
    return f"{words}: {meaning(bad.stage, bad.reply).text}" if bad.reply is not None else words


def _captured(_: Record, __: int) -> str:
    return "kept in the mailbox"


def _expired(record: Record, _: int) -> str:
    return record.why or "its expires_at came first"


def _cancelled(record: Record, _: int) -> str:
    return record.why or "stopped before it was sent"


_BY_STATE: Final[dict[State, Callable[[Record, int], str]]] = {
    "scheduled": _scheduled,
    "queued": _queued,
    "sending": _sending,
    "deferred": _deferred,
    "held": _held,
    "uncertain": _uncertain,
    "sent": _sent,
    "partly_sent": _partly,
    "captured": _captured,
    "failed": _failed,
    "expired": _expired,
    "cancelled": _cancelled,
}


def obstacle(record: Record, figures: Figures) -> str:
    """What stands in the way of an email that could go now, beyond its own record; empty where nothing does."""
    if record.state not in ("queued", "scheduled", "deferred", "uncertain", "held") or record.held_for not in (None, "relay"):
        return ""
    if record.state == "uncertain" and record.next_at is None:
        return ""
    if not figures.workers:
        return "No worker is running. Start one: `email-service worker`"
    if figures.paused:
        return "The queue is paused by an operator."
    out = [relay for relay in figures.relays if relay.state == "down"]
    if out and len(out) == len(figures.relays):
        first = out[0]
        when = f", tried again {ago(first.probe_at, figures.now)}" if first.probe_at and first.probe_at > figures.now else ""
        found = meaning(first.stage, first.reply)
        return f"Relay {first.shown or first.name} takes no mail ({first.said or found.text}){when}. {found.what}".strip()
    return ""
