"""What clients get back: errors in one shape, and an email in one shape from its first moment to its last."""

import threading
import typing
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.testing import RequestFactory

from service import api, errors
from service.accept import SenderNotAllowed
from service.answers import show, why
from service.clients import Client
from tasks.errors import EmailInvalid, FieldError, QueueFull, StoreUnavailable
from tasks.outcome import Reply
from tasks.record import Delivery, Event, Record, State
from tests.letters import MESSAGE, a_letter

NOBODY: Any = None
AT = 1_795_600_800_000
UNKNOWN = "is no field of this request: leave it out, or check its spelling"


def a_record(state: State = "queued", *deliveries: Delivery, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "letter": a_letter(), "deliveries": list(deliveries) or [Delivery(to="ada@dest.example")], "state": state,
        "lane": "normal", "accepted": AT,
    }  # fmt: skip
    return Record(**{**fields, **changes})


def said(answer: Any) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(answer.content)) | {"_status": answer.status_code}


# an email


@pytest.mark.parametrize("state", typing.get_args(State))
def test_every_state_has_a_word_of_resends_and_every_field_is_always_there(state: State) -> None:
    shown = msgspec.json.decode(msgspec.json.encode(show(a_record(state), [], None)))
    assert shown["state"] == state
    assert shown["last_event"] in {"scheduled", "queued", "delivery_delayed", "sent", "failed", "canceled"}
    assert set(shown) == {
        "object", "id", "message_id", "from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "tags", "created_at",
        "scheduled_at", "last_event", "state", "mode", "priority", "expires_at", "attempt", "next_attempt_at", "why",
        "last_reply", "flagged", "recipients", "events",
    }  # fmt: skip


def test_times_are_iso_in_utc_or_null() -> None:
    record = a_record(next_at=AT + 60_123, letter=a_letter(created=AT, send_at=AT + 1, expires=AT + 2))
    shown = show(record, [Event(at=AT, what="accepted")], None)
    assert (shown.created_at, shown.next_attempt_at) == ("2026-11-25T10:00:00.000Z", "2026-11-25T10:01:00.123Z")
    assert (shown.scheduled_at, shown.expires_at) == ("2026-11-25T10:00:00.001Z", "2026-11-25T10:00:00.002Z")
    assert shown.events[0].at == "2026-11-25T10:00:00.000Z"
    assert show(a_record(), [], None).scheduled_at is None


def test_the_content_is_shown_while_it_is_kept() -> None:
    assert show(a_record(), [], MESSAGE).text is not None
    assert (show(a_record(), [], None).text, show(a_record(), [], None).html) == (None, None)
    assert show(a_record(), [], b"\xff\x00 no message at all").html is None


def test_the_last_reply_is_that_of_whom_something_was_said_about_last() -> None:
    early = Delivery(to="a@b.example", state="sent", reply=Reply(250, "ok"), at=AT)
    late = Delivery(to="c@d.example", state="deferred", reply=Reply(450, "4.2.1 busy"), at=AT + 5)
    fault = Delivery(to="e@f.example", state="deferred", fault="no answer within 300 s", at=AT + 9)
    assert show(a_record("deferred", late, early), [], None).last_reply == "450 4.2.1 busy"
    assert show(a_record("deferred", late, fault), [], None).last_reply == "no answer within 300 s"
    assert show(a_record(), [], None).last_reply is None


@pytest.mark.parametrize(("size", "is_beside"), [(1000, False), (api.READ_IN_THREAD + 1, True)])
async def test_a_large_message_is_read_beside_the_event_loop(
    size: int, is_beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record(content_kept=True)
    ledger = AsyncMock()
    ledger.record.return_value, ledger.content.return_value = record, b"\r\n" * (size // 2 + 1)

    def shown(*_: object) -> threading.Thread:
        return threading.current_thread()

    monkeypatch.setattr(api, "show", shown)
    caller = api.Caller(Client(name=record.letter.client), NOBODY, ledger, NOBODY)
    answer = await api.get_email.fn(record.letter.id, caller)
    assert isinstance(answer.content, threading.Thread)
    assert (answer.content is not threading.current_thread()) is is_beside


@pytest.mark.parametrize(("uncertain", "flagged"), [(0, False), (1, True), (3, True)])
def test_an_email_that_the_relay_may_have_twice_is_flagged(uncertain: int, flagged: bool) -> None:
    record = a_record("sent", Delivery(to="a@b.example", state="sent", uncertain=uncertain))
    assert show(record, [], None).flagged is flagged


@pytest.mark.parametrize(
    ("state", "stored", "text"),
    [
        ("scheduled", None, "it waits for its send_at"), ("queued", None, "it waits for a worker"),
        ("sending", None, "an attempt is running"), ("deferred", "the relay said 450 busy", "the relay said 450 busy"),
        ("sent", None, None), ("captured", None, None),
    ],
)  # fmt: skip
def test_whatever_waits_says_why(state: State, stored: str | None, text: str | None) -> None:
    assert why(a_record(state, why=stored)) == text


# errors


def test_every_wrong_field_is_in_the_list_and_the_first_in_the_message() -> None:
    wrong = [FieldError("email_to[1]", "is no address"), FieldError("subject", "holds a line break")]
    assert said(errors.on_email_invalid(NOBODY, EmailInvalid(wrong))) == {
        "_status": 422, "statusCode": 422, "name": "validation_error", "message": "email_to[1]: is no address (and 1 more)",
        "errors": [{"field": "email_to[1]", "message": "is no address"}, {"field": "subject", "message": "holds a line break"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "message", "field", "text"),
    [
        ("data", "Object missing required field `email_to`", "email_to", "is required"),
        ("message", "Object contains unknown field `htm`", "message.htm", UNKNOWN),
        ("$.tags[0]", "Object missing required field `name`", "tags[0].name", "is required"),
        ("email_to", "Expected `str | array`, got `int`", "email_to", "must be a string or a list, not a number"),
        ("data", "Expected `object`, got `array`", "body", "must be an object, not a list"),
        ("tags", "Expected `array` of length <= 50", "tags", "Expected `array` of length <= 50"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_said_with_the_field_where_it_belongs(key: str, message: str, field: str, text: str) -> None:
    found = said(errors.on_validation(NOBODY, ValidationException(extra=[{"key": key, "message": message}])))
    assert (found["_status"], found["errors"]) == (422, [{"field": field, "message": text}])


@given(st.text(max_size=5000))
def test_a_name_that_a_stranger_chose_is_shown_short_and_clean(name: str) -> None:
    message = f"Object contains unknown field `{name}`"
    found = said(errors.on_validation(NOBODY, ValidationException(extra=[{"key": "data", "message": message}])))
    [error] = found["errors"]
    assert len(error["field"]) <= 130
    assert error["field"].isprintable()


@pytest.mark.parametrize("extra", [None, [], [{"key": "", "message": "'data'"}]])
def test_no_body_is_a_400(extra: Any) -> None:
    found = said(errors.on_validation(NOBODY, ValidationException(extra=extra)))
    assert (found["_status"], found["name"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("error", "status", "name", "retry"),
    [
        (QueueFull("the queue is full", 30), 503, "queue_full", "30"),
        (StoreUnavailable("Redis is full (maxmemory)"), 503, "service_unavailable", "5"),
    ],
)
def test_trouble_with_the_store_says_when_to_come_again(error: StoreUnavailable, status: int, name: str, retry: str) -> None:
    answer = errors.on_store(RequestFactory().post("/send-email"), error)
    found = said(answer)
    assert (found["_status"], found["name"], answer.headers["retry-after"]) == (status, name, retry)
    assert str(error) in found["message"]


def test_a_foreign_sender_is_told_what_is_allowed() -> None:
    found = said(errors.on_sender(NOBODY, SenderNotAllowed("x@evil.example", ["*@shop.example"])))
    assert (found["_status"], found["name"], found["errors"][0]["field"]) == (403, "invalid_from_address", "email_from")
    assert "*@shop.example" in found["message"]


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (NotFoundException(), 404, "not_found"),
        (MethodNotAllowedException(headers={"Allow": "GET"}), 405, "method_not_allowed"),
        (HTTPException(status_code=413), 413, "request_entity_too_large"),
        (HTTPException(status_code=415, detail="Send JSON."), 415, "unsupported_media_type"),
        (HTTPException(status_code=401, detail="No key."), 401, "missing_api_key"),
        (HTTPException(status_code=400, detail="Bad."), 400, "invalid_json"),
    ],
)
def test_litestars_own_refusals_have_the_same_shape(error: HTTPException, status: int, name: str) -> None:
    answer = errors.on_http(RequestFactory().post("/send-email"), error)
    found = said(answer)
    assert (found["_status"], found["statusCode"], found["name"]) == (status, status, name)
    assert found["message"]
    if status == 405:
        assert answer.headers["allow"] == "GET"


def test_every_exception_of_ours_that_a_request_can_meet_has_its_answer() -> None:
    for error in (EmailInvalid, SenderNotAllowed, StoreUnavailable, HTTPException, UnicodeDecodeError, RecursionError):
        assert error in errors.HANDLERS
    assert issubclass(QueueFull, StoreUnavailable)
