"""Moments that a client names: ISO 8601 with an offset, as UTC milliseconds.

This module is the one reader of ``send_at`` and ``expires_at``.
"""

from datetime import UTC, datetime

FAR_MS = 366 * 86_400_000


def read_moment(text: str, now_ms: int) -> int:
    """UTC milliseconds of ``2026-11-25T10:00:00Z`` and the like. Raises ``ValueError``; a year ahead is the limit."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a moment such as 2026-11-25T10:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must say its offset from UTC, as in 2026-11-25T10:00:00Z")
    try:
        ms = round(moment.astimezone(UTC).timestamp() * 1000)
    except OverflowError:  # the first or last hours of the calendar, seen from another offset
        raise ValueError("must be within a year from now") from None
    if ms > now_ms + FAR_MS:
        raise ValueError("must be within a year from now")
    return ms


def iso(ms: int | None) -> str | None:
    """UTC milliseconds as ``2026-11-25T10:00:00.000Z``."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
