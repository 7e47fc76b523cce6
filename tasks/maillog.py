"""What happens to mail, in sentences that never drift.

Each function is one sentence; its name is the word for the event everywhere (``Event.what``, pages, documentation).
Operators search the logs for these texts, and programs count them, so a text changes only with the CHANGELOG.

======== =====================================================================================================
DEBUG    attempt, replayed
INFO     the usual way: accepted, sent, captured, deferred, resumed, retried, rescheduled, cancelled, relay_open_again
WARNING  someone's mail did not go: failed, expired, held, uncertain, relay_closed, refused, refused_key, queue_full
ERROR    a person must act: held, relay_closed or deferred with an alarm (password, certificate, settings); store_lost
======== =====================================================================================================

``email`` is an email's id, ``to`` one recipient's address, ``relay`` its ``host:port``, ``attempt`` counts from 1, times are
whole seconds. Subjects, bodies and keys do not get here; what others said (replies, addresses) is escaped by the sink.

This module is the mail log.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loguru import logger

from tasks.logsink import Sink
from tasks.outcome import Outcome
from tasks.record import HeldFor

if TYPE_CHECKING:
    from loguru import Logger


def _of(email: str) -> "Logger":
    return logger.bind(email=email)


def _often(email: str, text: str) -> None:
    """INFO, by the short way where our own sink is in place."""
    sink = Sink.current
    if sink is None or not sink.soon(__name__, email, text):
        _of(email).info("{}", text)


def _count(n: int, one: str) -> str:
    return f"{n} {one}" if n == 1 else f"{n} {one}s"


def _waiting(n: int) -> str:
    return f"{_count(n, 'email')} {'waits' if n == 1 else 'wait'}"


def accepted(email: str, client: str, *, recipients: int, size: int, lane: str, wait: int = 0) -> None:
    """It is stored and its id was given out. ``size`` in bytes; ``wait``: seconds until it may go, for scheduled mail."""
    if wait > 0:
        _of(email).info(
            "accepted from {} for {}, {} bytes, lane {}, to go in {} s",
            client,
            _count(recipients, "recipient"),
            size,
            lane,
            wait,
        )
    else:
        _often(email, f"accepted from {client} for {_count(recipients, 'recipient')}, {size} bytes, lane {lane}")


def replayed(email: str, client: str) -> None:
    """The same Idempotency-Key came again and got the first answer."""
    _of(email).debug("asked for again by {}: the first answer was repeated", client)


def refused(client: str, status: int, name: str, fields: Sequence[str] = ()) -> None:
    """A request was answered 4xx: by which rule, in which fields (their names only, for values may be content)."""
    logger.warning("refused from {}: {} {} {}", client, status, name, ", ".join(fields[:20]))


def refused_key(key_id: str | None, why: str) -> None:
    """A request had no valid key. ``key_id`` is the public part of it, if it has one; never the key."""
    logger.warning("refused a request with key {}: {}", key_id or "(none)", why)


def queue_full(waiting: int, limit: int) -> None:
    """New mail is answered 503 because so many emails wait."""
    logger.warning("refused new mail: {}, the limit is {}", _waiting(waiting), limit)


def attempt(email: str, attempt: int, *, relay: str, recipients: int) -> None:
    """An SMTP transaction begins."""
    _of(email).debug("attempt {} at {} for {}", attempt, relay, _count(recipients, "recipient"))


def sent(email: str, to: str, outcome: Outcome, *, relay: str, attempt: int) -> None:
    """The relay has taken it for this recipient."""
    _often(email, f"sent to {to} by {relay} in attempt {attempt}: {outcome.said}")


def captured(email: str, recipients: int) -> None:
    """It went to the mailbox instead of a relay, as its client's mode says."""
    _of(email).info("captured in the mailbox for {}", _count(recipients, "recipient"))


def deferred(email: str, to: str, outcome: Outcome, *, relay: str, attempt: int, next_in: int) -> None:
    """Not now; ``next_in`` seconds until the next attempt."""
    level = "ERROR" if outcome.alarm else "INFO"
    _of(email).log(
        level, "deferred for {} by {} at {} in attempt {}, next in {} s: {}",
        to, relay, outcome.stage, attempt, next_in, outcome.said,
    )  # fmt: skip


def failed(email: str, to: str, outcome: Outcome, *, relay: str, attempt: int) -> None:
    """Refused for good for this recipient."""
    _of(email).warning("failed for {} by {} at {} in attempt {}: {}", to, relay, outcome.stage, attempt, outcome.said)


def uncertain(email: str, to: str, outcome: Outcome, *, relay: str, attempt: int, next_in: int | None) -> None:
    """The final dot was sent and the answer lost. ``next_in`` seconds until it goes again, None if it never does."""
    if next_in is None:
        _of(email).warning(
            "uncertain for {}: {} may have it from attempt {}, not sent again: {}", to, relay, attempt, outcome.said
        )
    else:
        _of(email).warning(
            "uncertain for {}: {} may have it from attempt {}, again in {} s: {}",
            to, relay, attempt, next_in, outcome.said,
        )  # fmt: skip


def expired(email: str, to: str, why: str) -> None:
    """Its time ran out before this recipient's relay took it."""
    _of(email).warning("expired for {}: {}", to, why)


def cancelled(email: str, by: str) -> None:
    """Stopped before the dot by its client or an operator."""
    _of(email).info("cancelled by {}", by)


def retried(email: str, by: str, *, round: int) -> None:  # noqa: A002  the record's own word
    """Opened again for those recipients who have not got it."""
    _of(email).info("retried by {}, round {}", by, round)


def rescheduled(email: str, by: str, *, wait: int) -> None:
    """Its moment was changed; ``wait`` seconds from now."""
    _of(email).info("rescheduled by {}, to go in {} s", by, wait)


def held(email: str, reason: HeldFor, why: str, *, alarm: bool = False) -> None:
    """Taken out of its lane until the reason is gone; no attempt is used up."""
    _of(email).log("ERROR" if alarm or reason in ("damaged", "internal") else "WARNING", "held ({}): {}", reason, why)


def resumed(email: str, reason: HeldFor, by: str) -> None:
    """Back in its lane at its old place. ``by`` names the operator or what ended the reason."""
    _of(email).info("resumed (was held: {}) by {}", reason, by)


def relay_closed(relay: str, outcome: Outcome, *, waiting: int, next_in: int) -> None:
    """Mail for this relay waits; it is tried again in ``next_in`` seconds."""
    level = "ERROR" if outcome.alarm else "WARNING"
    logger.log(
        level, "relay {} closed at {}: {}, tried again in {} s: {}",
        relay, outcome.stage, _waiting(waiting), next_in, outcome.said,
    )  # fmt: skip


def relay_open_again(relay: str, *, after: int, waiting: int) -> None:
    """The relay takes mail again, ``after`` seconds of none."""
    goes = "goes" if waiting == 1 else "go"
    logger.info("relay {} open again after {} s: {} {} on", relay, after, _count(waiting, "email"), goes)


def store_lost(why: str) -> None:
    """Redis does not answer, is read-only or full: nothing is accepted, nothing sent."""
    logger.error("redis cannot be used: {}", why)


def store_found(after: int) -> None:
    """Redis answers again, ``after`` seconds of not."""
    logger.info("redis can be used again after {} s", after)


def signed_in(peer: str) -> None:
    """An operator gave the right password, from this address."""
    logger.info("operator signed in from {}", peer)


def refused_sign_in(peer: str, why: str) -> None:
    """Someone at the operator's pages did not give the right password."""
    logger.warning("sign-in refused from {}: {}", peer, why)
