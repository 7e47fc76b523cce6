"""The harness's own honesty: with a safeguard of the product taken out, it must say so.

======== ================================================= =======================================
lease    the mark no longer asks whose email it is         a copy that nothing excuses
mark     the dot mark is not written                       a second copy that is not flagged
sweeper  the sweeper mends nothing                         mail that is stuck
======== ================================================= =======================================

This module is the harness under test.
"""

import time

from tests.prove.audit import Auditor
from tests.prove.lane import Lane
from tests.prove.points import Point, run_point
from tests.prove.report import Result
from tests.prove.scenarios import damaged_queue
from tests.prove.trap import Place

POINTS = {
    "lease": (Point(Place("DATA", "before"), "worker", "frozen"), "copies"),
    "mark": (Point(Place("DOT", "before"), "worker", "killed"), "unflagged"),
}
SAFEGUARDS = {**{what: number for what, (_, number) in POINTS.items()}, "sweeper": "stuck"}
"""What can be taken out, and the number that must then not be 0."""


async def run_dishonest(what: str) -> Result:
    """The case that shows the missing safeguard, as it comes out."""
    result = Result(kind="honesty", name=f"without the {what}")
    began = time.monotonic()
    if what == "sweeper":
        result.verdict = await damaged_queue(result, True, dishonest=what)
    else:
        async with Lane(f"without-{what}", dishonest=what, RETRY_DELAYS="500ms", SMTP_CONNECTIONS="3") as lane:
            found = await run_point(lane, Auditor(lane), POINTS[what][0])
        result.verdict, result.broken = found.verdict, found.broken
    result.seconds = time.monotonic() - began
    return result


async def check_honesty(what: str) -> Result:
    """The same, turned round: good is what reports the missing safeguard."""
    try:
        found = await run_dishonest(what)
    except Exception as error:
        return Result(kind="honesty", name=f"without the {what}", broken=f"{type(error).__name__}: {error}")
    number = SAFEGUARDS[what]
    reported = getattr(found.verdict, number)
    result = Result(kind="honesty", name=found.name, seconds=found.seconds, broken=found.broken)
    result.note = f"reported as {number}: {reported}"
    if not reported:
        result.broken = f"not noticed: {number} is 0"
    return result
