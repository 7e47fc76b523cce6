"""What no request may do on any route, told from its head alone.

This module is pure: from the headers that it looks at to a refusal, or none.
"""

import http
from collections.abc import Iterable

import msgspec

from service.hosts import Hosts

_LOOKED_AT = (
    b"host", b"authorization", b"idempotency-key", b"content-encoding", b"content-type", b"content-length",
    b"transfer-encoding",
)  # fmt: skip
_UTF8 = {b"utf-8", b"utf8", b"us-ascii"}


class Refusal(msgspec.Struct, frozen=True):
    """A request that goes no further: the status, the name for programs, the sentence for people."""

    status: int
    message: str
    name: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self) -> bytes:
        """The JSON that every error of this service has: `{"statusCode", "name", "message"}`."""
        name = self.name or error_name(self.status)
        return msgspec.json.encode({"statusCode": self.status, "name": name, "message": self.message})


def error_name(status: int) -> str:
    """The word for a status where no better one is known: 408 is `request_timeout`."""
    try:
        return http.HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    except ValueError:
        return "error"


def redirect(path: str) -> Refusal | None:
    """308 to `/docs` for a path that is `/docs` but for case and slashes."""
    if path != "/docs" and "/" + path.strip("/").lower() == "/docs":
        return Refusal(308, "The documentation is at /docs.", headers=((b"location", b"/docs"),))
    return None


def head_refusal(fields: "Fields") -> Refusal | None:
    """What is wrong with a request's headers on any route: 400 or 415, or None."""
    if len(fields[b"authorization"]) > 1:
        return Refusal(400, "There are two Authorization headers. Send one.")
    if len(fields[b"idempotency-key"]) > 1:
        return Refusal(400, "There are two Idempotency-Key headers. Send one.")
    encodings = fields[b"content-encoding"]
    if encodings and any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        return Refusal(415, "The body has a content encoding. Send it as it is, without Content-Encoding.")
    return None


def host_refusal(hosts: Hosts, fields: "Fields") -> Refusal | None:
    """421 for a page that is asked for by a foreign name. No Host at all is no browser's request, and passes."""
    if all(map(hosts.is_known, fields[b"host"])):
        return None
    cure = "Use http://127.0.0.1 and the port, or name this host in PUBLIC_URL or ALLOWED_HOSTS."
    return Refusal(421, f"These pages do not answer to this host name. {cure}")


def body_refusal(method: str, fields: "Fields") -> Refusal | None:
    """415 for a body that is not declared to be JSON in UTF-8. A GET's body is never looked at; no body is fine."""
    if method in ("GET", "HEAD", "OPTIONS") or not has_body(fields):
        return None
    types = fields[b"content-type"]
    if len(types) == 1 and _is_json(types[0]):
        return None
    return Refusal(415, "The body must be JSON in UTF-8. Send it with the header Content-Type: application/json.")


def has_body(fields: "Fields") -> bool:
    """Whether a head announces a body (RFC 9112, section 6): a length above 0, or a transfer encoding."""
    lengths = fields[b"content-length"]
    if len(lengths) == 1 and lengths[0].strip(b" 0"):
        return True
    return bool(fields[b"transfer-encoding"]) or any(length.strip(b" 0") for length in lengths)


def is_below(path: str, known: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(one + "/") for one in known)


def _is_json(value: bytes) -> bool:
    if value == b"application/json":
        return True
    kind, *parameters = (part.strip().lower() for part in value.split(b";"))
    charsets = [part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")]
    return kind == b"application/json" and all(charset in _UTF8 for charset in charsets)


Fields = dict[bytes, tuple[bytes, ...]]
"""The headers that this module looks at, each with all its values; names are lower case, as ASGI has them."""


_NONE: Fields = dict.fromkeys(_LOOKED_AT, ())


def fields_of(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Gather the headers that the rules here look at."""
    fields = _NONE.copy()
    for name, value in headers:
        if name in fields:
            fields[name] += (value,)
    return fields
