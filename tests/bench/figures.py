"""The figures: what each must be, what we aim at, and what a measurement comes to.

This module is the table of promises, and its arithmetic; nothing here measures anything.
"""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

Verdict = Literal["aim reached", "met", "MISSED", "reported"]


class Target(msgspec.Struct, frozen=True):
    """One figure. ``must`` and ``aim`` are upper bounds where ``at_most``, lower bounds otherwise; None: only reported."""

    name: str
    what: str
    unit: str = "×"
    must: float | None = None
    aim: float | None = None
    at_most: bool = False

    def verdict(self, value: float) -> Verdict:
        """What ``value`` comes to."""
        if self.must is None:
            return "reported"
        sign = -1 if self.at_most else 1
        if self.aim is not None and sign * value >= sign * self.aim:
            return "aim reached"
        return "met" if sign * value >= sign * self.must else "MISSED"


class Figure(msgspec.Struct, frozen=True):
    """A target with its rounds. ``detail`` is what the ratio was made of, in absolute numbers."""

    target: Target
    values: list[float]
    detail: str = ""

    @property
    def median(self) -> float:
        """What counts."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> Verdict:
        """Of the median."""
        return self.target.verdict(self.median)

    @property
    def spread(self) -> str:
        """``min – median – max``."""
        low, mid, high = min(self.values), self.median, max(self.values)
        return f"{number(low)} – {number(mid)} – {number(high)}" if len(self.values) > 1 else number(mid)


TARGETS = {
    target.name: target
    for target in (
        Target("F1", "accepts/s, durable, one API process ÷ the peer's", must=6, aim=9),
        Target("F2", "accepts/s ÷ those of a bare Litestar echo", must=0.6, aim=0.85),
        Target("F3", "emails/s sent by one worker ÷ the peer's 4 processes", must=4, aim=8),
        Target("F4", "emails/s sent ÷ a bare aiosmtplib loop", must=0.3, aim=0.6),
        Target("F5 p50", "POST → the relay's 250 at 50 emails/s, p50", unit="ms", must=10, aim=5, at_most=True),
        Target("F5 p99", "the same, p99", unit="ms", must=50, aim=20, at_most=True),
        Target("F5 p50 ÷", "the same, p50 ÷ the peer's", must=1, at_most=True),
        Target("F5 p99 ÷", "the same, p99 ÷ the peer's", must=1, at_most=True),
        Target("F6", "memory of the whole stack ÷ the peer's with Flower", must=0.6, aim=0.35, at_most=True),
        Target("F7", "CPU of the whole stack when idle", unit="% of a core", must=1, aim=0.3, at_most=True),
        Target("F8 accept", "CPU an accepted email, many ÷ few queued", must=1.2, aim=1.05, at_most=True),
        Target("F8 send", "CPU a sent email, many ÷ few queued", must=1.2, aim=1.05, at_most=True),
        Target("F9", "status page with many emails known", unit="ms", must=100, aim=20, at_most=True),
        Target("F10", "event loop blocked by a 10 MB attachment", unit="ms", must=50, aim=10, at_most=True),
        Target("F11", "Redis memory a queued email beyond its own bytes", unit="kB", must=2, aim=1, at_most=True),
        Target("F12", "two workers ÷ one"),
    )
}


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(ours, others, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(value: float) -> str:
    """With as many digits as mean anything."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
