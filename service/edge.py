"""What every request and every answer passes before and after the application.

In: one place refuses what no route should have to think of.

- `/Docs/`, `/DOCS` and the like are redirected to `/docs` (308)
- a page is asked for by a name that is not ours (421): another site may have given its own name this address
- two Authorization headers are refused (400): which of them counts would depend on who reads them
- a content encoding is refused (415): nothing is ever inflated here
- a body on a client route must be JSON (415): a form or text/plain could be sent by any web page
- a body must arrive at a decent speed (408), and all bodies together must fit the memory set aside for them (503)

Out: a request id of our own, what the application left in `scope["state"]["headers"]` (a client's standing, whatever the
answer is), security headers where the answer has none of its own, and one JSON shape for whatever still went wrong.

This module is plain ASGI and wraps the whole application, so that an answer to an unknown path passes it too.
"""

import asyncio
import http
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send
from loguru import logger

from service.hosts import OPEN_PATHS, Hosts
from service.whole import whole_answer_of

_SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_CLIENT_SECURITY = _SECURITY[:3]
"""For JSON that programs ask for with a key: the others speak of pages only, and each costs a microsecond."""
_LOOKED_AT = (
    b"host", b"authorization", b"idempotency-key", b"content-encoding", b"content-type", b"content-length",
    b"transfer-encoding",
)  # fmt: skip
_SLASHES = re.compile("/{2,}")
_UTF8 = {b"utf-8", b"utf8", b"us-ascii"}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How fast a request body must arrive, and how much of all bodies may be in memory at once."""

    seconds: float = 300
    """The longest that one body may take, in all."""
    grace_seconds: float = 10
    """How long a body may lag behind `bytes_per_second`."""
    bytes_per_second: int = 4096
    """The slowest average speed."""
    held_bytes: int = 256 * 1024 * 1024
    """The most that the bodies of unanswered requests may hold together."""


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


class Edge:
    """Wraps an ASGI application with the rules of this module.

    `client_paths` are the routes where a body must be JSON, each with all that lies below it; `hosts` are the names by which
    browsers may reach the others, any where None.
    The id of a request is in `scope["state"]["request_id"]` and in the answer's `x-request-id`; the headers that this module
    looks at are in `scope["state"]["fields"]`, and `scope["state"]["send_json"]` sends a whole answer at once (`SendJson`).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        client_paths: tuple[str, ...] = ("/send-email", "/emails"),
        body: BodyLimits | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        self._app = app
        self._client_paths = client_paths
        self._often = {path + slash for path in client_paths for slash in ("", "/")}
        self._open_paths = client_paths + OPEN_PATHS
        self._hosts = hosts
        self.limits = body or BodyLimits()
        self._held = 0
        self._waiting: set[_Body] = set()
        self._is_watching = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP (the lifespan) passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        path = scope["path"] if "//" not in scope["path"] else _SLASHES.sub("/", scope["path"])
        is_clients = path in self._often or _is_below(path, self._client_paths)
        answer = _Answer(send, _request_id(), scope, _CLIENT_SECURITY if is_clients else _SECURITY)
        state["request_id"] = answer.request_id
        state["send_json"] = answer.send_json
        if path in self._often:
            scope["path"] = path.rstrip("/")  # Litestar takes both; without one it need not look twice
        fields = state["fields"] = fields_of(scope["headers"])
        method = scope["method"]
        if refusal := head_refusal(fields) or (
            body_refusal(method, fields) if is_clients else self._page_refusal(scope["path"], path, fields)
        ):
            await answer.refuse(refusal)
            return
        if method == "HEAD":  # a GET whose body the server leaves out; uptime monitors ask so
            scope = cast("Scope", {**scope, "method": "GET"})
        await self._run(scope, _Body(self, receive, is_expected=has_body(fields)), answer)

    def _page_refusal(self, asked: str, path: str, fields: "Fields") -> Refusal | None:
        if moved := redirect(asked):
            return moved
        if self._hosts is None or _is_below(path, self._open_paths):
            return None
        return host_refusal(self._hosts, fields)

    async def _run(self, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        try:
            await self._app(scope, body.receive, answer.send)
        except asyncio.CancelledError:
            # Only the server cancels a request: it is stopping and has waited long enough.
            await answer.refuse(Refusal(503, "The service is stopping. Send the request again.", headers=_CLOSE))
        except HTTPException as error:
            await answer.refuse(_from_exception(error))
        except Exception:  # noqa: BLE001 - the last border: whatever it is, the client gets an answer
            logger.exception("request {}: not answered, an unexpected error", answer.request_id)
            await answer.refuse(Refusal(500, "An unexpected error, which the log names under this request's id."))
        finally:
            self._held -= body.size

    def hold(self, size: int) -> bool:
        """Count bytes of a body that just arrived; False where they would be too many for all bodies together."""
        self._held += size
        return self._held <= self.limits.held_bytes

    def watch(self, body: "_Body") -> None:
        """Watch over a body while its next piece is awaited, until `unwatch`.

        One clock for all bodies instead of `asyncio.timeout` for each piece, which costs 20 microseconds a request.
        """
        self._waiting.add(body)
        if not self._is_watching:
            self._is_watching = True
            self._watch()

    def unwatch(self, body: "_Body") -> None:
        """The piece is here, or nobody waits for it any more."""
        self._waiting.discard(body)

    def _watch(self) -> None:
        now = time.monotonic()
        for body in self._waiting:
            body.end_if_late(now)
        self._is_watching = bool(self._waiting)
        if self._is_watching:
            asyncio.get_running_loop().call_later(min(0.5, self.limits.grace_seconds / 4), self._watch)


_CLOSE = ((b"connection", b"close"),)


_count = itertools.count(secrets.randbits(64))


def _request_id() -> str:
    """An id for logs and support, no secret: a counter, spread out, since random bits cost a system call each time."""
    return f"{next(_count) * 0x9E3779B97F4A7C15 & 2**64 - 1:016x}"


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


def _is_below(path: str, known: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(one + "/") for one in known)


def _is_json(value: bytes) -> bool:
    if value == b"application/json":
        return True
    kind, *parameters = (part.strip().lower() for part in value.split(b";"))
    charsets = [part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")]
    return kind == b"application/json" and all(charset in _UTF8 for charset in charsets)


SendJson = Callable[[int, list[tuple[bytes, bytes]], bytes], Awaitable[None]]
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


def _from_exception(error: HTTPException) -> Refusal:
    headers: Mapping[str, str] = error.headers or {}
    raw = tuple((key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items())
    return Refusal(error.status_code, error.detail, headers=raw)


class _Answer:
    """The way out of one request."""

    def __init__(self, send: Send, request_id: str, scope: Scope, security: tuple[tuple[bytes, bytes], ...]) -> None:
        self._send = send
        self._whole = whole_answer_of(scope)
        self._security = security
        self._state = scope["state"]
        self.request_id = request_id
        self._started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            own = {name.lower() for name, _ in message["headers"]}
            headers = [pair for pair in message["headers"] if pair[0].lower() != b"x-request-id"]
            headers.extend(self._state.get("headers", ()))
            headers += [pair for pair in self._security if pair[0] not in own]
            headers.append((b"x-request-id", self.request_id.encode()))
            message["headers"] = headers
        await self._send(message)

    async def send_json(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer, in one piece where the server takes one; `headers` are lower case and none of this module's."""
        kind = (b"content-type", b"application/json")
        more = self._state.get("headers", ())
        if self._whole is not None and not self._started:
            request_id = (b"x-request-id", self.request_id.encode())
            self._started = self._whole(status, (kind, *headers, *more, *self._security, request_id), body)
            if self._started:
                return
        length = (b"content-length", b"%d" % len(body))
        await self.send({"type": "http.response.start", "status": status, "headers": [kind, length, *headers]})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        """Answer in the one error shape. Where an answer has begun it is too late: the server then cuts it off."""
        if self._started:
            return
        body = b"" if refusal.status == 308 else refusal.body()
        kind = (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())
        headers = [*kind, *refusal.headers]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class _Body:
    """The way in of one request's body."""

    def __init__(self, edge: Edge, receive: Receive, *, is_expected: bool) -> None:
        self._edge = edge
        # Only HTTP comes here, which Litestar's type for both protocols cannot say.
        self._receive = cast("Callable[[], Awaitable[HTTPReceiveMessage]]", receive)
        self._task: asyncio.Task[object] | None = None
        self._began = 0.0
        self._is_late = False
        self._is_whole = not is_expected
        self.size = 0

    async def receive(self) -> HTTPReceiveMessage:
        """The next piece of the body. Raises HTTPException 408 (too slow), 503 (no room) or 400 (cut off)."""
        if self._is_whole:
            return await self._receive()
        self._task = asyncio.current_task()
        self._began = self._began or time.monotonic()
        self._edge.watch(self)
        try:
            message = await self._next()
        finally:
            self._edge.unwatch(self)
        if message["type"] != "http.request":
            raise HTTPException(status_code=400, detail="The connection closed before the whole body had arrived.")
        self._take(len(message.get("body", b"")))
        self._is_whole = not message.get("more_body", False)
        return message

    async def _next(self) -> HTTPReceiveMessage:
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if not self._is_late or (self._task and self._task.uncancel()):
                raise
        detail = "The body arrived too slowly. Send the request again."
        raise HTTPException(status_code=408, detail=detail, headers={"connection": "close"})

    def end_if_late(self, now: float) -> None:
        """Wake up who waits for the next piece if it is overdue: speed counts on average, after the grace."""
        limits = self._edge.limits
        allowed = min(limits.seconds, limits.grace_seconds + self.size / limits.bytes_per_second)
        if self._task and not self._is_late and now > self._began + allowed:
            self._is_late = True
            self._task.cancel()

    def _take(self, size: int) -> None:
        self.size += size
        if not self._edge.hold(size):
            detail = "Too many large requests at once. Send this one again in a few seconds."
            raise HTTPException(status_code=503, detail=detail, headers={"retry-after": "5"})
