"""Headers of the client's own: which names it may use, and what the values of known ones look like.

::

    refused      ours (From, Date, MIME-…), those of other fields, and what relays write (Received, DKIM-…)
    structured   References, In-Reply-To, List-…, Auto-Submitted: strict, never encoded
    the rest     text of one line

This module is the rules of custom headers.
"""

import re

from tasks.headers import check_name, structured, unstructured
from tasks.text import echo

_OWN_FIELD = {
    "from": "email_from", "to": "email_to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to", "subject": "subject",
}  # fmt: skip
_RESERVED = frozenset({
    "sender", "return-path", "message-id", "date", "received", "received-spf", "authentication-results",
    "domainkey-signature", "delivered-to", "x-original-to", "apparently-to",
})  # fmt: skip
_RESERVED_PREFIXES = ("mime-", "content-", "dkim-", "arc-", "resent-")

_IDS = r"<[!-;=?-~]+>(?: <[!-;=?-~]+>)*\Z"
_URLS = r"(?:NO|<[A-Za-z][A-Za-z0-9+.-]*:[!-;=?-~]+>(?:, ?<[A-Za-z][A-Za-z0-9+.-]*:[!-;=?-~]+>)*)\Z"
_HOST_ID = r"<[A-Za-z0-9][A-Za-z0-9_.-]*>\Z"
_URL_RULE = (re.compile(_URLS), "URLs in angle brackets, such as <https://shop.example/leave>, with ', ' between")
_STRUCTURED = {
    "references": (re.compile(_IDS), "message ids in angle brackets with one space between"),
    "in-reply-to": (re.compile(_IDS), "message ids in angle brackets with one space between"),
    "list-id": (re.compile(r'(?:"[^"\\<>]*" |[A-Za-z0-9 ._-]+ )?' + _HOST_ID), "a name and <list.shop.example>"),
    "list-unsubscribe-post": (re.compile(r"List-Unsubscribe=One-Click\Z"), "List-Unsubscribe=One-Click"),
    "auto-submitted": (re.compile(r"[a-z-]+\Z"), "a word such as auto-generated, auto-replied or no"),
}


def header_line(name: str, value: str) -> str:
    """The header's lines, ending in CRLF. Raises ValueError for a name or value that may not be set."""
    check_name(name)
    known = name.lower()
    if known in _OWN_FIELD:
        raise ValueError(f"{name} cannot be set here: use the field {_OWN_FIELD[known]}")
    if known in _RESERVED or known.startswith(_RESERVED_PREFIXES):
        raise ValueError(f"{name} is written by the service or the relays: leave it out")
    rule = _STRUCTURED.get(known, _URL_RULE if known.startswith("list-") else None)
    if rule is None:
        return unstructured(name, value)
    line = structured(name, value)
    pattern, meaning = rule
    if pattern.match(value) is None:
        raise ValueError(f"{echo(value)} is not what {name} holds: write {meaning}")
    return line
