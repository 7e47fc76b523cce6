"""The file that one process slot writes, and nobody else.

::

    LOG_DIR/worker-0.lock                              flock'ed by the process that has the slot
    LOG_DIR/worker-0.jsonl                             what it writes now, up to 10 MB
    LOG_DIR/worker-0.20260131T120000000000.jsonl       rotated at that moment (UTC); the newest five stay

One writer a file is what makes rotation safe: where several processes rotate one file, lines are lost. The lowest free slot
is taken, so restarts reuse files instead of leaving one behind for every process id, and the total is bounded by 60 MB times
the largest number of processes of a role that ever ran at once.

loguru's own file sink is not used: after a failed write it keeps the half-written buffer and the closed file, and a
rotation that fails once fails at every record after it. Here nothing raises and nothing is buffered: a record is one
``write`` of one whole line, a short write is taken back, and after an error everything is closed and opened anew, at most
once a second, until the disk is back.

This module is the log on disk.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROTATE_BYTES = 10_000_000
KEEP = 5
"""Rotated files kept a slot."""
_SLOTS = 256
_AGAIN_SECONDS = 1.0
_STAMP = "%Y%m%dT%H%M%S%f"

NAME = re.compile(r"(?P<role>[a-z][a-z0-9_]{0,31})-(?P<slot>0|[1-9]\d{0,2})(?:\.(?P<rotated>\d{8}T\d{12}))?\.jsonl")
"""The whole name of a log file (use ``fullmatch``)."""


class LogFile:
    """The file of the lowest free slot of ``role``. Opened at the first ``slot()``; not for two threads at once.

    ``on_trouble`` gets the error of every failed attempt to open or write, at most one a second.
    """

    def __init__(
        self,
        log_dir: Path,
        role: str,
        on_trouble: Callable[[OSError], None],
        *,
        rotate_bytes: int = ROTATE_BYTES,
        keep: int = KEEP,
    ) -> None:
        self._dir = log_dir
        self._role = role
        self._on_trouble = on_trouble
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._slot = -1
        self._lock = self._fd = -1
        self._size = 0
        self._look_at = 0.0

    @property
    def path(self) -> Path:
        """Where records go, or would go (as slot 0) if the directory could be written."""
        return self._dir / f"{self._role}-{max(self._slot, 0)}.jsonl"

    def slot(self) -> int:
        """The slot that is held, taken now if need be; -1 where none can be had at the moment."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _AGAIN_SECONDS
            try:
                if self._fd >= 0 and not self._is_ours():
                    self.close()
                if self._fd < 0:
                    self._open()
            except OSError as error:
                self._give_up(error)
        return self._slot

    def append(self, line: bytes) -> bool:
        """Whether the line (with its newline) was written whole. Never raises."""
        if self._fd < 0:
            return False
        try:
            if self._size and self._size + len(line) > self._rotate_bytes:
                self._rotate()
            written = os.write(self._fd, line)
            if written < len(line):
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        except OSError as error:
            self._give_up(error)
            return False
        self._size += written
        return True

    def close(self) -> None:
        """Gives the slot back. In a forked child it leaves the parent's lock alone, for the parent holds it too."""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = self._slot = -1
        self._look_at = 0.0

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._look_at = time.monotonic() + _AGAIN_SECONDS
        self._on_trouble(error)

    def _open(self) -> None:
        self._dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        why: OSError = BlockingIOError(errno.EAGAIN, "every slot is taken")
        for slot in range(_SLOTS):
            try:
                if self._take(slot):
                    self._retain()
                    return
            except PermissionError as error:  # another user's files: leave them alone
                why = error
        raise why

    def _take(self, slot: int) -> bool:
        lock = os.open(self._dir / f"{self._role}-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._slot = slot
            self._start_file()
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:
            os.close(lock)
            self._slot = -1
            raise
        self._lock = lock
        return True

    def _start_file(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o640)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(self.path))
            self._size = status.st_size
            if self._size and os.pread(fd, 1, self._size - 1) != b"\n":  # the machine stopped in the middle of a line
                self._size += os.write(fd, b"\n")
        except OSError:
            os.close(fd)
            raise
        self._fd = fd

    def _is_ours(self) -> bool:
        """Whether file and lock still are where their names say: someone may have removed or moved them."""
        try:
            return all(
                os.path.samestat(os.fstat(fd), os.lstat(path))
                for fd, path in ((self._fd, self.path), (self._lock, self.path.with_suffix(".lock")))
            )
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        rotated = self._rotated()
        moment = datetime.now(UTC)
        if rotated:  # a clock that was set back must not make the newest look oldest
            last = datetime.strptime(rotated[-1].name.split(".")[1], _STAMP).replace(tzinfo=UTC)
            moment = max(moment, last + timedelta(microseconds=1))
        self.path.rename(self.path.with_suffix(f".{moment.strftime(_STAMP)}.jsonl"))
        os.close(self._fd)
        self._fd = -1
        self._start_file()
        self._retain()

    def _rotated(self) -> list[Path]:
        """This slot's rotated files, oldest first."""
        names = ((entry.name, NAME.fullmatch(entry.name)) for entry in os.scandir(self._dir))
        mine = (self._role, str(self._slot))
        return [
            self._dir / name
            for name, match in sorted((n, m) for n, m in names if m is not None)
            if match["rotated"] and (match["role"], match["slot"]) == mine
        ]

    def _retain(self) -> None:
        for path in self._rotated()[: -self._keep]:
            path.unlink(missing_ok=True)
