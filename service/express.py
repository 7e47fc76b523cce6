"""The express lane of ``POST /send-email``: the usual request passes Litestar by.

Litestar's routing, its models of arguments and signatures, its request and response objects cost 100 µs a request, as much as
everything that an email needs. So this stands before the application and does for the usual request what they do::

    POST /send-email, a length within bounds ──▶ the guard ──▶ its body as an email ──▶ put ──▶ 202
                                                    └── any error: told to Litestar's route, for its exception handlers
    anything else ──▶ Litestar, to the same guard, the same model and the same function

So there is one rule for everything and one wording of every error, whichever way a request takes.

This module is ASGI around the application, and the middleware of its route; it decides nothing about emails.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send

from service.body import read_email
from service.clients import Client
from service.edge import SendJson
from service.guard import Guard
from service.intake import Body
from service.refusal import Fields
from tasks.claim import Put
from tasks.email import Accepted, Email

PATH = "/send-email"

_DIGITS = 18

PutEmail = Callable[[Email, Client, str | None], Awaitable[Put]]
"""From an email, its client and the Idempotency-Key to what became of it."""

_encode = msgspec.json.Encoder().encode


class Express:
    """Around ``app``, the whole Litestar application. Bodies above ``max_bytes`` go its way, unread."""

    def __init__(self, app: ASGIApp, guard: Guard, put_email: PutEmail, max_bytes: int) -> None:
        self._app = app
        self._guard = guard
        self._put_email = put_email
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            state = scope["state"]
            if 0 < _announced(state["fields"]) <= self._max_bytes:
                try:
                    put = await self._put(scope, state)
                except Exception as error:  # noqa: BLE001 - all of them go to Litestar
                    state["raised"] = error
                else:
                    send_json = cast(SendJson, state["send_json"])
                    await send_json(202, location(put), _encode(Accepted(put.id)))
                    return
        await self._app(scope, receive, send)
        if scope["type"] == "http" and "raised" in scope["state"]:  # Litestar refused the request before it came to its route
            raise scope["state"].pop("raised")

    async def _put(self, scope: Scope, state: dict[str, Any]) -> Put:
        client = await self._guard.admit(scope)
        body: Body = state["body"]
        raw = body.at_hand()
        email = read_email(raw if raw is not None else await body.whole())
        key = state["fields"][b"idempotency-key"]
        return await self._put_email(email, client, key[0].decode("latin-1") if key else None)


def location(put: Put) -> list[tuple[bytes, bytes]]:
    """The headers of a 202."""
    found = [(b"location", b"/emails/" + put.id.encode())]
    if put.what == "replayed":
        found.append((b"idempotent-replayed", b"true"))
    return found


def told(app: ASGIApp) -> ASGIApp:
    """The middleware of the route: raises there what came up here."""

    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        error = scope["state"].pop("raised", None)
        if error is None:
            await app(scope, receive, send)
            return
        try:
            raise error
        finally:
            del error  # else frame and traceback hold each other, and with them the body, until the garbage collector comes

    return tell


def _announced(fields: Fields) -> int:
    """The body's size as its head says it; 0 where it does not, or in an odd way."""
    sizes = fields[b"content-length"]
    is_plain = len(sizes) == 1 and not fields[b"transfer-encoding"] and sizes[0].isdigit() and len(sizes[0]) < _DIGITS
    return int(sizes[0]) if is_plain else 0
