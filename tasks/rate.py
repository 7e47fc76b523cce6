"""How often something may happen: ``100/m`` is a hundred in a minute, all at once or spread over it.

A rate is a bucket of ``count`` tokens that fills evenly, so that who has been quiet may do much at once, and who goes on evenly
never waits.

This module is rates as they are written.
"""

import re
from typing import Final

import msgspec

_RATE: Final = re.compile(r"([0-9]{1,9})/(s|m|h|d)\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Rate(msgspec.Struct, frozen=True):
    """``count`` in ``seconds``."""

    count: int
    seconds: int

    def __str__(self) -> str:
        unit = next((word for word, seconds in _SECONDS.items() if seconds == self.seconds), f"{self.seconds}s")
        return f"{self.count}/{unit}"


def parse_rate(text: str) -> Rate:
    """``14/s``, ``100/m``, ``500/h`` or ``10000/d``. Raises ``ValueError``."""
    match = _RATE.match(text)
    if match is None or int(match[1]) < 1:
        raise ValueError("a rate is a whole number above 0 and a unit, such as 14/s, 100/m, 500/h or 10000/d")
    return Rate(int(match[1]), _SECONDS[match[2]])
