"""MIME parts: a head of header lines and a body of bytes.

Everything is 7-bit on the wire. Text goes as it is where that is safe, else as quoted-printable where most of it
stays readable, else as base64, as files do. Bodies are lists of chunks, so that a large file is copied once, at the end, and
is encoded in steps: while one runs, no other thread does, the event loop's included. Chunks meet at line ends.

This module is the MIME shapes that a message is built from.
"""

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Callable, Sequence

import msgspec

from tasks.headers import MAX_LINE, WIDTH, is_readable, parameters
from tasks.secret import name_alone
from tasks.text import Body

_RISKY = ("\r\n.", "\r\nFrom ", " \r\n", "\t\r\n")
"""What relays or mailboxes change: a dot or ``From `` at the start of a line, a space at its end."""
_RISKY_START = re.compile(rb"\n(?:\.|From )")
_EQUALS = ord("=")
_CHUNK = WIDTH - 1
"""Characters of a divided line, beside the = behind it."""
_BASE64_LINE = 57
"""Octets that make a base64 line of 76 characters."""
_STEP = 1024 * _BASE64_LINE
"""Octets that are encoded in one step."""


class Part(msgspec.Struct):
    """``head`` is whole header lines; ``body`` does not end in the CRLF that belongs to the boundary after it."""

    head: str
    body: list[bytes]

    __repr__ = name_alone


def text_part(subtype: str, body: Body) -> Part:
    """A ``text/…`` part that reads back as ``body``."""
    if _is_7bit(body.lines):
        return Part(_text_head(subtype, "7bit"), [body.data])
    if is_readable(len(body.data), len(body.unsafe)):
        return Part(_text_head(subtype, "quoted-printable"), _quoted_printable(body.data))
    return Part(_text_head(subtype, "base64"), _base64(body.data))


def file_part(content_type: str, data: bytes, filename: str, *, content_id: str | None = None, inline: bool) -> Part:
    """A file. ``content_type`` and ``content_id`` are checked before. Readers that know no RFC 2231 get an ASCII name."""
    head = parameters("Content-Type", content_type, {"name": ascii_name(filename)})
    head += "Content-Transfer-Encoding: base64\r\n"
    head += parameters("Content-Disposition", "inline" if inline else "attachment", {"filename": filename})
    if content_id is not None:
        head += f"Content-ID: <{content_id}>\r\n"
    return Part(head, _base64(data))


def multipart(kind: str, parts: Sequence[Part], boundary: str) -> Part:
    """``parts`` in one. ``kind`` is the subtype; a ``related`` one begins with its HTML (RFC 2387)."""
    root = ' type="text/html";' if kind == "related" else ""
    between = f"--{boundary}\r\n".encode()
    body: list[bytes] = []
    for part in parts:
        body += (between, part.head.encode("ascii"), b"\r\n", *part.body, b"\r\n")
    body.append(f"--{boundary}--\r\n".encode())
    return Part(f'Content-Type: multipart/{kind};{root}\r\n boundary="{boundary}"\r\n', body)


def fresh_token(parts: Sequence[Part], draw: Callable[[], str]) -> str:
    """The first of ``draw``'s tokens that no part holds; boundaries are made from it."""
    while True:
        token = draw()
        needle = token.encode("ascii")
        if not any(needle in chunk for part in parts for chunk in part.body):
            return token


def ascii_name(filename: str) -> str:
    """``filename`` for readers of ASCII: what they could misread is an underscore."""
    return re.sub(r"[^ !#-\[\]-~]|=(?=\?)|  ", "_", filename).strip(" ") or "_"


def _text_head(subtype: str, encoding: str) -> str:
    return f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"


def _is_7bit(lines: str) -> bool:
    if not lines.isascii() or lines.startswith((".", "From ")) or lines.endswith((" ", "\t")):
        return False
    return not any(risk in lines for risk in _RISKY) and max(map(len, lines.split("\r\n"))) <= MAX_LINE


def _base64(data: bytes) -> list[bytes]:
    if len(data) <= _BASE64_LINE:
        return [b64encode(data)]
    chunks: list[bytes] = []
    for start in range(0, len(data), _STEP):
        whole = b64encode(data[start : start + _STEP])
        chunks += (b"\r\n".join([whole[at : at + WIDTH] for at in range(0, len(whole), WIDTH)]), b"\r\n")
    return chunks[:-1]


def _quoted_printable(data: bytes) -> list[bytes]:
    """RFC 2045 6.7, and no line begins with a dot or ``From ``. ``data`` has CRLF line ends only."""
    chunks: list[bytes] = []
    start = 0
    while len(data) - start > _STEP:
        end = data.rfind(b"\r\n", start, start + _STEP)
        end = end if end >= 0 else data.find(b"\r\n", start)
        if end < 0:
            break
        chunks += (_quoted_lines(data[start:end]), b"\r\n")
        start = end + 2
    if start < len(data):
        chunks.append(_quoted_lines(data[start:]))
    return chunks


def _quoted_lines(data: bytes) -> bytes:
    """The standard library's writer knows nothing of dots and ``From ``, makes a line that ends in a space too long by two, and
    writes CRLF only where it has seen one."""
    found = b"\n" + b2a_qp(data + b"\r\n")
    if _RISKY_START.search(found) is not None:
        found = found.replace(b"\n.", b"\n=2E").replace(b"\nFrom ", b"\n=46rom ")
    found = found[1:-2]
    rows = found.split(b"\r\n")
    if max(map(len, rows)) <= WIDTH:
        return found
    lines: list[bytes] = []
    for row in rows:
        _divide(row, lines)
    return b"\r\n".join(lines)


def _divide(row: bytes, lines: list[bytes]) -> None:
    """Add a row to ``lines``, with soft line ends where it is too long; they divide no escape."""
    while len(row) > WIDTH:
        end = _CHUNK
        if row[end - 1] == _EQUALS:
            end -= 1
        elif row[end - 2] == _EQUALS:
            end -= 2
        lines.append(row[:end] + b"=")
        row = _guard(row[end:])
    lines.append(row)


def _guard(line: bytes) -> bytes:
    if line.startswith(b"."):
        return b"=2E" + line[1:]
    if line.startswith(b"From "):
        return b"=46" + line[1:]
    return line
