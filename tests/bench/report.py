"""What came out, for people: a table on the terminal, and RESULTS.md.

This module is the bench's report.
"""

import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from service.up import valkey_binary
from tests.bench.figures import Figure, Target, number
from tests.bench.theirs import FOLDER

RESULTS = Path(__file__).parent / "RESULTS.md"
_OURS = ("litestar", "msgspec", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "arq", "aiosmtplib", "loguru")
_THEIRS = ("fastapi", "pydantic", "uvicorn", "uvloop", "celery", "kombu", "redis", "flower")


def show(console: Console, figures: Sequence[Figure]) -> None:
    """The table."""
    table = Table(title=None, show_lines=False, expand=False)
    for name in ("", "figure", "min – median – max", "must", "aim", "verdict"):
        table.add_column(name, no_wrap=name in {"", "verdict"})
    for figure in figures:
        colour = {"aim reached": "green", "met": "yellow", "MISSED": "bold red"}.get(figure.verdict, "default")
        target = figure.target
        verdict = f"[{colour}]{figure.verdict}[/]"
        table.add_row(target.name, target.what, f"{figure.spread} {target.unit}", *_bounds(target), verdict)
    console.print(table)
    for figure in figures:
        if figure.detail:
            console.print(f"{figure.target.name}: {figure.detail}", soft_wrap=True, highlight=False)


def _bounds(target: Target) -> tuple[str, str]:
    sign = "≤" if target.at_most else "≥"
    return tuple(f"{sign} {number(bound)}" if bound is not None else "" for bound in (target.must, target.aim))  # type: ignore[return-value]


def write(figures: Sequence[Figure], *, rounds: int, seconds: float) -> None:
    """RESULTS.md, written anew."""
    rows = [
        f"| {figure.target.name} | {figure.target.what} | {figure.spread} {figure.target.unit} | "
        f"{' | '.join(_bounds(figure.target))} | {figure.verdict} |"
        for figure in figures
    ]
    details = [f"- {figure.target.name}: {figure.detail}" for figure in figures if figure.detail]
    today = time.strftime("%Y-%m-%d", time.gmtime())
    RESULTS.write_text(
        "\n".join(
            [
                "# What the bench measured",
                "",
                f"{today}, {rounds} rounds, {seconds / 60:.0f} minutes; written by `make bench`.",
                "",
                "| | figure | min – median – max | must | aim | verdict |",
                "|---|---|---|---|---|---|",
                *rows,
                "",
                "What the ratios are made of: ours · the other; in brackets the CPU an email.",
                "",
                *details,
                "",
                "## Where",
                "",
                *(f"- {line}" for line in _machine()),
                "",
                "## How to repeat it",
                "",
                "`apt-get install postfix wrk` (for `smtp-sink` and `wrk`; no mail server runs), then `make bench`.",
                '`make bench ARGS="--only F1,F3 --rounds 3"` measures a part; `ARGS=--quick` tries whether all of it works.',
                "What is measured, and how, stands in `tests/bench/__init__.py` and `tests/bench/peer/__init__.py`.",
                "",
            ]
        ),
        "utf-8",
    )


def _machine() -> list[str]:
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return [
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {int(memory[1]) / 1e6 if memory else 0:.0f} GB",
        f"{platform.system()} {platform.release().split('-')[0]}; load over the last 15 minutes {os.getloadavg()[2]:.1f}",
        f"Python {platform.python_version()}; {_valkey()} (ours with AOF `always`, the peer's with default settings)",
        "ours: " + ", ".join(f"{name} {metadata.version(name)}" for name in _OURS),
        "the peer: " + ", ".join(_their_versions()),
    ]


def _valkey() -> str:
    said = os.popen(f"'{valkey_binary()}' --version").read()
    found = re.search(r"v=(\S+)", said)
    return f"Valkey {found[1] if found else '?'}"


def _their_versions() -> list[str]:
    lock = (FOLDER / "requirements.txt").read_text()
    return [f"{name} {found[1]}" for name in _THEIRS if (found := re.search(rf"^{name}==(\S+)", lock, re.MULTILINE))]


def console() -> Console:
    """Colours and boxes on a terminal, plain lines otherwise."""
    return Console(width=None if sys.stdout.isatty() else 150, highlight=False)
