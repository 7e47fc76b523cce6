"""Header lines, written by ourselves.

CPython's ``email`` turns ``=?…?=`` in plain text into what it encodes, line ends included, and encodes structured headers;
so it writes nothing here. Four writers, each returning whole lines that end in CRLF:

::

    unstructured   Subject, X-…          text; as it is where it is plain, else one run of encoded words (RFC 2047)
    addresses      From, To, …           names quoted or encoded, addresses never
    structured     References, List-…    printable ASCII; folded only at its spaces, never encoded
    parameters     Content-…             value; name="plain" or name*=utf-8''percent (RFC 2231)

Lines are folded at 76 characters wherever there is a space to fold at, and none exceeds 998 (RFC 5322 2.1.1). Text is
checked before: what would end a line raises ValueError.

This module is the writer of headers.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from tasks.address import Address
from tasks.text import check_line, echo, is_plain

WIDTH = 76
"""Characters of a folded line, RFC 2047 2."""
MAX_LINE = 998
MAX_WORD = 900
"""Characters of one word that may stay as it is; the rest of a line is left to its name and relays' additions."""

_WORD = 75
"""Characters of an encoded word, RFC 2047 2."""
_MISREAD = frozenset('";\\')
"""What some readers take for syntax inside a quoted parameter."""
_LEAST = 28
"""Characters of an encoded word that hold any character, even where the header's name leaves less room."""
_FRAME = len("=?utf-8?q?") + len("?=")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+\Z")
_NAME = re.compile(r"[!-9;-~]{1,64}\Z")
_Q_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "
_Q = {code: "_" if code == 32 else chr(code) if code in _Q_SAFE else f"={code:02X}" for code in range(256)}
"""An octet (as the Latin-1 character of its number) in a Q word."""


def check_name(name: str) -> None:
    """Raise ValueError unless ``name`` is a header's name: 1 to 64 of ``!``-``9``, ``;``-``~`` (RFC 5322 2.2)."""
    if _NAME.match(name) is None:
        raise ValueError(f"{echo(name)} is no header name: use 1 to 64 letters, digits and hyphens")


def unstructured(name: str, value: str) -> str:
    """Text that reads back exactly, spaces at its ends and tabs included. Raises ValueError for what would end a line."""
    if is_plain(value):
        if len(name) + 2 + len(value) <= WIDTH:
            return f"{name}: {value}\r\n" if value else f"{name}:\r\n"
        words = value.split(" ")
        if max(map(len, words)) <= MAX_WORD:
            return _fold(name, words)
    check_line(value)
    return _fold(name, _encode(value, max(WIDTH - len(name) - 2, _LEAST)))


def structured(name: str, value: str) -> str:
    """Printable ASCII words with single spaces, never encoded. Raises ValueError for anything else, or a word over 900."""
    if not is_plain(value):
        raise ValueError(f"{echo(value)} must be printable ASCII with single spaces and without '=?'")
    words = value.split(" ")
    longest = max(map(len, words))
    if longest > MAX_WORD:
        raise ValueError(f"a word may have {MAX_WORD} characters, one has {longest}: shorten it")
    return _fold(name, words)


def addresses(name: str, many: Sequence[Address]) -> str:
    """A list of addresses in their wire form. Raises ValueError for a name that would end a line."""
    if len(many) == 1 and many[0].name is None:
        return f"{name}: {many[0].addr}\r\n"
    words: list[str] = []
    last = len(many) - 1
    for index, address in enumerate(many):
        comma = "" if index == last else ","
        if address.name is None:
            words.append(address.addr + comma)
        else:
            words += _phrase(address.name, WIDTH - len(name) - 2 if index == 0 else _WORD)
            words.append(f"<{address.addr}>{comma}")
    return _fold(name, words)


def parameters(name: str, value: str, params: Mapping[str, str]) -> str:
    """A MIME header. ``value`` and the names of ``params`` are ours; their values may be any text. Raises ValueError."""
    return _fold(name, [value, *(_parameter(key, text) for key, text in params.items())], ";")


def is_readable(octets: int, escapes: int) -> bool:
    """Whether text with so many octets to escape is better off quoted-printable (or Q) than as base64 (or B).

    It may cost half as much again: people and filters can read it.
    """
    return 2 * (octets + 2 * escapes) <= 3 * ((octets + 2) // 3 * 4)


def _parameter(key: str, value: str) -> str:
    if is_plain(value) and _MISREAD.isdisjoint(value):
        return f'{key}="{value}"'
    check_line(value)
    return f"{key}*=utf-8''{quote(value, safe='')}"


def _phrase(name: str, first: int) -> list[str]:
    """A display name as words that may be folded between, RFC 5322 3.2.5. ``first`` is the room on the first line."""
    if "=?" in name or not (name.isascii() and name.isprintable()):
        check_line(name)
        return _encode(name, min(first, _WORD))
    is_foldable = is_plain(name)
    if is_foldable and _ATOMS.match(name) is not None:
        return name.split(" ")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    quoted = f'"{escaped}"'
    return quoted.split(" ") if is_foldable else [quoted]


def _encode(text: str, first: int) -> list[str]:
    """``text`` as encoded words of whole characters each, Q or B. ``first`` is the room for the first."""
    data = text.encode()
    if is_readable(len(data), len(data.translate(None, _Q_SAFE))):
        whole = data.decode("latin-1").translate(_Q)
        if len(whole) <= first - _FRAME:
            return [f"=?utf-8?q?{whole}?="]
        pieces = [char.encode().decode("latin-1").translate(_Q) for char in text]
        runs = _runs(pieces, first - _FRAME, _WORD - _FRAME)
        return [f"=?utf-8?q?{run}?=" for run in runs]
    pieces = _runs(text, (first - _FRAME) // 4 * 3, (_WORD - _FRAME) // 4 * 3, octets=True)
    return [f"=?utf-8?b?{b64encode(run.encode()).decode()}?=" for run in pieces]


def _runs(pieces: Iterable[str], first: int, room: int, *, octets: bool = False) -> list[str]:
    """``pieces`` joined to runs of at most ``first``, then ``room`` characters (or octets), no piece divided."""
    runs: list[str] = []
    run: list[str] = []
    left = first
    for piece in pieces:
        size = len(piece.encode()) if octets else len(piece)
        if size > left and run:
            runs.append("".join(run))
            run, left = [], room
        run.append(piece)
        left -= size
    runs.append("".join(run))
    return runs


def _fold(name: str, words: Sequence[str], joint: str = "") -> str:
    """``words`` after ``name``, each after a space; a line ends before the word that would make it too long.

    The first stays with the name: CPython reads a fold right behind the colon as a space of the value.
    """
    lines: list[str] = []
    line = f"{name}: {words[0]}"
    for word in words[1:]:
        line += joint
        if len(line) + 1 + len(word) + len(joint) > WIDTH:
            lines.append(line)
            line = f" {word}"
        else:
            line += f" {word}"
    lines.append(line)
    if max(map(len, lines)) > MAX_LINE:
        raise ValueError(f"a line of {name} would have more than {MAX_LINE} characters: shorten it")
    return "\r\n".join(lines) + "\r\n"
