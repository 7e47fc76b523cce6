"""Sessions with a scripted relay over real sockets: every stage, and every way it can go wrong."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasks.outcome import Outcome
from tasks.relay import Relay, parse_relays
from tasks.smtp import RelayTrouble, Session, StaleSession, Timeouts
from tests.relay import Close, Delay, Hang, Raw, Reset, ScriptedRelay, Trickle, make_certificate

A, B, C = "a@rcpt.example", "b@rcpt.example", "c@rcpt.example"
SENDER = "shop@sender.example"
MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
QUICK = 0.1
PATIENT = Timeouts()


def hurry(*stages: str) -> Timeouts:
    """Little time for these stages and enough for the others, so that a busy machine fails no test."""
    return Timeouts(**dict.fromkeys(stages, QUICK))


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


def relay_of(server: ScriptedRelay, scheme: str = "smtp+plain", login: str = "", query: str = "") -> Relay:
    return parse_relays(f"{scheme}://{login}localhost:{server.port}{query}")[0]


@asynccontextmanager
async def session_with(server: ScriptedRelay, timeouts: Timeouts = PATIENT, **parts: str) -> AsyncGenerator[Session]:
    session = await Session.open(relay_of(server, **parts), timeouts, "client.example")
    try:
        yield session
    finally:
        session.close()


async def deliver(
    session: Session,
    recipients: list[str] | None = None,
    message: bytes = MESSAGE,
    mark: Callable[[], Awaitable[bool]] = yes,
    sender: str = SENDER,
    accepted_before: bool = True,
) -> dict[str, Outcome]:
    return await session.deliver(
        sender, [A] if recipients is None else recipients, message, mark, accepted_before=accepted_before
    )


async def once(server: ScriptedRelay, recipients: list[str] | None = None, **more: Any) -> dict[str, Outcome]:
    """One transaction on a new session."""
    async with session_with(server) as session:
        return await deliver(session, recipients, **more)


async def trouble(server: ScriptedRelay, timeouts: Timeouts = PATIENT, **parts: str) -> Outcome:
    """How opening a session fails."""
    with pytest.raises(RelayTrouble) as caught:
        async with session_with(server, timeouts, **parts):
            pass
    assert caught.value.outcome.kind == "hold"
    return caught.value.outcome


def kinds(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {recipient: outcome.kind for recipient, outcome in outcomes.items()}


def fault_of(outcome: Outcome) -> str | None:
    return outcome.fault.what if outcome.fault is not None else None


@pytest.fixture
async def server() -> AsyncIterator[ScriptedRelay]:
    async with ScriptedRelay() as running:
        yield running


# The way it should go


async def test_an_email_arrives_as_it_was(server: ScriptedRelay) -> None:
    outcomes = await once(server, [A, B])
    assert kinds(outcomes) == {A: "ok", B: "ok"}
    reply = outcomes[A].reply
    assert reply is not None
    assert reply.queue_id == "000001"
    (email,) = server.emails
    assert (email.sender, email.recipients, email.message) == (SENDER, [A, B], MESSAGE)
    assert list(server.log) == [
        "EHLO client.example", f"MAIL FROM:<{SENDER}> SIZE={len(MESSAGE)}", f"RCPT TO:<{A}>", f"RCPT TO:<{B}>", "DATA",
    ]  # fmt: skip


async def test_one_session_carries_many(server: ScriptedRelay) -> None:
    async with session_with(server) as session:
        for _ in range(5):
            assert kinds(await deliver(session)) == {A: "ok"}
            assert session.usable
            assert session.is_alive()
        assert session.messages == 5
        assert session.tls is None
        await session.quit()
    assert server.connections == 1
    assert len(server.emails) == 5
    assert server.log[-1] == "QUIT"


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        (b".\r\n", b".\r\n"),
        (b"..\r\n", b"..\r\n"),
        (b"a\r\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\r\n.\r\n..x\r\n", b"a\r\n.\r\n.\r\n..x\r\n"),
        (b"a\n.\nMAIL FROM:<x@y>\n", b"a\r\n.\r\nMAIL FROM:<x@y>\r\n"),
        (b"a\r.\rb", b"a\r\n.\r\nb\r\n"),
        (b"a\n.\r\nb", b"a\r\n.\r\nb\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
        (b"", b"\r\n"),
        (b"no end", b"no end\r\n"),
    ],
)
async def test_dots_and_line_ends(server: ScriptedRelay, message: bytes, arrives: bytes) -> None:
    async with session_with(server) as session:
        assert kinds(await deliver(session, message=message)) == {A: "ok"}
        assert kinds(await deliver(session)) == {A: "ok"}  # no end of data was seen too early: the session is in step
    assert [email.message for email in server.emails] == [arrives, MESSAGE]


async def test_a_big_message_with_dots_arrives_whole(server: ScriptedRelay) -> None:
    message = b"Subject: big\r\n\r\n" + b"".join(b".line %d\r\n" % number for number in range(200_000))
    assert kinds(await once(server, message=message)) == {A: "ok"}
    assert server.emails[0].message == message


async def test_null_sender(server: ScriptedRelay) -> None:
    assert kinds(await once(server, sender="")) == {A: "ok"}
    assert server.log[1].startswith("MAIL FROM:<> ")


async def test_a_recipient_twice_is_asked_once(server: ScriptedRelay) -> None:
    assert kinds(await once(server, [A, A])) == {A: "ok"}
    assert server.emails[0].recipients == [A]


@pytest.mark.parametrize("reply", ["200 ok", "220 ok", "299 ok"])
async def test_any_2xx_to_the_dot_is_yes(server: ScriptedRelay, reply: str) -> None:
    server.replies["DOT"] = reply
    assert kinds(await once(server)) == {A: "ok"}


# The mark


async def test_mark_comes_after_the_body_and_before_the_dot(server: ScriptedRelay) -> None:
    seen: list[object] = []

    async def mark() -> bool:
        await asyncio.sleep(0.05)
        seen.append((list(server.log)[-1], len(server.emails), session.past_mark))
        return True

    async with session_with(server) as session:
        assert kinds(await deliver(session, mark=mark)) == {A: "ok"}
        assert session.past_mark
    assert seen == [("DATA", 0, False)]


async def test_mark_refused_sends_no_dot(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = {B: "550 5.1.1 no"}
    async with session_with(server) as session:
        outcomes = await deliver(session, [A, B], mark=no)
        assert (outcomes[A].kind, outcomes[A].stage, fault_of(outcomes[A])) == ("defer", "mark", "mark_refused")
        assert outcomes[B].kind == "fail"
        assert not session.usable
        assert not session.past_mark
    await asyncio.sleep(0.02)
    assert server.emails == []


async def test_mark_that_raises_sends_no_dot(server: ScriptedRelay) -> None:
    async def mark() -> bool:
        raise LookupError

    async with session_with(server) as session:
        with pytest.raises(LookupError):
            await deliver(session, mark=mark)
        assert not session.usable
    assert server.emails == []


async def test_no_mark_is_asked_for_without_a_354(server: ScriptedRelay) -> None:
    async def mark() -> bool:
        raise AssertionError

    server.replies["DATA"] = "451 4.3.0 later"
    assert kinds(await once(server, mark=mark)) == {A: "defer"}


# Opening


@pytest.mark.parametrize(
    ("stage", "action", "fault"),
    [
        ("banner", Hang(), "timeout"),
        ("banner", Close(), "closed"),
        ("banner", Reset(), "closed"),
        ("banner", Trickle("220 hello"), "timeout"),
        ("banner", "421 4.3.2 too busy", None),
        ("banner", "554 5.7.1 not you", None),
        ("banner", "250 what", None),
        ("banner", Raw(b"hello\r\n"), "malformed"),
        ("banner", Raw(b"\x00\xff\xfe\r\n"), "malformed"),
        ("banner", Raw(b"220-" + b"x" * 100_000), "malformed"),
        ("banner", Raw(b"220-x\r\n" * 10_000), "malformed"),
        ("banner", Raw(b"220 hello\r\n220 hello again\r\n"), "surplus"),
        ("EHLO", Hang(), "timeout"),
        ("EHLO", Close(), "closed"),
        ("EHLO", Reset(), "closed"),
        ("EHLO", Trickle("250 hello"), "timeout"),
        ("EHLO", "421 4.3.2 too busy", None),
        ("EHLO", "550 5.7.1 not you", None),
        ("EHLO", "502 what", None),
        ("EHLO", Raw(b"garbage\r\n"), "malformed"),
        ("EHLO", Raw(b"250-" + b"x" * 9_000 + b"\r\n250 ok\r\n"), "malformed"),
        ("EHLO", Raw(b"250 hello\r\n250 hello\r\n"), "surplus"),
    ],
)
async def test_a_greeting_that_goes_wrong_holds(server: ScriptedRelay, stage: str, action: Any, fault: str | None) -> None:
    server.replies[stage] = action
    stage = "greeting" if stage == "banner" else "ehlo"
    outcome = await trouble(server, hurry(stage) if fault == "timeout" else PATIENT)
    assert outcome.stage == stage
    assert fault_of(outcome) == fault
    assert not outcome.alarm
    if isinstance(action, str):
        assert outcome.said == action


async def test_nobody_listens(server: ScriptedRelay) -> None:
    await server.stop()
    outcome = await trouble(server)
    assert (outcome.stage, fault_of(outcome)) == ("connect", "refused")
    await server.start()
    assert kinds(await once(server)) == {A: "ok"}


async def test_a_name_without_address() -> None:
    (relay,) = parse_relays("smtp+plain://no-such-host.invalid")
    with pytest.raises(RelayTrouble) as caught:
        await Session.open(relay, PATIENT, "client.example")
    assert (caught.value.outcome.stage, fault_of(caught.value.outcome)) == ("connect", "dns")


async def test_a_full_backlog_is_a_connect_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        (relay,) = parse_relays(f"smtp+plain://127.0.0.1:{port}")
        with pytest.raises(RelayTrouble) as caught:
            await Session.open(relay, hurry("connect"), "client.example")
        for filler in fillers:
            filler.close()
    assert (caught.value.outcome.stage, fault_of(caught.value.outcome)) == ("connect", "timeout")


# TLS


TRUST = f"?ca={make_certificate().ca}"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_tls_is_used_and_named(scheme: str) -> None:
    async with ScriptedRelay(tls=make_certificate(), implicit=scheme == "smtps") as server:
        async with session_with(server, PATIENT, scheme=scheme, query=TRUST) as session:
            assert session.tls == "TLSv1.3"
            assert kinds(await deliver(session, message=b"x" * 1_000_000)) == {A: "ok"}
            assert kinds(await deliver(session)) == {A: "ok"}
            assert session.is_alive()
            await session.quit()
        assert len(server.emails[0].message) == 1_000_002
        assert server.log[-1] == "QUIT"


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize(
    ("kind", "words"), [("expired", "expired"), ("wrong_host", "localhost"), ("untrusted", "local issuer")]
)
async def test_a_wrong_certificate_holds_with_an_alarm(scheme: str, kind: Any, words: str) -> None:
    certificate = make_certificate("valid" if kind == "untrusted" else kind)
    query = "" if kind == "untrusted" else f"?ca={certificate.ca}"
    users = {"u": "secret"}
    async with ScriptedRelay(tls=certificate, implicit=scheme == "smtps", users=users) as server:
        outcome = await trouble(server, PATIENT, scheme=scheme, login="u:secret@", query=query)
        assert (fault_of(outcome), outcome.alarm) == ("certificate", True)
        assert words in outcome.said
        assert not any(line.startswith("AUTH") for line in server.log)


async def test_verify_no_takes_any_certificate() -> None:
    async with (
        ScriptedRelay(tls=make_certificate("expired")) as server,
        session_with(server, PATIENT, scheme="smtp", query="?verify=no") as session,
    ):
        assert session.tls is not None


async def test_a_ca_file_that_is_missing_holds_with_an_alarm() -> None:
    async with ScriptedRelay(tls=make_certificate()) as server:
        outcome = await trouble(server, scheme="smtp", query="?ca=/nowhere/ca.pem")
        assert (fault_of(outcome), outcome.alarm) == ("certificate", True)
        assert "/nowhere/ca.pem" in outcome.said


async def test_starttls_stripped_sends_nothing_in_clear() -> None:
    async with ScriptedRelay(users={"u": "secret"}) as server:
        outcome = await trouble(server, scheme="smtp", login="u:secret@")
        assert (outcome.stage, fault_of(outcome), outcome.alarm) == ("starttls", "no_starttls", True)
        assert list(server.log) == ["EHLO client.example"]


@pytest.mark.parametrize(
    ("action", "fault", "alarm"),
    [
        ("454 4.7.0 TLS not available", None, True),
        ("503 what", None, True),
        ("421 bye", None, True),
        (Hang(), "timeout", False),
        (Close(), "closed", False),
        (Reset(), "closed", False),
        (Raw(b"garbage\r\n"), "malformed", False),
        (Raw(b"220 well\r\n", b"this is no TLS, by no means\r\n"), "tls", True),
    ],
)
async def test_starttls_that_goes_wrong(action: Any, fault: str | None, alarm: bool) -> None:
    async with ScriptedRelay(tls=make_certificate(), users={"u": "secret"}) as server:
        server.replies["STARTTLS"] = action
        timeouts = hurry("starttls") if fault == "timeout" else PATIENT
        outcome = await trouble(server, timeouts, scheme="smtp", login="u:secret@", query=TRUST)
        assert (outcome.stage, fault_of(outcome), outcome.alarm) == ("starttls", fault, alarm)
        assert not any(line.startswith(("AUTH", "MAIL")) for line in server.log)


async def test_what_comes_behind_the_starttls_reply_is_never_believed() -> None:
    """RFC 3207 4.2, CVE-2011-0411: text injected before TLS must not be taken for the relay's word inside of it."""
    async with ScriptedRelay(tls=make_certificate(), extensions=("SIZE 10",)) as server:
        server.replies["STARTTLS"] = Raw(b"220 go\r\n250-evil\r\n250 SIZE 999999\r\n")
        async with session_with(server, PATIENT, scheme="smtp", query=TRUST) as session:
            assert kinds(await deliver(session)) == {A: "fail"}  # the real SIZE, said inside TLS


async def test_implicit_tls_to_a_plain_port_holds(server: ScriptedRelay) -> None:
    outcome = await trouble(server, scheme="smtps")
    assert (outcome.stage, fault_of(outcome), outcome.alarm) == ("connect", "tls", True)


async def test_implicit_tls_that_never_answers() -> None:
    async with ScriptedRelay() as server:
        server.replies["banner"] = Hang()
        outcome = await trouble(server, hurry("greeting"), scheme="smtps")
        assert (outcome.stage, fault_of(outcome)) == ("connect", "timeout")


# AUTH


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5", "LOGIN PLAIN", "XOAUTH2 CRAM-MD5"])
async def test_sign_in(method: str) -> None:
    async with ScriptedRelay(users={"ü@x": "pass wörd"}, auth=method) as server:
        async with session_with(server, PATIENT, login="%C3%BC%40x:pass%20w%C3%B6rd@") as session:
            assert kinds(await deliver(session)) == {A: "ok"}
        assert sum(line.startswith("AUTH") for line in server.log) == 1


async def test_plain_goes_first_over_tls() -> None:
    async with ScriptedRelay(users={"u": "secret"}, auth="CRAM-MD5 LOGIN PLAIN", tls=make_certificate()) as server:
        async with session_with(server, PATIENT, scheme="smtp", login="u:secret@", query=TRUST):
            pass
        assert server.log[-1].startswith("AUTH PLAIN ")


async def test_a_wrong_password_is_tried_exactly_once() -> None:
    async with ScriptedRelay(users={"u": "right"}, auth="PLAIN LOGIN CRAM-MD5") as server:
        outcome = await trouble(server, login="u:hunter2@")
        assert (outcome.stage, outcome.alarm) == ("auth", True)
        assert outcome.said == "535 5.7.8 wrong user or password"
        assert sum(line.startswith("AUTH") for line in server.log) == 1


@pytest.mark.parametrize(
    ("action", "fault", "alarm"),
    [
        ("454 4.7.0 later", None, False),
        ("421 4.7.0 bye", None, False),
        ("432 4.7.12 later", None, False),
        ("534 5.7.9 too weak", None, True),
        ("250 hm", None, False),
        (Hang(), "timeout", False),
        (Close(), "closed", False),
        (Reset(), "closed", False),
        (Raw(b"what?\r\n"), "malformed", False),
        (Raw(b"235 ok\r\n235 ok\r\n"), "surplus", False),
    ],
)
async def test_auth_that_goes_wrong_holds(action: Any, fault: str | None, alarm: bool) -> None:
    async with ScriptedRelay(users={"u": "secret"}) as server:
        server.replies["AUTH"] = action
        outcome = await trouble(server, hurry("auth") if fault == "timeout" else PATIENT, login="u:secret@")
        assert (outcome.stage, fault_of(outcome), outcome.alarm) == ("auth", fault, alarm)


async def test_no_mechanism_in_common_holds_with_an_alarm(server: ScriptedRelay) -> None:
    outcome = await trouble(server, login="u:secret@")
    assert (outcome.stage, fault_of(outcome), outcome.alarm) == ("auth", "no_auth", True)


async def test_a_reply_that_quotes_the_login_is_kept_without_it() -> None:
    async with ScriptedRelay(users={"u": "secret"}) as server:
        server.replies["AUTH"] = lambda line: f"500 5.5.1 bad command: {line} (u, secret)"
        outcome = await trouble(server, login="u:secret@")
        assert outcome.said == "500 5.5.1 bad command: AUTH PLAIN *** (u, ***)"


# A transaction that goes wrong before the dot: certain


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("action", "kind", "fault"),
    [
        ("451 4.3.0 later", "defer", None),
        ("421 4.3.2 bye", "defer", None),
        ("550 5.7.1 no", "fail", None),
        ("399 what", "defer", None),
        ("700 what", "defer", None),
        ("99 what", "defer", None),
        (Hang(), "defer", "timeout"),
        (Close(), "defer", "closed"),
        (Reset(), "defer", "closed"),
        (Trickle("250 ok"), "defer", "timeout"),
        (Raw(b"250 ok\r\n250 ok\r\n"), "defer", "surplus"),
        (Raw(b"354 go\r\n250 early\r\n"), "defer", "surplus"),
        (Raw(b"what?\r\n"), "defer", "malformed"),
        (Raw(b"\xff\xfe\xfd\r\n"), "defer", "malformed"),
        (Raw(b"550-" + b"\xe9" * 40_000), "defer", "malformed"),
    ],
)
async def test_before_the_dot_nothing_is_uncertain(
    server: ScriptedRelay, stage: str, action: Any, kind: str, fault: str | None
) -> None:
    server.replies[stage] = action
    async with session_with(server, hurry(stage.lower()) if fault == "timeout" else PATIENT) as session:
        (outcome,) = (await deliver(session)).values()
        assert (outcome.kind, outcome.stage, fault_of(outcome)) == (kind, stage.lower(), fault)
        assert not session.usable
        assert not session.past_mark
    assert server.emails == []


@pytest.mark.parametrize(
    "line", ["530 5.7.0 sign in", "535 5.7.8 who?", "538 5.7.11 needs TLS", "500 what", "502 no", "503 no"]
)
async def test_mail_refused_for_our_sake_holds_all(server: ScriptedRelay, line: str) -> None:
    server.replies["MAIL"] = line
    assert kinds(await once(server, [A, B])) == {A: "hold", B: "hold"}


async def test_eight_bit_text_in_a_reply_is_kept_readable(server: ScriptedRelay) -> None:
    server.replies["MAIL"] = Raw(b"550-5.7.1 caf\xe9\r\n550 5.7.1 \x1b[31m nope\r\n")
    outcome = (await once(server))[A]
    assert outcome.said == "550 5.7.1 caf\\xe9 \\x1b[31m nope"


# Recipients


async def test_each_recipient_has_its_own_outcome(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = {B: "450 4.7.1 greylisted", C: "550 5.1.1 unknown"}
    async with session_with(server) as session:
        outcomes = await deliver(session, [A, B, C])
        assert kinds(outcomes) == {A: "ok", B: "defer", C: "fail"}
        assert outcomes[B].not_before == 300
        assert session.usable
    assert server.emails[0].recipients == [A]


async def test_all_recipients_refused_sends_no_data_and_no_rset(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = ["550 5.1.1 no", "451 later"]
    async with session_with(server) as session:
        assert kinds(await deliver(session, [A, B])) == {A: "fail", B: "defer"}
        assert not session.usable
        with pytest.raises(StaleSession):
            await deliver(session)
        await session.quit()
    assert [line[:4] for line in server.log] == ["EHLO", "MAIL", "RCPT", "RCPT", "QUIT"]


async def test_421_keeps_the_replies_that_came_before(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = [None, "550 5.1.1 no", "421 4.3.2 bye"]
    outcomes = await once(server, [A, B, C, "d@rcpt.example"])
    assert kinds(outcomes) == {A: "defer", B: "fail", C: "defer", "d@rcpt.example": "defer"}
    assert outcomes[A].said == "421 4.3.2 bye"
    assert server.emails == []


async def test_a_connection_lost_among_recipients_keeps_what_was_said(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = [None, "550 5.1.1 no", Close()]
    outcomes = await once(server, [A, B, C])
    assert kinds(outcomes) == {A: "defer", B: "fail", C: "defer"}
    assert fault_of(outcomes[A]) == "closed"


@pytest.mark.parametrize("line", ["452 4.5.3 too many", "552 5.5.3 too many", "552 too many"])
async def test_too_many_recipients_sends_to_the_accepted_and_the_rest_at_once(server: ScriptedRelay, line: str) -> None:
    server.replies["RCPT"] = [None, line]
    async with session_with(server) as session:
        outcomes = await deliver(session, [A, B, C])
        assert kinds(outcomes) == {A: "ok", B: "defer", C: "defer"}
        assert outcomes[B].at_once
        assert outcomes[C].at_once
        assert session.usable
    assert sum(line.startswith("RCPT") for line in server.log) == 2


async def test_denied_relaying_before_anything_was_accepted_holds(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = "554 5.7.1 relay access denied"
    outcomes = await once(server, [A, B], accepted_before=False)
    assert kinds(outcomes) == {A: "hold", B: "hold"}
    assert outcomes[A].alarm
    assert kinds(await once(server, [A])) == {A: "fail"}


async def test_denied_beside_an_accepted_recipient_is_about_that_recipient(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = {A: "554 5.7.1 blocked by policy"}
    assert kinds(await once(server, [A, B], accepted_before=False)) == {A: "fail", B: "ok"}


async def test_530_at_a_recipient_holds_it_alone(server: ScriptedRelay) -> None:
    server.replies["RCPT"] = {A: "530 5.7.0 sign in"}
    assert kinds(await once(server, [A, B])) == {A: "hold", B: "ok"}


@pytest.mark.parametrize(
    ("line", "kind"), [("451 later", "defer"), ("554 5.7.1 no", "fail"), ("554 5.5.1 no valid recipients", "defer")]
)
async def test_data_refused_leaves_refused_recipients_alone(server: ScriptedRelay, line: str, kind: str) -> None:
    server.replies["RCPT"] = {B: "550 5.1.1 no"}
    server.replies["DATA"] = line
    outcomes = await once(server, [A, B])
    assert kinds(outcomes) == {A: kind, B: "fail"}
    assert outcomes[B].said == "550 5.1.1 no"


# What is not sent at all


async def test_a_message_above_size_fails_with_both_numbers(server: ScriptedRelay) -> None:
    server.extensions = ("SIZE 20",)
    async with session_with(server) as session:
        outcomes = await deliver(session, [A, B], message=b"x" * 998 + b"\r\n")
        assert kinds(outcomes) == {A: "fail", B: "fail"}
        assert outcomes[A].said == "the message has 1,000 bytes, the relay takes 20 at most"
        assert kinds(await deliver(session, message=b"x" * 18 + b"\r\n")) == {A: "ok"}  # the session is still in order


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE many", "SIZE " + "9" * 5000, "8BITMIME"])
async def test_a_size_that_is_no_limit(server: ScriptedRelay, size: str) -> None:
    server.extensions = (size,)
    assert kinds(await once(server)) == {A: "ok"}


async def test_an_address_that_needs_smtputf8_fails_alone(server: ScriptedRelay) -> None:
    outcomes = await once(server, ["grüße@rcpt.example", A])
    assert kinds(outcomes) == {"grüße@rcpt.example": "fail", A: "ok"}
    assert fault_of(outcomes["grüße@rcpt.example"]) == "smtputf8"
    assert not any("SMTPUTF8" in line for line in server.log)


async def test_smtputf8_is_asked_for_where_it_is_offered(server: ScriptedRelay) -> None:
    server.extensions = ("8BITMIME", "SMTPUTF8")
    assert kinds(await once(server, ["grüße@rcpt.example"], message="ü\r\n".encode())) == {"grüße@rcpt.example": "ok"}
    assert server.log[1] == f"MAIL FROM:<{SENDER}> BODY=8BITMIME SMTPUTF8"
    assert server.log[2] == "RCPT TO:<grüße@rcpt.example>"


@pytest.mark.parametrize(
    "address", ["a@b> SIZE=1", "a b@c", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a", "", "@b", "a@", "a@b c", "a\x00@b", "a@b>x"]
)
async def test_no_address_ends_its_command(server: ScriptedRelay, address: str) -> None:
    outcomes = await once(server, [address, A])
    assert kinds(outcomes) == {address: "fail", A: "ok"}
    assert sum(line.startswith("RCPT") for line in server.log) == 1
    if address:
        assert kinds(await once(server, sender=address)) == {A: "fail"}


# The body


async def test_a_relay_that_speaks_during_the_body_gets_no_dot(server: ScriptedRelay) -> None:
    server.replies["DATA"] = Raw(b"354 go\r\n", b"552 5.3.4 too big\r\n", gap=0.01)

    async def mark() -> bool:
        await asyncio.sleep(0.05)
        return True

    async with session_with(server) as session:
        outcome = (await deliver(session, mark=mark))[A]
        assert (outcome.kind, outcome.stage, outcome.said) == ("defer", "body", "552 5.3.4 too big")
        assert not session.past_mark
    assert server.emails == []


async def test_an_early_yes_is_not_taken_for_the_answer(server: ScriptedRelay) -> None:
    server.replies["DATA"] = Raw(b"354 go\r\n", b"250 early\r\n", gap=0.01)
    server.replies["DOT"] = "554 5.7.1 spam"

    async def mark() -> bool:
        await asyncio.sleep(0.05)
        return True

    assert kinds(await once(server, mark=mark)) == {A: "defer"}
    assert server.emails == []


async def test_a_cut_in_a_long_body_is_certain() -> None:
    async def mark() -> bool:
        raise AssertionError

    async with ScriptedRelay(read_rate=10_000) as server, session_with(server, PATIENT) as session:
        begun = asyncio.Event()
        server.replies["DATA"] = lambda _: begun.set()
        work = asyncio.create_task(deliver(session, message=b"x" * 20_000_000, mark=mark))
        await begun.wait()
        await asyncio.sleep(0.02)
        await server.stop()
        outcome = (await work)[A]
    assert (outcome.kind, outcome.stage, fault_of(outcome)) == ("defer", "body", "closed")


async def test_the_time_for_body_and_dot_grows_with_the_size() -> None:
    async with ScriptedRelay(read_rate=50_000_000) as server:
        server.replies["DOT"] = Delay(0.2)
        slow = Timeouts(body=0.01, dot=0.01, min_rate=1_000_000)
        async with session_with(server, slow) as session:
            assert kinds(await deliver(session, message=b"x" * 6_000_000)) == {A: "ok"}
            assert kinds(await deliver(session)) == {A: "uncertain"}


async def test_a_relay_that_reads_too_slowly_is_given_up_before_the_dot() -> None:
    async with ScriptedRelay(read_rate=1000) as server, session_with(server, Timeouts(body=0.1, min_rate=1e9)) as session:
        outcome = (await deliver(session, message=b"x" * 20_000_000))[A]
        assert (outcome.kind, outcome.stage, fault_of(outcome)) == ("defer", "body", "timeout")
        assert not session.past_mark
        await asyncio.sleep(0.01)
        assert session._tap.lost  # pyright: ignore[reportPrivateUsage]  # nothing lingers until the relay has read the rest


# The dot


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("451 4.3.0 later", "defer"),
        ("421 4.3.2 bye", "defer"),
        ("550 5.7.1 spam", "fail"),
        ("554 5.6.0 no", "fail"),
    ],
)
async def test_an_answer_to_the_dot_is_certain(server: ScriptedRelay, action: Any, kind: str) -> None:
    server.replies["DOT"] = action
    async with session_with(server) as session:
        outcomes = await deliver(session, [A, B])
        assert kinds(outcomes) == {A: kind, B: kind}
        assert session.past_mark
        assert session.usable is not action.startswith("421")


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        (Hang(), "timeout"),
        (Close(), "closed"),
        (Reset(), "closed"),
        (Trickle("250 ok"), "timeout"),
        (Raw(b"what?\r\n"), "malformed"),
        (Raw(b"250-"), "timeout"),
        (Raw(b"250-" + b"x" * 40_000), "malformed"),
        (Raw(b"250 ok\r\n554 no\r\n"), "surplus"),
        ("354 go", None),
        ("199 hm", None),
    ],
)
async def test_no_clear_answer_to_the_dot_is_uncertain(server: ScriptedRelay, action: Any, fault: str | None) -> None:
    server.replies["DOT"] = action
    server.replies["RCPT"] = {B: "550 5.1.1 no"}
    async with session_with(server, hurry("dot") if fault == "timeout" else PATIENT) as session:
        outcomes = await deliver(session, [A, B])
        assert kinds(outcomes) == {A: "uncertain", B: "fail"}
        assert (outcomes[A].stage, fault_of(outcomes[A])) == ("dot", fault)
        assert session.past_mark
        assert not session.usable


async def test_yes_and_then_421_is_yes_and_the_end(server: ScriptedRelay) -> None:
    server.replies["DOT"] = Raw(b"250 2.0.0 ok\r\n421 4.7.0 enough\r\n")
    async with session_with(server) as session:
        assert kinds(await deliver(session)) == {A: "ok"}
        assert not session.usable


async def test_a_scan_after_the_dot_may_take_long(server: ScriptedRelay) -> None:
    server.replies["DOT"] = Delay(0.3)
    async with session_with(server, hurry("data")) as session:
        assert kinds(await deliver(session)) == {A: "ok"}


# Idle sessions


@pytest.mark.parametrize("action", ["421 4.4.2 too many messages", Close(), Reset()])
async def test_a_used_session_that_ends_at_mail_is_stale(server: ScriptedRelay, action: Any) -> None:
    server.replies["MAIL"] = [None, action]
    async with session_with(server) as session:
        await deliver(session)
        with pytest.raises(StaleSession):
            await deliver(session)
        assert not session.usable
    assert kinds(await once(server)) == {A: "ok"}


@pytest.mark.parametrize("said", [b"421 4.4.2 idle\r\n", b"250 what\r\n", b"noise"])
async def test_whatever_an_idle_session_hears_ends_it(server: ScriptedRelay, said: bytes) -> None:
    async with session_with(server) as session:
        await deliver(session)
        assert session.is_alive()
        server.say(said)
        await asyncio.sleep(0.02)
        assert not session.is_alive()
        with pytest.raises(StaleSession):
            await deliver(session)
        await session.quit()
    assert server.log[-1] == "DATA"


async def test_an_idle_session_notices_its_end(server: ScriptedRelay) -> None:
    async with session_with(server) as session:
        await deliver(session)
        await server.stop()
        await asyncio.sleep(0.02)
        assert not session.is_alive()
        with pytest.raises(StaleSession):
            await deliver(session)


async def test_a_new_session_that_ends_at_mail_is_an_attempt(server: ScriptedRelay) -> None:
    server.replies["MAIL"] = "421 4.7.0 Too many connections"
    outcome = (await once(server))[A]
    assert (outcome.kind, outcome.throttled) == ("defer", True)


async def test_a_new_session_that_hears_421_before_mail_is_an_attempt(server: ScriptedRelay) -> None:
    async with session_with(server) as session:
        server.say(b"421 4.7.0 Too many connections\r\n")
        await asyncio.sleep(0.02)
        outcome = (await deliver(session))[A]
        assert (outcome.kind, outcome.stage, outcome.throttled) == ("defer", "idle", True)


async def test_a_new_session_that_is_closed_before_mail_is_an_attempt(server: ScriptedRelay) -> None:
    async with session_with(server) as session:
        await server.stop()
        await asyncio.sleep(0.02)
        outcome = (await deliver(session))[A]
        assert (outcome.kind, outcome.stage, fault_of(outcome)) == ("defer", "idle", "closed")


# Ending


@pytest.mark.parametrize("action", [Hang(), Close(), Reset(), "500 what", Raw(b"garbage\r\n"), Raw(b"221 bye\r\n221 bye\r\n")])
async def test_quit_never_fails_and_never_lasts(server: ScriptedRelay, action: Any) -> None:
    server.replies["QUIT"] = action
    async with session_with(server, hurry("quit")) as session:
        await deliver(session)
        began = time.monotonic()
        await session.quit()
        await session.quit()
        assert time.monotonic() - began < 1
        assert not session.usable
        assert not session.is_alive()


@pytest.mark.parametrize("stage", ["banner", "EHLO", "MAIL", "RCPT", "DATA", "DOT"])
async def test_a_cancellation_goes_through_and_closes(server: ScriptedRelay, stage: str) -> None:
    reached = asyncio.Event()
    sessions: list[Session] = []

    def hang(_: str) -> Hang:
        reached.set()
        return Hang()

    async def work() -> None:
        sessions.append(await Session.open(relay_of(server), PATIENT, "client.example"))
        await deliver(sessions[0])

    server.replies[stage] = hang
    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if sessions:
        assert not sessions[0].usable
        assert sessions[0].past_mark is (stage == "DOT")
    await asyncio.sleep(0.02)
    assert server.open == 0


@pytest.mark.parametrize("reply", [b"354", b"250"])
async def test_a_cancellation_together_with_a_reply_is_not_swallowed(server: ScriptedRelay, reply: bytes) -> None:
    """asyncio.wait_for on Python 3.11 does swallow it; the email must not be sent after its worker was told to stop."""
    async with session_with(server) as session:
        task = asyncio.create_task(deliver(session))
        hear = session._tap.data_received  # pyright: ignore[reportPrivateUsage]

        def hear_and_cancel(data: bytes) -> None:
            hear(data)
            if data.startswith(reply):
                task.cancel()

        session._tap.data_received = hear_and_cancel  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not session.past_mark
    assert server.emails == []
