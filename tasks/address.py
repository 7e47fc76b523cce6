"""Mail addresses: one strict grammar, nothing repaired.

::

    address   = addr / name "<" addr ">"              one address, never a list, a group or a comment
    name      = text without < > " (nor , ; beside @)   kept literally, =?…?= included
              / '"' text with \\" and \\\\ '"'
    addr      = local "@" host                        at most 254 octets
    local     = atext runs joined by single dots      at most 64 octets (RFC 5322 3.2.3; RFC 6531 if SMTPUTF8)
    host      = two or more labels                    at most 253 octets, a label 63 (RFC 1035 2.3.4, RFC 5890)

Host names with other letters than ASCII become A-labels by UTS 46; both forms are kept. No quoted local parts, no IP
addresses, no source routes.

This module is the grammar of addresses.
"""

import re
from functools import lru_cache
from typing import NoReturn

import idna
import msgspec

from tasks.text import check_name, clean, echo, name_character

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL = rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*"
_ADDR = re.compile(rf"({_LOCAL})@((?:{_LABEL}\.)+{_LABEL})\Z")
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}\Z")
_NOT_LOCAL = re.compile(rf"[^{_ATEXT}.]")
_NOT_LOCAL_UTF8 = re.compile(rf"[^{_ATEXT}.\x80-\U0010ffff]|[\s\x80-\xa0\u200b-\u200f\u2028-\u202f\u2060-\u2069\ufeff]")
_NOT_HOST = re.compile(r"[^A-Za-z0-9.\-]")
_UNQUOTED = re.compile(r'[<>"]')
_UNQUOTED_AT = re.compile(r'[<>",;]')
"""With an ``@`` in it, what looks like a name may be a list of addresses, of which all but the last would be lost."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')

MAX_NAME = 400
"""Characters of a display name; quoted and escaped it still fits a line of a message."""
MAX_LOCAL, MAX_HOST, MAX_LABEL, MAX_ADDR = 64, 253, 63, 254


class Address(msgspec.Struct, frozen=True):
    """``addr`` goes onto the wire (host as lower-case A-labels); ``shown`` keeps the host as it was written."""

    name: str | None
    addr: str
    shown: str


def parse(text: str, *, smtputf8: bool = False) -> Address:
    """The one address in ``text``; a local part beyond ASCII only with ``smtputf8``.

    Raises ValueError, which names the rule, the character, its place from 1, and the cure.
    """
    check_name(text)
    if not text.endswith(">"):
        addr = _parse_addr(text, 0, len(text), smtputf8)
        return Address(None, addr, text)
    start = text.rfind("<") + 1
    if not start:
        _refuse("a '>' without its '<'", text, len(text) - 1, "write name <addr>")
    addr = _parse_addr(text, start, len(text) - 1, smtputf8)
    return Address(_parse_name(text, text[: start - 1].rstrip(" ")), addr, text[start:-1])


def check_pattern(pattern: str) -> None:
    """Raise ValueError unless ``pattern`` is ``*``, ``*@host`` or an address without a name."""
    if pattern != "*":
        _split_pattern(pattern)


def matches(addr: str, pattern: str) -> bool:
    """Whether ``pattern`` (see ``check_pattern``) allows ``addr``, an address in its wire form; case never counts."""
    if pattern == "*":
        return True
    local, host = _split_pattern(pattern)
    its_local, _, its_host = addr.rpartition("@")
    return its_host.lower() == host and local in ("*", its_local.lower())


@lru_cache(maxsize=1024)
def _split_pattern(pattern: str) -> tuple[str, str]:
    check_name(pattern)
    if pattern.startswith("*@"):
        return "*", _wire_host(pattern, 2, len(pattern))
    if "*" in pattern:
        _refuse("a '*' inside a pattern", pattern, pattern.index("*"), "write *, *@shop.example or news@shop.example")
    local, _, host = _parse_addr(pattern, 0, len(pattern), smtputf8=True).rpartition("@")
    return local.lower(), host


def _parse_name(text: str, name: str) -> str:
    """The display name; its offsets are those of ``text``, which begins with it."""
    if len(name) > MAX_NAME:
        raise ValueError(f"a display name may have {MAX_NAME} characters, {echo(name)} has {len(name)}: shorten it")
    if not name.strip():
        _refuse("a '<' without a name before it", text, text.index("<"), "write name <addr>, or the address alone")
    if name.startswith('"'):
        quoted = _QUOTED.match(name)
        if quoted is None:
            _refuse("a quoted name that is not closed", text, 0, r'inside quotes write \" for " and \\ for a backslash')
        if not quoted[1].strip():
            _refuse("a name of nothing but spaces", text, 0, "leave it out")
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if name.startswith(" "):
        _refuse("a name that begins with a space", text, 0, "remove it, or put the name in double quotes")
    special = (_UNQUOTED_AT if "@" in name else _UNQUOTED).search(name)
    if special is not None:
        _refuse("a name without quotes", text, special.start(), "one address each; put the name in double quotes")
    return name


def _parse_addr(text: str, start: int, end: int, smtputf8: bool) -> str:
    """The wire form of the address at ``text[start:end]``."""
    plain = _ADDR.match(text[start:end] if start else text) if end - start <= MAX_ADDR else None
    if plain is not None and _is_short(plain):
        host = plain[2].lower()
        if "xn--" not in host and not host[host.rfind(".") + 1 :].isdigit():
            return f"{plain[1]}@{host}"
    at = text.find("@", start, end)
    if at < 0:
        raise ValueError(f"no '@' in {echo(text)}: write an address such as news@shop.example")
    _check_local(text, start, at, smtputf8)
    addr = f"{text[start:at]}@{_wire_host(text, at + 1, end)}"
    size = len(addr.encode())
    if size > MAX_ADDR:
        raise ValueError(f"an address may have {MAX_ADDR} octets, {echo(text)} has {size}: use a shorter one")
    return addr


def _is_short(plain: re.Match[str]) -> bool:
    return plain.end(1) <= MAX_LOCAL and len(plain[2]) <= MAX_HOST


def _check_local(text: str, start: int, at: int, smtputf8: bool) -> None:
    local = text[start:at]
    wrong = (_NOT_LOCAL_UTF8 if smtputf8 else _NOT_LOCAL).search(local)
    if wrong is not None:
        _refuse_local(text, start + wrong.start(), wrong[0])
    if not local:
        _refuse("nothing before the '@'", text, at, "write an address such as news@shop.example")
    size = len(local.encode())
    if size > MAX_LOCAL:
        raise ValueError(f"before the '@' {MAX_LOCAL} octets are allowed, {echo(text)} has {size}: use a shorter address")
    for dot in (0 if local[0] == "." else -1, local.find(".."), len(local) - 1 if local[-1] == "." else -1):
        if dot >= 0:
            _refuse("a dot that joins nothing before the '@'", text, start + dot, "remove the dot")


def _refuse_local(text: str, index: int, char: str) -> NoReturn:
    if char == '"':
        _refuse("a quoted local part, which is not supported", text, index, "write the address without quotes")
    if not char.isascii():
        _refuse("a letter beyond ASCII before the '@'", text, index, "mail to such addresses needs SMTPUTF8")
    _refuse("a character that is not allowed before the '@'", text, index, "remove it; one address each")


def _wire_host(text: str, start: int, end: int) -> str:
    """The host at ``text[start:end]`` as lower-case A-labels. Raises ValueError."""
    host = text[start:end]
    if host.startswith("["):
        _refuse("an IP address instead of a host name", text, start, "write a host name such as shop.example")
    if len(host) > MAX_HOST:
        raise ValueError(f"a host may have {MAX_HOST} octets, {echo(host)} has {len(host)}: use a shorter one")
    wire = host.lower() if host.isascii() else _encode_host(host)
    if "xn--" in wire:
        _decode_host(wire)
    if _HOST.match(wire) is None or len(wire) > MAX_HOST:
        _refuse_host(text, start, wire)
    if wire[wire.rfind(".") + 1 :].isdigit():
        _refuse("an IP address instead of a host name", text, start, "write a host name such as shop.example")
    return wire


@lru_cache(maxsize=1024)
def _encode_host(host: str) -> str:
    for char in host:
        if not char.isascii() and _vanishes(char):
            raise ValueError(f"a host name must not hold the invisible {name_character(char)}: remove it")
    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{echo(host)} is no host name ({clean(str(error))}): check its spelling") from None


def _decode_host(wire: str) -> None:
    try:
        idna.decode(wire)
    except UnicodeError as error:
        raise ValueError(f"{echo(wire)} is no host name ({clean(str(error))}): check its spelling") from None


def _vanishes(char: str) -> bool:
    """Whether UTS 46 would drop ``char`` silently, so that the host shown and the host used would differ."""
    try:
        return not idna.uts46_remap(char, std3_rules=True)
    except UnicodeError:
        return False


def _refuse_host(text: str, start: int, wire: str) -> NoReturn:
    wrong = _NOT_HOST.search(wire)
    if wrong is not None:
        at = text.find(wrong[0], start)
        cure = "one address each" if wrong[0] in "@,; " else "host names have letters, digits, hyphens and dots"
        _refuse("a character that is not allowed after the '@'", text, max(at, start), cure)
    if len(wire) > MAX_HOST:
        raise ValueError(f"a host may have {MAX_HOST} octets, {echo(wire)} has {len(wire)}: use a shorter one")
    labels = wire.split(".")
    if len(labels) == 1:
        raise ValueError(f"a host needs at least two labels, {echo(wire)} has one: write one such as shop.example")
    if any(len(label) > MAX_LABEL for label in labels):
        raise ValueError(f"a label of a host may have {MAX_LABEL} octets, one of {echo(wire)} has more: shorten it")
    raise ValueError(f"in the host {echo(wire)} a label is empty or begins or ends with a hyphen: check its spelling")


def _refuse(rule: str, text: str, index: int, cure: str) -> NoReturn:
    char = name_character(text[index]) if index < len(text) else "the end"
    raise ValueError(f"{rule}: {char} at character {index + 1} of {echo(text)}; {cure}")
