"""When to try again: delays, limits and the end of an email's life.

This module is pure: it decides from numbers, the randomness is handed in.
"""

from collections.abc import Sequence

GREYLISTED_SECONDS = 300
UNCERTAIN_SECONDS = 900
UNCERTAIN_ATTEMPTS = 3
_FIT = 180
_GROWTH = 3
_GROWN = 40
"""By then longer than any life; a power of thousands is no float."""


def next_delay(delays: Sequence[float], attempts: int, life: float, *, dice: float, not_before: float = 0) -> float:
    """Seconds until the next attempt after ``attempts`` that used one up (at least 1).

    ``delays`` is ``RETRY_DELAYS``, its last entry repeating; ``life`` the email's whole allowed age in seconds: a short life
    squeezes the schedule (a link that is valid for 15 minutes is tried again after 5 s, 15 s, 45 s, …). ``dice`` from 0 to 1
    spreads the result over ± 20 %. ``not_before`` is the least the relay asked for, but never more than a third of the life.
    """
    scheduled = delays[min(attempts, len(delays)) - 1]
    fitted = life / _FIT * _GROWTH ** min(attempts - 1, _GROWN)
    spread = 0.8 + 0.4 * dice
    return max(min(scheduled, fitted) * spread, min(not_before, life / 3))


def uncertain_delay(remaining: float) -> float:
    """Seconds to wait after the answer to a dot was lost: 15 minutes, or a fifth of the remaining life if that is shorter."""
    return max(0.0, min(UNCERTAIN_SECONDS, remaining / 5))
