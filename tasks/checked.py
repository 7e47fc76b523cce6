"""An email that has passed every check: addresses parsed, headers written, files decoded.

All fields are looked at before any is complained about, so that a client sees everything that is wrong at once.

This module is the checks of an email's fields, each under its path.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from tasks.address import Address, parse
from tasks.custom import header_line
from tasks.email import Addresses, Attachment, Content, Email
from tasks.errors import EmailInvalid, FieldError
from tasks.files import File, check_content_id, check_content_type, check_filename, decode, encoded_size
from tasks.headers import addresses, unstructured
from tasks.secret import name_alone
from tasks.text import Body, check_body, clean

MAX_HEADERS = 100
"""Custom headers of one email."""
MAX_ATTACHMENTS = 100
MAX_HEADER = 65_536
"""Octets of any header that a client fills, as written: relays cut off more (Postfix, ``header_size_limit`` 102400)."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Limits(msgspec.Struct, frozen=True):
    """What one email may take. ``max_recipients`` counts To, Cc and Bcc together."""

    max_message_bytes: int
    max_recipients: int
    smtputf8: bool = False


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """``addressed`` (To, Cc, Reply-To), ``subject`` and ``headers`` are whole header lines; ``text`` and ``html`` are there
    where they hold something."""

    from_: Address
    to: list[Address]
    cc: list[Address]
    bcc: list[Address]
    addressed: list[str]
    subject: str
    text: Body | None
    html: Body | None
    headers: list[str]
    is_auto_submitted: bool
    files: list[File]

    __repr__ = name_alone


def check(email: Email, limits: Limits) -> Checked:
    """What ``email`` means. Raises EmailInvalid with every field that is wrong."""
    _check_size(email, limits)
    found = _Findings()
    sender = found.of("email_from", parse, email.email_from, smtputf8=limits.smtputf8)
    lists = _address_lists(found, email, limits)
    addressed = _addressed(found, lists)
    subject = found.of("subject", _subject, email.subject)
    text, html = _bodies(found, email.message)
    headers = _headers(found, email.headers)
    files = _files(found, email.attachments)
    if found.errors or sender is None or subject is None:
        raise EmailInvalid(found.errors)
    return Checked(
        from_=sender,
        to=lists["to"],
        cc=lists["cc"],
        bcc=lists["bcc"],
        addressed=addressed,
        subject=subject,
        text=text,
        html=html,
        headers=headers,
        is_auto_submitted=any(name.lower() == "auto-submitted" for name in email.headers),
        files=files,
    )


def too_large(size: int, limit: int) -> EmailInvalid:
    """The refusal of a message of ``size`` octets, whole or as far as it is known to grow."""
    cure = "send less, or links to files instead of attachments"
    return EmailInvalid([FieldError("message", f"the message may have {limit} bytes, this one has {size}: {cure}")])


def listed(addresses: Addresses) -> list[str]:
    """One address or several as a list."""
    return [addresses] if isinstance(addresses, str) else addresses


class _Findings:
    """The errors so far."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def of(self, field: str, rule: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """What ``rule`` gives; None, and an error under ``field``, if it raises ValueError."""
        try:
            return rule(*args, **kwargs)
        except ValueError as error:
            self.errors.append(FieldError(field, str(error)))
            return None


def _check_size(email: Email, limits: Limits) -> None:
    """Refuse before any work what cannot become small enough; the message itself is measured in the end."""
    size = len(email.message.text or "") + len(email.message.html or "")
    if email.attachments:
        size += sum(encoded_size(attachment) for attachment in email.attachments)
    if size > limits.max_message_bytes:
        raise too_large(size, limits.max_message_bytes)


def _address_lists(found: _Findings, email: Email, limits: Limits) -> dict[str, list[Address]]:
    if isinstance(email.email_to, str) and email.cc == email.bcc == email.reply_to == []:  # as most are
        return {"to": _addresses(found, "email_to", email.email_to, limits), "cc": [], "bcc": [], "reply_to": []}
    fields = {"to": email.email_to, "cc": email.cc, "bcc": email.bcc, "reply_to": email.reply_to}
    count = len(listed(email.email_to)) + len(listed(email.cc)) + len(listed(email.bcc))
    if not listed(email.email_to):
        found.errors.append(FieldError("email_to", "is empty: name at least one recipient"))
    if count > limits.max_recipients:
        rule = f"an email may have {limits.max_recipients} recipients in email_to, cc and bcc together"
        found.errors.append(FieldError("email_to", f"{rule}, this one has {count}: send several emails"))
    if len(listed(email.reply_to)) > limits.max_recipients:
        found.errors.append(FieldError("reply_to", f"may hold {limits.max_recipients} addresses: name fewer"))
    return {name: _addresses(found, "email_to" if name == "to" else name, value, limits) for name, value in fields.items()}


def _addresses(found: _Findings, field: str, value: Addresses, limits: Limits) -> list[Address]:
    if not value and not isinstance(value, str):
        return []
    if isinstance(value, str):
        one = found.of(field, parse, value, smtputf8=limits.smtputf8)
        return [] if one is None else [one]
    parsed = [found.of(f"{field}[{index}]", parse, text, smtputf8=limits.smtputf8) for index, text in enumerate(value)]
    return [address for address in parsed if address is not None]


def _addressed(found: _Findings, lists: dict[str, list[Address]]) -> list[str]:
    lines: list[str] = []
    for header, field, many in (("To", "email_to", "to"), ("Cc", "cc", "cc"), ("Reply-To", "reply_to", "reply_to")):
        line = found.of(field, _address_line, header, lists[many]) if lists[many] else None
        if line is not None:
            lines.append(line)
    return lines


def _address_line(name: str, many: list[Address]) -> str:
    line = addresses(name, many)
    _check_length(line)
    return line


def _subject(subject: str) -> str:
    _check_length(subject)
    line = unstructured("Subject", subject)
    _check_length(line)
    return line


def _bodies(found: _Findings, content: Content) -> tuple[Body | None, Body | None]:
    if not content.text and not content.html:
        found.errors.append(FieldError("message", "holds neither text nor html: give at least one of them"))
    text = found.of("message.text", check_body, content.text) if content.text else None
    return text, found.of("message.html", check_body, content.html) if content.html else None


def _headers(found: _Findings, headers: dict[str, str]) -> list[str]:
    if len(headers) > MAX_HEADERS:
        found.errors.append(FieldError("headers", f"may hold {MAX_HEADERS} headers, this has {len(headers)}: drop some"))
        return []
    lines: list[str] = []
    seen: set[str] = set()
    for name, value in headers.items():
        field = f"headers.{clean(name)}"
        line = found.of(field, _header, name, value)
        if name.lower() in seen:
            found.errors.append(FieldError(field, "is given twice, only in other letter case: give it once"))
        elif line is not None:
            lines.append(line)
        seen.add(name.lower())
    if "list-unsubscribe-post" in seen and not _can_leave_by_click(headers):
        rule = "needs an https URL in List-Unsubscribe, such as <https://shop.example/leave/17> (RFC 8058, section 3.1)"
        found.errors.append(FieldError("headers.List-Unsubscribe-Post", rule))
    return lines


def _can_leave_by_click(headers: dict[str, str]) -> bool:
    return any(name.lower() == "list-unsubscribe" and "<https://" in value.lower() for name, value in headers.items())


def _header(name: str, value: str) -> str:
    _check_length(value)
    line = header_line(name, value)
    _check_length(line)
    return line


def _check_length(text: str) -> None:
    """Before a header is written, so that no rule meets megabytes; and after, since encoding makes it longer."""
    if len(text) > MAX_HEADER:
        raise ValueError(f"a header may have {MAX_HEADER} bytes as written, this has {len(text)}: shorten it")


def _files(found: _Findings, attachments: list[Attachment]) -> list[File]:
    if len(attachments) > MAX_ATTACHMENTS:
        rule = f"may hold {MAX_ATTACHMENTS} files, this has {len(attachments)}"
        found.errors.append(FieldError("attachments", f"{rule}: send fewer, or an archive"))
        return []
    files: list[File] = []
    ids: set[str] = set()
    for index, attachment in enumerate(attachments):
        field = f"attachments[{index}]"
        filename = found.of(f"{field}.filename", check_filename, attachment.filename)
        found.of(f"{field}.content_type", check_content_type, attachment.content_type)
        data = found.of(f"{field}.content", decode, attachment.content)
        content_id = attachment.content_id
        if content_id is not None:
            found.of(f"{field}.content_id", check_content_id, content_id)
            if content_id in ids:
                found.errors.append(FieldError(f"{field}.content_id", "is used by an attachment before: choose another"))
            ids.add(content_id)
        if filename is not None and data is not None:
            files.append(File(filename, attachment.content_type, content_id, data))
    return files
