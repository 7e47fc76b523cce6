"""The client routes: send an email, ask for it.

This module is the HTTP API; what an email needs to be accepted is ``accept``'s business.
"""

import asyncio
import hashlib
import re
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody

from service.accept import Acceptance, KeyUsed
from service.answers import EmailAnswer, show
from service.body import SendRequest
from service.clients import Client
from service.contract import SendOperation, errors
from service.errors import error
from service.express import PATH, location, told
from service.guard import Guard, Refused, on_refused
from tasks.claim import Put
from tasks.email import Accepted, Email
from tasks.errors import EmailInvalid, FieldError, StoreUnavailable
from tasks.ledger import Ledger
from tasks.levers import Levers, Said
from tasks.record import Record

READ_IN_THREAD = 256 * 1024
"""Messages above this size are read beside the event loop, which would stand still for them (15 MB: 0.4 s)."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_PRINTABLE = re.compile(r"[!-~]([ -~]{0,254}[!-~])?\Z")
_canonical = msgspec.json.Encoder(order="sorted").encode
_ALWAYS = (400, 401, 403, 415, 429, 503)
"""What any route with a key may answer."""


class Caller(msgspec.Struct, frozen=True):
    """The client that asks, and what serves it. One dependency, since Litestar starts a task group for two."""

    client: Client
    acceptance: Acceptance
    ledger: Ledger
    levers: Levers

    async def own(self, email_id: str) -> Record | None:
        """The client's email with this id, or None: another's is not there."""
        record = await self.ledger.record(email_id) if _UUID.match(email_id) else None
        return record if record is not None and record.letter.client == self.client.name else None


async def put_email(email: Email, client: Client, idempotency_key: str | None, acceptance: Acceptance) -> Put:
    """Stores an email, once for each Idempotency-Key. Raises what ``accept`` does, and ``KeyUsed``."""
    idempotency = None
    if idempotency_key is not None:
        if not _PRINTABLE.match(idempotency_key):
            raise EmailInvalid([FieldError("Idempotency-Key", "has 1 to 256 printable ASCII characters, no space at its ends")])
        idempotency = (idempotency_key, hashlib.sha256(b"send-email " + _canonical(email)).hexdigest())
    put = await acceptance.accept(email, client, idempotency=idempotency)
    if put.what == "conflict":
        raise KeyUsed
    return put


async def send_email(
    data: JSONBody[Email],
    caller: NamedDependency[Caller],
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            description="1 to 256 printable ASCII characters: the same key again is no second email",
            schema_extra={"pattern": "^[!-~]([ -~]{0,254}[!-~])?$", "examples": ["receipt-17"]},
        ),
    ] = None,
) -> Response[Accepted]:
    """``202 {"result": id}`` once the email is stored."""
    put = await put_email(data, caller.client, idempotency_key, caller.acceptance)
    headers = {name.decode(): value.decode() for name, value in location(put)}
    return Response(Accepted(put.id), status_code=202, headers=headers)


@get("/emails/{email_id:str}", summary="Ask for an email", responses=errors(*_ALWAYS, 404))
async def get_email(email_id: FromPath[str], caller: NamedDependency[Caller]) -> Response[EmailAnswer]:
    """Everything known of one of the client's own emails."""
    record = await caller.own(email_id)
    if record is None:
        return error(*_LEVER_ERRORS["gone"])
    content = await caller.ledger.content(email_id) if record.content_kept else None
    next_probe = await caller.ledger.next_probe(record)
    events = await caller.ledger.events(record)
    if content is not None and len(content) > READ_IN_THREAD:
        return Response(await asyncio.to_thread(show, record, events, content, next_probe))
    return Response(show(record, events, content, next_probe))


_LEVER_ERRORS = {
    "gone": (404, "not_found", "There is no email of yours with this id."),
    "too_late": (409, "too_late", "The email may be at the relay already: it cannot be stopped any more."),
    "sent": (409, "already_final", "The email has reached its end already."),
    "empty": (409, "content_gone", "The content of this email is not kept any more. Send it as a new one."),
    "busy": (409, "resource_locked", "An attempt runs for this email. Ask again in a moment."),
}


class EmailReference(msgspec.Struct, frozen=True):
    """Which email was acted on."""

    id: str
    object: str = "email"


_ACTION = errors(*_ALWAYS, 404, 409)


@post("/emails/{email_id:str}/cancel", status_code=200, summary="Stop an email that has not gone", responses=_ACTION)
async def cancel_email(email_id: FromPath[str], caller: NamedDependency[Caller]) -> Response[EmailReference]:
    """Stops it; recipients who have it keep it. Again is no error."""
    if await caller.own(email_id) is None:
        return _act(email_id, "gone")
    return _act(email_id, await caller.levers.cancel(email_id, f"client {caller.client.name}"))


@post("/emails/{email_id:str}/retry", status_code=200, summary="Send an email again", responses=_ACTION)
async def retry_email(email_id: FromPath[str], caller: NamedDependency[Caller]) -> Response[EmailReference]:
    """Sends a failed, expired or uncertain email again, to those who have not got it; a waiting one at once."""
    if await caller.own(email_id) is None:
        return _act(email_id, "gone")
    return _act(email_id, await caller.levers.retry(email_id, f"client {caller.client.name}"))


def _act(email_id: str, said: Said) -> Response[Any]:
    if said in _LEVER_ERRORS:
        return error(*_LEVER_ERRORS[said])
    return Response(EmailReference(email_id))


def client_routes(guard: Guard, acceptance: Acceptance, ledger: Ledger, levers: Levers) -> Router:
    """The routes that need a key."""

    async def caller(request: Request[Any, Any, Any]) -> Caller:
        return Caller(request.scope["state"]["client"], acceptance, ledger, levers)

    send_route = post(
        PATH,
        status_code=202,
        summary="Send an email",
        description="Stores the email and answers with its id at once; a worker hands it to the relay.",
        responses=errors(
            *_ALWAYS, 409, 413, 422,
            _403="a wrong or revoked key, or a sender that the key may not use",
            _409="this Idempotency-Key was used for another email",
        ),
        operation_class=SendOperation,
        middleware=[told],
        request_class=SendRequest,
    )(send_email)  # fmt: skip
    return Router(
        "/",
        route_handlers=[send_route, get_email, cancel_email, retry_email],
        guards=[guard],
        dependencies={"caller": caller},
        exception_handlers={Refused: on_refused},
        tags=["Emails"],
    )


class Liveness(msgspec.Struct, frozen=True):
    """An answer is all there is to know."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True):
    """``checks`` names what mail needs here, each ``ok`` or what is wrong with it."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


def health_routes(ledger: Ledger) -> Router:
    """``/health/live`` and ``/health/ready``: whether this process lives, whether it can accept."""

    @get("/health/live", tags=["Health"], summary="Does this process live?", security=[{}], responses=errors(400, 415))
    async def live() -> Liveness:
        return Liveness("ok")

    @get(
        "/health/ready",
        tags=["Health"],
        summary="Can this process accept mail?",
        security=[{}],
        responses={**errors(400, 415), 503: ResponseSpec(Readiness, description="it cannot: `checks` says why")},
    )
    async def ready() -> Response[Readiness]:
        try:
            await ledger.count()
            checks = {"redis": "ok"}
        except StoreUnavailable as trouble:
            checks = {"redis": str(trouble)}
        is_ready = all(said == "ok" for said in checks.values())
        body = Readiness("ok" if is_ready else "unavailable", checks)
        return Response(body, status_code=200 if is_ready else 503, headers={} if is_ready else {"retry-after": "5"})

    return Router("/", route_handlers=[live, ready])
