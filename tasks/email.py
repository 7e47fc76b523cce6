"""What a client asks for: the request's models, decoded strictly by msgspec.

msgspec checks names, types and lengths here; addresses, header values and sizes are checked by ``compose``, which knows
what they become. Constructors of these structs check nothing: only decoding does.

This module is the shape of an email before it is composed.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tasks.secret import name_alone

Lane = Literal["high", "normal", "low"]
OnUncertain = Literal["retry", "hold"]
Addresses = str | Annotated[list[str], Meta(max_length=1000)]


class Content(msgspec.Struct, forbid_unknown_fields=True):
    """The ``message`` of a request: plain text, HTML, or both. At least one must hold something."""

    text: str | None = None
    html: str | None = None

    __repr__ = name_alone


class Attachment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file. ``content`` is strict base64; a ``content_id`` makes it an inline image of the HTML."""

    filename: str
    content: str
    content_type: str = "application/octet-stream"
    content_id: str | None = None

    __repr__ = name_alone


class Tag(msgspec.Struct, forbid_unknown_fields=True):
    """A label of the client's own. It stays with the record and is never written into the message."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,256}\Z")]
    value: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,256}\Z")]


class Email(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of ``POST /send-email/``. Addresses are ``addr`` or ``name <addr>``, one or a list."""

    email_to: Addresses
    email_from: str
    subject: str
    message: Content
    cc: Addresses = []
    bcc: Addresses = []
    reply_to: Addresses = []
    headers: dict[str, str] = {}
    attachments: list[Attachment] = []
    tags: Annotated[list[Tag], Meta(max_length=50)] = []
    send_at: str | None = None
    expires_at: str | None = None
    priority: Lane | UnsetType = UNSET
    on_uncertain: OnUncertain = "retry"

    __repr__ = name_alone


class Accepted(msgspec.Struct, frozen=True):
    """The answer of ``POST /send-email/``: the email's id, a UUIDv7."""

    result: str
