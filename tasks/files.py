"""Attachments: what a client may attach, and the bytes it means.

This module is the rules of attached files.
"""

import binascii
import re
import unicodedata

import msgspec

from tasks.email import Attachment
from tasks.secret import name_alone
from tasks.text import check_name, echo

MAX_FILENAME = 150
"""UTF-8 octets."""
_MAX_RAW = 4 * MAX_FILENAME
"""Characters worth normalizing: NFC makes no more than this into a name that is short enough."""
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z")
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,128}\Z")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")
_PIECE = 128 * 1024
"""Characters that are looked at in one step, for steps of C code let no other thread run; a multiple of four."""


class File(msgspec.Struct, frozen=True):
    """An attachment that has passed its checks."""

    filename: str
    content_type: str
    content_id: str | None
    data: bytes

    __repr__ = name_alone


def encoded_size(attachment: Attachment) -> int:
    """The octets ``attachment`` will take in a message, without its head: known before anything is decoded."""
    return len(attachment.content) // 76 * 78


def check_filename(filename: str) -> str:
    """The file's base name in NFC. Raises ValueError; nothing but folders is cut off."""
    check_name(filename)
    start = max(filename.rfind("/"), filename.rfind("\\")) + 1
    name = unicodedata.normalize("NFC", filename[start : start + _MAX_RAW])
    if name.strip(" .") == "":
        raise ValueError(f"{echo(filename)} is no file name: write one such as receipt.pdf")
    size = len(name.encode())
    if size > MAX_FILENAME:
        raise ValueError(f"a file name may have {MAX_FILENAME} octets, {echo(name)} has {size}: shorten it")
    return name


def check_content_type(content_type: str) -> None:
    """Raise ValueError unless ``content_type`` is ``type/subtype`` (RFC 6838 4.2) of a file, without parameters."""
    if _CONTENT_TYPE.match(content_type) is None:
        raise ValueError(f"{echo(content_type)} is no type/subtype without parameters: write one such as application/pdf")
    if content_type.lower().startswith(("multipart/", "message/")):
        raise ValueError(f"{echo(content_type)} is for messages, not for files: use application/octet-stream")


def check_content_id(content_id: str) -> None:
    """Raise ValueError unless ``content_id`` may stand between ``<`` and ``>`` and after ``cid:``."""
    if _CONTENT_ID.match(content_id) is None or "=?" in content_id:
        raise ValueError(f"{echo(content_id)} is no content id: use 1 to 128 letters, digits, dots and hyphens, no < >")


def decode(content: str) -> bytes:
    """The bytes of strict base64: padded, standard alphabet, no line ends (RFC 4648 4). Raises ValueError."""
    starts = range(0, len(content), _PIECE)
    if len(content) % 4 == 0 and content.find("=", 0, -2) < 0:
        try:
            return b"".join([binascii.a2b_base64(content[at : at + _PIECE], strict_mode=True) for at in starts])
        except ValueError:
            pass
    end = len(content.rstrip("="))
    for at in starts:
        wrong = _NOT_BASE64.search(content[at : min(at + _PIECE, end)])
        if wrong is not None:
            place = at + wrong.start() + 1
            raise ValueError(f"is no base64: {echo(wrong[0])} at character {place}; use A-Z a-z 0-9 + / and = at the end only")
    raise ValueError(f"is no base64: {len(content)} characters with wrong padding; send whole groups of four, = included")
