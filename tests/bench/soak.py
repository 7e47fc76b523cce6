"""``--soak``: half of what the machine can do, for a long time, and the memory of every process over it.

Records of sent emails are kept for a minute here instead of a month, so that Redis comes to a level too. A process has a flat
memory when its line over the second half rises by less than ``ALLOWED`` of its size. This module is the soak.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence

from tests.bench import message
from tests.bench.figures import number
from tests.bench.httpclient import Connection
from tests.bench.ours import HEADERS, Ours, ours
from tests.bench.plan import Plan
from tests.bench.tools import Sink, wrk

ALLOWED = 0.05
CONNECTIONS = 8
EVERY = 5.0


async def soak(plan: Plan, minutes: float) -> bool:
    """Whether all stayed flat and all arrived."""
    with Sink() as sink:
        async with ours(sink.url, RETAIN_RECORDS="60s") as mine:
            capacity = await _capacity(mine, sink, plan.pick(10, 3))
            rate = capacity / 2
            plan.say(f"soak: the whole stack carries {number(capacity)} emails/s; {minutes:g} minutes at {number(rate)}/s")
            base = sink.count()
            sizes, posted = await _watch(plan, mine, rate, minutes * 60)
            await mine.drain()
            arrived = sink.count() - base
    plan.say(f"soak: {posted:,} emails accepted, {arrived:,} at the relay")
    rises = {role: _rise([size[role] for size in sizes[len(sizes) // 2 :]]) for role in sizes[0]}
    for role, rise in rises.items():
        first, last = sizes[0][role] / 1e6, sizes[-1][role] / 1e6
        plan.say(f"soak: {role} {number(first)} MB → {number(last)} MB, {rise * 100:+.1f} % over the second half")
    return arrived == posted and all(rise < ALLOWED for rise in rises.values())


async def _capacity(mine: Ours, sink: Sink, seconds: float) -> float:
    """Emails a second from end to end: accepted and sent at the same time, until all have arrived."""
    base, began = sink.count(), time.perf_counter()
    load = await wrk(mine.url, message.request(), HEADERS, seconds=seconds)
    await mine.drain(seconds=120)
    del load
    return (sink.count() - base) / (time.perf_counter() - began)


async def _watch(plan: Plan, mine: Ours, rate: float, seconds: float) -> tuple[list[dict[str, int]], int]:
    """Posts ``rate`` a second, and looks at the memory now and then."""
    posted = 0
    end = time.perf_counter() + seconds

    async def post(number: int) -> None:
        nonlocal posted
        connection = await Connection.open(mine.port)
        due = time.perf_counter() + number / rate
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await connection.send_email(message.request(), HEADERS)
            posted += 1
            due += CONNECTIONS / rate
        await connection.close()

    sizes: list[dict[str, int]] = []
    async with asyncio.TaskGroup() as group:
        for number_ in range(CONNECTIONS):
            group.create_task(post(number_))
        while time.perf_counter() < end:
            sizes.append({**mine.crowd.memory(), "data in Redis": await mine.memory()})
            if len(sizes) % 12 == 1:
                told = ", ".join(f"{role} {size / 1e6:.0f}" for role, size in sizes[-1].items())
                plan.say(f"soak: {posted:,} emails, {await mine.waiting()} waiting; MB: {told}")
            await asyncio.sleep(min(EVERY, seconds / 20))
    return sizes, posted


def _rise(values: Sequence[float]) -> float:
    """How far the line through ``values`` rises from its first to its last, as a part of their median.

    The line is Theil and Sen's, whose slope is the median of those between any two: what waits for a moment, when the machine
    stands still, is no growth.
    """
    slope = statistics.median((b - a) / (m - n) for (n, a), (m, b) in itertools.combinations(enumerate(values), 2))
    return slope * (len(values) - 1) / statistics.median(values)
