"""The mailbox: captured mail, listed, shown and deleted.

Mail is foreign content: what of it can do harm is served by ``mailfiles`` alone. This module is the mailbox's pages.
"""

import asyncio
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from tasks.mailbox import Mailbox
from tasks.reader import read
from web.frame import Frame, Operator
from web.mailfiles import load

PAGE: Final = 25
REFRESH_MS: Final = 5000


def mailbox_routes(frame: Frame, mailbox: Mailbox) -> list[HTTPRouteHandler]:
    """``GET /mailbox`` and ``/mailbox/<id>``, ``POST /mailbox/<id>/delete``."""

    @get("/mailbox")
    async def listing(
        operator: NamedDependency[Operator],
        skip: Annotated[int, QueryParameter(ge=0, le=1_000_000)] = 0,
        deleted: Annotated[bool, QueryParameter()] = False,
    ) -> Response[Any]:
        mails = await mailbox.newest(PAGE, skip=skip)
        heads = await asyncio.to_thread(lambda: [(mail, subject(mail.message)) for mail in mails])
        return frame.page(
            "mailbox.html",
            path="/mailbox",
            operator=operator,
            refresh=0 if skip else REFRESH_MS,
            heads=heads,
            total=await mailbox.count(),
            skip=skip,
            following=skip + PAGE,
            deleted=deleted,
        )

    @get("/mailbox/{mail_id:str}")
    async def one(operator: NamedDependency[Operator], mail_id: FromPath[str]) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        parts = await asyncio.to_thread(read, mail.message)
        title = next((value for name, value in parts.headers if name.lower() == "subject"), "")
        return frame.page(
            "mail.html", path="/mailbox/", operator=operator, mail=mail, parts=parts, title=title, octets=len(mail.message)
        )

    @post("/mailbox/{mail_id:str}/delete")
    async def delete(mail_id: FromPath[str]) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        await mailbox.delete(mail.id)
        return Redirect("/mailbox?deleted=true", status_code=303)

    return [listing, one, delete]


def subject(message: bytes) -> str:
    """The subject, read from the head alone."""
    head = read(message[:65_536].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    return next((value for name, value in head.headers if name.lower() == "subject"), "")
