"""Who is calling, and may they ask now: settled from the head alone, before a byte of the body is read.

::

    no key ──▶ 401    wrong key ──▶ 403, the same for all    many wrong keys from one address ──▶ 429, right keys pass
    right key, over its client's rate ──▶ 429 with retry-after; below it the answer has ratelimit-* headers

A client without a rate costs no question to Redis here. This module is the door of the client routes.
"""

import time
from typing import Any, Final, Self

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from service.clients import Client, Keyring, bearer
from service.errors import error
from service.refusal import Fields
from tasks import maillog
from tasks.limiter import Limiter, Standing
from tasks.rate import Rate
from web.attempts import Attempts

WRONG_KEYS: Final = 20
"""So many from one address in ``WRONG_SECONDS`` get the plain answer and a line in the log each; the rest neither."""
WRONG_SECONDS: Final = 60.0
TELL_SECONDS: Final = 10.0
NAMES: Final = (b"ratelimit-limit", b"ratelimit-remaining", b"ratelimit-reset", b"ratelimit-policy")

Asking = ASGIConnection[Any, Any, Any, Any]


class Refused(HTTPException):
    """A request that goes no further: 401, 403 or 429."""

    def __init__(self, status: int, name: str, text: str, **headers: str) -> None:
        super().__init__(detail=text, status_code=status, headers=headers)
        self.name = name


class Guard:
    """Finds the client of a request, for handlers to find in ``scope["state"]["client"]``; Litestar calls it."""

    def __init__(self, keyring: Keyring, limiter: Limiter) -> None:
        self._keyring = keyring
        self._limiter = limiter
        self._wrong = Attempts(time.monotonic, allowed=WRONG_KEYS, window=WRONG_SECONDS)
        self._told: dict[str, float] = {}

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        """Itself: Litestar copies routers with all that they hold, and a copied guard would count and connect for itself."""
        return self

    async def __call__(self, connection: Asking, _: BaseRouteHandler) -> None:
        """Raises ``Refused``, and ``StoreUnavailable`` where only Redis could tell."""
        await self.admit(connection.scope)

    async def admit(self, scope: Scope) -> Client:
        """The client that asks, once and for all of a request. Raises as above."""
        state = scope["state"]
        known: Client | None = state.get("client")
        if known is not None:
            return known
        fields: Fields = state["fields"]
        key = bearer(fields[b"authorization"][0].decode("latin-1")) if fields[b"authorization"] else None
        if key is None:
            challenge = 'Bearer realm="email"'
            raise Refused(401, "missing_api_key", "Send your key as Authorization: Bearer <key>.", www_authenticate=challenge)
        client = await self._keyring.find(key)
        if client is None:
            peer = scope["client"]
            raise self._refuse_key(key, peer[0] if peer is not None else "unknown")
        if client.rate is not None:
            await self._spend(state, client, client.rate)
        state["client"] = client
        return client

    def _refuse_key(self, key: str, peer: str) -> Refused:
        wait = self._wrong.wait(peer)
        if wait:
            text = f"Too many wrong keys came from your address. Try again in {wait} s."
            return Refused(429, "rate_limit_exceeded", text, retry_after=str(wait), connection="close")
        self._wrong.wrong(peer)
        maillog.refused_key(key[4:16] if key.startswith("ems_") else None, f"unknown or revoked, from {peer}")
        return Refused(403, "invalid_api_key", "This key is wrong or was revoked.")

    async def _spend(self, state: dict[str, Any], client: Client, rate: Rate) -> None:
        standing = await self._limiter.spend(client.name, rate)
        state["headers"] = shown(rate, standing)
        if standing.is_over:
            self._tell(client.name)
            text = f"This client may ask {rate.count} times in {rate.seconds} s. Ask again in {standing.wait} s."
            raise Refused(429, "rate_limit_exceeded", text, retry_after=str(standing.wait))

    def _tell(self, client: str) -> None:
        """A line for the log, once in a while: who asks too often must not fill it too."""
        now = time.monotonic()
        if now - self._told.get(client, -TELL_SECONDS) >= TELL_SECONDS:
            self._told[client] = now
            maillog.refused(client, 429, "rate_limit_exceeded")


def shown(rate: Rate, standing: Standing) -> list[tuple[bytes, bytes]]:
    """A client's standing as headers."""
    values = (str(rate.count), str(standing.remaining), str(standing.reset), f"{rate.count};w={rate.seconds}")
    return [(name, value.encode()) for name, value in zip(NAMES, values, strict=True)]


def on_refused(_: Request[Any, Any, Any], exc: Refused) -> Response[Any]:
    """The refusal in the common shape."""
    return error(exc.status_code, exc.name, exc.detail, None, **(exc.headers or {}))
