"""The front page: the README, with a line on how the service is doing.

The README is rendered once. Its example address becomes the one that this service has; links to files of the repository, which
are not here, become plain text. Raw HTML in it is shown as text.

This module is the only one that knows Markdown.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from markdown_it import MarkdownIt
from markdown_it.token import Token

from web.frame import Frame
from web.pulse import Pulse

_EXAMPLE: Final = re.compile(r"http://(?:127\.0\.0\.1|localhost):8014\b")
_HERE: Final = ("#", "/", "https://", "http://", "mailto:")


def info_routes(frame: Frame, pulse: Pulse, readme: str, address: str) -> list[HTTPRouteHandler]:
    """``GET /``. ``readme`` is Markdown, ``address`` what people reach this service by."""
    html, contents = render(readme, address)
    content = frame.safe(html)

    @get("/")
    async def info() -> Response[Any]:
        return frame.page("info.html", path="/", content=content, contents=contents, verdict=await pulse.verdict())

    return [info]


def render(markdown: str, address: str) -> tuple[str, list[tuple[str, str]]]:
    """HTML of CommonMark with tables, and its second-level headings as ids and texts.

    Headings get ids; no HTML of its own comes through, and no link to what is not here.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = parser.parse(_EXAMPLE.sub(lambda _: address, markdown))
    contents = _name_headings(tokens)
    for token in tokens:
        if token.children:
            token.children = _without_dead_links(token.children)
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # wide ones scroll, by keyboard too
    html = parser.renderer.render(_without_empty_heads(tokens), parser.options, {})
    return html.replace("<pre><code", '<pre tabindex="0"><code'), contents


def _name_headings(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    contents: list[tuple[str, str]] = []
    used: set[str] = set()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            word = re.sub(r"[^\w]+", "-", inline.content.lower()).strip("-") or "section"
            while word in used:
                word += "-"
            used.add(word)
            opening.attrSet("id", word)
            if opening.tag == "h2":
                contents.append((word, inline.content.replace("`", "")))
    return contents


def _without_empty_heads(tokens: Sequence[Token]) -> list[Token]:
    """Markdown has no table without a head: an empty cell of one becomes a plain cell, a head of such cells is left out."""
    kept: list[Token] = []
    start = 0
    for token in tokens:
        start = len(kept) if token.type == "thead_open" else start
        kept.append(token)
        if token.type == "th_close" and not kept[-2].content.strip():
            kept[-3].tag = token.tag = "td"
        if token.type == "thead_close" and not any(each.content.strip() for each in kept[start:]):
            del kept[start:]
    return kept


def _without_dead_links(tokens: Sequence[Token]) -> list[Token]:
    kept: list[Token] = []
    open_links: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            open_links.append(str(token.attrGet("href") or "").startswith(_HERE))
            alive = open_links[-1]
        elif token.type == "link_close":
            alive = open_links.pop() if open_links else False
        else:
            alive = True
        if token.type == "image":
            continue  # pictures of the repository are not here
        if alive:
            kept.append(token)
    return kept
