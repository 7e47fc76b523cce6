"""The crash points: before and after each kind of Redis call and each SMTP stage, somebody is killed, frozen or cut off.

A process that is killed before a call has made none; after it, it has not learnt the answer. A frozen one sleeps for longer
than its lease while others work, and then goes on as if nothing had happened, its call or reply arriving at that moment.
Valkey killed after a call has answered it: what it said must be on its disk. «cut» loses one answer and kills nobody.

This module is the list of places and what is done there.
"""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.prove.audit import Auditor, drain
from tests.prove.lane import FREEZE_SECONDS, Lane
from tests.prove.report import Result
from tests.prove.trap import Place, Spring, When
from tests.relay import Delay

WORKER_CALLS = (
    "claim", "content", "mark", "settle", "beat", "tell", "wait",
    "relay seen", "relay accepted", "relay down", "relay probe", "relay up",
)  # fmt: skip
STAGES: tuple[tuple[str, tuple[When, ...]], ...] = (
    ("CONNECT", ("after",)), ("BANNER", ("before", "after")), ("EHLO", ("before", "after")), ("MAIL", ("before", "after")),
    ("RCPT", ("before", "after")), ("DATA", ("before", "after")), ("BODY", ("after",)), ("DOT", ("before", "after")),
)  # fmt: skip
EMAILS = 6
DRAIN_SECONDS = 75.0
"""After the last fault: lease 15 s, a relay's next probe 20 s, and room for a slow machine."""


class Point(NamedTuple):
    """``victim`` is worker, api or valkey; ``deed`` killed, frozen or cut."""

    place: Place
    victim: str
    deed: str

    def __str__(self) -> str:
        return f"{self.place}: {self.victim} {self.deed}" if self.deed != "cut" else f"{self.place}: answer lost"


def every_point() -> Iterator[Point]:
    """All of them."""
    for call, own in (("accept", "api"), *((call, "worker") for call in WORKER_CALLS)):
        for when in ("before", "after"):
            for victim in (own, "valkey"):
                for deed in ("killed", "frozen"):
                    yield Point(Place(call, when), victim, deed)
        yield Point(Place(call, "after"), own, "cut")
    for stage, whens in STAGES:
        for when in whens:
            for victim in ("worker", "valkey"):
                for deed in ("killed", "frozen"):
                    yield Point(Place(stage, when), victim, deed)


SHORT = frozenset({
    "after accept: api killed", "after accept: valkey killed", "after accept: answer lost", "before accept: api frozen",
    "after claim: worker killed", "after claim: answer lost", "before content: worker killed",
    "before mark: worker killed", "before mark: worker frozen", "after mark: worker killed", "after mark: worker frozen",
    "after mark: valkey killed", "after mark: answer lost",
    "before settle: worker killed", "before settle: worker frozen", "after settle: worker killed", "after settle: answer lost",
    "before settle: valkey killed", "before DATA: worker frozen", "before DOT: worker killed", "before DOT: worker frozen",
    "after BODY: worker killed", "after DOT: valkey frozen", "after relay down: worker killed",
})  # fmt: skip
"""Those of the short form: the crash table, row by row."""


async def run_point(lane: Lane, auditor: Auditor, point: Point) -> Result:
    """Breaks it there while a few emails are on their way, mends it, and reconciles."""
    began = time.monotonic()
    result = Result(kind="point", name=str(point))
    lane.trap.arm(point.place, _spring(lane, point), _wants(point))
    posting = asyncio.create_task(_post(lane, point))
    try:
        reached = await lane.trap.fired(45)
        if lane.link.is_stopped:
            await lane.link.start()
        async with asyncio.timeout(100):
            await posting
    finally:
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
    await lane.mend()
    if not reached:
        result.broken = "the place was never reached"
    await drain(lane, DRAIN_SECONDS)
    result.verdict = await auditor.verdict()
    result.seconds = time.monotonic() - began
    return result


def _spring(lane: Lane, point: Point) -> Spring:
    at_redis = not point.place.name.isupper()

    async def thaw(slot: str, down: Any, seconds: float) -> None:
        await asyncio.sleep(seconds)
        lane.thaw(slot, down)

    async def spring(who: str) -> bool:
        slot = "valkey" if point.victim == "valkey" else lane.slot_of(who) or "worker-0"
        if point.deed == "cut":
            return False
        if point.deed == "killed":
            lane.kill(slot)
            lane.later(lane.restart(slot))
            return slot == "valkey" and not (at_redis and point.place.when == "before")
        down = lane.freeze(slot)
        if slot == "valkey" or point.place.when == "after":
            lane.later(thaw(slot, down, FREEZE_SECONDS))
            return True
        await asyncio.sleep(FREEZE_SECONDS)
        lane.later(thaw(slot, down, 0.05))
        return True

    return spring


def _wants(point: Point) -> Callable[[Any], bool] | None:
    """After a claim: only one that took something. After the wait for a token: only one that got it."""
    if point.place == Place("claim", "after"):
        return lambda reply: isinstance(reply, list) and bool(reply[0])
    if point.place == Place("wait", "after"):
        return lambda reply: reply is not None
    return None


async def _post(lane: Lane, point: Point) -> None:
    """The emails, and whatever makes the place come by."""
    name = point.place.name
    dice = random.Random(str(point))
    if name in ("CONNECT", "BANNER", "EHLO"):
        await lane.link.cut()
    elif name == "beat":
        lane.witness.replies["DOT"] = Delay(4)
    elif name in ("relay down", "relay probe", "relay up"):
        await lane.link.stop()
    elif name in ("relay seen", "relay accepted"):
        if name == "relay accepted":
            await lane.records.forget_accepted(f"127.0.0.1:{lane.link.port}")
        for slot in lane.slots[1:]:
            lane.kill(slot, signal.SIGTERM)
            lane.later(lane.restart(slot))
    changes: dict[str, Any] = {"size": 3_000_000} if name == "BODY" else {}
    await lane.clients.load(2 if changes else EMAILS, dice, seconds=0.6, side_by_side=2, **changes)
    if name == "relay up":
        await asyncio.sleep(1)
        with contextlib.suppress(OSError):
            await lane.link.start()
