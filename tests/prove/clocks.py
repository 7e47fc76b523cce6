"""A clock of its own for one process, which can be stepped while it runs; the machine's is never touched.

libfaketime (Debian's package ``faketime``) reads the offset from a file once a second. This module is the clock.
"""

import contextlib
from pathlib import Path

_LIBRARIES = (f"/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1" for arch in ("x86_64", "aarch64"))
LIBRARY = next((path for path in _LIBRARIES if Path(path).exists()), None)
WHY_NOT = "" if LIBRARY else "the Debian package faketime is not installed"


class Clock:
    """The clock of one slot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)

    def step(self, seconds: float) -> None:
        """Sets it so many seconds ahead of the machine's (or behind)."""
        with contextlib.suppress(FileNotFoundError):
            self._path.write_text(f"{seconds:+.3f}\n", "ascii")

    def env(self) -> dict[str, str]:
        """What makes a process use it. Monotonic time stays true."""
        if LIBRARY is None:
            return {}
        return {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }
