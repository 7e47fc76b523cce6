"""The whole table of stages and replies, as it stands in classify's docstring and nowhere else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.classify import classify, classify_fault, clean_text, parse_reply
from tasks.outcome import Fault, Outcome, Stage

NEW, KNOWN = False, True  # has the relay accepted anything since its settings changed?
FIRST, LATER = False, True  # was a recipient of this transaction accepted before?


def judge(stage: Stage, line: str, any_accepted: bool = False, relay_accepted: bool = True) -> Outcome:
    reply = parse_reply(int(line[:3]), line[4:])
    return classify(stage, reply, any_accepted=any_accepted, relay_accepted=relay_accepted)


@pytest.mark.parametrize(
    ("stage", "line", "kind", "alarm"),
    [
        ("greeting", "220 hello", "ok", False),
        ("greeting", "250 hello", "hold", False),
        ("greeting", "421 4.7.0 too busy", "hold", False),
        ("greeting", "554 5.7.1 no service for you", "hold", False),
        ("ehlo", "250 hello", "ok", False),
        ("ehlo", "421 later", "hold", False),
        ("ehlo", "502 what", "hold", False),
        ("starttls", "220 go", "ok", False),
        ("starttls", "454 4.7.0 TLS not available", "hold", True),
        ("starttls", "501 no parameters", "hold", True),
        ("auth", "235 2.7.0 welcome", "ok", False),
        ("auth", "421 later", "hold", False),
        ("auth", "432 4.7.12 password transition", "hold", False),
        ("auth", "454 4.7.0 temporary", "hold", False),
        ("auth", "500 what", "hold", True),
        ("auth", "534 5.7.9 too weak", "hold", True),
        ("auth", "535 5.7.8 wrong", "hold", True),
        ("auth", "538 5.7.11 needs TLS", "hold", True),
        ("auth", "334 go on", "hold", False),
        ("mail", "250 ok", "ok", False),
        ("mail", "251 ok", "ok", False),
        ("mail", "421 bye", "defer", False),
        ("mail", "451 4.3.0 later", "defer", False),
        ("mail", "452 4.3.1 disk full", "defer", False),
        ("mail", "530 5.7.0 authenticate", "hold", True),
        ("mail", "535 5.7.8 wrong", "hold", True),
        ("mail", "538 5.7.11 needs TLS", "hold", True),
        ("mail", "500 what", "hold", False),
        ("mail", "502 not here", "hold", False),
        ("mail", "503 EHLO first", "hold", False),
        ("mail", "550 5.1.8 no such sender domain", "fail", False),
        ("mail", "550 5.7.1 not your address", "fail", False),
        ("mail", "552 5.3.4 too big", "fail", False),
        ("mail", "555 bad parameters", "fail", False),
        ("mail", "354 go", "defer", False),
        ("mail", "120 hm", "defer", False),
        ("mail", "650 hm", "defer", False),
        ("rcpt", "250 ok", "ok", False),
        ("rcpt", "251 will forward", "ok", False),
        ("rcpt", "252 cannot tell", "ok", False),
        ("rcpt", "421 bye", "defer", False),
        ("rcpt", "450 4.2.0 later", "defer", False),
        ("rcpt", "450 5.1.1 contradicts itself", "defer", False),
        ("rcpt", "451 4.7.1 greylisted", "defer", False),
        ("rcpt", "530 5.7.0 authenticate", "hold", True),
        ("rcpt", "550 5.1.1 no such user", "fail", False),
        ("rcpt", "550 no such user", "fail", False),
        ("rcpt", "550 4.7.1 contradicts itself", "fail", False),
        ("rcpt", "551 elsewhere", "fail", False),
        ("rcpt", "553 5.1.3 bad", "fail", False),
        ("rcpt", "554 5.7.1 policy", "fail", False),
        ("rcpt", "354 go", "defer", False),
        ("data", "354 go", "ok", False),
        ("data", "250 ok", "defer", False),
        ("data", "421 bye", "defer", False),
        ("data", "451 4.3.0 later", "defer", False),
        ("data", "550 5.7.1 no", "fail", False),
        ("data", "554 5.5.1 no valid recipients", "defer", False),
        ("data", "554 no", "fail", False),
        ("dot", "250 ok", "ok", False),
        ("dot", "200 ok", "ok", False),
        ("dot", "299 ok", "ok", False),
        ("dot", "421 bye", "defer", False),
        ("dot", "451 4.3.0 later", "defer", False),
        ("dot", "452 4.3.1 full", "defer", False),
        ("dot", "550 5.7.1 spam", "fail", False),
        ("dot", "554 5.6.0 no", "fail", False),
        ("dot", "354 go", "uncertain", False),
        ("dot", "120 hm", "uncertain", False),
        ("dot", "999 hm", "uncertain", False),
    ],
)
def test_reply(stage: Stage, line: str, kind: str, alarm: bool) -> None:
    outcome = judge(stage, line)
    assert (outcome.kind, outcome.alarm, outcome.stage) == (kind, alarm, stage)
    assert outcome.said == line


@pytest.mark.parametrize(
    "line",
    [
        "554 5.7.1 Relay access denied",
        "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
        "550 relay not permitted",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "550 5.7.26 unauthenticated",
    ],
)
def test_denied_relaying_is_about_us_until_the_relay_has_accepted_something(line: str) -> None:
    assert (judge("rcpt", line, FIRST, NEW).kind, judge("rcpt", line, FIRST, NEW).alarm) == ("hold", True)
    assert judge("rcpt", line, FIRST, KNOWN).kind == "fail"


@pytest.mark.parametrize(
    ("line", "any_accepted", "kind", "at_once"),
    [
        ("452 4.5.3 too many recipients", LATER, "defer", True),
        ("452 too many recipients", LATER, "defer", True),
        ("452 4.5.3 too many recipients", FIRST, "defer", False),  # at once would go round for ever
        ("452 4.2.2 over quota", LATER, "defer", False),
        ("452 4.3.1 disk full", LATER, "defer", False),
        ("552 5.5.3 too many recipients", LATER, "defer", True),
        ("552 too much", LATER, "defer", True),
        ("552 too much", FIRST, "fail", False),
        ("552 5.5.3 too many recipients", FIRST, "fail", False),
        ("552 5.2.2 mailbox full", LATER, "fail", False),
        ("552 5.3.4 too big", LATER, "fail", False),
        ("550 5.5.3 too many recipients", LATER, "fail", False),
    ],
)
def test_too_many_recipients(line: str, any_accepted: bool, kind: str, at_once: bool) -> None:
    outcome = judge("rcpt", line, any_accepted)
    assert (outcome.kind, outcome.at_once) == (kind, at_once)
    assert not (at_once and outcome.throttled)


@pytest.mark.parametrize("line", ["451 4.7.1 try later", "450 you are Greylisted", "451 gray-listed"])
@pytest.mark.parametrize("stage", ["rcpt", "dot"])
def test_greylisting_waits_five_minutes(stage: Stage, line: str) -> None:
    assert judge(stage, line).not_before == 300


@pytest.mark.parametrize("line", ["450 4.2.0 later", "421 4.7.1 closing", "550 5.7.1 greylisted for ever"])
def test_other_replies_follow_the_schedule(line: str) -> None:
    assert judge("rcpt", line).not_before == 0


@pytest.mark.parametrize(
    ("line", "throttled"),
    [
        ("421 4.7.0 Too many connections from your IP", True),
        ("450 4.7.28 unusual rate of mail", True),
        ("451 Rate limit exceeded", True),
        ("454 Throttling failure: Maximum sending rate exceeded.", True),
        ("452 4.2.2 mailbox full", False),
        ("451 4.3.0 cannot operate; separate us", False),
        ("550 5.7.1 too many complaints", False),
    ],
)
def test_throttling(line: str, throttled: bool) -> None:
    assert judge("mail", line).throttled is throttled


@pytest.mark.parametrize(
    ("stage", "what", "kind", "alarm"),
    [
        ("connect", "dns", "hold", False),
        ("connect", "refused", "hold", False),
        ("connect", "unreachable", "hold", False),
        ("connect", "timeout", "hold", False),
        ("connect", "certificate", "hold", True),
        ("connect", "tls", "hold", True),
        ("greeting", "malformed", "hold", False),
        ("greeting", "surplus", "hold", False),
        ("ehlo", "closed", "hold", False),
        ("starttls", "no_starttls", "hold", True),
        ("starttls", "certificate", "hold", True),
        ("starttls", "timeout", "hold", False),
        ("auth", "no_auth", "hold", True),
        ("auth", "plain_auth", "hold", True),
        ("auth", "timeout", "hold", False),
        ("mail", "timeout", "defer", False),
        ("mail", "tls", "defer", False),
        ("mail", "too_large", "fail", False),
        ("rcpt", "smtputf8", "fail", False),
        ("rcpt", "closed", "defer", False),
        ("data", "surplus", "defer", False),
        ("body", "timeout", "defer", False),
        ("mark", "mark_refused", "defer", False),
    ],
)
def test_fault(stage: Stage, what: str, kind: str, alarm: bool) -> None:
    fault = msgspec.convert({"what": what, "text": "so it is"}, Fault)
    outcome = classify_fault(stage, fault)
    assert (outcome.kind, outcome.alarm, outcome.said) == (kind, alarm, "so it is")


@pytest.mark.parametrize("what", ["timeout", "closed", "surplus", "malformed", "tls"])
def test_after_the_dot_every_fault_is_uncertain(what: str) -> None:
    fault = msgspec.convert({"what": what, "text": ""}, Fault)
    assert classify_fault("dot", fault, dot_sent=True).kind == "uncertain"


@given(st.integers(-1, 1000), st.text(), st.sampled_from(["mail", "rcpt", "data", "dot"]), st.booleans(), st.booleans())
def test_no_text_turns_a_4xx_into_fail_or_a_refusal_into_ok(
    code: int, text: str, stage: Stage, any_accepted: bool, relay_accepted: bool
) -> None:
    outcome = classify(stage, parse_reply(code, text), any_accepted=any_accepted, relay_accepted=relay_accepted)
    if 400 <= code < 500:
        assert outcome.kind == "defer"
    if outcome.kind == "ok":
        assert 200 <= code < 300 or (code, stage) == (354, "data")
    if outcome.kind == "fail":
        assert 500 <= code < 600
    if outcome.at_once:
        assert any_accepted


@pytest.mark.parametrize(
    ("text", "enhanced"),
    [
        ("5.1.1 no such user", "5.1.1"),
        ("2.0.0", "2.0.0"),
        ("4.7.28: slow", "4.7.28"),
        ("sorry (#5.7.1)", "5.7.1"),
        ("#5.1.0 Address rejected.", "5.1.0"),
        ("10.5.1.1 is blocked", None),
        ("5.1.1.9 is blocked", None),
        ("3.1.1 no class", None),
        ("no code", None),
    ],
)
def test_enhanced_code(text: str, enhanced: str | None) -> None:
    assert parse_reply(550, text).enhanced == enhanced


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("ok", "ok"),
        ("5.7.26 This mail\n5.7.26 is not authenticated", "5.7.26 This mail is not authenticated"),
        ("a\tb\x00c\x1b[31md", "a b\\x00c\\x1b[31md"),
        ("caf\udce9", "caf\\xe9"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("Grüße 日本", "Grüße 日本"),
        ("a\r\n\nb", "a b"),
        ("", ""),
    ],
)
def test_text_is_one_printable_line(text: str, cleaned: str) -> None:
    assert clean_text(text, parse_reply(550, text).enhanced) == cleaned


@given(st.text(st.characters(exclude_categories=()), max_size=3000))
def test_any_text_is_bounded_printable_and_storable(text: str) -> None:
    reply = parse_reply(250, text, queue_id=True)
    assert len(reply.text) <= 512
    assert reply.text.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(reply), type=type(reply)) == reply


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [
        ("2.0.0 Ok: queued as 4F1C2A3B4C", "4F1C2A3B4C"),
        ("2.0.0 OK: queued as <abc@relay.example>", "abc@relay.example"),
        ("OK id=1rXabc-0007Gh-2K", "1rXabc-0007Gh-2K"),
        ("2.0.0 41NMxyzA012345 Message accepted for delivery", "41NMxyzA012345"),
        ("2.0.0 7a8b9c0d Message accepted for delivery", "7a8b9c0d"),
        ("2.0.0 OK  1700000000 a1-20020a05si123456wrb.45 - gsmtp", "a1-20020a05si123456wrb.45"),
        ("Ok 0100018bdeadbeef-0a1b2c3d-1111-2222-3333-444455556666-000000",
         "0100018bdeadbeef-0a1b2c3d-1111-2222-3333-444455556666-000000"),
        ("2.6.0 <x@y> [InternalId=123456789, Hostname=A.B] 1234 bytes in 0.1, 10 KB/sec Queued mail for delivery", "123456789"),
        ("ok 1700000000 qp 12345", "12345"),
        ("Message Queued (0A1B2C3D-1111.1)", "0A1B2C3D-1111.1"),
        ("2.0.0 Ok: queued on mail-1.yandex.net as 1700000000-AbCdEf", "1700000000-AbCdEf"),
        ("OK", None),
        ("Great success", None),
        ("2.0.0 Message accepted for delivery", None),
    ],
)  # fmt: skip
def test_queue_id(text: str, queue_id: str | None) -> None:
    assert parse_reply(250, text, queue_id=True).queue_id == queue_id
