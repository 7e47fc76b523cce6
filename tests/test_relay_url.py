"""SMTP_URL: what it may say, and one clear sentence where it is wrong."""

import pytest

from tasks.relay import parse_relays
from tasks.secret import Secret


@pytest.mark.parametrize(
    ("url", "name", "tls"),
    [
        ("smtps://u:p@mail.example", "mail.example:465", "implicit"),
        ("smtp://u:p@mail.example", "mail.example:587", "starttls"),
        ("smtp+plain://mail.example", "mail.example:25", "plain"),
        ("smtp+plain://mail.example:2525/", "mail.example:2525", "plain"),
        ("SMTPS://u:p@Mail.Example:4650", "mail.example:4650", "implicit"),
        ("smtp+plain://[::1]:25", "[::1]:25", "plain"),
        ("smtp+plain://mail.example.", "mail.example:25", "plain"),
        ("smtp+plain://10.0.0.1", "10.0.0.1:25", "plain"),
    ],
)
def test_scheme_gives_tls_mode_and_port(url: str, name: str, tls: str) -> None:
    (relay,) = parse_relays(url)
    assert (relay.name, relay.tls) == (name, tls)


def test_defaults() -> None:
    (relay,) = parse_relays("smtp://mail.example")
    assert (relay.user, relay.password, relay.ca, relay.verify, relay.allow_plain_auth, relay.rate) == (
        None, None, None, True, False, None,
    )  # fmt: skip


def test_user_and_password_are_percent_decoded() -> None:
    (relay,) = parse_relays("smtps://a%40shop.example:p%2F%3F%23%3A%2C%20w%C3%B6@mail.example")
    assert relay.user == "a@shop.example"
    assert relay.password == Secret("p/?#:, wö")


def test_plus_in_a_password_stays_a_plus() -> None:
    (relay,) = parse_relays("smtps://u:a+b@mail.example")
    assert relay.password == Secret("a+b")


def test_parameters() -> None:
    (relay,) = parse_relays("smtp://mail.example?ca=/etc/ssl/our%20ca.pem&rate=14/s")
    assert (relay.ca, relay.rate, relay.verify) == ("/etc/ssl/our ca.pem", 14.0, True)
    (relay,) = parse_relays("smtps://mail.example?verify=no")
    assert relay.verify is False
    (relay,) = parse_relays("smtp+plain://u:p@mail.example?allow_plain_auth=1")
    assert relay.allow_plain_auth is True


@pytest.mark.parametrize(("text", "rate"), [("14/s", 14), ("0.5/s", 0.5), ("120/m", 2), ("3600/h", 1), ("86400/d", 1)])
def test_rate_is_per_second(text: str, rate: float) -> None:
    assert parse_relays(f"smtp://mail.example?rate={text}")[0].rate == rate


def test_several_relays_keep_their_order() -> None:
    relays = parse_relays("smtps://u:p@a.example, smtp://u:q@b.example,smtp+plain://127.0.0.1:2525")
    assert [relay.name for relay in relays] == ["a.example:465", "b.example:587", "127.0.0.1:2525"]


def test_comma_inside_a_password_parts_nothing() -> None:
    relays = parse_relays("smtps://u:p,w@a.example,smtps://u:x@b.example")
    assert [relay.password for relay in relays] == [Secret("p,w"), Secret("x")]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_password_in_clear_is_allowed_to_loopback(host: str) -> None:
    (relay,) = parse_relays(f"smtp+plain://u:p@{host}")
    assert relay.is_loopback
    assert relay.may_send_password


SECRET = "hunter2"
WRONG = [
    ("", "no relay is given"),
    (" , ", "no relay is given"),
    ("mail.example:25", "unknown scheme"),
    (f"u:{SECRET}@mail.example", "unknown scheme"),
    (f"http://u:{SECRET}@mail.example", "unknown scheme"),
    ("smtp:mail.example", "unknown scheme"),
    ("smtp://", "host is missing"),
    (f"smtp://u:{SECRET}@", "host is missing"),
    (f"smtp://u:{SECRET}@mail.example:0", "port"),
    (f"smtp://u:{SECRET}@mail.example:65536", "port"),
    (f"smtp://u:{SECRET}@mail.example:smtp", "port"),
    (f"smtp://u:{SECRET}@mail.example:-1", "port"),
    (f"smtp://u:{SECRET}@mail..example", "host may hold only"),
    (f"smtp://u:{SECRET}@{'a' * 64}.example", "host may hold only"),
    (f"smtp://u:{SECRET}@[::1", "cannot be read"),
    (f"smtp://u:{SECRET}@[zz::1]", ""),
    (f"smtp://u:{SECRET}@mäil.example", "xn--"),
    (f"smtp://u:{SECRET}@mail example", "host may hold only"),
    (f"smtp://u:pa/{SECRET}@mail.example", "percent-encode"),
    (f"smtp://u:pa?{SECRET}@mail.example", "percent-encode"),
    (f"smtp://u:pa#{SECRET}@mail.example", "percent-encode"),
    (f"smtp://u:{SECRET}%FF@mail.example", "UTF-8"),
    (f"smtp://u:{SECRET}%00@mail.example", "zero byte"),
    ("smtp://u@mail.example", "both user and password"),
    (f"smtp://:{SECRET}@mail.example", "both user and password"),
    (f"smtp://u:{SECRET}@mail.example/path", "after the host"),
    (f"smtp://u:{SECRET}@mail.example#x", "after the host"),
    (f"smtp://u:{SECRET}@mail.example?timeout=5", "unknown parameter 'timeout'"),
    (f"smtp://u:{SECRET}@mail.example?{SECRET}=5", "unknown parameter;"),
    ("smtp://mail.example?verify=maybe", "verify must be yes or no"),
    ("smtp://mail.example?verify=no&verify=no", "twice"),
    ("smtp://mail.example?ca=", "ca needs"),
    ("smtp://mail.example?allow_plain_auth=1", "belongs to smtp+plain"),
    ("smtp+plain://mail.example?verify=no", "without TLS"),
    ("smtp+plain://mail.example?allow_plain_auth=yes", "allow_plain_auth must be 1 or 0"),
    ("smtp://mail.example?rate=14", "rate must be"),
    ("smtp://mail.example?rate=0/s", "rate must be"),
    ("smtp://mail.example?rate=nan/s", "rate must be"),
    ("smtp://mail.example?rate=-1/s", "rate must be"),
    (f"smtp+plain://u:{SECRET}@mail.example", "clear text"),
    ("smtp://a.example,smtp://A.example", "relay 2: a.example:587 is listed twice"),
    (f"smtp://a.example,smtp://u:{SECRET}@b.example:x", "relay 2:"),
]


@pytest.mark.parametrize(("url", "sentence"), WRONG)
def test_wrong_url_gets_one_sentence_without_the_password(url: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_relays(url)
    said = str(caught.value)
    assert sentence in said
    assert SECRET not in said
    assert "\n" not in said
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_repr_shows_the_password() -> None:
    relays = parse_relays(f"smtps://u:{SECRET}@mail.example")
    assert SECRET not in repr(relays)
    assert "***" in repr(relays)


def test_fingerprint_changes_with_every_setting() -> None:
    urls = [
        "smtps://u:p@mail.example",
        "smtps://u:q@mail.example",
        "smtps://v:p@mail.example",
        "smtps://u:p@mail.example:466",
        "smtps://u:p@mail.example?verify=no",
        "smtps://u:p@mail.example?ca=x",
        "smtps://u:p@mail.example?rate=1/s",
        "smtp://u:p@mail.example:465",
    ]
    prints = {parse_relays(url)[0].fingerprint() for url in urls}
    assert len(prints) == len(urls)
    assert parse_relays(urls[0])[0].fingerprint() == parse_relays(urls[0])[0].fingerprint()
    assert all(len(fingerprint) == 12 for fingerprint in prints)


def test_tls_context_is_built_once() -> None:
    one, other = parse_relays("smtps://a.example,smtps://b.example?verify=no")
    assert one.tls_context() is one.tls_context()
    assert one.tls_context().check_hostname
    assert not other.tls_context().check_hostname


def test_senders_name_whose_mail_alone_a_relay_takes() -> None:
    main, own = parse_relays("smtp://a.example,smtp://u:p@b.example?senders=*@shop.example|news@blog.example&rate=2/s")
    assert main.senders == ()
    assert own.senders == ("*@shop.example", "news@blog.example")
    assert own.rate == 2
    for wrong in ("smtp://a.example?senders=", "smtp://a.example?senders=shop", "smtp://u:p?x@a.example?senders=*@b.example"):
        with pytest.raises(ValueError, match="relay 1: "):
            parse_relays(wrong)
