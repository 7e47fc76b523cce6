"""Acceptance: from a request's email to the stored message, while the client is still listening.

Everything about the letter is settled here, once: the worker is only a postman. This module is the way in; it knows nothing
of HTTP.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
from loguru import logger

from service.clients import Client
from service.moments import read_moment
from service.uuid7 import uuid7
from tasks import maillog
from tasks.checked import Limits
from tasks.claim import Put
from tasks.compose import Composed, compose
from tasks.email import Email
from tasks.errors import EmailInvalid, EmailServiceError, FieldError, QueueFull
from tasks.queue import Queue
from tasks.record import Letter
from tasks.routes import Route, choose

COMPOSE_IN_THREAD = 256 * 1024
"""Emails above this size are composed beside the event loop, which would stand still for them (10 MB: 0.5 s)."""


class SenderNotAllowed(EmailServiceError):
    """The key may not send from this address; ``allowed`` are the patterns that it may."""

    def __init__(self, sender: str, allowed: list[str]) -> None:
        super().__init__(f"This key may send from {', '.join(allowed)}, not from {sender}.")
        self.sender = sender
        self.allowed = allowed


class KeyUsed(EmailServiceError):
    """The Idempotency-Key belongs to another email."""


class Acceptance:
    """Composes and puts. ``limits`` are those of one message."""

    def __init__(self, queue: Queue, limits: Limits) -> None:
        self._queue = queue
        self._limits = limits
        self.refusal = ""
        """Why no email is taken at present; nothing where they are."""
        self.routes: list[Route] = []
        """The workers' routes, as last heard."""

    async def accept(self, email: Email, client: Client, *, idempotency: tuple[str, str] | None = None) -> Put:
        """Stores ``email`` and says under which id.

        Raises ``EmailInvalid``, ``SenderNotAllowed``, ``RecipientFlooded``, ``QueueFull`` and ``StoreUnavailable``. After
        a put nothing but the relay can refuse the email.
        """
        if self.refusal:
            raise QueueFull(self.refusal, retry_after=30)
        now = round(time.time() * 1000)
        id_ = uuid7(now)
        try:
            send_at, expires = _moments(email, now)
        except EmailInvalid:  # a moment passes; what was answered before it did is answered again all the same
            before = await self._queue.replayed(client.name, idempotency) if idempotency is not None else None
            if before is None:
                raise
            maillog.replayed(before, client.name)
            return Put("replayed", before, 0)
        redirect = client.mode.removeprefix("redirect:") if client.mode.startswith("redirect:") else None

        def work() -> Composed:
            return compose(email, id=id_, at_ms=send_at or now, limits=self._limits, redirect=redirect)

        composed = await asyncio.to_thread(work) if _weight(email) > COMPOSE_IN_THREAD else work()
        if not client.may_send_as(composed.sender):
            raise SenderNotAllowed(composed.sender, client.senders)
        lane = "normal" if email.priority is msgspec.UNSET else email.priority
        letter = Letter(
            id=id_,
            client=client.name,
            mode=client.mode,
            from_=composed.from_,
            to=composed.to,
            cc=composed.cc,
            bcc=composed.bcc,
            reply_to=composed.reply_to,
            subject=composed.subject,
            tags=email.tags,
            sender=composed.sender,
            message_id=composed.message_id,
            sha256=composed.sha256,
            size=len(composed.message),
            created=now,
            send_at=send_at,
            expires=expires,
            on_uncertain=email.on_uncertain,
        )
        route = choose(self.routes, composed.sender)
        put = await self._queue.put(letter, composed.recipients, composed.message, lane, route=route, idempotency=idempotency)
        if put.what == "replayed":
            maillog.replayed(put.id, client.name)
        elif put.what == "put":
            wait = round((send_at - now) / 1000) if send_at is not None else 0
            maillog.accepted(
                put.id, client.name, recipients=len(composed.recipients), size=letter.size, lane=lane, wait=max(0, wait)
            )
        else:
            logger.debug("email {}: put answered {}", put.id, put.what)
        return put


def _weight(email: Email) -> int:
    """About how many characters there are to compose."""
    texts = len(email.message.text or "") + len(email.message.html or "")
    return texts + sum(len(attachment.content) for attachment in email.attachments)


def _moments(email: Email, now: int) -> tuple[int | None, int | None]:
    """``send_at`` and ``expires_at`` in ms; a ``send_at`` in the past means now."""
    if email.send_at is None and email.expires_at is None:
        return None, None
    errors: list[FieldError] = []
    send_at = _moment(email.send_at, "send_at", now, errors.append)
    expires = _moment(email.expires_at, "expires_at", now, errors.append)
    send_at = send_at if send_at is not None and send_at > now else None
    if expires is not None and expires <= (send_at or now):
        errors.append(FieldError("expires_at", "must lie after send_at and after now"))
    if errors:
        raise EmailInvalid(errors)
    return send_at, expires


def _moment(text: str | None, field: str, now: int, complain: Callable[[FieldError], None]) -> int | None:
    if text is None:
        return None
    try:
        return read_moment(text, now)
    except ValueError as error:
        complain(FieldError(field, str(error)))
        return None
