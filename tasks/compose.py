"""From what a client asks for to the final bytes of its message.

::

    Email ──▶ addresses, headers, files checked ──▶ parts ──▶ head + body ──▶ Composed
              every wrong field collected, then EmailInvalid

    text            text/plain
    html            alternative(text made from it, html)
    text and html   alternative(text, html)
    inline images   related(html, images) in place of the html
    attachments     mixed(all of that, files)

The bytes are made once: every attempt sends the same. ``Date`` is the first line and of fixed width, so that ``redate``
can replace it.

This module is the composer of messages.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from functools import lru_cache

import msgspec

from tasks.address import Address, parse
from tasks.checked import Checked, Limits, check, listed, too_large
from tasks.email import Content, Email
from tasks.files import File
from tasks.headers import addresses
from tasks.htmltext import to_text
from tasks.mime import Part, file_part, fresh_token, multipart, text_part
from tasks.secret import name_alone
from tasks.text import body as text_body

__all__ = ["Composed", "Limits", "compose", "redate"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE_LINE = len("Date: Wed, 25 Nov 2026 02:44:49 +0000\r\n")


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """A message and what sending it takes.

    ``sender`` and ``recipients`` are the envelope, in wire form, Bcc included, none twice. ``from_`` to ``subject`` are the
    fields as the client wrote them. ``utf8`` says that the relay must take SMTPUTF8.
    """

    message: bytes
    message_id: str
    sha256: str
    sender: str
    recipients: list[str]
    from_: str
    to: list[str]
    cc: list[str]
    bcc: list[str]
    reply_to: list[str]
    subject: str
    utf8: bool = False

    __repr__ = name_alone


def tokens(id_: str) -> Callable[[], str]:
    """What boundaries are made from: the email's id, which no content knows beforehand; then, should one hold it, 128 random
    bits each time."""
    first = [id_.replace("-", "")]
    return lambda: first.pop() if first else secrets.token_hex(16)


def compose(
    email: Email,
    *,
    id: str,  # noqa: A002 - an email's id is called so everywhere
    at_ms: int,
    limits: Limits,
    redirect: str | None = None,
    token: Callable[[], str] | None = None,
) -> Composed:
    """The final message of ``email``: 7-bit, canonical CRLF, the same in every attempt (RFC 5322, 2045-2047, 2231).

    ``id`` becomes the left part of the Message-ID; ``at_ms`` (UTC milliseconds) the Date. ``redirect`` is one address that
    gets the mail instead of its recipients, whom ``X-Original-To`` then names. Raises EmailInvalid with every wrong field,
    ValueError for a wrong ``redirect``. Takes microseconds for common mails, but over a second for 25 MB of text.
    """
    checked = check(email, limits)
    recipients = list(dict.fromkeys(address.addr for address in (*checked.to, *checked.cc, *checked.bcc)))
    message_id = f"<{id}@{checked.from_.addr.rpartition('@')[2]}>"
    head = _head(checked, message_id, at_ms)
    if redirect is not None:
        head += addresses("X-Original-To", [Address(None, addr, addr) for addr in recipients])
        recipients = [parse(redirect, smtputf8=limits.smtputf8).addr]
    body = _body(email.message, checked, token or tokens(id))
    head += f"MIME-Version: 1.0\r\n{body.head}\r\n"
    message = b"".join((head.encode(), *body.body))
    if len(message) > limits.max_message_bytes:
        raise too_large(len(message), limits.max_message_bytes)
    return Composed(
        message=message,
        message_id=message_id,
        sha256=hashlib.sha256(message).hexdigest(),
        sender=checked.from_.addr,
        recipients=recipients,
        from_=email.email_from,
        to=listed(email.email_to),
        cc=listed(email.cc),
        bcc=listed(email.bcc),
        reply_to=listed(email.reply_to),
        subject=email.subject,
        utf8=not head.isascii(),
    )


def redate(message: bytes, at_ms: int) -> bytes:
    """``message``, made by ``compose``, with another Date. Its SHA-256 changes, its size does not."""
    return date_line(at_ms).encode("ascii") + message[_DATE_LINE:]


def date_line(at_ms: int) -> str:
    """The Date header at fixed width, RFC 5322 3.3, whatever the locale."""
    return _date_line(at_ms // 1000)


@lru_cache(8)
def _date_line(second: int) -> str:
    t = time.gmtime(second)
    day = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
    return f"Date: {day} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000\r\n"


def _head(checked: Checked, message_id: str, at_ms: int) -> str:
    """The header lines up to those of MIME. Bcc is not among them."""
    lines = [date_line(at_ms), f"Message-ID: {message_id}\r\n", addresses("From", [checked.from_])]
    lines += checked.addressed
    lines.append(checked.subject)
    lines += checked.headers
    if not checked.is_auto_submitted:
        lines.append("Auto-Submitted: auto-generated\r\n")
    return "".join(lines)


def _body(content: Content, checked: Checked, token: Callable[[], str]) -> Part:
    """The parts, put together. A message that is one part ends in a line end, as SMTP would give it one anyway."""
    text, html, files = checked.text, checked.html, checked.files
    if html and not text and (made := to_text(content.html or "")):
        text = text_body(made)
    single = not files and not (text and html)
    plain = [text_part("plain", text.ended() if single else text)] if text else []
    rich = [text_part("html", html.ended() if single else html)] if html else []
    if single:
        only = (plain or rich)[0]
        if not only.body[-1].endswith(b"\r\n"):
            only.body.append(b"\r\n")
        return only
    images = [_file_part(file, inline=True) for file in files if html and file.content_id is not None]
    attached = [_file_part(file, inline=False) for file in files if not html or file.content_id is None]
    mark = fresh_token([*plain, *rich, *images, *attached], token)
    if images:
        rich = [multipart("related", [*rich, *images], f"=_r_{mark}")]
    readable = [*plain, *rich]
    body = multipart("alternative", readable, f"=_a_{mark}") if len(readable) > 1 else readable[0]
    return multipart("mixed", [body, *attached], f"=_m_{mark}") if attached else body


def _file_part(file: File, *, inline: bool) -> Part:
    return file_part(file.content_type, file.data, file.filename, content_id=file.content_id, inline=inline)
