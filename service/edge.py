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
import itertools
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from loguru import logger

from service.hosts import OPEN_PATHS, Hosts
from service.intake import Bodies, Body, BodyLimits
from service.refusal import Fields, Refusal, body_refusal, fields_of, has_body, head_refusal, host_refusal, is_below, redirect
from service.whole import Whole, whole_of

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
_SLASHES = re.compile("/{2,}")


class Edge:
    """Wraps an ASGI application with the rules of this module.

    `client_paths` are the routes where a body must be JSON, each with all that lies below it; `hosts` are the names by which
    browsers may reach the others, any where None.
    The id of a request is in `scope["state"]["request_id"]` and in the answer's `x-request-id`; the headers that this module
    looks at are in `scope["state"]["fields"]`, the body in `scope["state"]["body"]`, and `scope["state"]["send_json"]` sends a
    whole answer at once (`SendJson`).
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
        self._bodies = Bodies(body or BodyLimits())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP (the lifespan) passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        path = scope["path"] if "//" not in scope["path"] else _SLASHES.sub("/", scope["path"])
        is_clients = path in self._often or is_below(path, self._client_paths)
        offer = whole_of(scope)
        answer = _Answer(send, _request_id(), state, offer, _CLIENT_SECURITY if is_clients else _SECURITY)
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
        body = state["body"] = Body(self._bodies, receive, offer, is_expected=has_body(fields))
        await self._run(scope, body, answer)

    def _page_refusal(self, asked: str, path: str, fields: Fields) -> Refusal | None:
        if moved := redirect(asked):
            return moved
        if self._hosts is None or is_below(path, self._open_paths):
            return None
        return host_refusal(self._hosts, fields)

    async def _run(self, scope: Scope, body: Body, answer: "_Answer") -> None:
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
            self._bodies.release(body.size)


_CLOSE = ((b"connection", b"close"),)


SendJson = Callable[[int, list[tuple[bytes, bytes]], bytes], Awaitable[None]]
_count = itertools.count(secrets.randbits(64))


def _request_id() -> str:
    """An id for logs and support, no secret: a counter, spread out, since random bits cost a system call each time."""
    return f"{next(_count) * 0x9E3779B97F4A7C15 & 2**64 - 1:016x}"


def _from_exception(error: HTTPException) -> Refusal:
    headers: Mapping[str, str] = error.headers or {}
    raw = tuple((key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items())
    return Refusal(error.status_code, error.detail, headers=raw)


class _Answer:
    """The way out of one request."""

    def __init__(
        self, send: Send, request_id: str, state: dict[str, Any], offer: Whole | None, security: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self._send = send
        self._whole = offer
        self._security = security
        self._state = state
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
