"""What replies mean: one row for each kind that relays are known to give."""

from typing import get_args

import pytest

from tasks.outcome import Reply, Stage
from tasks.record import Delivery, Record, State
from tests.letters import a_letter
from web.meaning import Who, meaning
from web.reason import reason

ROWS: list[tuple[Stage, int, str | None, str, Who, str]] = [
    ("auth", 535, "5.7.8", "authentication failed", "you", "refuses our user name or password"),
    ("auth", 535, None, "no", "you", "refuses our user name or password"),
    ("auth", 534, "5.7.9", "application-specific password required", "you", "refuses our user name or password"),
    ("auth", 534, None, "", "you", "wants another way to sign in"),
    ("auth", 454, "4.7.0", "temporary", "nobody", "slower pace"),
    ("mail", 530, "5.7.0", "authentication required", "you", "wants a login first"),
    ("mail", 530, None, "Must issue STARTTLS", "you", "wants a login first"),
    ("mail", 550, "5.7.60", "send as denied", "client", "sender address"),
    ("mail", 553, None, "sender rejected", "client", "sender address"),
    ("mail", 552, "5.3.4", "too big", "client", "too large"),
    ("rcpt", 550, "5.1.1", "user unknown", "client", "does not exist"),
    ("rcpt", 550, None, "no such user", "client", "does not exist"),
    ("rcpt", 550, "5.7.1", "relay access denied", "you", "does not take mail from us"),
    ("rcpt", 554, "5.7.1", "blocked by policy", "you", "by its policy"),
    ("rcpt", 552, "5.2.2", "mailbox full", "recipient", "mailbox is full"),
    ("rcpt", 452, "4.2.2", "mailbox full", "recipient", "tried again by itself"),
    ("rcpt", 452, "4.5.3", "too many", "nobody", "fewer recipients at a time"),
    ("rcpt", 450, None, "greylisted", "nobody", "greylisting"),
    ("rcpt", 451, "4.7.1", "greylisted", "nobody", "greylisting"),
    ("rcpt", 550, "5.1.10", "null MX", "client", "takes no mail"),
    ("dot", 250, "2.0.0", "queued as 4F1C", "nobody", "has taken the email"),
    ("dot", 250, None, "ok", "nobody", "has taken the email"),
    ("dot", 554, "5.6.0", "content", "client", "refuses the content"),
    ("dot", 550, "5.7.26", "unauthenticated", "you", "DMARC"),
    ("dot", 452, "4.3.1", "disk full", "relay", "disk is full"),
    ("dot", 421, None, "closing", "nobody", "ended the conversation"),
    ("data", 451, None, "local error", "nobody", "passing difficulty"),
    ("data", 554, None, "no", "you", "refuses for good"),
    ("mail", 500, None, "what?", "relay", "did not understand"),
    ("rcpt", 199, None, "", "relay", "did not understand"),
]


@pytest.mark.parametrize(("stage", "code", "enhanced", "text", "who", "words"), ROWS)
def test_each_reply_has_a_meaning(stage: Stage, code: int, enhanced: str | None, text: str, who: Who, words: str) -> None:
    found = meaning(stage, Reply(code, f"{enhanced or ''} {text}".strip(), enhanced))
    assert words in found.text
    assert found.who == who
    assert bool(found.what) == (who != "nobody")


@pytest.mark.parametrize("stage", [*get_args(Stage), None])
def test_without_a_reply_the_stage_says_what_happened(stage: Stage | None) -> None:
    found = meaning(stage, None)
    assert found.text
    if stage in ("connect", "starttls", "auth"):
        assert "`SMTP_URL`" in found.what
    if stage == "dot":
        assert "may have the email" in found.text


def test_no_code_is_without_a_meaning_and_an_enhanced_code_never_turns_later_into_never() -> None:
    for code in range(100, 1000):
        for stage in get_args(Stage):
            found = meaning(stage, Reply(code, "", "5.1.1"))
            assert found.text
            assert not found.text.endswith(".")
            if 400 <= code < 500:
                assert "does not exist" not in found.text


NOW = 1_795_573_000_000
REFUSAL = Delivery("a@x.example", "failed", 1, stage="rcpt", reply=Reply(550, "5.1.1 unknown", "5.1.1"))
TAKEN = Delivery("b@x.example", "sent", 1, stage="dot", reply=Reply(250, "ok 4F1C"))
STATES: list[tuple[State, dict[str, object], str]] = [
    ("scheduled", {"next_at": NOW + 3_600_000}, "goes in 1 h"),
    ("queued", {}, "in the normal lane"),
    ("queued", {"attempt": 2}, "in the normal lane, to be attempt 3"),
    ("sending", {"attempt": 2}, "attempt 2 is under way"),
    (
        "deferred",
        {"next_at": NOW + 90_000, "why": "the relay said 451 later"},
        "the relay said 451 later; tried again in 1 min",
    ),
    ("held", {"held_for": "relay", "why": "r:25: 535 no"}, "waits for the relay: r:25: 535 no"),
    ("held", {"held_for": "damaged", "why": "x"}, "held: its stored bytes are not those accepted"),
    (
        "uncertain",
        {"next_at": NOW + 60_000},
        "the relay's last answer was lost; tried again in 1 min, with the same Message-ID",
    ),
    ("uncertain", {}, "the relay's last answer was lost: it may have the email; not tried again by itself"),
    ("sent", {"deliveries": [TAKEN]}, "250 ok 4F1C"),
    ("partly_sent", {"deliveries": [TAKEN, REFUSAL]}, "1 of 2 recipients sent; 550 5.1.1 unknown: the address does not exist"),
    ("failed", {"deliveries": [REFUSAL]}, "550 5.1.1 unknown: the address does not exist"),
    ("failed", {"why": "not delivered within MAX_AGE"}, "not delivered within MAX_AGE"),
    ("captured", {}, "kept in the mailbox"),
    ("expired", {}, "its expires_at came first"),
    ("cancelled", {}, "stopped before it was sent"),
]


@pytest.mark.parametrize(("state", "fields", "words"), STATES)
def test_each_state_says_why_and_what_next(state: State, fields: dict[str, object], words: str) -> None:
    given = {"deliveries": [Delivery("a@x.example")], "lane": "normal", "accepted": NOW, **fields}
    assert reason(Record(letter=a_letter(), state=state, **given), NOW) == words  # pyright: ignore[reportArgumentType]


def test_every_state_has_words() -> None:
    assert {row[0] for row in STATES} == set(get_args(State))
