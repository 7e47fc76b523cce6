"""F6 and F7: what a stack weighs after a thousand emails, and what it does when there is nothing to do.

Ours is ``email-service up`` with its supervisor; the peer has Flower beside it. This module is the measurement of rest.
"""

import asyncio

from tests.bench import message
from tests.bench.figures import TARGETS, Figure, number
from tests.bench.httpclient import Connection
from tests.bench.ours import HEADERS, up
from tests.bench.plan import Plan
from tests.bench.procfs import Crowd, Spent
from tests.bench.theirs import HEADERS as THEIR_HEADERS
from tests.bench.theirs import theirs
from tests.bench.tools import Sink
from tests.processes import until


async def resting(plan: Plan) -> list[Figure]:
    """F6, F7."""
    count, seconds = plan.many(1000, 200), plan.pick(20, 4)
    with Sink() as sink, Sink() as other:
        async with up(sink.url) as mine, theirs(other, "api", "worker", "flower") as peer:
            await _post(mine.port, HEADERS, count)
            await _post(peer.port, THEIR_HEADERS, count)
            await until(lambda: sink.count() >= count and other.count() >= count, seconds=30, what="all emails at the relays")
            await asyncio.sleep(plan.pick(5, 1))
            sizes, others = mine.crowd.memory(), peer.crowd.memory()
            idle, other_idle = await _watch(plan, seconds, mine.crowd, peer.crowd)
    plan.say(f"resting: idle {number(sum(idle))} % of a core, the peer {number(sum(other_idle))} %")
    ratio = sum(sizes.values()) / sum(others.values())
    return [
        Figure(TARGETS["F6"], [ratio], f"{_megabytes(sizes)} · {_megabytes(others)}"),
        Figure(TARGETS["F7"], idle, f"the peer {number(sum(other_idle) / len(other_idle))} %"),
    ]


async def _post(port: int, headers: dict[str, str], count: int) -> None:
    async def some(share: int) -> None:
        connection = await Connection.open(port)
        for _ in range(share):
            await connection.send_email(message.request(), headers)
        await connection.close()

    await asyncio.gather(*(some(count // 8) for _ in range(8)))


async def _watch(plan: Plan, seconds: float, *crowds: Crowd) -> list[list[float]]:
    """Percent of a core that each crowd uses, in as many stretches as there are rounds, all at the same time."""
    found: list[list[float]] = [[] for _ in crowds]
    for _ in range(plan.rounds):
        before = [crowd.cpu() for crowd in crowds]
        await asyncio.sleep(seconds / plan.rounds)
        for n, crowd in enumerate(crowds):
            found[n].append(Spent.between(before[n], crowd.cpu()).total / (seconds / plan.rounds) * 100)
    return found


def _megabytes(sizes: dict[str, int]) -> str:
    each = ", ".join(f"{role} {size / 1e6:.0f}" for role, size in sizes.items())
    return f"{sum(sizes.values()) / 1e6:.0f} MB ({each})"
