"""Whatever goes wrong, as an answer in one shape: a name for programs, a sentence for people, and the fields concerned.

This module turns exceptions into answers; it decides nothing else.
"""

import re
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from loguru import logger

from service.accept import KeyUsed, SenderNotAllowed
from tasks.errors import EmailInvalid, FieldError, QueueFull, RecipientFlooded, StoreUnavailable


class ErrorAnswer(msgspec.Struct, omit_defaults=True):
    """The body of every error. ``name`` is for programs, ``message`` for people; ``errors`` names the fields."""

    statusCode: int  # noqa: N815 (the wire's word)
    name: str
    message: str
    errors: list[FieldError] = []


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


def on_key_used(_: Request[Any, Any, Any], __: KeyUsed) -> Response[Any]:
    """409."""
    text = "This Idempotency-Key was used for another email. Use a new key, or send the first body again."
    return error(409, "invalid_idempotent_request", text)


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
    KeyUsed: on_key_used,
    RecipientFlooded: on_flooded,
    StoreUnavailable: on_store,
    UnicodeDecodeError: on_not_utf8,
    RecursionError: on_too_deep,
    HTTPException: on_http,
    Exception: on_any,
}
