"""The page of one email: what happened to it, why it is not sent yet, and what comes next.

It shows headers and sizes, never the body: who may look after the queue need not read the mail. Only what a client sends in
capture mode can be read, in the mailbox.

This module is one route and what it needs to know.
"""

import re
from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tasks.ledger import Ledger
from tasks.reader import read
from tasks.record import Record
from web.deeds import possible
from web.frame import Frame, Operator
from web.pulse import Pulse
from web.reason import obstacle
from web.status import REFRESH_MS

ID: Final = re.compile(r"[0-9A-Za-z._-]{1,64}\Z")
_READ_BELOW: Final = 2_000_000
_FINAL: Final = ("sent", "partly_sent", "captured", "failed", "expired", "cancelled")


def history_routes(frame: Frame, ledger: Ledger, pulse: Pulse) -> list[HTTPRouteHandler]:
    """``GET /status/emails/<id>``."""

    @get("/status/emails/{email_id:str}")
    async def history(operator: NamedDependency[Operator], email_id: FromPath[str]) -> Response[Any]:
        record = await ledger.record(email_id) if ID.match(email_id) else None
        if record is None:
            raise NotFoundException("There is no email with this id. Records are kept for `RETAIN_RECORDS` after the end.")
        figures = await pulse.figures()
        return frame.page(
            "email.html",
            path="/status/emails",
            operator=operator,
            refresh=0 if record.state in _FINAL else REFRESH_MS,
            now=figures.now,
            record=record,
            letter=record.letter,
            events=await ledger.events(record),
            obstacle=obstacle(record, figures),
            verbs=possible(record),
            fields=await headers(ledger, record),
        )

    return [history]


async def headers(ledger: Ledger, record: Record) -> list[tuple[str, str]]:
    """The message's header fields while its bytes are kept; none for very large ones, which are not worth the reading."""
    if not record.content_kept or record.letter.size > _READ_BELOW:
        return []
    message = await ledger.content(record.letter.id)
    if message is None:
        return []
    return read(message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").headers
