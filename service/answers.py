"""What clients get back: errors in one shape, and an email as ``GET /emails/{id}`` shows it.

This module turns records and exceptions into JSON; it decides nothing else.
"""

import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from loguru import logger

from service.accept import SenderNotAllowed
from service.moments import iso
from tasks.email import Tag
from tasks.errors import EmailInvalid, FieldError, QueueFull, RecipientFlooded, StoreUnavailable
from tasks.outcome import Reply
from tasks.reader import read
from tasks.record import Event, Record
from tasks.secret import name_alone


class ErrorAnswer(msgspec.Struct, omit_defaults=True):
    """The body of every error. ``name`` is for programs, ``message`` for people; ``errors`` names the fields."""

    statusCode: int  # noqa: N815 (the wire's word)
    name: str
    message: str
    errors: list[FieldError] = []


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


def error(status: int, name: str, message: str, errors: list[FieldError] | None = None, /, **headers: str) -> Response[Any]:
    """An error answer; header names with underscores for hyphens."""
    return Response(
        ErrorAnswer(status, name, message, errors or []),
        status_code=status,
        media_type=MediaType.JSON,
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )


def on_email_invalid(_: Request[Any, Any, Any], exc: EmailInvalid) -> Response[Any]:
    """422 with every wrong field."""
    first = exc.errors[0]
    more = f" (and {len(exc.errors) - 1} more)" if len(exc.errors) > 1 else ""
    return error(422, "validation_error", f"{first.field}: {first.message}{more}", exc.errors)


def on_validation(_: Request[Any, Any, Any], exc: ValidationException) -> Response[Any]:
    """422 for a body or parameter of the wrong shape, 400 for no body at all."""
    found = exc.extra if isinstance(exc.extra, list) else []
    errors = [_field_error(str(item.get("key", "")), str(item["message"])) for item in found]
    if not errors or errors[0].message == "'data'":
        return error(400, "invalid_json", "The body is empty. Send the email as a JSON object.")
    first = errors[0]
    return error(422, "validation_error", f"{first.field}: {first.message}" if first.field else first.message, errors)


_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(.*)`, got `(.*)`", re.DOTALL)


def _field_error(key: str, message: str) -> FieldError:
    """msgspec's sentence with the field where it belongs."""
    path = "" if key == "data" else key.removeprefix("$.").removeprefix("$")
    if match := _MISSING.fullmatch(message):
        return FieldError(_join(path, match[1]), "is required")
    if match := _UNKNOWN.fullmatch(message):
        return FieldError(_join(path, match[1]), "is no field of this request: leave it out, or check its spelling")
    field = path[:64] or "body"
    if field in _RULES or field.startswith("tags["):
        return FieldError(field, _RULES.get(field, _TAG_RULE))
    if match := _EXPECTED.fullmatch(message):
        return FieldError(field, f"must be {_in_words(match[1])}, not {_in_words(match[2])}")
    return FieldError(field, message[:200])


_RULES = {"priority": "must be high, normal or low", "on_uncertain": "must be retry or hold"}
_TAG_RULE = "a tag is {name, value}, each 1 to 256 letters, digits, hyphens or underscores"
_JSON_WORDS = {
    "str": "a string", "int": "a number", "float": "a number", "array": "a list", "object": "an object",
    "bool": "true or false",
}  # fmt: skip


def _in_words(types: str) -> str:
    """msgspec's ``str | array`` in words of JSON."""
    return " or ".join(_JSON_WORDS.get(kind, kind) for kind in types.split(" | "))


def _join(path: str, name: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in name[:64])
    return f"{path[:64]}.{shown}" if path else shown


def on_http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[Any]:
    """Litestar's own refusals in our shape; its 400 for a body is a JSON fault."""
    names = {400: "invalid_json", 401: "missing_api_key", 404: "not_found", 405: "method_not_allowed"}
    texts = {
        400: "The body is not valid JSON in UTF-8.",
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }
    status = exc.status_code
    if status == 413:
        limit, sent = request.app.request_max_body_size, request.headers.get("content-length", "")
        size = f", this one has {int(sent):,}" if sent.isascii() and sent.isdecimal() and len(sent) < 19 else ""
        texts[413] = f"The body may have {limit:,} bytes{size}. Send less, or links to files instead of attachments."
    name = names.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    detail = texts.get(status, exc.detail) if exc.__cause__ is not None or status != 400 else exc.detail
    answer = error(status, name, detail)
    for key, value in (exc.headers or {}).items():
        answer.headers[key.lower()] = value
    return answer


def on_not_utf8(_: Request[Any, Any, Any], __: UnicodeDecodeError) -> Response[Any]:
    """400."""
    return error(400, "invalid_json", "The body is not UTF-8.")


def on_too_deep(_: Request[Any, Any, Any], __: RecursionError) -> Response[Any]:
    """400."""
    return error(400, "invalid_json", "The JSON is nested too deeply.")


def on_sender(_: Request[Any, Any, Any], exc: SenderNotAllowed) -> Response[Any]:
    """403 that names the allowed senders."""
    return error(403, "invalid_from_address", str(exc), [FieldError("email_from", str(exc))])


def on_flooded(_: Request[Any, Any, Any], exc: RecipientFlooded) -> Response[Any]:
    """429 with Retry-After that names the recipient."""
    message = f"{exc}. Nothing was stored; send it again in {exc.retry_after} s."
    return error(429, "rate_limit_exceeded", message, None, retry_after=str(exc.retry_after))


def on_store(request: Request[Any, Any, Any], exc: StoreUnavailable) -> Response[Any]:
    """503 with Retry-After."""
    if isinstance(exc, QueueFull):
        message = f"No email is taken at present: {exc}. Send it again later."
        return error(503, "queue_full", message, None, retry_after=str(exc.retry_after))
    message = f"Not possible at present: {exc}. Ask again later."
    if request.url.path.rstrip("/") == "/send-email":
        message = f"It is not sure that the email is stored: {exc}. Send it again, with the same Idempotency-Key if it has one."
    return error(503, "service_unavailable", message, retry_after=str(exc.retry_after))


def on_any(request: Request[Any, Any, Any], exc: Exception) -> Response[Any]:
    """500 with the request's id, under which the log has the rest."""
    request_id = request.scope.get("state", {}).get("request_id", "")
    logger.opt(exception=exc).error("request {} {} failed: error id {}", request.method, request.url.path, request_id)
    return error(500, "internal_server_error", f"An error of this service; its log has it under {request_id}.")


HANDLERS: dict[Any, Any] = {
    EmailInvalid: on_email_invalid,
    ValidationException: on_validation,
    SenderNotAllowed: on_sender,
    RecipientFlooded: on_flooded,
    StoreUnavailable: on_store,
    UnicodeDecodeError: on_not_utf8,
    RecursionError: on_too_deep,
    HTTPException: on_http,
    Exception: on_any,
}
