"""Columns over time: a chart as SVG and as a table, drawn on the server.

A chart is as many units wide as it has columns and 100 high, and is stretched to its place; texts stand outside it. A page that
is open asks for it every two seconds, and all but the last column are what they were: each is drawn once and remembered.

This module is pure.
"""

import functools
from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from tasks.figures import Minute
from web.phrases import moment, number

LAYERS = ("sent", "deferred", "failed")
"""From the bottom up; each is a class of the style sheet."""
WORDS = ("accepted", *LAYERS)


class Block(msgspec.Struct, frozen=True):
    """A piece of a column; ``y`` is its upper edge."""

    layer: str
    y: float
    height: float


class Chart(msgspec.Struct, frozen=True):
    """``top`` is the number at the upper edge, ``width`` the number of columns; ``accepted`` a line as an SVG path; ``times``
    stand below, evenly spread. ``columns`` and ``rows`` are the elements of the picture and of the table."""

    title: str
    top: int
    width: int
    columns: Markup
    accepted: str
    times: list[str]
    rows: Markup


def chart(minutes: Sequence[Minute], name: str) -> Chart:
    """The chart of some spans of time, oldest first. ``name`` begins its title, as «Last hour by minute»."""
    counts = [(minute.accepted, minute.sent, minute.deferred, minute.failed) for minute in minutes]
    top = ceiling(max([1, *(max(accepted, sum(rest)) for accepted, *rest in counts)]))
    drawn = [_drawn(n, minute.at, count, top) for n, (minute, count) in enumerate(zip(minutes, counts, strict=True))]
    totals = ", ".join(f"{number(sum(each))} {word}" for word, each in zip(WORDS, zip(*counts, strict=True), strict=False))
    spots = [minutes[n * (len(minutes) - 1) // 2] for n in range(3)] if minutes else []
    return Chart(
        f"{name}: {totals}",
        top,
        max(1, len(minutes)),
        Markup("".join(column for column, _ in drawn)),  # noqa: S704 (numbers and times alone)
        _line([count[0] for count in counts], top),
        [_time(minute.at) for minute in spots],
        Markup("".join(row for _, row in reversed(drawn))),  # noqa: S704 (the same)
    )


def ceiling(most: int) -> int:
    """The next round number: 1, 2 or 5 with zeros, at least 4."""
    step = 1
    while True:
        for digit in (1, 2, 4, 5, 8):
            if step * digit >= max(4, most):
                return step * digit
        step *= 10


def blocks(counts: Sequence[int], top: int) -> list[Block]:
    """The pieces of a column, from the bottom up. ``counts`` are those of ``LAYERS``."""
    found: list[Block] = []
    y = 100.0
    for layer, amount in zip(LAYERS, counts, strict=True):
        if amount:
            height = amount * 100 / top
            y -= height
            found.append(Block(layer, round(y, 2), round(height, 2)))
    return found


@functools.lru_cache(maxsize=2048)
def _drawn(n: int, at: int, counts: tuple[int, ...], top: int) -> tuple[str, str]:
    """A column as SVG, and as a row of the table: nothing for one in which nothing happened."""
    told = ", ".join(f"{amount} {word}" for amount, word in zip(counts, WORDS, strict=True) if amount)
    rects = "".join(
        f'<rect class="{block.layer}" x="{n + 0.12:g}" y="{block.y:g}" width=".76" height="{block.height:g}"/>'
        for block in blocks(counts[1:], top)
    )
    title = f"<title>{_time(at)} UTC: {told or 'nothing'}</title>"
    column = f'<g>{title}<rect class="hit" x="{n}" y="0" width="1" height="100"/>{rects}</g>'
    cells = "".join(f"<td>{number(amount)}</td>" for amount in counts)
    return column, f'<tr><th scope="row">{_time(at)}</th>{cells}</tr>' if told else ""


def _time(at: int) -> str:
    return f"{moment(at):%H:%M}"


def _line(accepted: Sequence[int], top: int) -> str:
    if not any(accepted):
        return ""
    heights = [round(100 - amount * 100 / top, 2) for amount in accepted]
    return "".join(f"{'L' if n else 'M'}{n} {y}H{n + 1}" for n, y in enumerate(heights))
