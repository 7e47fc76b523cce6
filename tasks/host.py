"""Host names: as they are written, and as A-labels for the wire.

Other letters than ASCII go through UTS 46 and IDNA 2008; what they become must keep the same strict grammar: two or more
labels of letters, digits and hyphens, the last one no number, 253 octets in all, 63 a label (RFC 1035 2.3.4, RFC 5890).

This module is the grammar of host names.
"""

import re
from functools import lru_cache
from typing import NoReturn

import idna

from tasks.text import clean, echo, name_character, refuse

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
MAX_HOST, MAX_LABEL = 253, 63
_HOST = re.compile(rf"(?:{LABEL}\.)+{LABEL}\Z")
_NOT_HOST = re.compile(r"[^A-Za-z0-9.\-]")


def wire_host(text: str, start: int, end: int) -> str:
    """The host at ``text[start:end]`` as lower-case A-labels. Raises ValueError."""
    host = text[start:end]
    if host.startswith("["):
        refuse("an IP address instead of a host name", text, start, "write a host name such as shop.example")
    if len(host) > MAX_HOST:
        raise ValueError(f"a host may have {MAX_HOST} octets, {echo(host)} has {len(host)}: use a shorter one")
    wire = host.lower() if host.isascii() else _encode_host(host)
    if "xn--" in wire:
        _decode_host(wire)
    if _HOST.match(wire) is None or len(wire) > MAX_HOST:
        _refuse_host(text, start, wire)
    if wire[wire.rfind(".") + 1 :].isdigit():
        refuse("an IP address instead of a host name", text, start, "write a host name such as shop.example")
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
        refuse("a character that is not allowed after the '@'", text, max(at, start), cure)
    if len(wire) > MAX_HOST:
        raise ValueError(f"a host may have {MAX_HOST} octets, {echo(wire)} has {len(wire)}: use a shorter one")
    labels = wire.split(".")
    if len(labels) == 1:
        raise ValueError(f"a host needs at least two labels, {echo(wire)} has one: write one such as shop.example")
    if any(len(label) > MAX_LABEL for label in labels):
        raise ValueError(f"a label of a host may have {MAX_LABEL} octets, one of {echo(wire)} has more: shorten it")
    raise ValueError(f"in the host {echo(wire)} a label is empty or begins or ends with a hyphen: check its spelling")
