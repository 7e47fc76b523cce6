"""Captured mail as it came: its HTML in a frame, its source, its files.

The HTML is meant for a sandboxed frame; its own policy loads nothing from anywhere and lets it do nothing even where somebody
opens it by itself. Inline pictures (``cid:``) are put into it. Files and the source are only ever downloads.

This module is the one that hands out foreign bytes.
"""

import asyncio
import base64
import re
from typing import Any, Final, Literal
from urllib.parse import quote

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tasks.mailbox import Mail, Mailbox
from tasks.reader import Parts, read, read_attachment
from web.frame import HEADERS
from web.history import ID

PICTURES: Final = 8_000_000
"""The most octets of inline pictures that are put into a frame, each counted as often as the HTML names it."""

FRAME_POLICY: Final = "default-src 'none'; img-src data: cid:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"
_ASKS: Final = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)", re.IGNORECASE)
_OFFERS: Final = re.compile(
    r"""(color-scheme["']?\s{0,20}(?:content\s{0,20}=\s{0,20}["']?|:)\s{0,20})(?:light\s{1,20}dark|dark\s{1,20}light)""",
    re.IGNORECASE,
)
_AROUND: Final = 64
"""Octets of what stands before a picture's own, at most."""
_PICTURE: Final = re.compile(r"image/[a-z0-9.+-]{1,40}\Z")


def file_routes(mailbox: Mailbox) -> list[HTTPRouteHandler]:
    """``GET /mailbox/<id>/html``, ``/source`` and ``/files/<n>``."""

    @get("/mailbox/{mail_id:str}/html")
    async def html(mail_id: FromPath[str], scheme: FromQuery[Literal["light", "dark"]] = "light") -> Response[Any]:
        mail = await load(mailbox, mail_id)
        parts = await asyncio.to_thread(read, mail.message)
        text = in_scheme(await asyncio.to_thread(with_pictures, mail.message, parts), scheme)
        headers = {**HEADERS, "content-security-policy": FRAME_POLICY, "x-frame-options": "SAMEORIGIN"}
        return Response(
            text.encode("utf-8", "replace"),
            media_type="text/html",
            headers={**headers, "referrer-policy": "no-referrer", "x-dns-prefetch-control": "off"},
        )

    @get("/mailbox/{mail_id:str}/source")
    async def source(mail_id: FromPath[str]) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        return download(mail.message, f"{mail.id}.eml", "text/plain")

    @get("/mailbox/{mail_id:str}/files/{index:int}")
    async def file(mail_id: FromPath[str], index: FromPath[int]) -> Response[Any]:
        mail = await load(mailbox, mail_id)
        parts = await asyncio.to_thread(read, mail.message)
        data = await asyncio.to_thread(read_attachment, mail.message, index)
        if data is None:
            raise NotFoundException("This email has no such attachment.")
        return download(data, parts.attachments[index].filename, "application/octet-stream")

    return [html, source, file]


async def load(mailbox: Mailbox, mail_id: str) -> Mail:
    """One captured email. Raises NotFoundException where there is none."""
    mail = await mailbox.get(mail_id) if ID.match(mail_id) else None
    if mail is None:
        raise NotFoundException("This email is not in the mailbox: it was deleted, or newer ones took its place.")
    return mail


def with_pictures(message: bytes, parts: Parts) -> str:
    """The HTML with its inline pictures in it, as far as they are not too large or named too often."""
    html, room = parts.html or "", PICTURES
    for index, part in enumerate(parts.attachments):
        if part.content_id is None or part.size > room or not _PICTURE.match(part.content_type):
            continue
        names = [f"cid:{written}" for written in {part.content_id, quote(part.content_id)}]
        taken = (part.size + _AROUND) * max(1, sum(map(html.count, names)))
        if taken > room:
            continue
        room -= taken
        data = base64.b64encode(read_attachment(message, index) or b"").decode("ascii")
        for name in names:
            html = html.replace(name, f"data:{part.content_type};base64,{data}")
    return html


def in_scheme(html: str, scheme: Literal["light", "dark"]) -> str:
    """The HTML as a reader sees it who prefers that scheme, whatever the browser prefers that shows it.

    A sandboxed frame does not take a preference over from its page, so the question itself is answered here.
    """
    html = _ASKS.sub(lambda found: "(min-width:0)" if found[1].lower() == scheme else "(max-width:0)", html)
    return _OFFERS.sub(lambda found: f"{found[1]}{scheme}", html)


def download(data: bytes, filename: str, media_type: str) -> Response[bytes]:
    """``data`` as a file that no browser opens by itself."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", filename)[:100] or "file"
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename[:200], safe='', errors='replace')}"
    headers = {**HEADERS, "content-security-policy": "default-src 'none'; sandbox", "content-disposition": disposition}
    return Response(data, media_type=media_type, headers=headers)
