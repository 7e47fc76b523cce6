"""What a test, or a hurried developer, wants of an email: its links and its one-time codes.

Links are those that a reader can follow (``http`` and ``https``), the HTML's first, in order, each once. A code is told from
other numbers by the words around it: it stands in a line with such a word, near it, or alone on a line after one. Prices,
dates, times, years, telephone numbers and what stands in an address are none.

This module is pure.
"""

import re
from typing import Final

from tasks.htmltext import links as links_of
from tasks.htmltext import to_text

MOST: Final = 200
"""Links given at most."""
MOST_CODES: Final = 10
READ: Final = 100_000
"""Characters of a text that are looked at."""

_URL: Final = re.compile(r"https?://[^\s<>\"'`\]\[{}|\\^]{1,2000}", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}")
_KEYWORD: Final = re.compile(
    r"(?:code|kode|códig|codic|kod\b|passwor[dt]|passcode|token|einmal|verif|\bpin\b|\btan\b|\botp\b|验证码|認証|コード|인증)",
    re.IGNORECASE,
)
_OTHER_CODE: Final = re.compile(
    r"(?:zip|post(?:al)?|area|country|promo(?:tion)?|discount|coupon|voucher|error|tracking|order|status|qr|bar|source)"
    r"[ -]?(?:code|kode)s?",
    re.IGNORECASE,
)
_CANDIDATE: Final = re.compile(
    r"(?<![\w.,:/#$€£+@&=-])(?<!\d )"
    r"(?:[0-9]{3}[ -][0-9]{3}|[0-9]{4,8}|[A-Z0-9]{4,10}(?:-[A-Z0-9]{3,10}){0,3})"
    r"(?![\w/:%@-]|[.,][0-9]| ?(?:€|\$|£|EUR\b|USD\b|GBP\b|CHF\b)| [0-9]{2})"
)
_YEAR: Final = re.compile(r"(?:19|20)[0-9]{2}\Z")
_BEFORE: Final = 60
"""How far behind a word such as «code» the code may stand, and ``_AFTER`` how far before it."""
_AFTER: Final = 30
_LINES: Final = 3
"""How many lines above a code that stands alone may have the word."""


def links(text: str | None, html: str | None) -> list[str]:
    """The links of an email."""
    found = [link for link in links_of(html or "") if _URL.match(link)]
    found += [_trimmed(match[0]) for match in _URL.finditer((text or "")[:READ])]
    return list(dict.fromkeys(found))[:MOST]


def codes(subject: str, text: str | None, html: str | None = None) -> list[str]:
    """The one-time codes of an email, as they are typed in: a gap between three and three digits is left out."""
    body = text if text is not None and text.strip() else to_text(html or "")
    lines = [subject, *body[:READ].splitlines()]
    plain = [_OTHER_CODE.sub(" ", _ADDRESS.sub(" ", _URL.sub(" ", line))) for line in lines]
    recent = 0
    found: list[str] = []
    for line in filter(str.strip, plain):
        recent = _LINES if _KEYWORD.search(line) else recent - 1
        if recent >= 0:
            found += [_typed(match[0]) for match in _CANDIDATE.finditer(line) if _is_code(line, match)]
    return list(dict.fromkeys(found))[:MOST_CODES]


def _is_code(line: str, match: re.Match[str]) -> bool:
    """Whether a candidate, in a line with or soon after a word such as «code», is one."""
    text, start, end = match[0], *match.span()
    if not any(char.isdigit() for char in text):
        return False
    if line.strip(" \t*.:>|-_") == text:
        return True
    if _YEAR.match(text):
        return _KEYWORD.search(line[max(0, start - 12) : start]) is not None
    return _KEYWORD.search(line[max(0, start - _BEFORE) : start]) is not None or (
        _KEYWORD.search(line[end : end + _AFTER]) is not None
    )


def _typed(text: str) -> str:
    return re.sub("[ -]", "", text) if re.fullmatch(r"[0-9]{3}[ -][0-9]{3}", text) else text


def _trimmed(url: str) -> str:
    """A link in running text without the punctuation that ends a sentence, or a bracket that it does not open."""
    while url:
        last = url[-1]
        if last in ".,;:!?*'»“”" or (last == ")" and url.count(")") > url.count("(")):
            url = url[:-1]
        else:
            break
    return url
