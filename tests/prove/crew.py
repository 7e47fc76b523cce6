"""Many cases, a few lanes: each lane takes the next case that fits it until none is left.

A lane on which a case went wrong is kept for inspection (its folder) and replaced. This module is the division of labour.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable

from tests.prove.audit import Auditor
from tests.prove.lane import Lane
from tests.prove.report import Report, Result

stopping = asyncio.Event()
"""Set by a signal: whatever is under way is given up, whatever it waits for, and no new case begins."""

OnLane = Callable[[Lane, Auditor], Awaitable[Result]]
CASE_SECONDS = 300.0


class Case:
    """Something to do on a lane. ``name`` and ``kind`` for the report where it breaks."""

    def __init__(self, kind: str, name: str, work: OnLane, *, seed: int | None = None) -> None:
        self.kind, self.name, self.work, self.seed = kind, name, work, seed


class Waiting:
    """The cases that are left, which may be made one by one."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._cases = iter(cases)
        self._next = next(self._cases, None)

    def __bool__(self) -> bool:
        return self._next is not None and not stopping.is_set()

    def take(self) -> Case:
        """The next one."""
        found = self._next
        assert found is not None
        self._next = next(self._cases, None)
        return found


async def work_through(cases: Iterable[Case], make: Callable[[int], Lane], lanes: int, report: Report) -> None:
    """All ``cases`` on ``lanes`` lanes made by ``make``."""
    waiting = Waiting(cases)

    async def one(number: int) -> None:
        while waiting:
            lane = make(number)
            try:
                await _use(lane, waiting, report)
            except Exception as error:  # a lane that does not start; the case stays in the queue
                report.add(Result(kind="lane", name=lane.name, broken=f"{type(error).__name__}: {error}"))
                if sum(result.kind == "lane" for result in report.results) >= 2:
                    raise

    async with asyncio.TaskGroup() as group:
        for number in range(lanes):
            group.create_task(one(number))


async def _use(lane: Lane, waiting: Waiting, report: Report) -> None:
    async with lane:
        auditor = Auditor(lane)
        while waiting:
            result = await do(waiting.take(), lane, auditor)
            if stopping.is_set():
                return
            report.add(result)
            if not result.is_good:
                lane.keep = True
                return


async def do(case: Case, lane: Lane, auditor: Auditor) -> Result:
    """One case, with whatever goes wrong in it."""
    try:
        result = await bounded(case.work(lane, auditor), CASE_SECONDS)
    except Exception as error:
        result = Result(kind=case.kind, name=case.name, broken=_describe(error))
        with contextlib.suppress(Exception):
            result.verdict = await auditor.verdict()
    result.seed = case.seed if result.seed is None else result.seed
    result.folder = str(lane.folder)
    return result


async def bounded(work: Awaitable[Result], seconds: float) -> Result:
    """What comes of ``work``, unless it takes too long or everything is to stop. A cancellation that gets lost in it does not
    matter: nobody waits for it for longer than a moment."""
    task = asyncio.ensure_future(work)
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise TimeoutError("stopped" if stopping.is_set() else f"not done within {seconds:.0f} s")
    finally:
        for one in (task, stop):
            one.cancel()
        await asyncio.wait({task, stop}, timeout=20)


def _describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
