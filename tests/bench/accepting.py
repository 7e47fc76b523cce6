"""F1 and F2: how many emails one API process accepts.

No worker runs in either system, so that all of the machine is the API's, its Redis' and wrk's. This module is the measurement
of accepting.
"""

import contextlib
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from tests.bench import message
from tests.bench.figures import TARGETS, Figure, number, ratios
from tests.bench.ours import HEADERS, ours
from tests.bench.plan import Plan
from tests.bench.procfs import Crowd, Spent
from tests.bench.theirs import HEADERS as THEIR_HEADERS
from tests.bench.theirs import theirs
from tests.bench.tools import Load, listens, wrk
from tests.processes import Process, Stack, Valkey, free_port, until

CONNECTIONS = 64


class _Side:
    """One of the three that are asked in turn."""

    def __init__(self, url: str, headers: dict[str, str], crowd: Crowd) -> None:
        self.url = url
        self.headers = headers
        self.crowd = crowd
        self.rates: list[float] = []
        self.spent = ""

    async def go(self, seconds: float, *, warm: bool = False) -> None:
        """One turn."""
        before = self.crowd.cpu()
        load: Load = await wrk(self.url, message.request(), self.headers, seconds=seconds, connections=CONNECTIONS)
        if not warm:
            self.rates.append(load.rate)
            self.spent = Spent.between(before, self.crowd.cpu()).each(load.requests)


async def accepting(plan: Plan) -> list[Figure]:
    """F1, F2."""
    async with ours("smtp+plain://127.0.0.1:9", workers=0) as mine, theirs(9, "api") as peer, _echo(mine.stack.folder) as bare:
        sides = [
            _Side(mine.url, HEADERS, mine.crowd),
            _Side(peer.url, THEIR_HEADERS, peer.crowd),
            _Side(f"http://127.0.0.1:{bare[0]}/send-email", {}, bare[1]),
        ]
        for side in sides:
            await side.go(plan.pick(2, 1), warm=True)
        for n in range(plan.rounds):
            for side in sides:
                await side.go(plan.pick(4, 1))
            plan.say(f"accepting, round {n + 1}: " + ", ".join(f"{number(side.rates[-1])}/s" for side in sides))
            await peer.redis.delete("celery")
    we, they, echo = sides
    return [
        Figure(TARGETS["F1"], ratios(we.rates, they.rates), f"{_middle(we)}/s ({we.spent}) · {_middle(they)}/s ({they.spent})"),
        Figure(TARGETS["F2"], ratios(we.rates, echo.rates), f"{_middle(we)}/s · {_middle(echo)}/s ({echo.spent})"),
    ]


def _middle(side: _Side) -> str:
    return number(sorted(side.rates)[len(side.rates) // 2])


@contextlib.asynccontextmanager
async def _echo(folder: Path) -> AsyncGenerator[tuple[int, Crowd], None]:
    port = free_port()
    env = Stack(folder, Valkey(folder), "").env()
    process = Process([sys.executable, "-m", "tests.bench.bare", "echo", str(port)], env, folder / "echo.out")
    process.start()
    try:
        await until(lambda: listens(port), what="the echo")
        yield port, Crowd({"echo": process.pid})
    finally:
        await process.stop()
