"""Header lines read back exactly, in two readers that share no code, and no input adds a line."""

import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32, default
from email.utils import getaddresses

import fast_mail_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.address import Address
from tasks.headers import addresses, check_name, parameters, structured, unstructured

SAFE = re.compile(rb"(?:[!-9;-~]{1,64}:(?: [\x20-\x7e]+(?:\r\n [\x21-\x7e][\x20-\x7e]*)*)?\r\n)*")
REFUSED = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

smuggled = st.sampled_from(["=?utf-8?q?hi=0D=0ABcc:_x@y?=", "=?x?=", "=?utf-8?b?aGk=?=", "?=", "=?"])
characters = st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(list(' =?_"\\,;<>@()é😀')))
texts = st.lists(st.one_of(st.text(characters, max_size=60), smuggled), max_size=5).map("".join)
lines = texts.map(lambda text: REFUSED.sub("\t", text))
names = texts.map(lambda text: REFUSED.sub("", text).replace("\t", " ")).filter(str.strip)


def is_folded(written: str) -> bool:
    """Every line with a place to fold at keeps to 76 characters, and all to 998."""
    rows = written.split("\r\n")
    return all(len(row) <= 998 and (len(row) <= 76 or " " not in row.strip().partition(": ")[2]) for row in rows)


SUBJECTS = [
    "",
    " ",
    "   ",
    "Hello",
    "two  spaces",
    "trailing   ",
    "\ttabs\tinside\t",
    "Bestellung für Zoë",
    "日本語の件名" * 20,
    "=?utf-8?q?hi=0D=0ABcc:_x@y=0D=0A=0D=0Abody?=",
    "a =?utf-8?b?aGk=?= b",
    "word " * 60 + "end",
    "x" * 300,
    "x" * 2000,
    "From: x@y",
    "é" * 500,
    "👩‍👩‍👧‍👦" * 10,
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_reads_back_exactly(subject: str) -> None:
    assert_unstructured(subject)


@settings(deadline=None, max_examples=300)
@given(lines)
def test_any_line_reads_back_exactly(line: str) -> None:
    assert_unstructured(line)


def assert_unstructured(text: str) -> None:
    written = unstructured("Subject", text)
    message = written.encode("ascii") + b"\r\n"
    assert SAFE.fullmatch(written.encode("ascii"))
    assert is_folded(written)
    assert message_from_bytes(message, policy=default)["subject"] == text
    assert fast_mail_parser.parse_email(message).subject == text


@pytest.mark.parametrize("char", list("\r\n\x00\x0b\x0c\x1c\x1d\x1e\x7f\x85\x9f\u2028\u2029\u202a\u202e\u2066\u2069\ud800"))
def test_what_ends_or_hides_a_line_is_refused_by_every_writer(char: str) -> None:
    bad = f"a{char}b"
    with pytest.raises(ValueError):
        unstructured("X-A", bad)
    with pytest.raises(ValueError):
        structured("References", bad)
    with pytest.raises(ValueError):
        addresses("To", [Address(bad, "a@b.cd", "a@b.cd")])
    with pytest.raises(ValueError):
        parameters("Content-Disposition", "attachment", {"filename": bad})


NAMES = [
    "Bob",
    "Doe, Bob",
    'say "hi"',
    "back\\slash",
    "Bob (Sales) @ Shop: <x>; y",
    "John Q. Public",
    "Zoë",
    "Zoë, Ünit <x@y>",
    "=?utf-8?q?evil?=",
    "two  spaces ",
    "word " * 30 + "end",
    "dotted. " * 20 + "end",
    "Große Straße " * 12 + "Ende",
    "日本語の名前" * 10,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reads_back_exactly_first_and_last_in_a_list(name: str) -> None:
    assert_addresses([name, "Middle", name])


@settings(deadline=None, max_examples=300)
@given(st.lists(names, min_size=1, max_size=4))
def test_any_names_read_back_exactly(many: list[str]) -> None:
    assert_addresses(many)


def assert_addresses(many: list[str]) -> None:
    wanted = [(name, f"a{index}@b.example") for index, name in enumerate(many)]
    written = addresses("Reply-To", [Address(name, addr, addr) for name, addr in wanted])
    message = written.encode("ascii") + b"\r\n"
    assert SAFE.fullmatch(written.encode("ascii"))
    assert max(map(len, written.split("\r\n"))) <= 998
    read = [(address.display_name or "", address.address) for address in fast_mail_parser.parse_email(message).reply_to]
    # the Rust reader takes white space off the ends of names
    assert [(name.strip(), addr) for name, addr in read] == [(name.strip(), addr) for name, addr in wanted]
    # the newer half of CPython puts spaces between encoded words of a name (RFC 2047 6.2 says none); the older does not
    raw = message_from_bytes(message, policy=compat32)["reply-to"].replace("\r\n", "")
    assert [(str(make_header(decode_header(name))), addr) for name, addr in getaddresses([raw])] == wanted


@pytest.mark.parametrize("name", [name for name in NAMES if len(name) < 45 and name == name.strip()])
def test_a_name_of_one_encoded_word_reads_back_in_both_halves_of_cpython(name: str) -> None:
    written = addresses("To", [Address(name, "a@b.cd", "a@b.cd"), Address(None, "e@f.gh", "e@f.gh")])
    read = message_from_bytes(written.encode() + b"\r\n", policy=default)["to"].addresses
    assert [(address.display_name, address.addr_spec) for address in read] == [(name, "a@b.cd"), ("", "e@f.gh")]


def test_fifty_addresses_are_folded_at_76() -> None:
    many = [Address(None, f"recipient.number.{index}@shop.example", "") for index in range(50)]
    written = addresses("To", many)
    assert max(map(len, written.split("\r\n"))) <= 76
    assert fast_mail_parser.parse_email(written.encode() + b"\r\n").to[49].address == many[49].addr


def test_a_structured_header_is_folded_at_its_spaces_and_never_encoded() -> None:
    value = " ".join(f"<{index}.0123456789abcdef@mail.shop.example>" for index in range(40))
    written = structured("References", value)
    assert written.replace("\r\n", "") == f"References: {value}"
    assert max(map(len, written.split("\r\n"))) <= 76


@pytest.mark.parametrize(
    "value", ["<a@b> \t<c@d>", "<a@b>  <c@d>", " <a@b>", "<é@b>", "<=?utf-8?q?x?=@b>", "<" + "a" * 900 + ">"]
)
def test_a_structured_header_that_would_need_encoding_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        structured("References", value)


@pytest.mark.parametrize("name", ["", "X A", "X:", "X\r\nBcc", "Ü", "X\n", "X" * 65, "\x7f"])
def test_a_wrong_header_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        check_name(name)


@settings(deadline=None, max_examples=300)
@given(names.filter(lambda name: len(name.encode()) <= 150))
def test_any_parameter_reads_back_exactly(value: str) -> None:
    written = parameters("Content-Disposition", "attachment", {"filename": value}).encode("ascii")
    assert SAFE.fullmatch(written)
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: application/pdf\r\n" + written
    message += b"\r\nabc\r\n--x--\r\n"
    part = next(message_from_bytes(message, policy=default).iter_attachments())
    assert part["content-disposition"].params["filename"] == value
    assert fast_mail_parser.parse_email(message).attachments[0].filename == value


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(), max_size=80), st.text(st.characters(), max_size=80))
def test_no_text_whatever_adds_a_line(name: str, value: str) -> None:
    for write in (
        lambda: unstructured("X-A", value),
        lambda: structured("X-A", value),
        lambda: addresses("To", [Address(name, "a@b.cd", "a@b.cd")]),
        lambda: parameters("Content-Type", "text/plain", {"name": value}),
    ):
        try:
            written = write()
        except ValueError:
            continue
        assert re.fullmatch(rb"[A-Za-z-]+:[\x20-\x7e]*(?:\r\n [\x20-\x7e]+)*\r\n", written.encode("ascii"))
