"""What the OpenAPI document says of answers: every status that a route can give, each with an example in the one error shape.

Some come from before the routes, so that any request may get them (400, 408, 413, 415, 431); the document names those that a
whole, honest request can meet. This module is the document's part that types do not say.
"""

from dataclasses import dataclass
from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, RequestBody

from service.errors import ErrorAnswer
from tasks.errors import FieldError

_WRONG_FIELD: Final = "no '@' in 'ada': write an address such as news@shop.example"
_ERRORS: Final = {
    400: ("broken JSON, or two Authorization headers", "invalid_json", "The body is not valid JSON in UTF-8."),
    401: ("no key", "missing_api_key", "Send your key as Authorization: Bearer <key>."),
    403: ("a wrong or revoked key", "invalid_api_key", "This key is wrong or was revoked."),
    404: ("no email of this client has this id", "not_found", "There is no email of yours with this id."),
    409: ("not possible as things are: `message` says why", "too_late", "The email may be at the relay already."),
    413: ("the body is too large", "request_entity_too_large", "The body is larger than this service takes."),
    415: ("the body is not JSON, or compressed", "unsupported_media_type", "The body must be JSON in UTF-8."),
    422: ("a field is wrong: `errors` names each", "validation_error", f"email_to: {_WRONG_FIELD}"),
    429: ("too many requests, wrong keys, or emails for one recipient: again after Retry-After", "rate_limit_exceeded",
          "This client may ask 100 times in 60 s. Ask again in 3 s."),
    503: ("Redis is away, or the queue is full: again after Retry-After", "service_unavailable", "Redis does not answer."),
}  # fmt: skip
_EMAIL: Final = {
    "email_to": "Ada <ada@example.com>",
    "email_from": "My Shop <hello@example.com>",
    "subject": "Your receipt",
    "message": {"text": "Thank you.", "html": "<p>Thank <b>you</b>.</p>"},
}
_LETTERS: Final = {
    "receipt": Example(summary="A receipt", value=_EMAIL),
    "everything": Example(
        summary="Everything that an email can have",
        value={
            **_EMAIL,
            "email_to": ["ada@example.com", "Bob <bob@example.com>"],
            "cc": "carol@example.com",
            "bcc": ["dave@example.com"],
            "reply_to": "help@example.com",
            "message": {"html": "<p>Thank you.</p><img src='cid:logo' alt=''>"},
            "headers": {"X-Order": "17", "List-Unsubscribe": "<https://example.com/leave/17>"},
            "attachments": [
                {"filename": "note.txt", "content": "VGhhbmsgeW91Lg==", "content_type": "text/plain"},
                {"filename": "logo.gif", "content": "R0lGODlhAQABAAAAADs=", "content_type": "image/gif", "content_id": "logo"},
            ],
            "tags": [{"name": "kind", "value": "receipt"}],
            "priority": "high",
            "on_uncertain": "hold",
        },
    ),
}


def errors(*statuses: int, **texts: str) -> dict[int, ResponseSpec]:
    """The documentation of these refusals. ``texts`` replaces descriptions, by status as in ``_403="…"``."""
    found: dict[int, ResponseSpec] = {}
    for status in statuses:
        meaning, name, message = _ERRORS[status]
        fields = [FieldError("email_to", _WRONG_FIELD)] if status == 422 else []
        example = Example(summary=name, value=ErrorAnswer(status, name, message, fields))
        description = texts.get(f"_{status}", meaning)
        found[status] = ResponseSpec(ErrorAnswer, generate_examples=False, description=description, examples=[example])
    return found


@dataclass
class SendOperation(Operation):
    """``POST /send-email`` with examples that can be sent as they are."""

    def __post_init__(self) -> None:
        """Adds them to what Litestar has made of the types."""
        if isinstance(self.request_body, RequestBody):
            body = self.request_body.content["application/json"]
            assert isinstance(body, OpenAPIMediaType)  # noqa: S101 (for the type checker)
            body.examples = dict(_LETTERS)
