"""What came of it: a line for each case as it ends, and the table at the end.

On a terminal `rich` draws it; elsewhere it is plain lines. This module is the report.
"""

import sys
import time
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.prove.reconcile import Verdict

KINDS = {"point": "crash points", "round": "random rounds", "scenario": "scenarios", "honesty": "honesty"}


class Result(msgspec.Struct, kw_only=True):
    """One case. ``skipped`` and ``note`` are sentences; ``broken`` is why it could not be carried out."""

    kind: str
    name: str
    verdict: Verdict = msgspec.field(default_factory=Verdict)
    seconds: float = 0
    seed: int | None = None
    note: str = ""
    skipped: str = ""
    broken: str = ""
    folder: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.verdict.is_good and not self.broken


class Report:
    """Collects results and says each at once. ``expected`` is how many will come, for the progress."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.expected = 0
        self._began = time.monotonic()
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
        self._progress = Progress(console=self._console, disable=not sys.stdout.isatty())
        self._bar = self._progress.add_task("cases", total=None)
        self._progress.start()

    def add(self, result: Result) -> None:
        """Another case has ended."""
        self.results.append(result)
        self._progress.update(self._bar, completed=len(self.results), total=self.expected)
        verdict, mark = result.verdict, "ok  "
        if result.skipped:
            mark = "skip"
        elif not result.is_good:
            mark = "BAD "
        seed = f" seed {result.seed}" if result.seed is not None else ""
        figures = (
            f"{verdict.emails} emails, {verdict.handed} copies, {result.seconds:.1f} s"
            if not result.skipped
            else result.skipped
        )
        note = f" · {result.note}" if result.note else ""
        self.say(f"{mark} {len(self.results):>4}/{self.expected} {result.kind} {result.name}{seed}: {figures}{note}")
        for line in [result.broken, *verdict.said[:8]]:
            if line:
                self.say(f"       {line}")
        if not result.is_good and result.folder:
            self.say(f"       kept: {result.folder}")

    def say(self, line: str) -> None:
        """One line."""
        self._console.print(line, markup=False)

    def close(self) -> bool:
        """Prints the points by name and the table; whether all is good."""
        self._progress.stop()
        points = sorted((result for result in self.results if result.kind == "point"), key=lambda point: point.name)
        if points:
            self._console.print(_by_point(points))
        table = Table(title="make prove", title_justify="left")
        table.add_column("")
        for name in ("cases", "emails", "copies", "second copies", "flagged", *Verdict.NUMBERS, "broken", "skipped"):
            table.add_column(name, justify="right")
        kinds = [kind for kind in KINDS if any(result.kind == kind for result in self.results)]
        for kind in kinds:
            table.add_row(KINDS[kind], *_row([result for result in self.results if result.kind == kind]))
        if len(kinds) > 1:
            table.add_section()
            table.add_row("all", *_row([result for result in self.results if result.kind != "honesty"]))
        self._console.print(table)
        seeds = sorted(result.seed for result in self.results if result.seed is not None)
        if seeds:
            self.say(f"seeds: {seeds[0]} to {seeds[-1]}, {len(seeds)} rounds; the plan of one again: --rounds 1 --seed N")
        for result in self.results:
            if result.skipped:
                self.say(f"skipped: {result.name}: {result.skipped}")
        bad = [result for result in self.results if not result.is_good]
        for result in bad:
            self.say(f"BAD: {result.kind} {result.name}{'' if result.seed is None else f' --seed {result.seed}'}")
        self.say(f"{'all good' if not bad else f'{len(bad)} cases are bad'} after {time.monotonic() - self._began:.0f} s")
        return not bad


def _row(results: Sequence[Result]) -> list[str]:
    total = Verdict()
    for result in results:
        total.add(result.verdict)
    numbers = [getattr(total, name) for name in ("emails", "handed", "excused", "flagged", *Verdict.NUMBERS)]
    broken = sum(bool(result.broken) for result in results)
    skipped = sum(bool(result.skipped) for result in results)
    return [f"{number:,}" for number in (len(results) - skipped, *numbers, broken, skipped)]


def _by_point(points: Sequence[Result]) -> Table:
    """A row for each place, a column for each thing that was done there."""
    rows: dict[str, dict[str, str]] = {}
    for result in points:
        place, _, deed = result.name.partition(": ")
        copies = result.verdict.excused
        rows.setdefault(place, {})[deed] = ("ok" if result.is_good else "BAD") + (f" +{copies}" if copies else "")
    deeds = sorted({deed for row in rows.values() for deed in row})
    table = Table(title="crash points (+n: second copies, each excused and flagged)", title_justify="left")
    table.add_column("place")
    for deed in deeds:
        table.add_column(deed)
    for place, row in rows.items():
        table.add_row(place, *(row.get(deed, "") for deed in deeds))
    return table
