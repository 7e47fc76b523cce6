"""The status page: the verdict, the figures, the charts, who is there, and the newest emails.

Nothing on it costs more with more emails. This module is the status page's route.
"""

from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.response import Redirect

from tasks.figures import STATES, Figures
from tasks.ledger import Ledger
from tasks.record import State
from web.chart import Chart, chart
from web.deeds import verbs
from web.emails import find
from web.frame import Frame, Operator
from web.percentiles import Times, times, totals
from web.pulse import Pulse
from web.verdict import judge

REFRESH_MS: Final = 2000
SEARCH_REFRESH_MS: Final = 10_000
_ID: Final = 36


def charts(figures: Figures) -> list[Chart]:
    """The last hour and the last day."""
    return [chart(figures.minutes, "Last hour by minute"), chart(figures.quarters, "Last day by quarter hour")]


def by_lane(figures: Figures) -> dict[str, Times]:
    """The times to the relay of the last hour, by lane."""
    return {lane: times(figures.hour, lane) for lane in figures.lanes}


def status_routes(frame: Frame, ledger: Ledger, pulse: Pulse) -> list[HTTPRouteHandler]:
    """``GET /status``."""

    @get("/status")
    async def status(
        operator: NamedDependency[Operator],
        wanted: Annotated[str, QueryParameter(name="state", max_length=20)] = "",
        q: Annotated[str, QueryParameter(max_length=200)] = "",
        before: Annotated[int | None, QueryParameter(ge=0, le=2**53)] = None,
    ) -> Response[Any]:
        text = q.strip()
        chosen: State | None = wanted if wanted in STATES else None
        if len(text) == _ID and await ledger.record(text) is not None:
            return Redirect(f"/status/emails/{text}", status_code=303)
        figures = await pulse.figures()
        return frame.page(
            "status.html",
            path="/status",
            operator=operator,
            refresh=0 if before is not None else SEARCH_REFRESH_MS if text else REFRESH_MS,
            now=figures.now,
            figures=figures,
            verdict=judge(figures),
            hour=totals(figures.minutes),
            day=totals(figures.quarters),
            times=times(figures.hour),
            lanes=by_lane(figures),
            charts=charts(figures),
            found=await find(ledger, chosen, text, before),
            states_shown=[each for each in STATES if figures.states[each] or each == chosen],
            verbs=verbs(chosen),
            chosen=chosen,
            text=text,
            before=before,
        )

    return [status]
