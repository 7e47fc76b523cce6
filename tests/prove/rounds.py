"""Random rounds: a seed makes a plan, the plan is carried out while emails come in, then everything must come out even.

The plan says which fault happens when, and which email meets which reply at which stage; the same seed makes the same plan,
whatever else happens. A round with an even pace (``ordered``) has one worker with one connection and only such faults as
must not change the order. This module is the dice.
"""

import asyncio
import random
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tests.conversation import Action
from tests.prove.audit import Auditor, drain
from tests.prove.lane import FREEZE_SECONDS, Lane
from tests.prove.link import Wire, undisturbed
from tests.prove.report import Result
from tests.relay import Close, Delay, Hang, Raw, Reset, Trickle

EMAILS = 110
LOAD_SECONDS = 4.0
DRAIN_SECONDS = 100.0
PATIENCE = 3.0
"""What the workers of these lanes grant the relay at each stage, in seconds."""

SETTINGS = {
    "RETRY_DELAYS": "500ms",
    "SMTP_TIMEOUTS": ",".join(
        f"{stage}={PATIENCE:g}s" for stage in ("connect", "greeting", "ehlo", "mail", "rcpt", "data", "dot")
    ),
}
_LATER = {"MAIL": "451 4.3.0 busy", "RCPT": "450 4.2.1 mailbox busy", "DATA": "451 4.3.0 busy", "DOT": "451 4.3.0 later"}
_NEVER = {
    "MAIL": "550 5.1.8 bad sender", "RCPT": "550 5.1.1 no such user", "DATA": "554 5.6.0 not this", "DOT": "554 5.6.0 refused",
}  # fmt: skip
_YES = {"MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", "DOT": "250 2.0.0 ok"}
_ABOUT = re.compile(r"[sr](\d+)[.@]")


class Fault(NamedTuple):
    """``at`` and ``seconds`` from the round's start; ``whom`` a slot or a disk; ``how`` what a wire or a clock does."""

    at: float
    what: str
    whom: str = ""
    seconds: float = 0
    how: Any = None

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{self.at:.1f}s", self.what, self.whom)))


class Plan(msgspec.Struct):
    """``replies`` is by the email's place in the round and the stage, one action for each time it gets there; ``openings``
    are what the next connections meet instead of a banner."""

    seed: int
    faults: list[Fault]
    replies: dict[tuple[int, str], list[Action]]
    openings: list[Action]
    think: float
    """What the relay takes its time for before it answers a dot, so that workers have their hands full."""


def flavour(seed: int) -> str:
    """The kind of lane that a seed's round takes place on."""
    return ("usual", "ordered", "usual", "disks", "usual", "clocks", "usual", "disks")[seed % 8]


def make_plan(seed: int, lane: Lane, *, ordered: bool) -> Plan:
    """The plan of a seed for a lane of this kind."""
    dice = random.Random(seed)
    kinds: list[Callable[[random.Random], Fault]] = [_away, _kill_api]
    if not ordered:
        kinds += [_kill_worker, _kill_worker, _stop_worker, _kill_valkey, _freeze, _freeze, _wire, _wire, _wire, _reset_all]
        if lane.disks:
            kinds += [_fill, _fill]
        if lane.clocks:
            kinds += [_step] * 4
    faults = sorted(dice.choice(kinds)(dice) for _ in range(dice.randint(1, 4)))
    share = dice.choice([0, 0.05, 0.15, 0.4])
    replies: dict[tuple[int, str], list[Action]] = defaultdict(list)
    for place in range(EMAILS):
        if dice.random() < share:
            stage = dice.choice(["MAIL", "RCPT", "DATA", "DOT", "DOT"])
            replies[place, stage] = [_action(dice, stage) for _ in range(dice.choice([1, 1, 2]))]
    openings = [_opening(dice) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
    return Plan(seed, faults, replies, openings, dice.choice([0, 0, 0.02, 0.1]))


def _at(dice: random.Random) -> float:
    return round(dice.uniform(0.2, LOAD_SECONDS), 2)


def _away(dice: random.Random) -> Fault:
    return Fault(_at(dice), "relay down", seconds=dice.uniform(0.5, 5))


def _kill_api(dice: random.Random) -> Fault:
    return Fault(_at(dice), "kill", "api", dice.uniform(0, 1))


def _kill_worker(dice: random.Random) -> Fault:
    return Fault(_at(dice), "kill", dice.choice(["worker-0", "worker-1"]), dice.uniform(0, 2))


def _stop_worker(dice: random.Random) -> Fault:
    return Fault(_at(dice), "stop", dice.choice(["worker-0", "worker-1"]), dice.uniform(0, 2))


def _kill_valkey(dice: random.Random) -> Fault:
    return Fault(_at(dice), "kill", "valkey", dice.uniform(0.1, 4))


def _freeze(dice: random.Random) -> Fault:
    seconds = FREEZE_SECONDS if dice.random() < 0.25 else dice.uniform(0.5, 7)
    return Fault(_at(dice), "freeze", dice.choice(["api", "valkey", "worker-0", "worker-1"]), seconds)


def _wire(dice: random.Random) -> Fault:
    wires = {
        "slow": Wire(delay=dice.uniform(0.02, 0.4)),
        "thin": Wire(rate=dice.choice([3000, 10_000, 50_000])),
        "cut": Wire(bytes=dice.randint(1, 4000), end="cut"),
        "reset": Wire(bytes=dice.randint(1, 4000), end="reset"),
        "half-open": Wire(bytes=dice.randint(1, 4000), end="silent"),
    }
    name = dice.choice(list(wires))
    return Fault(_at(dice), "wire", name, dice.uniform(0.5, 4), wires[name])


def _reset_all(dice: random.Random) -> Fault:
    return Fault(_at(dice), "reset all connections")


def _fill(dice: random.Random) -> Fault:
    return Fault(_at(dice), "disk full", dice.choice(["aof", "aof", "log"]), dice.uniform(0.5, 4))


def _step(dice: random.Random) -> Fault:
    whom = dice.choice(["api", "worker-0", "worker-1", "valkey"])
    steps = [-30, 30] if whom == "valkey" else [-86400, -3600, -30, 30, 3600, 86400]  # leases are as long as Redis' clock says
    return Fault(_at(dice), "clock", whom, 30, dice.choice(steps))


def _action(dice: random.Random, stage: str) -> Action:
    yes = _YES[stage]
    return dice.choice([
        _LATER[stage], _LATER[stage], _NEVER[stage], Close(), Close("421 4.3.2 going down"), Reset(), Hang(),
        Raw(b"\x00\xff what?\r\n"), Raw(f"{yes}\r\n{yes}\r\n".encode()), Raw(f"{yes}\r\n".encode(), b"250 early\r\n", 0.02),
        Trickle(yes, 0.03), Delay(dice.uniform(0.1, 1.5)), Delay(PATIENCE + 1.5),
    ])  # fmt: skip


def _opening(dice: random.Random) -> Action:
    return dice.choice(
        ["421 4.3.2 busy", "554 5.3.2 not here", Close(), Reset(), Hang(), Raw(b"HTTP/1.1 400\r\n\r\n"), Delay(1)]
    )


async def run_round(lane: Lane, auditor: Auditor, seed: int, *, ordered: bool) -> Result:
    """Carries out the plan of ``seed`` and reconciles."""
    began = time.monotonic()
    plan = make_plan(seed, lane, ordered=ordered)
    first = lane.clients.next_number
    for stage in _YES:
        lane.witness.replies[stage] = _script(plan, stage, first)
    lane.witness.replies["banner"] = lambda _: plan.openings.pop() if plan.openings else None
    load = lane.clients.load(EMAILS, random.Random(seed), seconds=LOAD_SECONDS, side_by_side=1 if ordered else 6)
    posting = asyncio.create_task(load)
    try:
        await asyncio.gather(*(_carry_out(lane, fault) for fault in plan.faults))
        await posting
    finally:
        posting.cancel()
    await lane.mend()
    took = await drain(lane, DRAIN_SECONDS)
    verdict = await auditor.verdict(ordered=ordered)
    name = "; ".join(map(str, plan.faults)) + f"; {len(plan.replies)} odd replies" + ("; ordered" if ordered else "")
    note = f"flowed within {took:.0f} s" if took is not None else f"did not flow within {DRAIN_SECONDS:.0f} s"
    return Result(kind="round", name=name, verdict=verdict, seconds=time.monotonic() - began, seed=seed, note=note)


def _script(plan: Plan, stage: str, first: int) -> Callable[[str], Action]:
    def script(about: str) -> Action:
        found = _ABOUT.match(about)
        left = plan.replies.get((int(found[1]) - first, stage)) if found else None
        if left:
            return left.pop(0)
        return Delay(plan.think) if stage == "DOT" and plan.think else None

    return script


async def _carry_out(lane: Lane, fault: Fault) -> None:
    await asyncio.sleep(fault.at)
    match fault.what:
        case "kill" | "stop":
            lane.kill(fault.whom, signal.SIGKILL if fault.what == "kill" else signal.SIGTERM)
            await lane.restart(fault.whom, fault.seconds)
        case "freeze":
            down = lane.freeze(fault.whom)
            await asyncio.sleep(fault.seconds)
            lane.thaw(fault.whom, down)
        case "relay down":
            await lane.link.stop()
            await asyncio.sleep(fault.seconds)
            if lane.link.is_stopped:
                await lane.link.start()
        case "wire":
            lane.link.choose = lambda _: fault.how
            await lane.link.cut()
            await asyncio.sleep(fault.seconds)
            lane.link.choose = undisturbed
        case "reset all connections":
            await lane.link.cut()
        case "disk full":
            await asyncio.to_thread(lane.disks[fault.whom].fill)
            await asyncio.sleep(fault.seconds)
            lane.disks[fault.whom].free()
            await lane.start_slot("valkey")
        case _:
            lane.clocks[fault.whom].step(fault.how)
