"""`python -m tests.prove`: the command line of the fault harness. Exit 1 where any number is wrong.

The short form takes the crash table row by row, a few rounds and the stories that are quick; the long one every crash point,
at least 200 rounds, all stories, and the honesty runs. This module puts the parts together.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Iterator

from tests.prove import clocks, disks
from tests.prove.crew import Case, OnLane, bounded, stopping, work_through
from tests.prove.honesty import SAFEGUARDS, check_honesty, run_dishonest
from tests.prove.lane import Lane
from tests.prove.machine import end_children
from tests.prove.points import SHORT, every_point, run_point
from tests.prove.report import Report, Result
from tests.prove.rounds import PATIENCE, SETTINGS, flavour, run_round
from tests.prove.scenarios import STORIES, run_story

LONG_ROUNDS, SHORT_ROUNDS = 208, 12
ASIDE_SECONDS = 700.0


def main() -> None:
    """Runs what the command line asks for."""
    args = _parser().parse_args()
    if args.list:
        for name in (*map(str, every_point()), *STORIES):
            print(name)
        return
    os.nice(5)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of every write to a connection that was cut
    good = False
    try:
        good = asyncio.run(prove(args))
    finally:
        left = end_children()
    if left:
        print(f"left behind and killed: {', '.join(left)}", file=sys.stderr)
    raise SystemExit(0 if good and not left else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.prove", description="Breaks the real processes and counts the emails."
    )
    parser.add_argument("--short", action="store_true", help="at most three minutes")
    parser.add_argument("--minutes", type=float, help="go on with random rounds until so many minutes are over")
    parser.add_argument("--seed", type=int, help="the first round's seed; a new one each time where it is not given")
    parser.add_argument("--rounds", type=int, help="only random rounds, so many")
    parser.add_argument("--point", metavar="TEXT", help="only the crash points whose name has this in it")
    parser.add_argument("--scenario", choices=[*STORIES], help="only this scenario, in its long form unless --short")
    parser.add_argument("--dishonest", choices=[*SAFEGUARDS], help="the product without this safeguard: must exit with 1")
    parser.add_argument("--honesty", action="store_true", help="without each safeguard in turn: each must be noticed")
    parser.add_argument("--lanes", type=int, default=8, help="stacks that take crash points side by side (default 8)")
    parser.add_argument("--list", action="store_true", help="the names of all crash points and scenarios")
    return parser


async def prove(args: argparse.Namespace) -> bool:
    """Whether everything came out even."""
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 10**6)
    report = Report()
    end = time.monotonic() + args.minutes * 60 if args.minutes else None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if args.dishonest:
        report.add(await run_dishonest(args.dishonest))
    elif args.honesty:
        await _one_by_one(report, [check_honesty(what) for what in SAFEGUARDS], 3)
    elif args.scenario:
        report.add(await run_story(args.scenario, args.short))
    elif args.point:
        await _points(report, args.point, False, args.lanes)
    elif args.rounds:
        await _rounds(report, seed, args.rounds, None, args.lanes)
    else:
        await _everything(report, args, seed, end)
    good = report.close()
    if stopping.is_set():
        report.say("stopped by a signal before the end")
    return good and not stopping.is_set()


async def _everything(report: Report, args: argparse.Namespace, seed: int, end: float | None) -> None:
    for what, why in (("disk full", disks.why_not()), ("clock steps", clocks.WHY_NOT)):
        if why:
            report.add(Result(kind="round", name=what, skipped=why))
    aside = [check_honesty(what) for what in reversed(SAFEGUARDS)]  # the longest first
    aside += [run_story(name, args.short) for name in STORIES]
    rounds = _rounds(report, seed, SHORT_ROUNDS if args.short else LONG_ROUNDS, end, args.lanes)
    idle = [_points(report, "", args.short, args.lanes), _one_by_one(report, aside, 6 if args.short else 2)]
    if args.short:
        await asyncio.gather(*idle, rounds)
    else:  # rounds keep two cores busy; the rest mostly waits
        await asyncio.gather(*idle)
        await rounds


async def _one_by_one(report: Report, cases: list[Awaitable[Result]], at_once: int) -> None:
    turn = asyncio.Semaphore(at_once)

    async def one(case: Awaitable[Result]) -> None:
        async with turn:
            try:
                report.add(await bounded(case, ASIDE_SECONDS))
            except TimeoutError as error:
                if not stopping.is_set():
                    report.add(Result(kind="scenario", name="aside", broken=str(error)))

    report.expected += len(cases)
    await asyncio.gather(*map(one, cases))


async def _points(report: Report, text: str, short: bool, lanes: int) -> None:
    points = [point for point in every_point() if text in str(point) and (not short or str(point) in SHORT)]
    report.expected += len(points)
    cases = (Case("point", str(point), lambda lane, auditor, point=point: run_point(lane, auditor, point)) for point in points)
    await work_through(cases, lambda n: Lane(f"points-{n}", RETRY_DELAYS="500ms", SMTP_CONNECTIONS="3"), lanes, report)


async def _rounds(report: Report, seed: int, count: int, end: float | None, lanes: int) -> None:
    """``count`` rounds, and more until ``end``; each flavour has lanes of its own."""
    report.expected += count
    flavours = ("usual", "disks", "ordered", "clocks")

    def seeds(kind: str) -> Iterator[Case]:
        number = seed
        while number < seed + count or (end is not None and time.monotonic() < end):
            if flavour(number) == kind:
                work = _round(number, kind)
                yield Case("round", f"of seed {number}", work, seed=number)
            number += 1

    share = {"usual": max(1, lanes // 3), "disks": 1, "ordered": 1, "clocks": 1}
    await asyncio.gather(
        *(work_through(seeds(kind), lambda n, kind=kind: _lane(kind, n), share[kind], report) for kind in flavours)
    )


def _round(seed: int, kind: str) -> OnLane:
    return lambda lane, auditor: run_round(lane, auditor, seed, ordered=kind == "ordered")


def _lane(kind: str, number: int) -> Lane:
    name = f"{kind}-{number}"
    if kind == "ordered":
        return Lane(name, workers=1, patience=PATIENCE, SMTP_CONNECTIONS="1", **SETTINGS)
    can_fill, can_step = kind == "disks" and not disks.why_not(), kind == "clocks" and not clocks.WHY_NOT
    return Lane(name, patience=PATIENCE, SMTP_CONNECTIONS="3", disks=can_fill, clocks=can_step, **SETTINGS)


if __name__ == "__main__":
    main()
