"""`python -m tests.prove`: the command line of the fault harness.

This module parses it and puts the parts together.
"""

import argparse
import asyncio
import os

from tests.prove.crew import Case, work_through
from tests.prove.lane import Lane
from tests.prove.points import SHORT, every_point, run_point
from tests.prove.rounds import SETTINGS, PATIENCE, run_round
from tests.prove.report import Report


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flavour", default="usual")
    args = parser.parse_args()
    os.nice(5)
    raise SystemExit(asyncio.run(run(args)))


async def run(args) -> int:
    if args.rounds:
        report = Report(args.rounds)
        kind = args.flavour

        def make(n):
            if kind == "ordered":
                return Lane(f"ordered-{n}", workers=1, patience=PATIENCE, SMTP_CONNECTIONS="1", **SETTINGS)
            return Lane(
                f"rounds-{n}",
                patience=PATIENCE,
                SMTP_CONNECTIONS="3",
                disks=kind == "disks",
                clocks=kind == "clocks",
                **SETTINGS,
            )

        cases = [
            Case("round", str(s), lambda l, a, s=s: run_round(l, a, s, ordered=kind == "ordered"), seed=s)
            for s in range(args.seed, args.seed + args.rounds)
        ]
        await work_through(cases, make, args.lanes, report)
        return 0 if report.close() else 1
    points = [p for p in every_point() if (not args.short or str(p) in SHORT) and args.only in str(p)]
    report = Report(len(points))
    cases = [Case("point", str(p), lambda l, a, p=p: run_point(l, a, p)) for p in points]
    await work_through(cases, lambda n: Lane(f"points-{n}", RETRY_DELAYS="500ms", SMTP_CONNECTIONS="3"), args.lanes, report)
    return 0 if report.close() else 1


main()
