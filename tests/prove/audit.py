"""Waiting until a lane's mail has come to its end, and reconciling it.

This module is where a lane's witness, doors, wires and records are put together into the accounts.
"""

import asyncio
import contextlib
import time

from tasks.store import TROUBLE
from tests.prove.lane import Lane
from tests.prove.reconcile import Handed, Verdict, reconcile
from tests.prove.witness import Copy

LINGER_SECONDS = 2.0
"""Whoever wakes up late, with a copy that it should not send any more, has this long to do so."""


async def drain(lane: Lane, seconds: float) -> float | None:
    """Waits until every email is at its end, hastening those that wait long; how long it took, None where it did not."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with contextlib.suppress(*TROUBLE):  # Valkey may be away for a moment yet
            if await lane.records.open() == 0:
                return time.monotonic() - began
            await lane.records.hasten()
        await asyncio.sleep(0.25)
    return None


class Auditor:
    """Reconciles a lane, each time what was promised since the last."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._promises = 0
        self._copies = 0

    async def standing_only(self) -> Verdict:
        """While faults last: nothing is lost, and nothing has ended."""
        verdict = Verdict()
        promises = self._lane.clients.promises
        standings = await self._lane.records.standings([promise.email for promise in promises])
        for promise in promises:
            standing = standings.get(promise.email)
            if standing is None:
                verdict.blame("lost", f"{promise.email} is not in Redis")
            elif not standing.planned or not standing.why:
                verdict.blame("wrong", f"{promise.email} is {standing.state} while the relay is away: {standing.why}")
        return verdict

    async def verdict(self, *, ordered: bool = False) -> Verdict:
        """The accounts since the last time, older emails that came again included. Call it when the lane is drained."""
        await asyncio.sleep(LINGER_SECONDS)
        lane = self._lane
        late = {copy.email for copy in lane.witness.copies[self._copies :]}
        fresh = lane.clients.promises[self._promises :]
        promises = [*(one for one in lane.clients.promises[: self._promises] if one.email in late), *fresh]
        mine = late | {promise.email for promise in fresh}
        copies = [copy for copy in lane.witness.copies if copy.email in mine]
        self._promises, self._copies = len(lane.clients.promises), len(lane.witness.copies)
        standings = await lane.records.standings([promise.email for promise in promises])
        refused = {said.about for said in lane.witness.said if said.reply.startswith("5")}
        handed = [_handed(lane, copy) for copy in copies]
        verdict = reconcile(promises, handed, standings, refused=refused, ordered=ordered)
        known = await lane.records.accepted()
        if known != len({promise.email for promise in lane.clients.promises}):
            verdict.blame("wrong", f"Redis knows {known} emails, the clients {len(lane.clients.promises)}")
        return verdict


def _handed(lane: Lane, copy: Copy) -> Handed:
    joined = lane.link.joined.get(copy.peer)
    lost = copy.answered is None or (joined is not None and joined.told < copy.answered - 0.05)
    lost = lost and not copy.doubtful  # the worker may have taken something else for the answer
    excused = "its answer was lost" if lost else ""
    if not lost and (copy.doubtful or (joined is not None and joined.may_have_lost(copy.answered or 0))):
        excused = "its answer was perhaps lost"
    excused = excused or _was_away(lane, joined.who if joined else "", copy)
    return Handed(copy.email, tuple(copy.recipients), copy.sha256, copy.at, excused, lost)


def _was_away(lane: Lane, who: str, copy: Copy) -> str:
    """Whether the worker of this copy died or was frozen between its mark and its outcome."""
    own = [note for note in lane.notes[copy.email] if note.who == who]
    mark = max((note.at for note in own if note.what == "mark" and note.at <= copy.at), default=copy.at)
    outcome = min((note.at for note in own if note.what == "settle" and note.at >= copy.at), default=float("inf"))
    for down in lane.downs:
        if down.who == who and down.began <= outcome and (down.died or (down.ended or float("inf")) >= mark):
            return f"{who} {'died' if down.died else 'was frozen'} after its mark"
    return ""
