"""What becomes of a message and an address on the wire, for any input."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.wire import dial, find_fault, is_path, to_wire

LINES = st.lists(st.sampled_from([b".", b"..", b"\r", b"\n", b"\r\n", b"x", b"\x00", b"\xff", b". ."])).map(b"".join)


@given(LINES)
def test_a_message_never_holds_its_own_end(message: bytes) -> None:
    wire, size = to_wire(message)
    assert wire.endswith(b"\r\n")
    assert not re.search(rb"(?:^|\n|\r)\.(?:\r|\n)", wire)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", wire)
    plain = re.sub(rb"(?m)^\.", b"", wire)
    assert len(plain) == size
    assert to_wire(plain) == (wire, size)  # a relay that un-stuffs has the canonical message


@given(LINES)
def test_a_message_keeps_its_characters(message: bytes) -> None:
    wire, _ = to_wire(message)
    plain = re.sub(rb"(?m)^\.", b"", wire)
    assert plain.replace(b"\r", b"").replace(b"\n", b"") == message.replace(b"\r", b"").replace(b"\n", b"")


def test_a_canonical_message_is_not_copied() -> None:
    message = b"Subject: x\r\n\r\nhello\r\n"
    assert to_wire(message)[0] is message


@pytest.mark.parametrize(
    "address",
    ["a@b", "a.b+c=d@e.example", '"a b"@c.example', '"a\\">b"@c.example', "a@[127.0.0.1]", "grüße@例え.jp", "a/b!#$%&'*@c"],
)
def test_addresses_that_can_be_written(address: str) -> None:
    assert is_path(address)


@given(st.text(st.sampled_from('ab@<> "\\\r\n\t\x00\x7f\x85\u2028,;:()[].')))
def test_no_path_leaves_its_brackets(address: str) -> None:
    if is_path(address):
        assert address.isprintable() or " " in address
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028]", address)
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", address)
        assert not re.search(r'[\s<>"]', outside)


async def test_dialling_tries_every_address() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await dial("localhost", 1, 1)
    assert find_fault(caught.value, 1).what == "refused"


async def test_a_name_that_dns_cannot_hold_has_no_address() -> None:
    with pytest.raises(OSError, match="no such name") as caught:
        await dial("a..b", 25, 1)
    assert find_fault(caught.value, 1).what == "dns"


def test_faults_of_an_error_without_words() -> None:
    assert find_fault(OSError(), 1).what == "unreachable"
    assert find_fault(TimeoutError(), 0.5).text == "no answer within 0.5 s"
    assert find_fault(TimeoutError(), 1800).text == "no answer within 1,800 s"
    assert find_fault(ConnectionAbortedError(), 1).what == "timeout"
    assert find_fault(ValueError("x"), 1).what == "malformed"
