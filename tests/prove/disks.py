"""A small disk of its own for one folder, which can be filled up and emptied again.

It is a tmpfs, which only root can mount. This module is the disk.
"""

import contextlib
import functools
import os
import subprocess
import tempfile
from pathlib import Path


class Disk:
    """Mounted on ``folder`` when made. Raises CalledProcessError where that is not allowed."""

    def __init__(self, folder: Path, size: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._filler = folder / "filler"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "prove", str(folder)], check=True, capture_output=True)

    def fill(self) -> None:
        """Takes all the room there is."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass

    def free(self) -> None:
        """Gives it back."""
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Takes the disk away, with what is on it."""
        subprocess.run(["umount", "-l", str(self._folder)], check=False, capture_output=True)


@functools.cache
def why_not() -> str:
    """Why no disk can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "only root can mount a tmpfs"
    with tempfile.TemporaryDirectory(prefix="prove-disk-") as folder:
        try:
            Disk(Path(folder), "1m").unmount()
        except (OSError, subprocess.CalledProcessError):
            return "mounting a tmpfs is not allowed here"
    return ""
