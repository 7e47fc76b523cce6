"""The grammar of addresses: what is one, what is refused, and that errors say where and why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.address import Address, check_pattern, matches, parse

GOOD = [
    ("bob@shop.example", Address(None, "bob@shop.example", "bob@shop.example")),
    ("Bob@Shop.Example", Address(None, "Bob@shop.example", "Bob@Shop.Example")),
    ("Bob <bob@shop.example>", Address("Bob", "bob@shop.example", "bob@shop.example")),
    ("Bob<bob@shop.example>", Address("Bob", "bob@shop.example", "bob@shop.example")),
    ('"Bob" <bob@shop.example>', Address("Bob", "bob@shop.example", "bob@shop.example")),
    ('"a, b" <bob@shop.example>', Address("a, b", "bob@shop.example", "bob@shop.example")),
    ("Doe, Bob <bob@shop.example>", Address("Doe, Bob", "bob@shop.example", "bob@shop.example")),
    (r'"say \"hi\" \\ there" <b@x.de>', Address('say "hi" \\ there', "b@x.de", "b@x.de")),
    ('"a <evil@x.de> b" <b@x.de>', Address("a <evil@x.de> b", "b@x.de", "b@x.de")),
    ("bob@x.de <bob@x.de>", Address("bob@x.de", "bob@x.de", "bob@x.de")),
    ("Bob (Sales) <bob@x.de>", Address("Bob (Sales)", "bob@x.de", "bob@x.de")),
    ("=?utf-8?q?hi=0D=0ABcc:_x@y?= <b@x.de>", Address("=?utf-8?q?hi=0D=0ABcc:_x@y?=", "b@x.de", "b@x.de")),
    ("jose@exämple.com", Address(None, "jose@xn--exmple-cua.com", "jose@exämple.com")),
    ("jose@EXÄMPLE.com", Address(None, "jose@xn--exmple-cua.com", "jose@EXÄMPLE.com")),
    ("jose@faß.de", Address(None, "jose@xn--fa-hia.de", "jose@faß.de")),
    ("a@xn--exmple-cua.com", Address(None, "a@xn--exmple-cua.com", "a@xn--exmple-cua.com")),
    ("!#$%&'*+-/=?^_`{|}~@x.de", Address(None, "!#$%&'*+-/=?^_`{|}~@x.de", "!#$%&'*+-/=?^_`{|}~@x.de")),
    ("a@1.2.3.de", Address(None, "a@1.2.3.de", "a@1.2.3.de")),
    ("x" * 64 + "@x.de", Address(None, "x" * 64 + "@x.de", "x" * 64 + "@x.de")),
    ("a@" + "b" * 63 + ".de", Address(None, "a@" + "b" * 63 + ".de", "a@" + "b" * 63 + ".de")),
]

BAD = [
    ("", "no '@'"),
    (" ", "no '@'"),
    ("bob", "no '@'"),
    ("bob@", "two labels"),
    ("@x.de", "nothing before"),
    ("b@x>\r\nRCPT TO:<e@x", "U+000D at character 5"),
    ("b@x> SIZE=1", "'>' at character 4"),
    ("b@x.de\n", "U+000A at character 7"),
    ("b@x.de\x00", "U+0000 at character 7"),
    ("a\tb <b@x.de>", "U+0009 at character 2"),
    ("a\x85b <b@x.de>", "U+0085 at character 2"),
    ("a\u2028b <b@x.de>", "line separator U+2028"),
    ("a\u202eb <b@x.de>", "bidi override U+202E"),
    ("a\u2066b <b@x.de>", "bidi override U+2066"),
    ("a\ud800b <b@x.de>", "lone surrogate U+D800"),
    ("a@b.c, d@e.f", "',' at character 6"),
    ("a@b.cd; d@e.fg", "';' at character 7"),
    ("A <a@b.cd>, B <d@e.fg>", "'<' at character 3"),
    ("a@b.cd, D <d@e.fg>", "',' at character 7"),
    ("team: a@b.cd;", "':' at character 5"),
    ("<a@b.cd>", "without a name"),
    (" <a@b.cd>", "without a name"),
    ('"" <a@b.cd>', "nothing but spaces"),
    ("\u00a0 <a@b.cd>", "without a name"),
    ('"Bob <a@b.cd>', "not closed"),
    ('"Bob\\" <a@b.cd>', "not closed"),
    ('"a" "b" <a@b.cd>', "not closed"),
    ('Bob "the" Builder <a@b.cd>', "'\"' at character 5"),
    ("Bob a@b.cd>", "without its '<'"),
    ("Bob <a@b.cd", "not allowed before the '@'"),
    ("Bob <a@b.cd> x", "not allowed before the '@'"),
    (" Bob <a@b.cd>", "begins with a space"),
    ("Bob <>", "no '@'"),
    ("Bob < a@b.cd >", "' ' at character 6"),
    ("<@r.de:a@b.cd>", "nothing before"),
    ('"a b"@x.de', "quoted local part"),
    ("a b@x.de", "' ' at character 2"),
    (" a@x.de", "' ' at character 1"),
    ("a@x.de ", "' ' at character 7"),
    ("a@@x.de", "'@' at character 3"),
    ("a(c)@x.de", "'(' at character 2"),
    (".a@x.de", "'.' at character 1"),
    ("a.@x.de", "'.' at character 2"),
    ("a..b@x.de", "'.' at character 2"),
    ("josé@example.com", "SMTPUTF8"),
    ("a@localhost", "two labels"),
    ("a@x..de", "a label is empty"),
    ("a@.x.de", "a label is empty"),
    ("a@x.de.", "a label is empty"),
    ("a@-x.de", "hyphen"),
    ("a@x-.de", "hyphen"),
    ("a@x_y.de", "'_' at character 4"),
    ("a@[1.2.3.4]", "IP address"),
    ("a@[IPv6:::1]", "IP address"),
    ("a@1.2.3.4", "IP address"),
    ("a@exam\u00adple.com", "invisible U+00AD"),
    ("a@exam\u200bple.com", "invisible U+200B"),
    ("a@ex\uff20mple.com", "no host name"),
    ("a@xn--zz-.de", "no host name"),
    ("a@" + "ä" * 70 + ".de", "no host name"),
    ("x" * 65 + "@x.de", "64 octets"),
    ("a@" + "b" * 64 + ".de", "63 octets"),
    ("a@" + ".".join(["b" * 60] * 5), "253 octets"),
    ("x" * 60 + "@" + ".".join(["b" * 60] * 4)[:200], "254 octets"),
    ("n" * 401 + " <a@b.cd>", "400 characters"),
]


@pytest.mark.parametrize(("text", "address"), GOOD)
def test_an_address_is_taken_as_it_is_written(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert reason in str(caught.value)


def test_an_error_repeats_at_most_64_characters_of_the_input() -> None:
    with pytest.raises(ValueError) as caught:
        parse("é" * 5000 + "\n@x.de")
    assert "é" * 63 + "…" in str(caught.value)
    assert "é" * 64 not in str(caught.value)


def test_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    assert parse("josé@exämple.com", smtputf8=True).addr == "josé@xn--exmple-cua.com"
    for bad in ("jos\u00a0é@x.de", "jos\u200bé@x.de", "a,é@x.de", "é" * 33 + "@x.de", "\u202eé@x.de"):
        with pytest.raises(ValueError):
            parse(bad, smtputf8=True)


@pytest.mark.parametrize(
    ("addr", "pattern", "expected"),
    [
        ("news@shop.example", "*", True),
        ("news@shop.example", "*@shop.example", True),
        ("News@SHOP.example", "*@Shop.Example", True),
        ("news@shop.example", "NEWS@shop.example", True),
        ("news@sub.shop.example", "*@shop.example", False),
        ("news@evilshop.example", "*@shop.example", False),
        ("other@shop.example", "news@shop.example", False),
        ("news@shop.example.evil", "*@shop.example", False),
        ("a@xn--exmple-cua.com", "*@exämple.com", True),
    ],
)
def test_a_pattern_allows_a_host_or_one_address(addr: str, pattern: str, expected: bool) -> None:
    check_pattern(pattern)
    assert matches(addr, pattern) is expected


@pytest.mark.parametrize("pattern", ["", "*@", "**", "*@*", "*@*.example", "n*@shop.example", "shop.example", "*@x\n.de"])
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(pattern)


@settings(deadline=None, max_examples=300)
@given(st.text(st.one_of(st.sampled_from(list('ab.@<>",;: \\\r\n[]-äé1')), st.characters()), max_size=40))
def test_whatever_passes_is_safe_in_a_command_and_is_its_own_address(text: str) -> None:
    try:
        address = parse(text)
    except ValueError:
        return
    assert address.addr.isascii()
    assert not set(address.addr) & set(' <>\r\n\t",;:\\()[]')
    assert address.addr.count("@") == 1
    assert parse(address.addr).addr == address.addr
    assert address.shown in text


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=60))
def test_any_quoted_name_is_kept_literally(name: str) -> None:
    if name.strip():
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        assert parse(f'"{quoted}" <a@b.cd>').name == name
