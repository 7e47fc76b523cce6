"""What text must keep to before it becomes part of a message.

Three rules, from the strictest: a *name* (display name, file name) is one line without a tab; a *line* (subject, header
value) may hold tabs; a *body* may hold line ends and bidi marks too. Control characters (C0, DEL, C1) and lone surrogates
are refused in all three, U+2028, U+2029 and bidi overrides in the first two.

This module is the rules of characters, and how a wrong one is shown to people.
"""

import re
from typing import NoReturn

import msgspec

from tasks.secret import name_alone

_BIDI = "\u2028-\u202e\u2066-\u2069"
_NAME = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
_LINE = re.compile(f"[\x00-\x08\x0a-\x1f\x7f-\x9f{_BIDI}\ud800-\udfff]")
_BODY = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n?|\n")
_SAFE = bytes(range(32, 127)).replace(b"=", b"") + b"\t\r\n"
_BODY_ASCII = bytes(code for code in range(128) if _BODY.match(chr(code)))

ECHO = 64
"""Characters of the client's own input that an error repeats at most."""


def clean(text: str) -> str:
    """The beginning of ``text`` for an error: at most 64 characters, none of them invisible."""
    shown = "".join(char if char.isprintable() else _escape(char) for char in text[: ECHO + 1])
    return shown if len(shown) <= ECHO else shown[: ECHO - 1] + "…"


def echo(text: str) -> str:
    """``clean`` text in quotes."""
    return f"'{clean(text)}'"


def name_character(char: str) -> str:
    """One character for an error: itself where it can be seen, its code point else."""
    return f"'{char}'" if char.isprintable() else f"U+{ord(char):04X}"


def check_name(text: str) -> None:
    """Raise ValueError unless ``text`` may stand in a display name or a file name."""
    if not (text.isascii() and text.isprintable()):
        _check(_NAME, text)


def check_line(text: str) -> None:
    """Raise ValueError unless ``text`` may stand in a subject or a header value; a tab may."""
    if not (text.isascii() and text.isprintable()):
        _check(_LINE, text)


class Body(msgspec.Struct, frozen=True, gc=False):
    """A text as a message has it. ``lines`` end in CRLF; ``data`` is the same in UTF-8, ``unsafe`` its octets that
    quoted-printable escapes."""

    lines: str
    data: bytes
    unsafe: bytes

    __repr__ = name_alone

    def ended(self) -> "Body":
        """The same with a line end at its end."""
        if self.data.endswith(b"\r\n"):
            return self
        return Body(self.lines + "\r\n", self.data + b"\r\n", self.unsafe)


def body(text: str) -> Body:
    """Raises UnicodeEncodeError for a lone surrogate; see ``check_body``."""
    lines = text.replace("\n", "\r\n") if "\r" not in text else _LINE_END.sub("\r\n", text)
    data = lines.encode()
    return Body(lines, data, data.translate(None, _SAFE))


def check_body(text: str) -> Body:
    """Raise ValueError unless ``text`` may be a body. The place is given as line and column, both from 1."""
    try:
        found = body(text)
    except UnicodeEncodeError:
        _refuse_body(text)
        raise
    if b"\xc2" in found.unsafe or len(found.unsafe.translate(None, _BODY_ASCII)) < len(found.unsafe):  # c2 begins all C1
        _refuse_body(text)
    return found


def _refuse_body(text: str) -> None:
    wrong = _BODY.search(text)
    if wrong is not None:
        line = text.count("\n", 0, wrong.start()) + 1
        column = wrong.start() - text.rfind("\n", 0, wrong.start())
        raise ValueError(f"{_kind(wrong[0])} {name_character(wrong[0])} at line {line}, column {column}: remove it")


def refuse(rule: str, text: str, index: int, cure: str) -> NoReturn:
    """Raise ValueError: which rule ``text`` breaks, the character and its place from 1, and what to do."""
    char = name_character(text[index]) if index < len(text) else "the end"
    raise ValueError(f"{rule}: {char} at character {index + 1} of {echo(text)}; {cure}")


def is_plain(text: str) -> bool:
    """Whether a header can hold ``text`` as it is: printable ASCII, single spaces inside, nothing that looks encoded."""
    return (
        text.isascii()
        and text.isprintable()
        and "=?" not in text
        and "  " not in text
        and not text.startswith(" ")
        and not text.endswith(" ")
    )


def _check(rule: re.Pattern[str], text: str) -> None:
    found = rule.search(text)
    if found is not None:
        place = f"at character {found.start() + 1} of {echo(text)}"
        raise ValueError(f"{_kind(found[0])} {name_character(found[0])} {place}: remove it")


def _kind(char: str) -> str:
    if "\ud800" <= char <= "\udfff":
        return "a lone surrogate"
    if char >= "\u202a":
        return "a bidi override"
    if char >= "\u2028":
        return "a line separator"
    return "a control character"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
