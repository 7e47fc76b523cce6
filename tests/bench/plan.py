"""How much is measured, and where progress is told.

This module is what every measurement is given.
"""

from collections.abc import Callable

import msgspec


class Plan(msgspec.Struct, frozen=True):
    """``rounds`` of each ratio; ``quick`` shortens everything for a look at whether it works. ``say`` tells progress."""

    rounds: int
    quick: bool
    say: Callable[[str], None]

    def pick(self, full: float, quick: float) -> float:
        """One of two lengths."""
        return quick if self.quick else full

    def many(self, full: int, quick: int) -> int:
        """One of two numbers."""
        return quick if self.quick else full
