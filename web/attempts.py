"""Wrong passwords and keys, counted, so that nobody can guess for long.

Counted in this process and by the address that asks, for the newest ``REMEMBERED`` addresses. This module is pure but for the
clock that it is given.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

ALLOWED: Final = 10
WINDOW_SECONDS: Final = 600.0
REMEMBERED: Final = 2000


class Attempts:
    """Allows ``allowed`` wrong ones in ``window`` seconds from one address. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float], *, allowed: int = ALLOWED, window: float = WINDOW_SECONDS) -> None:
        self._clock = clock
        self._allowed = allowed
        self._window = window
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, peer: str) -> int:
        """Seconds until this address may try again; 0: now."""
        times = self._wrong.get(peer)
        if times is None:
            return 0
        now = self._clock()
        while times and times[0] <= now - self._window:
            times.popleft()
        return 0 if len(times) < self._allowed else max(1, round(times[0] + self._window - now))

    def wrong(self, peer: str) -> None:
        """Remembers a wrong one."""
        self._wrong.setdefault(peer, deque(maxlen=self._allowed)).append(self._clock())
        self._wrong.move_to_end(peer)
        while len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def right(self, peer: str) -> None:
        """Forgets this address's wrong ones."""
        self._wrong.pop(peer, None)
