"""HTML to readable text, for those who read none.

::

    <p>, <h1>, <table>, …   paragraphs           <a href>      text (url)
    <br>, <tr>, <div>       lines                <img alt>     its words
    <ul>, <ol>              * and 1.             <hr>          ---
    head, script, hidden preheaders, comments    nothing

The scanner reads tags as browsers do, but goes forward only: each character is looked at a bounded number of times,
whatever the input. (``html.parser`` of Python 3.11 takes quadratic time on a million ``<``, and ``html.unescape`` raises
on long digit runs.)

This module is the reader of HTML.
"""

import re
from collections.abc import Iterator
from html import unescape

from tasks.htmlpage import Page

MAX_HTML = 1_000_000
"""Characters that are read, which may take a third of a second; ``[…]`` then stands for the rest."""
_TAG = re.compile(r"</?([A-Za-z][^\s/>]{0,63})(>)?")
_TAG_STOP = re.compile(r""">|=\s*(["'])""")
_ATTRIBUTE = re.compile(r"""([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?""")
_CHARREF = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31})(?:;|(?![A-Za-z0-9]))")
_HIDDEN = re.compile(r"display:none|visibility:hidden|mso-hide:all|max-height:0(?![.\d]*[1-9])", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_RAW = frozenset({"script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"})
"""Elements whose content is no HTML and no text for readers: it ends at their own end tag."""
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
_ENDED_BY = {
    "p": frozenset({"div", "p", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "blockquote", "pre"}),
    "head": frozenset({"body"}),
}
_Piece = tuple[str, bool, str]
"""A tag as (name, whether it closes, source); text as ("", False, text)."""


def to_text(html: str) -> str:
    """The words of ``html`` as lines that end in ``\\n``; empty if there are none. Never raises, linear time."""
    page = Page()
    is_cut = len(html) > MAX_HTML
    if is_cut:
        html = html[:MAX_HTML]
    for tag, closing, source in _visible(_scan(html)):
        if not tag:
            page.text(_unescape(source))
        elif closing:
            page.close(tag)
        else:
            page.open(tag, _attributes(source) if tag in ("a", "img", "ol") else {})
    return _CONTROL.sub("", page.finish()) + ("[…]\n" if is_cut else "")


def links(html: str) -> list[str]:
    """Where the links of ``html`` lead, in their order, as far as readers see them. Never raises, linear time."""
    found = [_attributes(source) for tag, closing, source in _visible(_scan(html[:MAX_HTML])) if tag == "a" and not closing]
    return [where for attributes in found if (where := attributes.get("href", "").strip())]


def _visible(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """``pieces`` without the elements that readers of the HTML do not see."""
    hidden = ""
    depth = 0
    for piece in pieces:
        tag, closing, source = piece
        if hidden:
            depth = _depth_after(hidden, depth, tag, closing)
            if depth > 0:
                continue
            ended_itself = closing and tag == hidden
            hidden = ""
            if ended_itself:
                continue
        if tag and not closing and _is_hidden(tag, source):
            hidden, depth = (tag, 1) if tag not in _VOID else ("", 0)
        else:
            yield piece


def _depth_after(hidden: str, depth: int, tag: str, closing: bool) -> int:
    """How many elements named ``hidden`` are still open after ``tag``. Some end where another element begins."""
    if not closing and tag in _ENDED_BY.get(hidden, ()):
        return 0
    if tag != hidden:
        return depth
    return depth - 1 if closing else depth + 1


def _is_hidden(tag: str, source: str) -> bool:
    if tag in ("head", "template"):
        return True
    if len(source) <= len(tag) + 2:
        return False
    lower = source.lower()
    if "hidden" not in lower and "style" not in lower:
        return False
    attributes = _attributes(source)
    return "hidden" in attributes or _HIDDEN.search(re.sub(r"\s+", "", attributes.get("style", ""))) is not None


def _scan(html: str) -> Iterator[_Piece]:
    """Tags, and the text between them. What begins a tag and never ends it is dropped, as browsers do."""
    at = start = 0
    size = len(html)
    no_quote: set[str] = set()
    while at < size:
        at = html.find("<", at)
        if at < 0:
            break
        tag = _TAG.match(html, at)
        if tag is None and html[at + 1 : at + 2] not in ("!", "?", "/"):
            at += 1
            continue
        if at > start:
            yield "", False, html[start:at]
        if tag is None:
            at = start = _after_markup(html, at)
            continue
        end = tag.end() if tag[2] else _tag_end(html, tag.end(), no_quote)
        name = tag[1].lower()
        closing = html[at + 1] == "/"
        yield name, closing, html[at:end]
        at = start = _after_raw(html, end, name) if name in _RAW and not closing else end
    if start < size:
        yield "", False, html[start:]


def _after_markup(html: str, at: int) -> int:
    """The place behind the comment, declaration or stray end tag that begins at ``at``; the end if it never ends."""
    if html.startswith("<!--", at):
        if html.startswith((">", "->"), at + 4):
            return html.index(">", at) + 1
        end = html.find("-->", at + 4)
        return len(html) if end < 0 else end + 3
    end = html.find(">", at)
    return len(html) if end < 0 else end + 1


def _tag_end(html: str, at: int, no_quote: set[str]) -> int:
    """The place behind the tag's ``>``, one inside a quoted value not counting; the end if there is none."""
    while True:
        stop = _TAG_STOP.search(html, at)
        if stop is None:
            return len(html)
        at = stop.end()
        quote = stop[1]
        if quote is None:
            return at
        if quote not in no_quote:
            close = html.find(quote, at)
            if close < 0:
                no_quote.add(quote)
            else:
                at = close + 1


def _after_raw(html: str, at: int, name: str) -> int:
    """The place of the end tag of the raw element ``name``; the end if there is none."""
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(html, at)
    return len(html) if end is None else end.start()


def _attributes(source: str) -> dict[str, str]:
    """The attributes, empty ones included; of two with one name the first counts."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(source):
        found.setdefault(name.lower(), _unescape(double or single or bare))
    return found


def _unescape(text: str) -> str:
    """Character references replaced; only those short enough for ``html.unescape``."""
    if "&" not in text:
        return text
    return _CHARREF.sub(lambda found: unescape(found[0]), text)
