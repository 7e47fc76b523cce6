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

import msgspec

from tasks.host import LABEL, MAX_HOST, wire_host
from tasks.text import check_name, echo, refuse

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_LOCAL = rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*"
_ADDR = re.compile(rf"({_LOCAL})@((?:{LABEL}\.)+{LABEL})\Z")
_NOT_LOCAL = re.compile(rf"[^{_ATEXT}.]")
_NOT_LOCAL_UTF8 = re.compile(rf"[^{_ATEXT}.\x80-\U0010ffff]|[\s\x80-\xa0\u200b-\u200f\u2028-\u202f\u2060-\u2069\ufeff]")
_UNQUOTED = re.compile(r'[<>"]')
_UNQUOTED_AT = re.compile(r'[<>",;]')
"""With an ``@`` in it, what looks like a name may be a list of addresses, of which all but the last would be lost."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')

MAX_NAME = 400
"""Characters of a display name; quoted and escaped it still fits a line of a message."""
MAX_LOCAL, MAX_ADDR = 64, 254
"""Octets, RFC 5321 4.5.3.1."""


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
        refuse("a '>' without its '<'", text, len(text) - 1, "write name <addr>")
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
        return "*", wire_host(pattern, 2, len(pattern))
    if "*" in pattern:
        refuse("a '*' inside a pattern", pattern, pattern.index("*"), "write *, *@shop.example or news@shop.example")
    local, _, host = _parse_addr(pattern, 0, len(pattern), smtputf8=True).rpartition("@")
    return local.lower(), host


def _parse_name(text: str, name: str) -> str:
    """The display name; its offsets are those of ``text``, which begins with it."""
    if len(name) > MAX_NAME:
        raise ValueError(f"a display name may have {MAX_NAME} characters, {echo(name)} has {len(name)}: shorten it")
    if not name.strip():
        refuse("a '<' without a name before it", text, text.index("<"), "write name <addr>, or the address alone")
    if name.startswith('"'):
        quoted = _QUOTED.match(name)
        if quoted is None:
            refuse("a quoted name that is not closed", text, 0, r'inside quotes write \" for " and \\ for a backslash')
        if not quoted[1].strip():
            refuse("a name of nothing but spaces", text, 0, "leave it out")
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if name.startswith(" "):
        refuse("a name that begins with a space", text, 0, "remove it, or put the name in double quotes")
    special = (_UNQUOTED_AT if "@" in name else _UNQUOTED).search(name)
    if special is not None:
        refuse("a name without quotes", text, special.start(), "one address each; put the name in double quotes")
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
    addr = f"{text[start:at]}@{wire_host(text, at + 1, end)}"
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
        refuse("nothing before the '@'", text, at, "write an address such as news@shop.example")
    size = len(local.encode())
    if size > MAX_LOCAL:
        raise ValueError(f"before the '@' {MAX_LOCAL} octets are allowed, {echo(text)} has {size}: use a shorter address")
    for dot in (0 if local[0] == "." else -1, local.find(".."), len(local) - 1 if local[-1] == "." else -1):
        if dot >= 0:
            refuse("a dot that joins nothing before the '@'", text, start + dot, "remove the dot")


def _refuse_local(text: str, index: int, char: str) -> NoReturn:
    if char == '"':
        refuse("a quoted local part, which is not supported", text, index, "write the address without quotes")
    if not char.isascii():
        refuse("a letter beyond ASCII before the '@'", text, index, "mail to such addresses needs SMTPUTF8")
    refuse("a character that is not allowed before the '@'", text, index, "remove it; one address each")
