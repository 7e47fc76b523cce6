"""Messages are read back as they were asked for, and no bytes whatever make the reader raise."""

import base64
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.compose import Limits, compose
from tasks.email import Attachment, Content, Email
from tasks.reader import Attached, Parts, read, read_attachment

GOLDEN = Path(__file__).parent / "golden"


def composed(**fields: object) -> bytes:
    whole = {"email_to": "bob@shop.example", "email_from": "news@shop.example", "subject": "Hi", "message": Content(text="x")}
    email = Email(**(whole | fields))  # pyright: ignore[reportArgumentType]
    return compose(email, id="1", at_ms=0, limits=Limits(10_000_000, 50)).message


def test_text_and_html_come_back() -> None:
    parts = read(composed(message=Content(text="Grüße\r\n.\n", html="<p>Zoë")))
    assert (parts.text, parts.html, parts.attachments) == ("Grüße\n.\n", "<p>Zoë", [])


def test_a_text_alone_has_no_html() -> None:
    assert read(composed()) == Parts("x\n", None, read(composed()).headers, [])


def test_headers_come_back_decoded_and_in_order() -> None:
    parts = read(composed(subject="Zoë =?x?=", headers={"X-A": "ü"}, email_to='"Doe, Zoë" <z@exämple.com>'))
    assert parts.headers[:6] == [
        ("Date", "Thu, 01 Jan 1970 00:00:00 +0000"),
        ("Message-ID", "<1@shop.example>"),
        ("From", "news@shop.example"),
        ("To", '"Doe, Zoë" <z@xn--exmple-cua.com>'),
        ("Subject", "Zoë =?x?="),
        ("X-A", "ü"),
    ]


def test_attachments_come_back_with_their_bytes() -> None:
    files = [
        Attachment(filename="Zoë.txt", content=base64.b64encode(b"\x00\xff").decode(), content_type="text/plain"),
        Attachment(filename="logo.png", content="", content_type="image/png", content_id="logo"),
    ]
    message = composed(message=Content(text="x", html="<img src='cid:logo'>"), attachments=files)
    assert read(message).attachments == [
        Attached("logo.png", "image/png", "logo", 0),
        Attached("Zoë.txt", "text/plain", None, 2),
    ]
    assert [read_attachment(message, index) for index in (-1, 0, 1, 2)] == [None, b"", b"\x00\xff", None]


def test_a_utf8_header_is_read_as_utf8() -> None:
    assert read("To: josé@x.de\r\nSubject: \u00fc\r\n\r\n".encode()).headers == [("To", "josé@x.de"), ("Subject", "ü")]


ODD = [
    b"",
    b"\r\n",
    b"no header at all",
    b"\xff\xfe\x00",
    b": \r\n: x\r\n\r\n",
    b"Subject: =?utf-8?q?=FF?= =?nosuch?q?x?= =?utf-8?b?!?=\r\n\r\nx",
    b"To: <=?\xff?= \"@ , ;:<<>>\r\nCc: a@[1\r\nDate: never\r\nContent-ID: <\r\n\r\nx",
    b"Content-Type: text/plain; charset=nosuch\r\n\r\nabc",
    b"Content-Type: text/plain; charset=utf-16\r\n\r\na",
    b"Content-Type: text/html; charset=idna\r\n\r\n" + b"a." * 100,
    b"Content-Type: text/plain; charset=hex\r\n\r\nabc",
    b"Content-Type: text/plain; charset=\xff\r\nContent-Transfer-Encoding: \xff\r\n\r\nabc\xff",
    b"Content-Type: ;;;\r\nContent-Disposition: ;;filename*=\r\n\r\nx",
    b"Content-Type: a/b; name*0*=\r\nContent-Disposition: attachment; filename*9=x; filename*=nosuch''%FF\r\n\r\nx",
    b"Content-Type: multipart/mixed\r\n\r\nno boundary",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n\r\n--x--",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\r\n--x--",
    b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\nC: d\r\n",
    b"Content-Type: message/external-body\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!",
    b"Content-Transfer-Encoding: base64\r\n\r\na",
    b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 666 x\r\n\xff",
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n" * 150,
    b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(200)),
    b"Content-Type: message/rfc822\r\n\r\n" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("message", ODD, ids=range(len(ODD)))
def test_odd_bytes_are_read_without_raising(message: bytes) -> None:
    begun = time.perf_counter()
    for index in range(len(read(message).attachments)):
        assert read_attachment(message, index) is not None
        if index > 0:
            break
    assert time.perf_counter() - begun < 4


def test_a_text_in_an_unknown_charset_is_shown_as_utf8() -> None:
    assert read(b"Content-Type: text/plain; charset=nosuch\r\n\r\nabc").text == "abc"


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_damage_to_a_message_makes_the_reader_raise(data: st.DataObject) -> None:
    whole = (GOLDEN / "everything.eml").read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 40, len(whole))))
    message = whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:]
    count = len(read(message).attachments)
    assert read_attachment(message, count) is None
    assert not count or read_attachment(message, count - 1) is not None


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(
        [b"Subject", b"To", b"From", b"Content-Type", b"Content-Disposition", b"Content-ID", b"Date", b"Message-ID"]
    ),
    st.one_of(st.binary(max_size=60), st.text(st.sampled_from("<>@\"=?;:,()[]\\*' \tab%."), max_size=60).map(str.encode)),
)
def test_no_header_whatever_makes_the_reader_raise(name: bytes, value: bytes) -> None:
    parts = read(name + b": " + value + b"\r\n\r\nx")
    assert parts.headers or not value or value[:1] in b"\r\n"
