"""The relays that mail is handed to, read from ``SMTP_URL``.

::

    smtps://user:pass@host:465        TLS from the first byte                               (RFC 8314)
    smtp://user:pass@host:587         STARTTLS, required: never clear text                  (RFC 3207)
    smtp+plain://host:25              no TLS; a password only to loopback or if allowed by name
    ?ca=FILE  ?verify=no  ?rate=14/s  ?allow_plain_auth=1  ?senders=*@a.example|*@b.example

Several relays stand one after another with commas between, in order of preference. No message of this module holds any
part of the URL that could belong to a password that was not percent-encoded.

This module is what is known of a relay before it is spoken to.
"""

import functools
import hashlib
import ipaddress
import re
import ssl
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from tasks.address import check_pattern
from tasks.secret import Secret

Tls = Literal["implicit", "starttls", "plain"]

_SCHEMES: dict[str, tuple[Tls, int]] = {
    "smtps": ("implicit", 465),
    "smtp": ("starttls", 587),
    "smtp+plain": ("plain", 25),
}
_PARAMETERS = frozenset({"ca", "verify", "rate", "allow_plain_auth", "senders"})
_BETWEEN = re.compile(r",\s*(?=[A-Za-z+]{1,12}://)|,\s*\Z")
"""Only a comma before the next scheme parts two relays: one inside a password does not."""
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\Z")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(s|m|h|d)\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PLAIN_WORD = re.compile(r"[a-z_]{1,20}\Z")


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """One relay. ``name`` is ``host:port`` and unique; ``rate`` is in emails per second, None for no limit;
    ``senders`` are the patterns of those whose mail alone it takes, none for everybody else's."""

    name: str
    host: str
    port: int
    tls: Tls
    user: str | None = None
    password: Secret | None = None
    ca: str | None = None
    verify: bool = True
    allow_plain_auth: bool = False
    rate: float | None = None
    senders: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Whether the host's name says that this machine itself is meant; nothing is looked up."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def may_send_password(self) -> bool:
        """Whether AUTH is allowed on this link: over TLS, to loopback, or in clear because the URL says so by name."""
        return self.tls != "plain" or self.is_loopback or self.allow_plain_auth

    def fingerprint(self) -> str:
        """12 hex digits of a SHA-256 over every setting, the password included: differs when a setting has changed."""
        settings = msgspec.structs.asdict(self)
        settings["password"] = self.password.reveal() if self.password is not None else None
        return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:12]

    def tls_context(self) -> ssl.SSLContext:
        """The TLS settings, TLS 1.2 or later; built at first use, then shared. Raises OSError when ``ca`` cannot be read."""
        return _tls_context(self.ca, self.verify)


@functools.lru_cache(maxsize=32)
def _tls_context(ca: str | None, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def parse_relays(url: str) -> list[Relay]:
    """The relays of an ``SMTP_URL``, in order of preference.

    Raises ValueError with one sentence, which names the relay by its place (from 1) and never holds a password.
    """
    parts = [part for part in (part.strip() for part in _BETWEEN.split(url)) if part]
    if not parts:
        raise ValueError("no relay is given; write smtps://user:password@host, smtp://… or smtp+plain://…")
    relays: list[Relay] = []
    for number, part in enumerate(parts, 1):
        try:
            relay = _parse(part)
        except ValueError as error:
            raise ValueError(f"relay {number}: {error}") from None
        if any(other.name == relay.name for other in relays):
            raise ValueError(f"relay {number}: {relay.name} is listed twice")
        relays.append(relay)
    return relays


def _parse(part: str) -> Relay:
    scheme = part.partition("://")[0].lower()
    if scheme not in _SCHEMES or "://" not in part:
        raise ValueError("unknown scheme; it must begin with smtps://, smtp:// or smtp+plain://")
    tls, default_port = _SCHEMES[scheme]
    split = _split(part)
    host, port = _host(split), _port(split, default_port)
    user, password = _login(split)
    given = _parameters(split.query, tls)
    relay = Relay(
        name=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        host=host,
        port=port,
        tls=tls,
        user=user,
        password=password,
        ca=given.get("ca"),
        verify=_choice(given, "verify", no="no", yes="yes", default=True),
        allow_plain_auth=_choice(given, "allow_plain_auth", no="0", yes="1", default=False),
        rate=_rate(given["rate"]) if "rate" in given else None,
        senders=_senders(given["senders"]) if "senders" in given else (),
    )
    if relay.password is not None and not relay.may_send_password:
        raise ValueError(
            f"a password would go to {relay.name} in clear text; use smtps:// or smtp://, or allow it by ?allow_plain_auth=1"
        )
    return relay


def _split(part: str) -> SplitResult:
    try:
        split = urlsplit(part)
    except ValueError:
        raise ValueError("the address cannot be read; percent-encode user and password") from None
    query = "" if split.query.partition("=")[0] in _PARAMETERS else split.query  # patterns of senders hold an @
    if "@" in split.path + query + split.fragment:
        raise ValueError("user or password holds one of / ? # as it is; percent-encode it (%2F %3F %23)")
    if split.path not in ("", "/") or split.fragment:
        raise ValueError("after the host only :port and ?parameters may follow")
    return split


def _host(split: SplitResult) -> str:
    try:
        host = split.hostname or ""
    except ValueError:
        host = ""
    if not host:
        raise ValueError("the host is missing")
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ValueError("the host in brackets is no IPv6 address") from None
    host = host.removesuffix(".")
    if not _HOST.match(host) or any(not 0 < len(label) < 64 for label in host.split(".")):
        raise ValueError("the host may hold only letters, digits, dots and hyphens; write other letters as xn--…")
    return host


def _port(split: SplitResult, default: int) -> int:
    try:
        port = split.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port must be a number from 1 to 65535")
    return port or default


def _login(split: SplitResult) -> tuple[str | None, Secret | None]:
    if "@" not in split.netloc:
        return None, None
    try:
        user = unquote(split.username or "", errors="strict")
        password = unquote(split.password or "", errors="strict")
    except UnicodeDecodeError:
        raise ValueError("user and password must be UTF-8 when percent-decoded") from None
    if not user or not password:
        raise ValueError("before the @ both user and password are needed: user:password@host")
    if "\0" in user + password:
        raise ValueError("user and password cannot hold a zero byte")
    return user, Secret(password)


def _parameters(query: str, tls: Tls) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    for name in given:
        if name not in _PARAMETERS:
            shown = f" {name!r}" if _PLAIN_WORD.match(name) else ""
            raise ValueError(f"unknown parameter{shown}; known are {', '.join(sorted(_PARAMETERS))}")
    if len(given) != len(pairs):
        raise ValueError("a parameter stands twice")
    if tls == "plain" and ("ca" in given or "verify" in given):
        raise ValueError("ca and verify mean nothing without TLS")
    if tls != "plain" and "allow_plain_auth" in given:
        raise ValueError("allow_plain_auth belongs to smtp+plain:// only")
    if given.get("ca") == "":
        raise ValueError("ca needs the name of a file")
    return given


def _choice(given: dict[str, str], name: str, *, no: str, yes: str, default: bool) -> bool:
    if name not in given:
        return default
    if given[name] not in (no, yes):
        raise ValueError(f"{name} must be {yes} or {no}")
    return given[name] == yes


def _senders(text: str) -> tuple[str, ...]:
    patterns = tuple(filter(None, text.split("|")))
    if not patterns:
        raise ValueError("senders needs patterns such as *@a.example|*@b.example")
    for pattern in patterns:
        check_pattern(pattern)
    return patterns


def _rate(text: str) -> float:
    match = _RATE.match(text)
    if match is None or float(match[1]) == 0:
        raise ValueError("rate must be a number above 0 and a unit, such as 14/s, 100/m, 500/h or 10000/d")
    return float(match[1]) / _SECONDS[match[2]]
