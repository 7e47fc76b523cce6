"""F3, F4 and F12: how many emails leave.

Both queues are full before a turn begins, ours held back by the operator's pause, the peer's copied into place at once; the
worker processes are up and warm. What is counted is what the relay has taken. This module is the measurement of sending.
"""

import asyncio
import json
import sys
from subprocess import PIPE

from tests.bench import message
from tests.bench.figures import TARGETS, Figure, number, ratios
from tests.bench.ours import Ours, ours
from tests.bench.plan import Plan
from tests.bench.procfs import Spent
from tests.bench.theirs import Theirs, theirs
from tests.bench.tools import Sink, Window, smtp_source, steady
from tests.processes import ROOT

TEMPLATE = 3000
"""Tasks that the peer's queue is filled with."""
WARM = 500


class Sender:
    """Our turn: fills, lets go, watches the relay, waits until the queue is empty."""

    def __init__(self, side: Ours, sink: Sink) -> None:
        self._side = side
        self._sink = sink
        self.rates: list[float] = []
        self.spent = ""
        self.spent_each: list[float] = []
        self._guess = 1500.0

    async def go(self, seconds: float, *, warm: bool = False) -> None:
        """One turn."""
        side, amount = self._side, WARM + round(1.2 * self._guess * seconds)
        await side.pause()
        await side.fill(amount)
        before: dict[str, float] = {}
        await side.go_on()
        found = await steady(
            self._sink.count, warm=WARM, most=round(amount * 0.97), seconds=seconds,
            on_begin=lambda: before.update(side.crowd.cpu()),
        )  # fmt: skip
        spent = Spent.between(before, side.crowd.cpu())
        self._guess = max(found.rate, 200)
        if not warm:
            self.rates.append(found.rate)
            self.spent = spent.each(found.count)
            self.spent_each.append(spent.total / max(1, found.count))
        await side.drain()

    @property
    def detail(self) -> str:
        """The middle rate, and where the last turn's CPU went."""
        return f"{number(sorted(self.rates)[len(self.rates) // 2])}/s ({self.spent})"


async def sending(plan: Plan) -> list[Figure]:
    """F3, F4, F12."""
    seconds = plan.pick(4, 1)
    bare: list[float] = []
    with Sink() as sink, Sink() as other:
        async with ours(sink.url, api=False) as one, ours(sink.url, api=False, workers=2) as two, theirs(other) as peer:
            await peer.make_template(plan.many(TEMPLATE, 800), *_task())
            await peer.start_worker()
            single, double = Sender(one, sink), Sender(two, sink)
            pace: list[float] = []
            await single.go(seconds, warm=True)
            await double.go(seconds, warm=True)
            await _their_turn(peer, other, 1)
            for n in range(plan.rounds):
                await single.go(seconds)
                found = await _their_turn(peer, other, seconds)
                pace.append(found.rate)
                bare.append((await _bare_loop(other.port, plan.pick(2, 1))).rate)
                await double.go(seconds)
                rates = (single.rates[-1], pace[-1], bare[-1], double.rates[-1])
                plan.say(f"sending, round {n + 1}: " + ", ".join(f"{number(rate)}/s" for rate in rates))
            limit = await smtp_source(other, plan.many(30_000, 5_000))
    middle = [number(sorted(rates)[len(rates) // 2]) for rates in (pace, bare)]
    return [
        Figure(TARGETS["F3"], ratios(single.rates, pace), f"{single.detail} · {middle[0]}/s"),
        Figure(TARGETS["F4"], ratios(single.rates, bare), f"· {middle[1]}/s; smtp-source {number(limit.rate)}/s"),
        Figure(TARGETS["F12"], ratios(double.rates, single.rates), double.detail),
    ]


def _task() -> tuple[str, ...]:
    return message.TO, message.FROM, message.SUBJECT, message.TEXT, message.HTML


async def _their_turn(peer: Theirs, sink: Sink, seconds: float) -> Window:
    size = int(await peer.redis.llen("template"))
    await peer.fill()
    found = await steady(sink.count, warm=100, most=round(size * 0.95), seconds=seconds)
    await peer.redis.delete("celery")
    await peer.drain()
    return found


async def _bare_loop(port: int, seconds: float) -> Window:
    words = [sys.executable, "-m", "tests.bench.bare", "loop", str(port), str(seconds)]
    process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=PIPE)
    found = json.loads((await process.communicate())[0])
    return Window(found["count"], found["seconds"])
