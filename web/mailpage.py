"""The mailbox: captured mail, listed, searched, shown and deleted.

A list needs no message, only its head; a search goes through the newest ``SEARCHED`` heads and says so. Mail is foreign
content: what of it can do harm is served by ``mailfiles`` alone.

This module is the mailbox's pages.
"""

import asyncio
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from tasks.extract import codes, links
from tasks.mailbox import Head, Heads, Mailbox, subject
from tasks.reader import read
from web.deeds import note
from web.frame import Frame, Operator
from web.mailfiles import load
from web.notes import Notes
from web.signin import field

PAGE: Final = 25
SEARCHED: Final = 2000
REFRESH_MS: Final = 5000

Text = Annotated[str, QueryParameter(max_length=200)]


def holds(head: Head, text: str) -> bool:
    """Whether a captured email's subject, client or an address of it holds ``text``, which is in lower case."""
    return any(text in each.lower() for each in (head.subject, head.client, head.sender, *head.to, head.id))


async def find(mailbox: Mailbox, client: str | None, text: str, skip: int) -> tuple[Heads, int]:
    """A page of heads, and how many were looked through for ``text``, which finds one page and no more."""
    if not text:
        return await mailbox.page(PAGE, skip=skip, client=client), 0
    looked = await mailbox.page(SEARCHED, client=client)
    found = [head for head in looked.heads if holds(head, text.lower())]
    return Heads(looked.total, found[:PAGE], looked.clients), len(looked.heads)


def mailbox_routes(frame: Frame, notes: Notes, mailbox: Mailbox) -> list[HTTPRouteHandler]:
    """``GET /mailbox`` and ``/mailbox/<id>``, ``POST /mailbox/<id>/delete`` and ``/mailbox/clear``."""

    @get("/mailbox")
    async def listing(
        operator: NamedDependency[Operator],
        skip: Annotated[int, QueryParameter(ge=0, le=1_000_000)] = 0,
        client: Text = "",
        q: Text = "",
    ) -> Response[Any]:
        found, searched = await find(mailbox, client or None, q.strip(), skip)
        return frame.page(
            "mailbox.html",
            path="/mailbox",
            operator=operator,
            refresh=0 if skip or q else REFRESH_MS,
            found=found,
            searched=searched,
            client=client,
            text=q.strip(),
            query=f"client={quote(client)}&" if client else "",
            skip=skip,
            following=skip + PAGE,
        )

    @get("/mailbox/{mail_id:str}")
    async def one(
        operator: NamedDependency[Operator],
        mail_id: FromPath[str],
        scheme: FromQuery[Literal["light", "dark"]] = "light",
        width: FromQuery[Literal["wide", "narrow"]] = "wide",
    ) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        parts = await asyncio.to_thread(read, mail.message)
        title = subject(mail.message)
        found = await asyncio.to_thread(lambda: (links(parts.text, parts.html), codes(title, parts.text, parts.html)))
        return frame.page(
            "mail.html",
            path="/mailbox/",
            operator=operator,
            mail=mail,
            parts=parts,
            title=title,
            octets=len(mail.message),
            links=found[0],
            codes=found[1],
            scheme=scheme,
            width=width,
        )

    @post("/mailbox/{mail_id:str}/delete")
    async def delete(operator: NamedDependency[Operator], mail_id: FromPath[str]) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        await mailbox.delete(mail.id)
        return await notes.send(operator.session, note("delete", {"done": 1}), "/mailbox")

    @post("/mailbox/clear")
    async def clear(request: Request[Any, Any, Any], operator: NamedDependency[Operator]) -> Response[Any]:
        if await field(request, "sure") != "yes":
            raise HTTPException(status_code=400)
        gone = await mailbox.clear(await field(request, "client") or None)
        return await notes.send(operator.session, note("delete", {"done": gone}), "/mailbox")

    return [listing, one, delete, clear]
