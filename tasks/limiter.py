"""How much each client has asked for, over all processes.

Redis keeps one number for a bucket, the moment when it is full again (GCRA), and forgets it then. This module is the count of
what clients ask.
"""

import msgspec

from tasks.rate import Rate
from tasks.script import Script
from tasks.store import Group


class Standing(msgspec.Struct, frozen=True):
    """What is left of a rate. In seconds: ``reset`` until all of it is there again, ``wait`` until one more is."""

    is_over: bool
    remaining: int
    reset: int
    wait: int


class Limiter:
    """Gives tokens out."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._spend = Script("spend")

    async def spend(self, client: str, rate: Rate) -> Standing:
        """Takes one token out of the client's bucket, if one is there. Raises ``StoreUnavailable``."""
        is_over, remaining, reset, wait = await self._group.run(self._spend, client, rate.count, rate.seconds * 1_000_000)
        return Standing(bool(is_over), int(remaining), -(-int(reset) // 1000), max(1, -(-int(wait) // 1000)))
