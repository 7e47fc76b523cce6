"""From a body's bytes to an email, whatever they are."""

import json
from typing import Any

import pytest
from litestar.exceptions import ValidationException

from service.body import MOST_QUOTES, STEP, read_email
from tasks.checked import MAX_ATTACHMENTS, MAX_HEADERS

EMAIL: dict[str, Any] = {"email_to": "a@b.example", "email_from": "c@d.example", "subject": "Hi", "message": {"text": "x"}}


def body_of(**more: Any) -> bytes:
    return json.dumps({**EMAIL, **more}).encode()


@pytest.mark.parametrize(
    "more",
    [
        {"headers": {f"X-{n}": "" for n in range(MOST_QUOTES // 4 + 1)}, "message": {"text": "x" * STEP}},
        {"email_to": [""] * (MOST_QUOTES // 2 + 1), "message": {"text": "x" * STEP}},
        {"email_to": ["\\"] * MOST_QUOTES},
        {"cc": {f"{n}": '\\"' for n in range(MOST_QUOTES)}},
    ],
)
def test_more_strings_than_any_email_has_are_refused_unread(more: Any) -> None:
    body = body_of(**more)
    assert len(body) > STEP
    with pytest.raises(ValidationException) as caught:
        read_email(body)
    assert "holds more than 125,000 strings" in str(caught.value.extra)


def test_an_email_at_all_its_limits_is_read() -> None:
    a_file = {"filename": "a", "content": "QQ==" * 4000, "content_type": "a/b", "content_id": "x"}
    more = {
        "headers": {f"X-{n}": "y" for n in range(MAX_HEADERS)},
        "attachments": [a_file] * MAX_ATTACHMENTS,
        **{field: ["a@b.example"] * 1000 for field in ("email_to", "cc", "bcc", "reply_to")},
        "tags": [{"name": "a", "value": "b"}] * 50,
    }
    assert len(read_email(body_of(**more)).attachments) == MAX_ATTACHMENTS


@pytest.mark.parametrize("text", ['"' * 3_000_000, '\\"' * 1_000_000, '<a href="x">' * 300_000, "\\" * 2_000_000])
def test_quotes_within_a_text_are_none_of_strings(text: str) -> None:
    email = read_email(body_of(message={"html": text}))
    assert email.message.html == text
    assert read_email(bytearray(body_of(message={"html": text}))).message.html == text
