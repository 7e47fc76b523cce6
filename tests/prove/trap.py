"""The moment at which something is broken: armed with a place and what to do, sprung by whatever comes by first.

Doors and the relay ask at each place they pass; nearly always nothing is armed and they go on. This module is the trap.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

When = Literal["before", "after"]


class Place(NamedTuple):
    """A point on the way of an email: a kind of Redis call or an SMTP stage (those are in capitals)."""

    name: str
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.name}"


Spring = Callable[[str], Awaitable[bool]]
"""What to do, told who came by. Gives False where the connection is to be dropped."""


class Trap:
    """One trap of a lane. ``sprung`` names who stepped into it."""

    def __init__(self) -> None:
        self._place: Place | None = None
        self._spring: Spring | None = None
        self._wants: Callable[[Any], bool] = lambda _: True
        self._fired = asyncio.Event()
        self.sprung = ""

    def arm(self, place: Place, spring: Spring, wants: Callable[[Any], bool] | None = None) -> None:
        """Waits for ``place``; ``wants`` looks at the reply there (None before a call) and may let it pass."""
        self._place, self._spring, self._wants = place, spring, wants or (lambda _: True)
        self._fired.clear()
        self.sprung = ""

    def disarm(self) -> None:
        """Nothing happens any more."""
        self._place = self._spring = None

    async def fired(self, seconds: float) -> bool:
        """Whether it was sprung within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._fired.wait()
        except TimeoutError:
            return False
        return True

    def is_at(self, name: str, when: When) -> bool:
        """Whether it is armed for this place."""
        return self._place is not None and self._place.name == name and self._place.when == when

    async def pass_by(self, name: str, when: When, who: str, reply: Any = None) -> bool:
        """Called at a place. False: drop the connection."""
        if not self.is_at(name, when) or not self._wants(reply):
            return True
        spring = self._spring
        self.disarm()
        self.sprung = who
        assert spring is not None
        try:
            return await spring(who)
        finally:
            self._fired.set()
