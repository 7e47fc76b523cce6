"""The page that HTML is read onto: words, pending spaces and pending line ends.

Nothing is put down before what follows it is known: white space and line ends wait, so that none has to be taken back.

This module is the layout of HTML as text.
"""

import msgspec

_PARAGRAPH = frozenset({
    "address", "article", "aside", "blockquote", "dl", "fieldset", "figure", "footer", "form", "h1", "h2", "h3", "h4",
    "h5", "h6", "header", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
})  # fmt: skip
_LINE = frozenset({
    "body", "caption", "center", "dd", "div", "dt", "figcaption", "legend", "li", "option", "tbody", "tfoot", "thead",
    "tr",
})  # fmt: skip
_CELL = frozenset({"td", "th", "button"})
_LISTS = frozenset({"ul", "ol"})
_MAX_INDENT = 8
"""Lists indented at most; deeper ones stay there, so that nesting costs no more than its tags."""
_NO_LINK = ("#", "javascript:", "data:", "cid:", "vbscript:")


class _List(msgspec.Struct):
    ordered: bool
    number: int = 0


class _Link(msgspec.Struct):
    url: str
    words: list[str]


class Page:
    """Text in the making. ``open``, ``close`` and ``text`` take HTML in its order, ``finish`` gives the result."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._breaks = 0
        self._space = False
        self._lists: list[_List] = []
        self._link: _Link | None = None
        self._pre = 0

    def open(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "br":
            self._breaks += 1
            self._space = False
        elif tag == "hr":
            self._break(2)
            self._put("---")
            self._break(2)
        elif tag == "a":
            self._end_link()
            self._link = _Link(" ".join(attributes.get("href", "").split()), [])
        elif tag == "img":
            self.text(attributes.get("alt", ""))
        else:
            self._open_block(tag, attributes)

    def close(self, tag: str) -> None:
        if tag == "a":
            self._end_link()
        elif tag in _LISTS:
            if self._lists:
                self._lists.pop()
            self._break(1 if self._lists else 2)
        elif tag in _PARAGRAPH:
            self._pre -= tag == "pre" and self._pre > 0
            self._break(2)
        elif tag in _LINE:
            self._break(1)
        elif tag in _CELL:
            self._space = True

    def text(self, text: str) -> None:
        if self._pre:
            self._preformatted(text)
            return
        words = text.split()
        if not words:
            self._space = self._space or bool(text)
            return
        self._space = self._space or text[0].isspace()
        self._put(" ".join(words))
        self._space = text[-1].isspace()

    def finish(self) -> str:
        self._end_link()
        return "".join(self._out) + "\n" if self._out else ""

    def _open_block(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _LISTS:
            self._break(1 if self._lists else 2)
            start = attributes.get("start", "")
            first = int(start) if start.isascii() and start.isdigit() and len(start) < 7 else 1
            self._lists.append(_List(tag == "ol", first - 1))
        elif tag == "li":
            self._break(1)
            self._put(self._bullet())
            self._space = True
        else:
            self._pre += tag == "pre"
            self._break(2 if tag in _PARAGRAPH else 1 if tag in _LINE else 0)
            self._space = self._space or tag in _CELL

    def _bullet(self) -> str:
        if not self._lists:
            return "*"
        current = self._lists[-1]
        current.number += 1
        indent = "  " * (min(len(self._lists), _MAX_INDENT) - 1)
        return f"{indent}{current.number}." if current.ordered else f"{indent}*"

    def _end_link(self) -> None:
        link, self._link = self._link, None
        if link is None or not link.url or link.url.lower().startswith(_NO_LINK):
            return
        words = " ".join(link.words)
        if not words:
            self._put(link.url)
        elif words not in (link.url, link.url.removeprefix("mailto:"), link.url.removeprefix("tel:")):
            space, self._space = self._space, True
            self._put(f"({link.url})")
            self._space = space

    def _preformatted(self, text: str) -> None:
        for index, line in enumerate(text.replace("\r\n", "\n").split("\n")):
            if index:
                self._breaks += 1
            if line.strip():
                self._put(line.rstrip())

    def _break(self, lines: int) -> None:
        if lines:
            self._breaks = max(self._breaks, lines)
            self._space = False

    def _put(self, words: str) -> None:
        if self._out:
            if self._breaks:
                self._out.append("\n" * min(self._breaks, 2))
            elif self._space:
                self._out.append(" ")
        self._breaks = 0
        self._space = False
        self._out.append(words)
        if self._link is not None:
            self._link.words.append(words)
