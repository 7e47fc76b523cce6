"""Columns over time: the numbers of a chart, which a template draws as SVG.

A chart is as many units wide as it has columns and 100 high, and is stretched to its place; texts stand outside it.

This module is pure.
"""

from collections.abc import Sequence

import msgspec

from tasks.figures import Minute
from web.phrases import moment, number

LAYERS = ("sent", "deferred", "failed")
"""From the bottom up; each is a class of the style sheet."""


class Block(msgspec.Struct, frozen=True):
    """A piece of a column; ``y`` is its upper edge."""

    layer: str
    y: float
    height: float


class Column(msgspec.Struct, frozen=True):
    """The column at ``x``, with what it stands for in words."""

    x: int
    words: str
    blocks: list[Block]


class Chart(msgspec.Struct, frozen=True):
    """``top`` is the number at the upper edge; ``accepted`` a line as an SVG path; ``times`` stand below, evenly spread."""

    title: str
    top: int
    columns: list[Column]
    accepted: str
    times: list[str]
    rows: list[tuple[str, Minute]]


def chart(minutes: Sequence[Minute], name: str) -> Chart:
    """The chart of some spans of time, oldest first. ``name`` begins its title, as «Last hour by minute»."""
    stacks = [sum(getattr(minute, layer) for layer in LAYERS) for minute in minutes]
    top = ceiling(max([1, *stacks, *(minute.accepted for minute in minutes)]))
    columns = [_column(n, minute, top) for n, minute in enumerate(minutes)]
    totals = ", ".join(f"{number(sum(getattr(m, what) for m in minutes))} {what}" for what in ("accepted", *LAYERS))
    spots = [minutes[n * (len(minutes) - 1) // 2] for n in range(3)] if minutes else []
    rows = [(_time(minute), minute) for minute in reversed(minutes) if _busy(minute)]
    return Chart(f"{name}: {totals}", top, columns, _line(minutes, top), [_time(minute) for minute in spots], rows)


def ceiling(most: int) -> int:
    """The next round number: 1, 2 or 5 with zeros, at least 4."""
    step = 1
    while True:
        for digit in (1, 2, 4, 5, 8):
            if step * digit >= max(4, most):
                return step * digit
        step *= 10


def _busy(minute: Minute) -> bool:
    return bool(minute.accepted or minute.sent or minute.deferred or minute.failed)


def _time(minute: Minute) -> str:
    return f"{moment(minute.at):%H:%M}"


def _column(n: int, minute: Minute, top: int) -> Column:
    blocks: list[Block] = []
    y = 100.0
    for layer in LAYERS:
        if amount := getattr(minute, layer):
            height = amount * 100 / top
            y -= height
            blocks.append(Block(layer, round(y, 2), round(height, 2)))
    words = ", ".join(f"{getattr(minute, what)} {what}" for what in ("accepted", *LAYERS) if getattr(minute, what))
    return Column(n, f"{_time(minute)} UTC: {words or 'nothing'}", blocks)


def _line(minutes: Sequence[Minute], top: int) -> str:
    if not any(minute.accepted for minute in minutes):
        return ""
    heights = [round(100 - minute.accepted * 100 / top, 2) for minute in minutes]
    return "".join(f"{'L' if n else 'M'}{n} {y}H{n + 1}" for n, y in enumerate(heights))
