"""What the log page shows: the newest records over all processes, filtered, within bounds.

All chains are read side by side, always the one whose unread part may be the newest; a record counts as found once no unread
part can be newer. So whatever stops the search - enough records, bytes, time - the page has everything down to one moment
and says which.

Filters are applied to the raw bytes of a whole block first, which is what makes a search through a gigabyte quick; only
lines that may match are decoded. Bad lines are therefore counted among the decoded ones only.

Nothing of a client becomes a file name, and the search text is a plain substring. Synchronous: run it in a thread.

This module is the log page's reader.
"""

import json
import time
from pathlib import Path

import msgspec

from tasks.logline import LEVELS, Entry, Level, decode
from web.logchain import Chain, open_chains

MAX_LIMIT = 1000
MAX_BYTES = 1024 * 1024 * 1024
MAX_SECONDS = 2.0
LEAST_BYTES = 1024 * 1024
"""So much is read however long it takes: on a busy machine a page must not stay empty."""


class LogPage(msgspec.Struct, kw_only=True):
    """``records`` newest first. Where ``truncated``, there may be more, older than ``complete_to`` (UTC), and ``why`` says why.

    ``bad`` counts lines that were not ours: torn, too long, forged. ``files`` and ``bytes_read`` say what was looked at;
    ``roles`` are all there are, for the page's choice.
    """

    records: list[Entry]
    truncated: bool = False
    why: str = ""
    complete_to: str = ""
    bad: int = 0
    files: int = 0
    bytes_read: int = 0
    roles: list[str] = []


def newest(
    log_dir: Path,
    *,
    level: Level | None = None,
    role: str | None = None,
    text: str = "",
    email_id: str = "",
    after: str = "",
    limit: int = 200,
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
) -> LogPage:
    """The newest records of ``level`` or worse whose texts hold ``text`` (in any case) and that concern ``email_id``.

    ``after`` is the ``time`` of the newest record the page already has: only later ones are given, which is how it follows.
    A log directory that cannot be read gives an empty, truncated page that says so. Raises ValueError for a level that is none.
    """
    wanted = Wanted(level, text[:200], email_id[:200], after)
    limit = max(1, min(limit, MAX_LIMIT))
    try:
        chains, roles, left_out = open_chains(log_dir, role)
    except OSError as error:
        return LogPage(records=[], truncated=True, why=f"the log directory cannot be read: {error.strerror}")
    page = LogPage(records=[], roles=roles)
    if left_out:
        page.truncated, page.why = True, "there are more process slots than are looked at; choose a role"
    try:
        _fill(page, chains, wanted, limit, max_bytes, time.monotonic() + max_seconds)
    except OSError as error:
        page.truncated, page.why = True, f"a log file cannot be read: {error.strerror}"
    finally:
        for chain in chains:
            chain.close()
    page.bad = wanted.bad
    page.files = sum(chain.files for chain in chains)
    page.bytes_read = sum(chain.bytes_read for chain in chains)
    return page


class Wanted:
    """Which records are wanted. ``bad`` counts the lines that were decoded in vain."""

    def __init__(self, level: Level | None, text: str, email_id: str, after: str) -> None:
        if level is not None and level not in LEVELS:
            raise ValueError(f"a log level is one of {', '.join(LEVELS)}")
        self.after = after
        self.bad = 0
        self._levels = LEVELS[LEVELS.index(level) :] if level else LEVELS
        self._text = text.lower()
        self._email = email_id
        # What a line must hold, in lower case: one of each tuple.
        self._marks: list[tuple[bytes, ...]] = []
        if len(self._levels) < len(LEVELS):
            self._marks.append(tuple(f'"level":"{word}"'.lower().encode() for word in self._levels))
        for needle in (text, email_id):
            if needle and needle.isascii():
                self._marks.append((json.dumps(needle)[1:-1].lower().encode(),))

    def among(self, block: bytes, role: str, slot: int) -> list[Entry]:
        """The wanted records in a block of whole lines written by that slot."""
        if not self._may_hold(block):
            return []
        found: list[Entry] = []
        for line in block.split(b"\n"):
            if line and self._may_hold(line):
                entry = decode(line)
                if entry is None or entry.role != role or entry.slot != slot:
                    self.bad += 1
                elif self._holds(entry):
                    found.append(entry)
        return found

    def _may_hold(self, raw: bytes) -> bool:
        if not self._marks:
            return True
        raw = raw.lower()
        return all(any(mark in raw for mark in marks) for marks in self._marks)

    def _holds(self, entry: Entry) -> bool:
        if entry.level not in self._levels or entry.time <= self.after:
            return False
        if self._email and entry.email != self._email and self._email not in entry.message:
            return False
        texts = (entry.message, entry.logger, entry.email, entry.request, entry.trace)
        return not self._text or any(self._text in text.lower() for text in texts)


def _fill(page: LogPage, chains: list[Chain], wanted: Wanted, limit: int, max_bytes: int, until: float) -> None:
    found: list[Entry] = []
    unread = list(chains)
    frontier = max((chain.frontier for chain in unread), default="")
    why = ""
    while unread and frontier > wanted.after and not why:
        chain = max(unread, key=lambda each: each.frontier)
        found += wanted.among(chain.read(), chain.role, chain.slot)
        unread = [each for each in unread if not each.done]
        frontier = max((each.frontier for each in unread), default="")
        why = _why_stop(sum(each.bytes_read for each in chains), max_bytes, until) if unread else ""
        if len(found) >= limit and sum(entry.time > frontier for entry in found) >= limit:
            break
    found = [entry for entry in found if entry.time > frontier]
    found.sort(key=lambda entry: entry.time, reverse=True)
    page.records = found[:limit]
    if len(found) > limit or (len(found) == limit and unread):
        why, frontier = f"the newest {limit} are shown", page.records[-1].time
    if why:
        page.truncated, page.why, page.complete_to = True, why, frontier


def _why_stop(bytes_read: int, max_bytes: int, until: float) -> str:
    if bytes_read >= max_bytes:
        return f"{max_bytes // 1_000_000} MB were searched"
    if time.monotonic() >= until and bytes_read >= LEAST_BYTES:
        return f"{bytes_read // 1_000_000} MB were searched"
    return ""
