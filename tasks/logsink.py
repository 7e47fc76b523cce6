"""Where loguru puts its records: into this process' file and, readable, onto stderr.

Both come from one entry, made once. Nothing here raises: a log call must not fail the mail. Where the file cannot be written
records go to stderr alone, and the first one written again says how many it lacks.

The two lines that every email has in its usual life come thousands of times a second. They do not pass loguru, which looks up
much that they do not show, but come here at once (``soon``); those of one turn of the event loop are written together, in
their place among the others.

This module is loguru's sink.
"""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from tasks.logfile import LogFile
from tasks.logline import NAME_CHARS, Cleaner, Entry, Level, encode, level_of, readable

if TYPE_CHECKING:
    from loguru import Message, Record

Raised = tuple[type[BaseException], BaseException, TracebackType | None]

COMPLAIN_SECONDS = 60.0


class Sink:
    """Where loguru puts records: into the file and onto stderr. Never raises."""

    current: "ClassVar[Sink | None]" = None
    """The one that ``log.setup`` has put in place."""

    def __init__(self, role: str, log_dir: Path, cleaner: Cleaner, *, stderr: bool, takes_info: bool = True) -> None:
        self._role = role
        self._takes_info = takes_info
        self._thread = threading.get_ident()
        self._turn: list[tuple[float, str, str, str]] = []
        self._stderr = stderr
        self._cleaner = cleaner
        self._clean_name = lru_cache(256)(partial(cleaner.clean, limit=NAME_CHARS))
        self._moment = (0, "")
        self._pid = os.getpid()
        self._lost = 0
        self._complain_at = 0.0
        self._here = threading.local()
        self._late: deque[Entry] = deque(maxlen=1000)
        self._file = LogFile(log_dir, role, self._complain)
        self._file.slot()

    @property
    def path(self) -> Path:
        """The file that is written now."""
        return self._file.path

    def format(self, record: "Record") -> str:
        """Keeps loguru from formatting the traceback: an exception whose own code raises would lose the record."""
        loose = cast("dict[str, Any]", record)
        loose["held exception"], loose["exception"] = record["exception"], None
        return ""

    def write(self, message: "Message") -> None:
        """One record to file and stderr; then those that came from within (a ``__del__`` run by the garbage collector)."""
        self._here.busy = True
        try:
            self._put_turn()
            loose = cast("dict[str, Any]", message.record)
            loose["exception"] = loose.pop("held exception", None)
            self._put(self._entry(message.record))
            while self._late:
                self._put(self._late.popleft())
        except Exception as error:  # noqa: BLE001  a log call must not fail the mail
            say(f"log: a record was lost: {type(error).__name__}\n")
        finally:
            self._here.busy = False

    def soon(self, name: str, email: str, text: str) -> bool:
        """Takes an INFO line about an email, to be written in this turn of the event loop. False where there is none."""
        if threading.get_ident() != self._thread:
            return False
        if not self._takes_info:
            return True
        if not self._turn:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                return False
        self._turn.append((time.time(), name, email, text))
        return True

    def flush(self) -> None:
        """Writes what ``soon`` has taken."""
        self._here.busy = True
        try:
            self._put_turn()
        except Exception as error:  # noqa: BLE001  a log call must not fail the mail
            say(f"log: records were lost: {type(error).__name__}\n")
        finally:
            self._here.busy = False

    def later(self, level: Level, name: str, text: str, exc: Raised | None) -> bool:
        """Takes a record of a thread that is just writing one, where loguru would refuse it. False: it is not."""
        if not getattr(self._here, "busy", False):
            return False
        self._late.append(self._make(time.time(), level, name, text, exc))
        return True

    def stop(self) -> None:
        """Called by loguru when the sink is removed."""
        self.flush()
        if Sink.current is self:
            Sink.current = None
        self._file.close()

    def reopen(self) -> None:
        """In a forked child: a slot of its own."""
        self._turn.clear()
        self._file.close()
        self._pid = os.getpid()

    def _entry(self, record: "Record") -> Entry:
        extra = record["extra"]
        exc = record["exception"]
        entry = self._make(
            record["time"].timestamp(),
            level_of(record["level"].no),
            str(extra.get("logger") or record["name"] or "?"),
            record["message"],
            (exc.type, exc.value, exc.traceback) if exc and exc.type and exc.value else None,
        )
        if email := extra.get("email"):
            entry.email = self._cleaner.clean(str(email), NAME_CHARS)
        if request := extra.get("request"):
            entry.request = self._cleaner.clean(str(request), NAME_CHARS)
        return entry

    def _make(self, at: float, level: Level, name: str, text: str, exc: Raised | None) -> Entry:
        second, micros = divmod(round(at * 1e6), 1_000_000)
        if second != self._moment[0]:  # many records share a second, and writing it out takes as long as the rest
            self._moment = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return Entry(
            time=f"{self._moment[1]}.{micros:06d}Z",
            level=level,
            role=self._role,
            slot=self._file.slot(),
            pid=self._pid,
            logger=self._clean_name(name),
            message=self._cleaner.clean(text.strip("\n")),
            trace=self._cleaner.trace(*exc) if exc else "",
        )

    def _put_turn(self) -> None:
        turn, self._turn = self._turn, []
        if not turn:
            return
        entries: list[Entry] = []
        for at, name, email, text in turn:
            entry = self._make(at, "INFO", name, text, None)
            entry.email = email
            entries.append(entry)
        self._write(b"".join(map(encode, entries)), len(entries))
        if self._stderr:
            say("".join(map(readable, entries)))

    def _put(self, entry: Entry) -> None:
        self._write(encode(entry), 1)
        if self._stderr or entry.level == "CRITICAL":  # what ends the process is told in any case
            say(readable(entry))

    def _write(self, lines: bytes, count: int) -> None:
        if not self._file.append(lines):
            self._lost += count
        elif self._lost:
            lost, self._lost = self._lost, 0
            text = f"{lost} records before now could not be written to this file"
            self._put(self._make(time.time(), "WARNING", __name__, text, None))

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + COMPLAIN_SECONDS
            say(f"log: cannot write {self.path} ({error.strerror}); tried again every second, told every minute\n")


def say(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # no stderr, a broken pipe, a closed stream
        pass
