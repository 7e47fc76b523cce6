"""Moments, spans, sizes and counts as people read them.

Times are milliseconds since 1970, UTC. This module is the pages' small vocabulary; it is pure.
"""

import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

_STEPS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_CODE = re.compile(r"`([^`]+)`")
_LAST = 253_402_300_799_000


def span(ms: float) -> str:
    """A length of time, one unit: ``14 min``, ``3 d``, ``38 ms``. Never rounded up."""
    for size, unit in _STEPS:
        if ms >= size:
            return f"{int(ms // size):,} {unit}"
    return f"{max(0, int(ms))} ms"


def ago(at: int, now: int) -> str:
    """A moment as seen from ``now``: ``14 min ago``, ``in 9 min``, ``now`` within a second."""
    apart = now - at
    if abs(apart) < 1000:
        return "now"
    return f"{span(apart)} ago" if apart > 0 else f"in {span(-apart)}"


def moment(at: int) -> datetime:
    """The moment as a date; one that no calendar has becomes the nearest that it has."""
    return datetime.fromtimestamp(min(max(at, 0), _LAST) / 1000, UTC)


def clock(at: int, now: int) -> str:
    """The time of day in UTC, with the date where it is not today's: ``10:02 UTC``, ``24 Nov 10:02 UTC``."""
    then, today = moment(at), moment(now)
    day = "" if then.date() == today.date() else f"{then.day} {then:%b} "
    return f"{day}{then:%H:%M} UTC"


def time(at: int, now: int) -> Markup:
    """A ``<time>`` element: relative to read, exact for machines and on hover."""
    then = moment(at)
    exact = f"{then:%Y-%m-%d %H:%M:%S}.{then.microsecond // 1000:03d} UTC"
    stamp = f"{then:%Y-%m-%dT%H:%M:%S}.{then.microsecond // 1000:03d}Z"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, exact, ago(at, now))


def number(n: int) -> str:
    """With a comma between thousands."""
    return f"{n:,}"


def count(n: int, one: str, many: str = "") -> str:
    """``1 email``, ``41 emails``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def size(octets: int) -> str:
    """Octets in decimal units: ``1.6 kB``, ``212 MB``."""
    value, units = float(octets), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}" if value < 10 and units[0] != "B" else f"{value:.0f} {units[0]}"


def code(text: str) -> Markup:
    """``text`` escaped, with what stands between backquotes as ``<code>``."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 (escaped in the same expression)
