"""Messages: what a request becomes, byte for byte, and which requests are refused, field by field."""

import base64
import hashlib
import re
import time
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default
from pathlib import Path
from typing import Any

import fast_mail_parser
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.uuid7 import uuid7
from tasks import files as files_module
from tasks import mime
from tasks.compose import Composed, Limits, compose, redate
from tasks.email import Attachment, Content, Email
from tasks.errors import EmailInvalid

GOLDEN = Path(__file__).parent / "golden"
LIMITS = Limits(max_message_bytes=25_000_000, max_recipients=50)
AT = 1795574689000
ID = "019abcde-0000-7000-8000-000000000001"
LINE_OCTETS = 57
"""What a line of base64 holds."""
LINES = re.compile(rb"(?:[\t\x20-\x7e]{0,998}\r\n)*")


def email(**fields: object) -> Email:
    """A good request, with some fields replaced."""
    whole = {
        "email_to": "bob@shop.example",
        "email_from": "Shop <news@shop.example>",
        "subject": "Hello",
        "message": Content(text="Hello Bob,\n\nwelcome.\n"),
    }
    return Email(**(whole | fields))  # pyright: ignore[reportArgumentType]


def made(**fields: object) -> Composed:
    tokens = iter(["0123456789abcdef" * 2, "f" * 32])
    return compose(email(**fields), id=ID, at_ms=AT, limits=LIMITS, token=lambda: next(tokens))


def read(composed: Composed) -> EmailMessage:
    message = message_from_bytes(composed.message, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def errors(limits: Limits = LIMITS, **fields: object) -> dict[str, str]:
    with pytest.raises(EmailInvalid) as caught:
        compose(email(**fields), id=ID, at_ms=AT, limits=limits)
    return {error.field: error.message for error in caught.value.errors}


def file(content: bytes = b"abc", **fields: object) -> Attachment:
    whole = {"filename": "a.txt", "content": base64.b64encode(content).decode()}
    return Attachment(**(whole | fields))  # pyright: ignore[reportArgumentType]


def shape(part: MIMEPart) -> object:
    """The tree of content types."""
    if part.is_multipart():
        return {part.get_content_type(): [shape(child) for child in part.iter_parts()]}
    return part.get_content_type()


# --- whole messages

GOLDENS = {
    "text": {},
    "html": {"message": Content(html="<h1>Hi</h1><p>See <a href='https://shop.example/'>us</a>.</p>")},
    "both": {
        "subject": "Bestätigung für Zoë =?utf-8?q?x?=",
        "email_to": ["Zoë, Ünit <zoe@exämple.com>", '"Doe, Bob" <bob@shop.example>', "eve@shop.example"],
        "cc": ["cc@shop.example"],
        "bcc": ["secret@shop.example"],
        "reply_to": "help@shop.example",
        "headers": {"X-Campaign": "Frühling", "List-Unsubscribe": "<https://shop.example/leave/1>"},
        "message": Content(text="Grüße,\n.\nFrom the shop \n", html="<p>Grüße"),
    },
    "everything": {
        "message": Content(text="See files.", html="<p><img src='cid:logo'>"),
        "attachments": [
            file(b"\x89PNG" * 30, filename="logo.png", content_type="image/png", content_id="logo"),
            file(b"%PDF-1.7", filename="Rechnung für Zoë.pdf", content_type="application/pdf"),
            file(b"", filename="=?utf-8?q?x?=.bin"),
        ],
    },
}


@pytest.mark.parametrize("name", GOLDENS)
def test_the_bytes_are_fixed(name: str) -> None:
    assert made(**GOLDENS[name]).message == (GOLDEN / f"{name}.eml").read_bytes()


@pytest.mark.parametrize(
    ("fields", "tree"),
    [
        ({}, "text/plain"),
        ({"message": Content(html="<p>x")}, {"multipart/alternative": ["text/plain", "text/html"]}),
        ({"message": Content(html="<img src=x>")}, "text/html"),
        ({"message": Content(text="x", html="<p>x")}, {"multipart/alternative": ["text/plain", "text/html"]}),
        ({"attachments": [file()]}, {"multipart/mixed": ["text/plain", "application/octet-stream"]}),
        ({"attachments": [file(content_id="x")]}, {"multipart/mixed": ["text/plain", "application/octet-stream"]}),
        (
            {"message": Content(html="<img src=x>"), "attachments": [file(content_id="x", content_type="image/png")]},
            {"multipart/related": ["text/html", "image/png"]},
        ),
        (
            GOLDENS["everything"],
            {
                "multipart/mixed": [
                    {"multipart/alternative": ["text/plain", {"multipart/related": ["text/html", "image/png"]}]},
                    "application/pdf",
                    "application/octet-stream",
                ]
            },
        ),
    ],
)
def test_the_shape_follows_the_request(fields: dict[str, object], tree: object) -> None:
    assert shape(read(made(**fields))) == tree


def test_what_sending_takes_is_told_beside_the_message() -> None:
    composed = made(**GOLDENS["both"])
    assert composed.message_id == f"<{ID}@shop.example>"
    assert composed.sha256 == hashlib.sha256(composed.message).hexdigest()
    assert composed.sender == "news@shop.example"
    assert composed.recipients == [
        "zoe@xn--exmple-cua.com",
        "bob@shop.example",
        "eve@shop.example",
        "cc@shop.example",
        "secret@shop.example",
    ]
    assert composed.from_ == "Shop <news@shop.example>"
    assert composed.to == GOLDENS["both"]["email_to"]
    assert (composed.cc, composed.bcc, composed.reply_to) == (
        ["cc@shop.example"],
        ["secret@shop.example"],
        ["help@shop.example"],
    )
    assert composed.subject == "Bestätigung für Zoë =?utf-8?q?x?="
    assert not composed.utf8


def test_bcc_stays_out_of_the_message() -> None:
    assert b"secret" not in made(**GOLDENS["both"]).message


def test_a_recipient_named_twice_gets_one_copy() -> None:
    composed = made(email_to=["bob@Shop.example", "B <bob@shop.example>"], cc="bob@shop.example", bcc=["Bob@shop.example"])
    assert composed.recipients == ["bob@shop.example", "Bob@shop.example"]


def test_a_redirected_message_goes_to_one_address_and_names_the_others() -> None:
    composed = compose(
        email(email_to=["bob@exämple.com", "eve@shop.example"], bcc="x@y.example"),
        id=ID, at_ms=AT, limits=LIMITS, redirect="dev@shop.example",
    )  # fmt: skip
    assert composed.recipients == ["dev@shop.example"]
    assert composed.to == ["bob@exämple.com", "eve@shop.example"]
    message = read(composed)
    assert message["x-original-to"] == "bob@xn--exmple-cua.com, eve@shop.example, x@y.example"
    assert message["to"] == "bob@xn--exmple-cua.com, eve@shop.example"


@pytest.mark.parametrize(
    ("at_ms", "date"),
    [
        (AT, "Wed, 25 Nov 2026 02:44:49 +0000"),
        (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
        (1767225599999, "Wed, 31 Dec 2025 23:59:59 +0000"),
        (253402300799999, "Fri, 31 Dec 9999 23:59:59 +0000"),
    ],
)
def test_the_date_is_the_first_line_and_can_be_replaced(at_ms: int, date: str) -> None:
    other = redate(made().message, at_ms)
    assert other.startswith(f"Date: {date}\r\nMessage-ID: ".encode())
    assert other == compose(email(), id=ID, at_ms=at_ms, limits=LIMITS).message
    assert len(other) == len(made().message)


def test_auto_submitted_is_set_unless_the_client_sets_it() -> None:
    assert read(made()).get_all("auto-submitted") == ["auto-generated"]
    assert read(made(headers={"auto-Submitted": "no"})).get_all("auto-submitted") == ["no"]


def test_a_boundary_that_the_body_holds_is_drawn_again() -> None:
    tokens = iter(["a" * 32, "b" * 32])
    content = Content(text="see --=_a_" + "a" * 32, html="<p>x")
    composed = compose(email(message=content), id=ID, at_ms=AT, limits=LIMITS, token=lambda: next(tokens))
    assert read(composed).get_boundary() == "=_a_" + "b" * 32


def test_two_messages_have_different_boundaries() -> None:
    ids = [uuid7(AT), uuid7(AT)]
    both = [read(compose(email(message=Content(html="x")), id=id_, at_ms=AT, limits=LIMITS)) for id_ in ids]
    assert both[0].get_boundary() != both[1].get_boundary()


def test_a_body_that_holds_its_own_emails_boundary_gets_a_random_one() -> None:
    content = Content(text=f"see --=_a_{ID.replace('-', '')}", html="<p>x")
    boundary = read(compose(email(message=content), id=ID, at_ms=AT, limits=LIMITS)).get_boundary()
    assert boundary is not None
    assert len(boundary) == len("=_a_") + 32
    assert ID.replace("-", "") not in boundary


def test_smtputf8_writes_the_address_as_it_is_where_it_is_switched_on() -> None:
    allowed = Limits(max_message_bytes=10_000, max_recipients=5, smtputf8=True)
    composed = compose(email(email_to="josé@exämple.com"), id=ID, at_ms=AT, limits=allowed)
    assert composed.utf8
    assert composed.recipients == ["josé@xn--exmple-cua.com"]
    assert "\r\nTo: josé@xn--exmple-cua.com\r\n".encode() in composed.message
    assert "SMTPUTF8" in errors(email_to="josé@exämple.com")["email_to"]


# --- bodies

BODIES = [
    " ",
    "one line",
    "line\n",
    "dos\r\nunix\nmac\rend",
    "\n\n\n",
    "a\n.\nb",
    "a\r\n.\r\nb",
    ".\n..\n...\n",
    "From me\nFrom you\n>From",
    "trailing \n\t\n  \n",
    "x" * 5000,
    "é" * 5000,
    "日本語" * 500,
    "long word " + "w" * 998 + "\n" + "w" * 999,
    "=3D =20= =\n=",
    "tabs\tand = signs é\n",
    ("." * 80 + " é\n") * 3,
    ("From " * 40 + "é") * 3,
    "--=_a_" + "0123456789abcdef" * 2 + "--",
    "\u2028\u202e\u2066 bidi is text here",
    "👩‍👩‍👧‍👦",
    "\ufeffbom",
]


@pytest.mark.parametrize("text", BODIES)
def test_a_body_reads_back_exactly(text: str) -> None:
    assert_bodies(text)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["\n", "\r\n", ".", "From ", " ", "\t", "=", "é", "x" * 80, "--", "日本"]),
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=90),
        ),
        min_size=1,
        max_size=40,
    ).map("".join).filter(bool)
)  # fmt: skip
def test_any_body_reads_back_exactly(text: str) -> None:
    assert_bodies(text)


@pytest.mark.parametrize("head", ["", ".", "From ", "é", "=", "x" * 74 + ".", "x" * 74 + "From "])
@pytest.mark.parametrize("tail", ["", " ", "\t", "é ", ".", "= ", "  "])
def test_lines_about_as_long_as_a_line_may_be_are_divided_within_76(head: str, tail: str) -> None:
    for size in range(66, 80):
        for end in ("\né", ""):
            assert_bodies(f"{head}{'x' * size}{tail}{end}")


def unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def assert_bodies(text: str) -> None:
    """As the only part, where a last line end is added, and as one of several, where it is exact."""
    alone = made(message=Content(text=text))
    both = made(message=Content(text=text, html=text))
    for composed in (alone, both):
        assert LINES.fullmatch(composed.message)
        rows = composed.message.split(b"\r\n")
        assert not any(row.startswith((b".", b"From ")) for row in rows)
        if b"Content-Transfer-Encoding: 7bit" not in rows:
            assert max(map(len, rows)) <= 76
    assert_texts([decoded(read(alone))], [unix(text) + ("" if text.endswith(("\n", "\r")) else "\n")])
    assert_texts([decoded(part) for part in read(both).iter_parts()], [unix(text)] * 2)
    rust = fast_mail_parser.parse_email(both.message)
    assert_texts([*rust.text_plain, *rust.text_html], [unix(text).removeprefix("\ufeff")] * 2)  # it drops the mark


def decoded(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def assert_texts(found: list[str], wanted: list[str]) -> None:
    assert [text.replace("\r\n", "\n") for text in found] == wanted


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("w" * 998 + "\n", "7bit"),
        ("w" * 999 + "\n", "quoted-printable"),
        ("Grüße an alle\n", "quoted-printable"),
        ("日本語\n", "base64"),
        (".\n", "quoted-printable"),
        ("From me\n", "quoted-printable"),
        ("trailing \n", "quoted-printable"),
    ],
)
def test_the_encoding_is_the_plainest_that_is_safe(text: str, encoding: str) -> None:
    assert read(made(message=Content(text=text)))["content-transfer-encoding"] == encoding


# --- headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Foo", "bar"),
        ("X-Foo", ""),
        ("X-Foo", "Ünïcode  with\ttab "),
        ("X-Foo", "=?utf-8?q?x=0D=0ABcc:_a@b?="),
        ("X-Json", '{"a": "' + "b" * 800 + '"}'),
        ("References", " ".join(f"<{n}.abcdef0123456789@shop.example>" for n in range(30))),
        ("In-Reply-To", "<a@shop.example>"),
        ("List-Unsubscribe", "<mailto:leave@shop.example?subject=leave>, <https://shop.example/" + "l" * 500 + ">"),
        ("List-Unsubscribe", "<https://shop.example/a>,<mailto:b@shop.example>"),
        ("List-Id", "<news.shop.example>"),
        ("List-Id", '"Our news" <news.shop.example>'),
        ("List-Post", "NO"),
        ("Precedence", "bulk"),
        ("X-Priority", "1 (Highest)"),
        ("a", "one letter"),
        ("X-" + "y" * 62, "é" * 100),
    ],
)
def test_a_custom_header_reads_back_exactly(name: str, value: str) -> None:
    composed = made(headers={name: value})
    assert LINES.fullmatch(composed.message)
    assert read(composed)[name] == value
    assert dict(fast_mail_parser.parse_email(composed.message).headers)[name] == [value]


RESERVED = [
    "From", "to", "CC", "Bcc", "Subject", "Reply-To", "Sender", "Return-Path", "Message-ID", "Date", "MIME-Version", "MIME-X",
    "Content-Type", "content-foo", "Received", "DKIM-Signature", "ARC-Seal", "Resent-To", "Authentication-Results",
    "Delivered-To", "X-Original-To",
]  # fmt: skip


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_header_is_refused(name: str) -> None:
    assert list(errors(headers={name: "x"})) == [f"headers.{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("X Foo", "x"),
        ("X-Foo:", "x"),
        ("X-Foo\r\nBcc", "x"),
        ("X-Ünï", "x"),
        ("X" * 100, "x"),
        ("X-Foo", "a\r\nBcc: x@y"),
        ("X-Foo", "a\nb"),
        ("X-Foo", "a\rb"),
        ("X-Foo", "a\x00b"),
        ("X-Foo", "a\x85b"),
        ("X-Foo", "a\u2028b"),
        ("X-Foo", "a\u202eb"),
        ("X-Foo", "a\ud800b"),
        ("X-Foo", "é" * 50_000),
        ("References", "a@b"),
        ("References", "<a@b> text"),
        ("References", "<a@b>  <c@d>"),
        ("References", "<" + "a" * 1000 + "@b>"),
        ("References", "<=?utf-8?q?x?=@b>"),
        ("References", ""),
        ("In-Reply-To", "<é@b>"),
        ("List-Unsubscribe", "https://shop.example/leave"),
        ("List-Unsubscribe", "<https://shop.example/a b>"),
        ("List-Unsubscribe", "<https://shop.example/" + "a" * 1000 + ">"),
        ("List-Unsubscribe-Post", "yes"),
        ("List-Id", "news"),
        ("Auto-Submitted", "auto-generated; =?x?="),
    ],
)
def test_a_wrong_custom_header_is_refused(name: str, value: str) -> None:
    found = errors(headers={name: value})
    assert len(found) == 1
    assert next(iter(found)).startswith("headers.")
    assert all(field.isprintable() for field in found)


ONE_CLICK = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


@pytest.mark.parametrize("leave", ["<https://shop.example/leave/1>", "<mailto:leave@shop.example>, <HTTPS://shop.example/1>"])
def test_one_click_leaving_goes_with_an_https_url(leave: str) -> None:
    found = read(made(headers={**ONE_CLICK, "list-unsubscribe": leave}))
    assert found["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert found["list-unsubscribe"] == leave


@pytest.mark.parametrize(
    "more", [{}, {"List-Unsubscribe": "<mailto:leave@shop.example>"}, {"X-Leave": "<https://shop.example/1>"}]
)
def test_one_click_leaving_without_an_https_url_is_refused(more: dict[str, str]) -> None:
    assert "RFC 8058" in errors(headers={**ONE_CLICK, **more})["headers.List-Unsubscribe-Post"]


def test_a_header_given_twice_in_other_letters_is_refused() -> None:
    assert "headers.x-a" in errors(headers={"X-A": "1", "x-a": "2"})


def test_too_many_headers_are_refused() -> None:
    assert "100" in errors(headers={f"X-{n}": "" for n in range(101)})["headers"]


# --- fields that are wrong


def test_every_wrong_field_is_named_at_once() -> None:
    found = errors(
        email_to=["ok@x.de", "bad", "a@b.c\r\nRCPT TO:<d@e.f>"],
        email_from="nobody",
        cc="",
        reply_to=["x@y"],
        subject="a\nb",
        message=Content(text="a\x00b", html="line\n\x0b"),
        headers={"From": "x", "X-Foo": "a\rb", "X-Ok": "fine"},
        attachments=[
            file(),
            file(filename="", content_type="text", content_id="<a>"),
            Attachment(filename="a", content="abc"),
        ],
    )
    assert list(found) == [
        "email_from",
        "email_to[1]",
        "email_to[2]",
        "cc",
        "reply_to[0]",
        "subject",
        "message.text",
        "message.html",
        "headers.From",
        "headers.X-Foo",
        "attachments[1].filename",
        "attachments[1].content_type",
        "attachments[1].content_id",
        "attachments[2].content",
    ]
    assert found["message.html"] == "a control character U+000B at line 2, column 1: remove it"


@pytest.mark.parametrize("content", [Content(), Content(text=""), Content(html=""), Content(text="", html="")])
def test_an_email_without_any_content_is_refused(content: Content) -> None:
    assert list(errors(message=content)) == ["message"]


@pytest.mark.parametrize("char", list("\r\n\x00\x0b\x0c\x1c\x1d\x1e\x7f\x85\u2028\u2029\u202a\u202e\u2066\u2069\ud800"))
def test_a_line_field_without_lines(char: str) -> None:
    assert list(errors(subject=f"a{char}b")) == ["subject"]
    assert list(errors(email_from=f"a{char}b <a@b.cd>")) == ["email_from"]
    assert list(errors(attachments=[file(filename=f"a{char}b")])) == ["attachments[0].filename"]
    assert list(errors(attachments=[file(content_id=f"a{char}b")])) == ["attachments[0].content_id"]
    assert list(errors(attachments=[file(content_type=f"text/{char}plain")])) == ["attachments[0].content_type"]


@pytest.mark.parametrize("char", list("\x00\x01\x08\x0b\x0c\x1b\x1f\x7f\x80\x85\x9f\ud800"))
def test_a_body_without_control_characters(char: str) -> None:
    assert list(errors(message=Content(text=f"a{char}", html=f"{char}b"))) == ["message.text", "message.html"]


def test_recipients_are_limited_and_needed() -> None:
    many = [f"a{n}@x.de" for n in range(49)]
    assert len(made(email_to=many, bcc="b@x.de").recipients) == 50
    assert "50 recipients" in errors(email_to=many, cc="a@x.de", bcc=["b@x.de"])["email_to"]
    assert list(errors(email_to=[])) == ["email_to"]
    assert list(errors(reply_to=[*many, "a@x.de", "b@x.de"])) == ["reply_to"]


def test_a_list_of_addresses_that_relays_would_cut_off_is_refused() -> None:
    long = ["🎉" * 400 + f" <a{n}@x.de>" for n in range(49)]
    for field in ("email_to", "cc", "reply_to"):
        found = errors(**{"email_to": "b@x.de", field: long})
        assert list(found) == [field]
        assert "65536" in found[field]
    assert len(made(email_to=long[:20]).recipients) == 20


def test_a_message_that_is_too_large_is_refused_with_limit_and_size() -> None:
    small = Limits(max_message_bytes=2000, max_recipients=5)
    for fields in (
        {"message": Content(text="x" * 2001)},
        {"message": Content(text="é\n" * 500)},
        {"attachments": [file(b"x" * 1500)]},
        {"subject": "x " * 900},
    ):
        message = errors(small, **fields)["message"]
        assert "2000 bytes" in message
        assert int(re.findall(r"\d+", message)[1]) > 2000


def test_an_attachment_that_is_too_large_is_not_even_decoded() -> None:
    small = Limits(max_message_bytes=2000, max_recipients=5)
    assert list(errors(small, attachments=[Attachment(filename="", content="!" * 3000)])) == ["message"]


# --- attachments

FILENAMES = [
    ("a.txt", "a.txt"),
    ("/etc/passwd", "passwd"),
    ("C:\\dir\\a.txt", "a.txt"),
    (".htaccess", ".htaccess"),
    ('a"b;c.txt', 'a"b;c.txt'),
    ("=?utf-8?q?x?=.exe", "=?utf-8?q?x?=.exe"),
    ("e\u0301.txt", "é.txt"),
    ("two  spaces é.txt", "two  spaces é.txt"),
    ("日本語.pdf", "日本語.pdf"),
    ("x%41'y.txt", "x%41'y.txt"),
    ("é" * 75, "é" * 75),
    ("n" * 150, "n" * 150),
]


@pytest.mark.parametrize(("filename", "name"), FILENAMES)
def test_a_file_reads_back_exactly(filename: str, name: str) -> None:
    data = bytes(range(256)) * 3
    composed = made(attachments=[file(data, filename=filename, content_type="application/pdf")])
    assert LINES.fullmatch(composed.message)
    part = next(read(composed).iter_attachments())
    assert (part.get_filename(), part.get_payload(decode=True), part.get_content_type()) == (name, data, "application/pdf")
    rust = fast_mail_parser.parse_email(composed.message).attachments[0]
    assert (rust.filename, bytes(rust.content), rust.mimetype) == (name, data, "application/pdf")


@pytest.mark.parametrize(
    "filename", ["", ".", "..", "dir/", "a\\", " ", "a\x00b", "a\nb", "a\tb", "a\u202etxt.exe", "é" * 76, "n" * 300]
)
def test_a_wrong_file_name_is_refused(filename: str) -> None:
    assert list(errors(attachments=[file(filename=filename)])) == ["attachments[0].filename"]


@pytest.mark.parametrize(
    "content_type",
    [
        "", "pdf", "application/", "/pdf", 'application/pdf; name="x.exe"', "html; charset=utf-7", "text/html; charset=utf-7",
        "multipart/mixed", "Message/rfc822", "text/plain\r\nX: y", "text/plain\n", "text /plain", "a/b/c", "tëxt/plain",
    ],
)  # fmt: skip
def test_a_wrong_content_type_is_refused(content_type: str) -> None:
    assert list(errors(attachments=[file(content_type=content_type)])) == ["attachments[0].content_type"]


@pytest.mark.parametrize(
    "content",
    ["abc", "ab==cd==", "a-_b", "YWJj\n", "YWJj YWJj", "YWJ=c", "=", "====", "YWJj=", "ÄWJj", "YQ=", "data:,x", "\ud800AAA"],
)
def test_a_content_that_is_no_strict_base64_is_refused(content: str) -> None:
    assert "no base64" in errors(attachments=[Attachment(filename="a", content=content)])["attachments[0].content"]


@pytest.mark.parametrize("content_id", ["", "<a>", "a b", "a\r\nb", "é", "=?x?=", "a" * 129])
def test_a_wrong_content_id_is_refused(content_id: str) -> None:
    assert list(errors(attachments=[file(content_id=content_id)])) == ["attachments[0].content_id"]


def test_a_content_id_is_used_once() -> None:
    assert list(errors(attachments=[file(content_id="a"), file(content_id="a")])) == ["attachments[1].content_id"]


# --- in steps, so that no other thread waits long


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("=. \tFrom \nabcé€" + "x" * 20), max_size=400), st.booleans())
@example("é" + "x" * 60 + "\n", False)
@example("x" * 57 + "\n.é\n" + "x" * 54 + "\n", False)
def test_text_that_is_encoded_in_steps_is_the_same_message(text: str, is_html: bool) -> None:
    content = Content(html=text or "x") if is_html else Content(text=text or "x")
    whole = made(message=content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mime, "_STEP", LINE_OCTETS)
        assert made(message=content).message == whole.message


@pytest.mark.parametrize("steps", [1, 2, 7, 15, 25])
def test_a_file_that_is_encoded_in_steps_is_the_same_message(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (0, 1, 56, 57, 58, 113, 114, 115, 855, 1425, 1426):
        files = [file((bytes(range(256)) * 6)[:size])]
        monkeypatch.undo()
        whole = made(attachments=files)
        monkeypatch.setattr(mime, "_STEP", steps * LINE_OCTETS)
        monkeypatch.setattr(files_module, "_PIECE", 4 * steps)
        assert made(attachments=files).message == whole.message


@settings(deadline=None, max_examples=500)
@given(st.text("AQg=+/-é\n", max_size=24))
@example("QQ==QQ==")
@example("AAAAQ===")
def test_base64_that_is_read_in_steps_is_the_same_or_refused_for_the_same_reason(content: str) -> None:
    def outcome() -> bytes | str:
        try:
            return files_module.decode(content)
        except ValueError as error:
            return str(error)

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "_PIECE", 4)
        assert outcome() == whole
    if isinstance(whole, bytes):
        assert base64.b64decode(content, validate=True) == whole


# --- whatever is asked for

anything = st.one_of(
    st.text(st.characters(), max_size=30),
    st.sampled_from(["a@b.cd", "Zoë <a@exämple.com>", "x\r\nBcc: e@vil.com", "=?utf-8?q?=0D=0ABcc:_e@vil.com?= <a@b.cd>"]),
)


@settings(deadline=None, max_examples=200)
@given(
    st.fixed_dictionaries(
        {
            "email_to": st.one_of(anything, st.lists(anything, max_size=3)),
            "email_from": anything,
            "cc": st.lists(anything, max_size=2),
            "subject": anything,
            "message": st.builds(Content, text=st.none() | anything, html=st.none() | anything),
            "headers": st.dictionaries(st.one_of(anything, st.sampled_from(["X-A", "References"])), anything, max_size=2),
            "attachments": st.lists(
                st.builds(Attachment, filename=anything, content=st.just("YWJj"), content_id=st.none() | anything), max_size=2
            ),
        },
    )
)
def test_no_request_adds_a_line_or_a_part_or_raises_anything_else(fields: dict[str, object]) -> None:
    try:
        composed = made(**fields)
    except EmailInvalid as invalid:
        shown = "".join(error.field + error.message for error in invalid.errors)
        assert shown.isprintable(), shown
        return
    assert LINES.fullmatch(composed.message)
    message = read(composed)
    headers = fields["headers"]
    assert isinstance(headers, dict)
    own = {"Date", "Message-ID", "From", "To", "Cc", "Subject", "Auto-Submitted", "MIME-Version", "Content-Type"}
    assert set(message.keys()) <= own | {"Content-Transfer-Encoding", *headers}
    attachments = fields["attachments"]
    assert isinstance(attachments, list)
    assert sum(part.get_content_disposition() is not None for part in message.walk()) == len(attachments)


def test_megabytes_in_any_field_are_refused_quickly() -> None:
    long: dict[str, Any] = {
        "email_to": [
            "a." * 1_000_000 + "@x.de",
            '"' + "a" * 1_000_000 + '" <a@x.de>',
            "a@" + "b." * 1_000_000,
            "é" * 1_000_000,
        ],
        "subject": "é" * 1_000_000,
        "headers": {"References": "<a> " * 500_000, "X-A": "x " * 500_000, "é" * 1_000_000: ""},
        "attachments": [file(filename="\u0316\u0301" * 1_000_000, content_type="a" * 1_000_000, content_id="a" * 1_000_000)],
    }
    begun = time.perf_counter()
    found = errors(**long)
    assert time.perf_counter() - begun < 3
    assert len(found) == 4 + 1 + 3 + 3
    assert all(len(message) < 300 for message in found.values())


def test_too_many_attachments_are_refused() -> None:
    assert "100 files" in errors(attachments=[file()] * 101)["attachments"]
