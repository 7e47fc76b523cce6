"""Log files read from their ends.

A chain is what one process slot has written: the current file, then the rotated ones, newest first. It is read backwards in
blocks, each cut to whole lines, with one file open at a time; ``frontier`` says how far back in time it has got, so that
chains can be read side by side without one of them eating the whole budget. Before anything is read it is the moment when the
files were last written, so that slots which ended long ago cost nothing.

This module is the raw side of the log page: names, files, blocks.
"""

import os
import re
import stat
from datetime import UTC, datetime
from pathlib import Path

from tasks.logfile import NAME
from tasks.logline import MAX_LINE

BLOCK = 64 * 1024
"""Bytes of one read."""
CHAINS = 64
"""Slots looked at; where there are more, those with the latest records."""
SKEW_SECONDS = 60.0
"""By so much a record may be newer than its file, where clocks differ."""

_FIRST_TIME = re.compile(rb'\{"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"')


class Chain:
    """One slot's files. ``fd`` is its current file, opened, or -1; ``rotated`` the others, newest first; ``written`` is when
    one of them was last written, in seconds since 1970."""

    def __init__(self, role: str, slot: int, fd: int, rotated: list[Path], written: float) -> None:
        self.role = role
        self.slot = slot
        self.frontier = f"{datetime.fromtimestamp(written + SKEW_SECONDS, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        self.done = False
        self.files = 0
        self.bytes_read = 0
        self._rotated = rotated
        self._start(fd)

    def read(self) -> bytes:
        """The block of whole lines before the last one read; maybe empty. ``done`` turns true when there is no more."""
        while self._end == 0:
            if not self._rotated:
                self.close()
                return b""
            self.close()
            self.done = False
            self._start(open_regular(self._rotated.pop(0)))
        start = max(0, self._end - BLOCK)
        block = os.pread(self._fd, self._end - start, start)
        self.bytes_read += len(block)
        block += self._carry
        self._end = start
        if self._at_tail:  # a line without its newline is being written just now
            block = block[: block.rfind(b"\n") + 1]
            self._at_tail = not block
        # A line that begins further up is carried there; one that is too long just far enough to be seen as such.
        cut = block.find(b"\n") + 1 if start else 0
        self._carry = block[:cut][-MAX_LINE - 2 :]
        block = block[cut:]
        if first := _FIRST_TIME.match(block):
            self.frontier = first[1].decode()
        return block

    def close(self) -> None:
        """Lets go of the open file. To be called in any case."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self.done = True

    def _start(self, fd: int) -> None:
        self._fd = fd
        self._end = os.fstat(fd).st_size if fd >= 0 else 0
        self._carry = b""
        self._at_tail = True
        self.files += fd >= 0


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file, never through a symbolic link; -1 where that is impossible or not allowed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return -1
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1


def list_names(log_dir: Path) -> list[tuple[str, re.Match[str], os.stat_result]]:
    """The log files there are: regular files with a log file's name. Raises OSError where the directory cannot be read."""
    found: list[tuple[str, re.Match[str], os.stat_result]] = []
    with os.scandir(log_dir) as entries:
        for entry in entries:
            match = NAME.fullmatch(entry.name)
            try:
                if match and entry.is_file(follow_symlinks=False):
                    found.append((entry.name, match, entry.stat(follow_symlinks=False)))
            except OSError:  # rotated away or removed meanwhile
                continue
    return found


def open_chains(log_dir: Path, role: str | None) -> tuple[list[Chain], list[str], bool]:
    """The chains of ``role`` (None: all), every role there is, and whether chains were left out. Raises OSError.

    Current files are opened before the rotated ones are listed: a rotation in between then shows a file twice, which its
    inode tells, instead of hiding it.
    """
    names = list_names(log_dir)
    latest: dict[tuple[str, int], float] = {}
    for _, match, status in names:
        key = (match["role"], int(match["slot"]))
        latest[key] = max(latest.get(key, 0.0), status.st_mtime)
    roles = sorted({key[0] for key in latest})
    keys = sorted((key for key in latest if role is None or key[0] == role), key=lambda key: -latest[key])
    opened = {key: open_regular(log_dir / f"{key[0]}-{key[1]}.jsonl") for key in keys[:CHAINS]}
    current = {os.fstat(fd).st_ino for fd in opened.values() if fd >= 0}
    rotated: dict[tuple[str, int], list[Path]] = {key: [] for key in opened}
    for name, match, status in sorted(list_names(log_dir), key=lambda found: found[0], reverse=True):
        key = (match["role"], int(match["slot"]))
        if match["rotated"] and key in rotated and status.st_ino not in current:
            rotated[key].append(log_dir / name)
    chains = [Chain(*key, fd, rotated[key], latest[key]) for key, fd in opened.items()]
    return chains, roles, len(keys) > CHAINS
