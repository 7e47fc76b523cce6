"""The state of an email, derived from its recipients' alone."""

import itertools
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.outcome import Reply
from tasks.record import FINAL, WAITING, Delivery, DeliveryState, Event, State, derive_state
from tests.letters import a_letter

STATES = typing.get_args(DeliveryState)


def deliveries(*states: str) -> list[Delivery]:
    return [Delivery(to=f"r{n}@dest.example", state=typing.cast(DeliveryState, state)) for n, state in enumerate(states)]


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["waiting"], "deferred"),
        (["deferred"], "deferred"),
        (["uncertain"], "uncertain"),
        (["sent"], "sent"),
        (["captured"], "captured"),
        (["failed"], "failed"),
        (["expired"], "expired"),
        (["cancelled"], "cancelled"),
        (["sent", "sent"], "sent"),
        (["captured", "captured"], "captured"),
        (["failed", "failed"], "failed"),
        (["sent", "failed"], "partly_sent"),
        (["sent", "expired"], "partly_sent"),
        (["sent", "cancelled"], "partly_sent"),
        (["sent", "deferred"], "deferred"),
        (["sent", "waiting"], "deferred"),
        (["failed", "deferred"], "deferred"),
        (["failed", "waiting"], "deferred"),
        (["sent", "failed", "deferred"], "deferred"),
        (["uncertain", "deferred"], "uncertain"),
        (["uncertain", "sent"], "uncertain"),
        (["uncertain", "failed"], "uncertain"),
        (["uncertain", "expired"], "uncertain"),
        (["failed", "expired"], "expired"),
        (["failed", "cancelled"], "cancelled"),
        (["expired", "cancelled"], "cancelled"),
    ],
)
def test_an_emails_state_follows_from_its_recipients(states: list[str], state: str) -> None:
    for order in itertools.permutations(states):
        assert derive_state(deliveries(*order)) == state


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=8))
def test_only_an_email_with_nothing_left_to_send_is_final(states: list[str]) -> None:
    state = derive_state(deliveries(*states))
    is_open = bool(set(states) & {"waiting", "deferred", "uncertain"})
    assert (state in FINAL) is not is_open


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=8))
def test_sent_is_said_only_where_every_recipient_got_it(states: list[str]) -> None:
    state = derive_state(deliveries(*states))
    assert (state == "sent") is (set(states) == {"sent"})
    assert (state == "partly_sent") <= ("sent" in states)
    if state in {"failed", "expired", "cancelled"}:
        assert "sent" not in states


def test_each_state_is_either_waiting_or_final() -> None:
    assert set(WAITING) | FINAL == set(typing.get_args(State))
    assert not set(WAITING) & FINAL


def test_a_letter_survives_its_journey_through_json() -> None:
    letter = a_letter(bcc=["b@dest.example"], send_at=1, expires=2, on_uncertain="hold", mode="redirect:a@b.example")
    assert msgspec.json.decode(msgspec.json.encode(letter), type=type(letter)) == letter


def test_what_an_older_version_did_not_write_has_a_default() -> None:
    """Records outlive updates: fields come with defaults, and unknown ones are passed over."""
    delivery = msgspec.json.decode(b'{"to": "a@b.example", "added_later": 1}', type=Delivery)
    assert delivery == Delivery(to="a@b.example", state="waiting", attempts=0)
    event = msgspec.json.decode(b'{"at": 1, "what": "sent", "reply": {"code": 250}}', type=Event)
    assert event == Event(at=1, what="sent", reply=Reply(250))
