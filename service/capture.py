"""``GET /mailbox/next``: a client waits for its next captured email, for end-to-end tests of other projects.

A test makes its own application send an email and then asks here, with the client's key, for what came to an address: text,
links, codes, ready to go on with. It may ask before or after the email was captured: each email is handed out once, the oldest
first, and what is left over from more than five minutes ago is passed by. With ``after=<id>`` it is the first one after that
email instead, handed out before or not.

This module is one route.
"""

import asyncio
import math
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from service.clients import Client
from service.contract import errors
from service.errors import error
from service.guard import Asking, Guard, Refused, on_refused
from service.moments import iso
from tasks.address import parse
from tasks.errors import EmailInvalid, FieldError
from tasks.extract import codes, links
from tasks.htmltext import to_text
from tasks.mailbox import Mail, Mailbox, NotThere, subject
from tasks.reader import Parts, read
from tasks.secret import name_alone

LONGEST: Final = 60.0
USUAL: Final = 10.0
WAITING: Final = 100
"""So many may wait at once in one process."""


class CapturedEmail(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """A captured email. ``to`` are the envelope's recipients; ``text`` is made from the HTML where the email has none;
    ``links`` and ``codes`` are those found in it, ``attachments`` their names."""

    id: str
    from_: str
    to: list[str]
    subject: str
    text: str
    html: str | None
    links: list[str]
    codes: list[str]
    attachments: list[str]
    captured_at: str

    __repr__ = name_alone


def show(mail: Mail) -> CapturedEmail:
    """What a test wants to know of a captured email."""
    parts = read(mail.message)
    title = subject(mail.message)
    return CapturedEmail(
        id=mail.id,
        from_=_header(parts, "from") or mail.sender,
        to=mail.to,
        subject=title,
        text=to_text(parts.html or "") if parts.text is None else parts.text,
        html=parts.html,
        links=links(parts.text, parts.html),
        codes=codes(title, parts.text, parts.html),
        attachments=[file.filename for file in parts.attachments],
        captured_at=iso(mail.at) or "",
    )


def read_query(to: str, timeout: str) -> tuple[str, float]:
    """The address and the seconds. Raises ``EmailInvalid`` with every rule that is broken."""
    found: list[FieldError] = []
    addr, seconds = "", USUAL
    try:
        addr = parse(to, smtputf8=True).addr
    except ValueError as problem:
        found.append(FieldError("to", str(problem) if to else "is required: the address that the email goes to"))
    try:
        seconds = float(timeout) if timeout else USUAL
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        found.append(FieldError("timeout", f"must be a number of seconds from 0 to {LONGEST:.0f}"))
    if found:
        raise EmailInvalid(found)
    return addr, seconds


_DESCRIPTION: Final = (
    "Waits for the next email of this client to the address `to` that was captured: by the client's mode `capture`, or by the "
    "mailbox of `make run`. Each email is handed out once, the oldest first, whether it came before or after the question (at "
    "most five minutes before); with `after`, the id of an earlier answer, it is the first one after that. 404 when none came "
    "in time. Give the HTTP client a longer timeout than `timeout`."
)
_ERRORS: Final = {
    **errors(400, 401, 403, 415, 422, 429, 503),
    **errors(404, _404="no such email came within `timeout`, or there is none with the id `after`"),
}
Text = Annotated[str, QueryParameter(max_length=400)]


def capture_routes(guard: Guard, mailbox: Mailbox) -> Router:
    """``GET /mailbox/next``."""
    places = asyncio.Semaphore(WAITING)

    async def check(connection: Asking, handler: BaseRouteHandler) -> None:
        """The guard as a function, which Litestar does not copy with all that it holds."""
        await guard(connection, handler)

    @get("/mailbox/next", summary="Wait for a captured email", description=_DESCRIPTION, tags=["Mailbox"], responses=_ERRORS)
    async def next_email(
        request: Request[Any, Any, Any], to: Text = "", timeout: Text = "", after: Text = ""
    ) -> Response[CapturedEmail]:
        client: Client = request.scope["state"]["client"]
        addr, seconds = read_query(to, timeout)
        if places.locked():
            text = f"{WAITING} wait here already. Ask again in a second."
            return _refuse(429, "rate_limit_exceeded", text, retry_after="1")
        async with places:
            try:
                mail = await mailbox.next(client.name, addr, after=after, timeout=seconds)
            except NotThere:
                return _refuse(404, "not_found", "after: there is no captured email of yours with this id.")
        if mail is None:
            return _refuse(404, "not_found", f"No email to {addr[:64]} was captured within {seconds:g} s.")
        return Response(await asyncio.to_thread(show, mail))

    return Router("/", route_handlers=[next_email], guards=[check], exception_handlers={Refused: on_refused})


def _refuse(status: int, name: str, text: str, **headers: str) -> Response[Any]:
    return error(status, name, text, None, **headers)


def _header(parts: Parts, name: str) -> str:
    return next((value for key, value in parts.headers if key.lower() == name), "")
