"""The mail log's sentences, word for word: operators search for them."""

import inspect
from collections.abc import Callable, Iterator

import pytest
from loguru import logger

from tasks import maillog
from tasks.outcome import Fault, Outcome, Reply

OK = Outcome(kind="ok", stage="dot", reply=Reply(250, "2.0.0 Ok: queued as 4FQ1"))
LATER = Outcome(kind="defer", stage="rcpt", reply=Reply(451, "4.7.1 greylisted"))
NEVER = Outcome(kind="fail", stage="rcpt", reply=Reply(550, "5.1.1 no such {user}"))
LOST = Outcome(kind="uncertain", stage="dot", fault=Fault("closed", "the relay closed the connection"))
LOGIN = Outcome(kind="hold", stage="auth", reply=Reply(535, "5.7.8 bad credentials"), alarm=True)
DOWN = Outcome(kind="hold", stage="connect", fault=Fault("refused", "connection refused"))
R = "relay.example:587"

SENTENCES: list[tuple[Callable[[], None], str, str]] = [
    (lambda: maillog.accepted("E", "shop", recipients=2, size=1234, lane="high"),
     "INFO", "accepted from shop for 2 recipients, 1234 bytes, lane high"),
    (lambda: maillog.accepted("E", "shop", recipients=1, size=9, lane="low", wait=60),
     "INFO", "accepted from shop for 1 recipient, 9 bytes, lane low, to go in 60 s"),
    (lambda: maillog.replayed("E", "shop"), "DEBUG", "asked for again by shop: the first answer was repeated"),
    (lambda: maillog.refused("shop", 422, "validation_error", ["email_to[0]", "subject"]),
     "WARNING", "refused from shop: 422 validation_error email_to[0], subject"),
    (lambda: maillog.refused_key("0123456789ab", "revoked"), "WARNING", "refused a request with key 0123456789ab: revoked"),
    (lambda: maillog.refused_key(None, "missing"), "WARNING", "refused a request with key (none): missing"),
    (lambda: maillog.queue_full(100, 99), "WARNING", "refused new mail: 100 emails wait, the limit is 99"),
    (lambda: maillog.attempt("E", 1, relay=R, recipients=2), "DEBUG", f"attempt 1 at {R} for 2 recipients"),
    (lambda: maillog.sent("E", "a@b.example", OK, relay=R, attempt=1),
     "INFO", f"sent to a@b.example by {R} in attempt 1: 250 2.0.0 Ok: queued as 4FQ1"),
    (lambda: maillog.captured("E", 3), "INFO", "captured in the mailbox for 3 recipients"),
    (lambda: maillog.deferred("E", "a@b.example", LATER, relay=R, attempt=2, next_in=120),
     "INFO", f"deferred for a@b.example by {R} at rcpt in attempt 2, next in 120 s: 451 4.7.1 greylisted"),
    (lambda: maillog.deferred("E", "a@b.example", LOGIN, relay=R, attempt=2, next_in=120),
     "ERROR", f"deferred for a@b.example by {R} at auth in attempt 2, next in 120 s: 535 5.7.8 bad credentials"),
    (lambda: maillog.failed("E", "a@b.example", NEVER, relay=R, attempt=1),
     "WARNING", f"failed for a@b.example by {R} at rcpt in attempt 1: 550 5.1.1 no such {{user}}"),
    (lambda: maillog.uncertain("E", "a@b.example", LOST, relay=R, attempt=1, next_in=300), "WARNING",
     f"uncertain for a@b.example: {R} may have it from attempt 1, again in 300 s: the relay closed the connection"),
    (lambda: maillog.uncertain("E", "a@b.example", LOST, relay=R, attempt=3, next_in=None), "WARNING",
     f"uncertain for a@b.example: {R} may have it from attempt 3, not sent again: the relay closed the connection"),
    (lambda: maillog.expired("E", "a@b.example", "older than 5 days"), "WARNING", "expired for a@b.example: older than 5 days"),
    (lambda: maillog.cancelled("E", "shop"), "INFO", "cancelled by shop"),
    (lambda: maillog.retried("E", "operator", round=2), "INFO", "retried by operator, round 2"),
    (lambda: maillog.rescheduled("E", "shop", wait=5), "INFO", "rescheduled by shop, to go in 5 s"),
    (lambda: maillog.held("E", "relay", "down"), "WARNING", "held (relay): down"),
    (lambda: maillog.held("E", "relay", "login", alarm=True), "ERROR", "held (relay): login"),
    (lambda: maillog.held("E", "damaged", "SHA-256 differs"), "ERROR", "held (damaged): SHA-256 differs"),
    (lambda: maillog.resumed("E", "operator", "operator"), "INFO", "resumed (was held: operator) by operator"),
    (lambda: maillog.relay_closed(R, DOWN, waiting=7, next_in=30),
     "WARNING", f"relay {R} closed at connect: 7 emails wait, tried again in 30 s: connection refused"),
    (lambda: maillog.relay_closed(R, LOGIN, waiting=7, next_in=30),
     "ERROR", f"relay {R} closed at auth: 7 emails wait, tried again in 30 s: 535 5.7.8 bad credentials"),
    (lambda: maillog.relay_open_again(R, after=90, waiting=1), "INFO", f"relay {R} open again after 90 s: 1 email goes on"),
    (lambda: maillog.queue_full(1, 1), "WARNING", "refused new mail: 1 email waits, the limit is 1"),
    (lambda: maillog.relay_open_again(R, after=90, waiting=7), "INFO", f"relay {R} open again after 90 s: 7 emails go on"),
    (lambda: maillog.store_lost("OOM"), "ERROR", "redis cannot be used: OOM"),
    (lambda: maillog.store_found(3), "INFO", "redis can be used again after 3 s"),
    (lambda: maillog.signed_in("127.0.0.1"), "INFO", "operator signed in from 127.0.0.1"),
    (lambda: maillog.refused_sign_in("127.0.0.1", "no"), "WARNING", "sign-in refused from 127.0.0.1: no"),
]  # fmt: skip


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str, str]]]:
    """Level, email id and message of each record."""
    records: list[tuple[str, str, str]] = []

    def keep(message: object) -> None:
        record = message.record  # pyright: ignore[reportAttributeAccessIssue]
        records.append((record["level"].name, record["extra"].get("email", ""), record["message"]))

    number = logger.add(keep, level="DEBUG", format="{message}", catch=False)
    yield records
    logger.remove(number)


@pytest.mark.parametrize(("say", "level", "text"), SENTENCES)
def test_each_sentence_has_its_level_and_words(
    heard: list[tuple[str, str, str]], say: Callable[[], None], level: str, text: str
) -> None:
    say()
    ((heard_level, email, heard_text),) = heard
    assert (heard_level, heard_text) == (level, text)
    assert (email == "E") == (text.split(maxsplit=1)[0] not in ("refused", "relay", "redis", "operator", "sign-in"))


def test_every_sentence_is_in_the_table() -> None:
    words = {name for name, _ in inspect.getmembers(maillog, inspect.isfunction) if not name.startswith("_")}
    used = {name for say, _, _ in SENTENCES for name in say.__code__.co_names} & words
    assert used == words


def test_foreign_text_is_never_a_format_string(heard: list[tuple[str, str, str]]) -> None:
    nasty = "{} {0} {x!r} {"
    said = Outcome(kind="fail", stage="rcpt", reply=Reply(550, nasty))
    maillog.failed("E", nasty, said, relay=nasty, attempt=1)
    maillog.held("E", "relay", nasty)
    maillog.refused(nasty, 422, nasty, [nasty])
    assert [text.count(nasty) for _, _, text in heard] == [3, 1, 3]


def test_a_thousand_wrong_fields_do_not_make_a_thousand_words(heard: list[tuple[str, str, str]]) -> None:
    maillog.refused("shop", 422, "validation_error", [f"email_to[{number}]" for number in range(1000)])
    assert "email_to[19]" in heard[0][2]
    assert "email_to[20]" not in heard[0][2]
