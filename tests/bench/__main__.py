"""``python -m tests.bench``: the command line of the bench. Exit 1 where a «must» is missed.

This module puts the parts together.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from tests.bench import report, theirs, tools
from tests.bench.accepting import accepting
from tests.bench.blocking import blocking
from tests.bench.figures import TARGETS, Figure
from tests.bench.growth import growth
from tests.bench.latency import latency
from tests.bench.plan import Plan
from tests.bench.resting import resting
from tests.bench.sending import sending

PARTS: tuple[tuple[frozenset[str], Callable[[Plan], Awaitable[list[Figure]]]], ...] = (
    (frozenset({"F1", "F2"}), accepting),
    (frozenset({"F3", "F4", "F12"}), sending),
    (frozenset({"F5"}), latency),
    (frozenset({"F6", "F7"}), resting),
    (frozenset({"F8", "F9", "F11"}), growth),
    (frozenset({"F10"}), blocking),
)


def main() -> None:
    """Measures what the command line asks for."""
    args = _parser().parse_args()
    console = report.console()
    try:
        for name in tools.NEEDED:
            tools.find(name)
        theirs.install(console.print)
        good = asyncio.run(run(args, console))
    except (tools.ToolMissing, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        good = False
    except (KeyboardInterrupt, asyncio.CancelledError):
        good = False
    finally:
        left = _end_children()
    if left:
        print(f"left behind and killed: {', '.join(left)}", file=sys.stderr)
    raise SystemExit(0 if good else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures the service against its peer.")
    parser.add_argument("--only", metavar="F1,F3", default="", help="only these figures, and those measured with them")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each ratio (default 5)")
    parser.add_argument("--quick", action="store_true", help="only try whether all of it works; RESULTS.md stays as it is")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="half of capacity for so long, and the memory over it")
    return parser


async def run(args: argparse.Namespace, console: Console) -> bool:
    """Whether every «must» was met."""
    with contextlib.suppress(NotImplementedError):
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    rounds = args.rounds or (2 if args.quick else 5)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - began:4.0f} s] {text}", markup=False, soft_wrap=True)

    plan = Plan(rounds, args.quick, say)
    if args.soak:
        from tests.bench.soak import soak

        return await soak(plan, args.soak)
    wanted = {name.strip().upper() for name in args.only.split(",") if name.strip()}
    figures: list[Figure] = []
    for names, part in PARTS:
        if not wanted or wanted & names:
            say(f"measuring {', '.join(sorted(names))}")
            figures += await part(plan)
    order = list(TARGETS)
    figures.sort(key=lambda figure: order.index(figure.target.name))
    report.show(console, figures)
    if not wanted and not args.quick:
        report.write(figures, rounds=rounds, seconds=time.monotonic() - began)
    return all(figure.verdict != "MISSED" for figure in figures)


def _end_children() -> list[str]:
    """Kills whatever this process has started and not ended; their command lines."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
                os.kill(int(folder.name), signal.SIGKILL)
    return found


if __name__ == "__main__":
    main()
