r"""One log record as one ASCII line of JSON, and what is done to foreign text before it gets there.

::

    text ──▶ cut to 16 kB ──▶ secrets masked ──▶ control characters shown as \n, \x1b, \u202e ──▶ cut to 4 kB

Masked are: our own client keys (their public id stays), passwords in URLs, ``Authorization`` and ``Cookie`` values, SMTP
``AUTH`` arguments, whatever follows a name such as password, secret, token or api_key, long tokens in links (with one, a
reader of the log could reset somebody's password), and the exact secrets the process was told to hide. It errs on the side of
masking: ``wrong token: expired`` becomes ``wrong token: ***``.

Everything after decoding is printable, so a page or a terminal may show it as it is (a page still escapes HTML).

This module is the shape of a log line, for those who write it and those who read it.
"""

import json
import re
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Annotated, Literal, get_args
from urllib.parse import quote

import msgspec

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From least to most severe. Other levels are written as the next lower of these, TRACE as DEBUG."""

MESSAGE_CHARS = 4096
TRACE_CHARS = 8192
NAME_CHARS = 128
_RAW_CHARS = 16_384
_LINE_CHARS = 1024
_STEPS = 60
MAX_LINE = 256 * 1024
"""No line is longer, in bytes: at worst each of some 13,000 characters takes 12."""

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z"

_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Looked for first, since ten plain searches are ten times quicker than one regular expression.
_HINTS = ("://", ":\\/", "pass", "pwd", "secret", "token", "key", "auth", "bearer", "cookie", "ems_")
_SEPARATOR = r"""\\*["']?\s*(?:=>?|:|,(?=\s*b?\\*["']))\s*(?:b(?=["']))?"""
_QUOTED = r"""\\*"(?:[^"\\]|\\.)*(?:"|\Z)|\\*'(?:[^'\\]|\\.)*(?:'|\Z)"""
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)(ems_[0-9a-f]{12}_)[0-9a-f]+"), r"\1***"),
    # Greedy to the last @ of the word, since people do not encode the @ in their passwords; bounded to stay linear.
    (re.compile(r"(:\\?/\\?/[^\s/:@]{0,256}:)\S{1,1024}@"), r"\1***@"),
    (re.compile(r"(:\\?/\\?/)[^\s/:@]{1,256}@"), r"\1***@"),
    (re.compile(rf"(?is)((?:authorization|cookie){_SEPARATOR})(?:{_QUOTED}|[^\r\n]+)"), r"\1***"),
    (re.compile(r"(?i)\b(bearer\s+)[^\s\"']+"), r"\1***"),
    (re.compile(r"(?i)\b(auth\s+(?:plain|login|cram-md5|xoauth2|oauthbearer)\s+)[^\s\"']+"), r"\1***"),
    (
        re.compile(
            r"(?is)((?:(?<![a-z])pass(?:[_\d-]\w{0,32})?|(?:passw|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key)[\w-]{0,32})"
            rf"{_SEPARATOR})(?:{_QUOTED}|\S+)"
        ),
        r"\1***",
    ),
)

_LINK = re.compile(r"(:\\?/\\?/[^\s/?#\\\"'<>]{1,256})([\\/?#][^\s\"'<>]{1,4096})")
_TOKEN = re.compile(r"[A-Za-z0-9_~%+-]{16,}")


class Entry(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A log record. ``time`` is UTC at fixed width, so that text order is time order.

    ``role`` and ``slot`` name the writing process slot and with it the file; ``logger`` is a module's or a standard
    logger's name; ``email`` and ``request`` are ids; ``trace`` is a traceback with real newlines between its lines.
    """

    time: Annotated[str, msgspec.Meta(pattern=TIME)]
    level: Level
    role: str
    slot: int
    pid: int
    logger: str
    message: str
    email: str = ""
    request: str = ""
    trace: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """The line with its newline: ASCII only. All texts of ``entry`` must have been cleaned."""
    line = _encoder.encode(entry)
    if not line.isascii():
        line = json.dumps(msgspec.to_builtins(entry), separators=(",", ":")).encode()
    return line + b"\n"


def decode(line: bytes) -> Entry | None:
    """The record of a line (without newline), or None where it is none of ours: torn, too long, or holding raw controls."""
    if len(line) > MAX_LINE:
        return None
    try:
        entry = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    texts = (entry.role, entry.logger, entry.message, entry.email, entry.request, entry.trace.replace("\n", ""))
    return entry if all(text.isprintable() or not _UNSEEN.search(text) for text in texts) else None


def level_of(number: int) -> Level:
    """The word for a level number of ``logging`` or loguru, where 10 is DEBUG and 50 CRITICAL."""
    return LEVELS[min(max(number // 10, 1), 5) - 1]


def readable(entry: Entry) -> str:
    """The record for a person at a terminal: one line, then the traceback's lines, indented."""
    ids = "".join(f" {word}={value}" for word, value in (("email", entry.email), ("request", entry.request)) if value)
    slot = f"{entry.role}-{entry.slot}" if entry.slot >= 0 else entry.role
    line = f"{entry.time[:10]} {entry.time[11:23]} {entry.level:<8} {slot} {entry.logger}{ids}: {entry.message}\n"
    return line + "".join(f"    {step}\n" for step in entry.trace.split("\n")) if entry.trace else line


def mask_links(text: str) -> str:
    """``text`` with ``***`` for what looks like a token in a link: 16 characters or more, letters and digits."""
    return _LINK.sub(lambda link: link[1] + _TOKEN.sub(_masked_token, link[2]), text) if "/" in text else text


def _masked_token(match: re.Match[str]) -> str:
    word = match[0]
    is_mixed = any(char.isdigit() for char in word) and any(char.isalpha() for char in word)
    return f"{word[:4]}***" if is_mixed else word


class Cleaner:
    """Makes any text fit for a log line. ``secrets`` are hidden wherever they occur, also percent-encoded.

    Secrets of fewer than 6 characters are left to the patterns: hiding ``test`` everywhere would make logs unreadable.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long = {secret for secret in secrets if len(secret) >= 6}
        self._secrets = tuple(sorted(long | {quote(s, safe="", errors="replace") for s in long}, key=len, reverse=True))

    def clean(self, text: str, limit: int = MESSAGE_CHARS) -> str:
        """``text`` masked, on one printable line, of at most ``limit`` characters."""
        text = self.masked(text)
        if not text.isprintable():
            text = _UNSEEN.sub(_shown, text)
        return _cut(text, limit)

    def masked(self, text: str) -> str:
        """``text`` without its secrets, of at most some 16 kB; a word cut in two is dropped, for half a secret has no mark."""
        if len(text) > _RAW_CHARS:
            text = text[:_RAW_CHARS]
            text = text[: max(text.rfind(" "), text.rfind("\n"), _RAW_CHARS - 2048)] + " …"
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        low = text.lower()
        for hint in _HINTS:
            if hint in low:
                return _mask(text)
        return text

    def trace(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> str:
        """The traceback without local variables, cleaned: at most 12 frames an exception, the end rather than the start."""
        try:
            shown = traceback.TracebackException(kind, error, where, limit=-12, compact=True)
            steps = list(shown.format())[-_STEPS:]
        except Exception:  # noqa: BLE001  an exception's own __str__ or __cause__ may do anything
            steps = [f"{kind.__module__}.{kind.__qualname__} (its traceback cannot be shown)"]
        lines = "".join(self.masked(step) for step in steps).rstrip("\n").split("\n")
        text = "\n".join(_cut(_UNSEEN.sub(_shown, line), _LINE_CHARS) for line in lines)
        return text if len(text) <= TRACE_CHARS else "…" + text[1 - TRACE_CHARS :]


def _mask(text: str) -> str:
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return mask_links(text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
