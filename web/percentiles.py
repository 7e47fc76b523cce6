"""Sums of counters, and the times from acceptance to the relay's 250 as percentiles.

This module is pure arithmetic.
"""

from collections.abc import Mapping, Sequence

import msgspec

from tasks.figures import Minute


class Times(msgspec.Struct, frozen=True):
    """Upper bounds in ms below which half, 95 % and 99 % of ``number`` emails lie; None without any."""

    number: int = 0
    p50: int | None = None
    p95: int | None = None
    p99: int | None = None


class Totals(msgspec.Struct, frozen=True):
    """Counters added up."""

    accepted: int
    sent: int
    failed: int


def totals(minutes: Sequence[Minute]) -> Totals:
    """The sums over ``minutes``."""
    return Totals(
        sum(minute.accepted for minute in minutes),
        sum(minute.sent for minute in minutes),
        sum(minute.failed for minute in minutes),
    )


def times(span: Minute, lane: str | None = None) -> Times:
    """The times of one lane, or of all, in a span of time."""
    buckets: dict[int, int] = {}
    for name, found in span.buckets.items():
        if lane in {None, name}:
            for bound, number in found.items():
                buckets[bound] = buckets.get(bound, 0) + number
    return Times(sum(buckets.values()), *(percentile(buckets, share) for share in (0.5, 0.95, 0.99)))


def percentile(buckets: Mapping[int, int], share: float) -> int | None:
    """The bound below which ``share`` of all lie: a bucket's upper edge, since nothing finer is known."""
    needed = share * sum(buckets.values())
    seen = 0
    for bound in sorted(buckets):
        seen += buckets[bound]
        if seen >= needed and seen:
            return bound
    return None
