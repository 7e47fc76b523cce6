"""F8, F9 and F11: what changes when a million emails wait.

Two stacks of the same kind, one with few emails queued and one with many, are measured turn by turn. Neither has an AOF here:
writing a million emails with ``always`` would take most of the bench's time, and what is compared is CPU an email, the same on
both sides. This module is the measurement of growth.
"""

import time

from tests.bench import message
from tests.bench.figures import TARGETS, Figure, number, ratios
from tests.bench.httpclient import Connection
from tests.bench.ours import HEADERS, Ours, ours
from tests.bench.plan import Plan
from tests.bench.procfs import Spent
from tests.bench.tools import Sink, steady, wrk
from web.session import make_sign_in_link

FEW = 1000


class _Side:
    """A stack with so many emails queued, its worker paused between turns."""

    def __init__(self, stack: Ours, sink: Sink) -> None:
        self.stack = stack
        self._sink = sink
        self.accepted: list[float] = []
        self.sent: list[float] = []

    async def accept(self, seconds: float) -> int:
        """CPU an accepted email, in µs; how many there were."""
        before = self.stack.crowd.cpu()
        load = await wrk(self.stack.url, message.request(), HEADERS, seconds=seconds)
        self.accepted.append(Spent.between(before, self.stack.crowd.cpu()).total / load.requests * 1e6)
        return load.requests

    async def send(self, count: int) -> None:
        """CPU a sent email, in µs, over ``count`` emails at most."""
        before: dict[str, float] = {}
        await self.stack.go_on()
        crowd = self.stack.crowd
        found = await steady(
            self._sink.count, warm=count // 10, most=count, seconds=5, on_begin=lambda: before.update(crowd.cpu())
        )
        self.sent.append(Spent.between(before, crowd.cpu()).total / found.count * 1e6)
        await self.stack.pause()


async def growth(plan: Plan) -> list[Figure]:
    """F8, F9, F11."""
    with Sink() as sink, Sink() as other:
        async with ours(sink.url, persistent=False) as small, ours(other.url, persistent=False) as large:
            few, many = _Side(small, sink), _Side(large, other)
            await small.pause()
            await large.pause()
            await small.fill(FEW)
            beyond = await _fill(plan, large)
            for side in (few, many):
                await side.send(await side.accept(1))
                side.accepted.clear()
                side.sent.clear()
            for n in range(plan.rounds):
                for side in (few, many):
                    await side.send(await side.accept(plan.pick(2, 1)))
                told = (few.accepted[-1], many.accepted[-1], few.sent[-1], many.sent[-1])
                plan.say(f"growth, round {n + 1}: CPU in µs " + ", ".join(number(each) for each in told))
            pages = await _status_page(large, plan.many(20, 5))
            known = await large.waiting()
    return [
        Figure(TARGETS["F8 accept"], ratios(many.accepted, few.accepted), _costs(many.accepted, few.accepted)),
        Figure(TARGETS["F8 send"], ratios(many.sent, few.sent), _costs(many.sent, few.sent)),
        Figure(TARGETS["F9"], pages, f"{known:,} emails queued"),
        Figure(TARGETS["F11"], [beyond], f"beside {large.pump.size:,} bytes of its message"),
    ]


def _costs(many: list[float], few: list[float]) -> str:
    return f"{number(sum(many) / len(many))} µs · {number(sum(few) / len(few))} µs"


async def _fill(plan: Plan, large: Ours) -> float:
    """Queues many emails; the kilobytes that each takes beyond its own bytes."""
    total = plan.many(1_000_000, 50_000)
    page = total // 10
    before = await large.memory()
    began = time.perf_counter()
    for n in range(10):
        await large.fill(page)
        plan.say(f"growth: {(n + 1) * page:,} emails queued after {time.perf_counter() - began:.0f} s")
    return ((await large.memory() - before) / total - large.pump.size) / 1000


async def _status_page(side: Ours, count: int) -> list[float]:
    """Milliseconds of the page, signed in by a one-time link."""
    connection = await Connection.open(side.port)
    link = await make_sign_in_link(side.group, side.stack.url)
    answer = await connection.ask("GET", link.removeprefix(side.stack.url))
    cookie = answer.headers["set-cookie"].split(";")[0]
    name, _, value = cookie.partition("=")
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await connection.ask("GET", "/status", Cookie=f"{name}={value}")
        times.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200, answer.status
        assert b"</html>" in answer.body
    await connection.close()
    return times
