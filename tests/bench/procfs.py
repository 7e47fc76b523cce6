"""CPU and memory of processes, read from /proc.

Memory is PSS: a page that several processes share counts once, which is fair to a peer that forks. This module is the only
one that reads /proc.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """A process with all that descend from it."""
    found = [pid]
    for one in found:
        for task in (PROC / str(one) / "task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU that the living threads of a process have used, to the nanosecond; 0 where it has ended."""
    total = 0
    for path in (PROC / str(pid) / "task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:  # ended meanwhile
            continue
    return total / 1e9


def memory(pid: int) -> int:
    """Bytes of a process, shared pages in part; 0 where it has ended."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class Crowd:
    """Processes by name, one or many a name; what they start later is not among them."""

    def __init__(self, pids: Mapping[str, int | list[int]]) -> None:
        self._pids = {name: [which] if isinstance(which, int) else which for name, which in pids.items()}

    def cpu(self) -> dict[str, float]:
        """Seconds by name."""
        return {name: sum(map(cpu, pids)) for name, pids in self._pids.items()}

    def memory(self) -> dict[str, int]:
        """Bytes by name."""
        return {name: sum(map(memory, pids)) for name, pids in self._pids.items()}


class Spent(msgspec.Struct):
    """CPU seconds by name between two moments."""

    seconds: dict[str, float]

    @classmethod
    def between(cls, before: Mapping[str, float], after: Mapping[str, float]) -> "Spent":
        """What was used from ``before`` to ``after``."""
        return cls({name: after[name] - before[name] for name in after})

    @property
    def total(self) -> float:
        """Of all together."""
        return sum(self.seconds.values())

    def each(self, count: int) -> str:
        """Microseconds a piece, for people."""
        return ", ".join(f"{name} {used / max(1, count) * 1e6:.0f} µs" for name, used in self.seconds.items())
