"""The express lane of ``POST /send-email``: its handler is called as it stands, past Litestar's general machinery.

Models of keyword arguments and signatures, dependency batches, request and response objects cost 100 µs a request, as much as
everything that an email needs. So this middleware of the one route does what they do for the usual request::

    POST with a length within bounds ──▶ the guard ──▶ its body as an email ──▶ the handler ──▶ its answer
    anything else ──▶ Litestar's own way, to the same guard, the same model and the same handler

What is refused raises the same exceptions as there, for the same exception handlers: there is one wording of every error.

This module is a middleware of Litestar's; it decides nothing about emails.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send

from service.body import read_email
from service.clients import Client
from service.edge import SendJson
from service.guard import Guard
from service.refusal import Fields
from tasks.email import Accepted, Email

Handler = Callable[[Email, Client, str | None], Awaitable[Response[Accepted]]]

_encode = msgspec.json.Encoder().encode


class Express:
    """Middleware; ``app`` is the route as Litestar serves it. Bodies above ``max_bytes`` go that way, unread."""

    def __init__(self, app: ASGIApp, guard: Guard, handler: Handler, max_bytes: int) -> None:
        self._app = app
        self._guard = guard
        self._handler = handler
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request. Raises what the guard and the handler raise, for Litestar's exception handlers."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        fields = cast(Fields, scope["state"]["fields"])
        send_json = cast(SendJson, scope["state"]["send_json"])
        size = _announced(fields)
        if not 0 < size <= self._max_bytes:
            await self._app(scope, receive, send)
            return
        client = await self._guard.admit(scope)
        email = read_email(await _whole(receive))
        key = fields[b"idempotency-key"]
        answer = await self._handler(email, client, key[0].decode("latin-1") if key else None)
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send_json(answer.status_code or 202, headers, _encode(answer.content))


def _announced(fields: Fields) -> int:
    """The body's size as its head says it; 0 where it does not."""
    sizes = fields[b"content-length"]
    return int(sizes[0]) if len(sizes) == 1 and not fields[b"transfer-encoding"] and sizes[0].isdigit() else 0


async def _whole(receive: Receive) -> bytes:
    message: Any = await receive()
    if not message.get("more_body"):
        return message["body"]
    pieces = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        pieces.append(message["body"])
    return b"".join(pieces)
