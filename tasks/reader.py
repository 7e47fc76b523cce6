"""A message read back: for those who look at it, never for sending.

CPython's parser does the reading; whatever it raises on foreign bytes becomes a gap in the answer, not an error.

This module is the reader of messages.
"""

from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from typing import TypeVar

import msgspec

from tasks.secret import name_alone

_T = TypeVar("_T")


class Attached(msgspec.Struct, frozen=True):
    """A part that is not the body. ``size`` is in octets, decoded; ``read_attachment`` gives them by its index."""

    filename: str
    content_type: str
    content_id: str | None
    size: int


class Parts(msgspec.Struct, frozen=True):
    """``text`` and ``html`` have ``\\n`` line ends and are None where the message has none; headers are decoded."""

    text: str | None
    html: str | None
    headers: list[tuple[str, str]]
    attachments: list[Attached]

    __repr__ = name_alone


class _Opened(msgspec.Struct):
    """The parts by their use."""

    root: EmailMessage
    text: Message | None
    html: Message | None
    attached: list[Message]

    __repr__ = name_alone


def read(message: bytes) -> Parts:
    """What ``message`` holds. Never raises: what cannot be read is missing, or shown as it is."""
    opened = _or(None, _open, message)
    if opened is None:
        return Parts(None, None, [], [])
    raw = _or([], lambda: list(opened.root.raw_items()))
    headers = [(_utf8(name), _or(_utf8(value), _decoded, name, value)) for name, value in raw]
    attachments = [_attached(part) for part in opened.attached]
    return Parts(_text(opened.text), _text(opened.html), headers, attachments)


def read_attachment(message: bytes, index: int) -> bytes | None:
    """The octets of ``read(message).attachments[index]``; None if there is no such one. Never raises."""
    opened = _or(None, _open, message)
    if opened is None or not 0 <= index < len(opened.attached):
        return None
    return _octets(opened.attached[index])


def _or(instead: _T, function: Callable[..., _T], *args: object) -> _T:
    """What ``function`` gives, or ``instead``: CPython's parser raises many things on bytes it does not expect."""
    try:
        return function(*args)
    except Exception:  # noqa: BLE001 - its bugs differ from one patch release to the next, and a page must still be shown
        return instead


def _open(message: bytes) -> _Opened:
    root = message_from_bytes(message, policy=default)
    leaves = _leaves(root)
    text = next((leaf for leaf in leaves if _is_body(leaf, "text/plain")), None)
    html = next((leaf for leaf in leaves if _is_body(leaf, "text/html")), None)
    return _Opened(root, text, html, [leaf for leaf in leaves if leaf is not text and leaf is not html])


def _leaves(root: Message) -> list[Message]:
    """The parts that hold no parts, in order. A message in the message is one of them."""
    leaves: list[Message] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if isinstance(inner, list) and part.get_content_maintype() == "multipart":
            waiting += reversed([child for child in inner if isinstance(child, Message)])
        else:
            leaves.append(part)
    return leaves


def _is_body(part: Message, content_type: str) -> bool:
    if _or("", part.get_content_type) != content_type:
        return False
    return _or(None, part.get_content_disposition) != "attachment" and _or(None, part.get_filename) is None


def _attached(part: Message) -> Attached:
    content_id = _or(None, lambda: str(part["Content-ID"] or "").strip("<> ")) or None
    content_type = _or("application/octet-stream", part.get_content_type)
    return Attached(_or(None, part.get_filename) or "unnamed", content_type, content_id, len(_octets(part)))


def _octets(part: Message) -> bytes:
    payload = _or(None, lambda: part.get_payload(decode=True))
    if isinstance(payload, bytes):
        return payload
    inner = part.get_payload()
    return b"".join(_or(b"", bytes, child) for child in inner) if isinstance(inner, list) else b""


def _text(part: Message | None) -> str | None:
    if part is None:
        return None
    octets = _octets(part)
    charset = _or("utf-8", lambda: part.get_content_charset("utf-8"))
    text = _or(None, lambda: octets.decode(charset, "replace"))
    return (octets.decode("utf-8", "replace") if text is None else text).replace("\r\n", "\n")


def _decoded(name: str, value: str) -> str:
    return str(default.header_fetch_parse(name, _utf8(value)))


def _utf8(value: str) -> str:
    """A raw header as text: octets beyond ASCII are UTF-8 (RFC 6532), or become U+FFFD."""
    return value.encode("ascii", "surrogateescape").decode("utf-8", "replace")
