"""The status page: the verdict, the figures, the charts, who is there, and the newest emails.

Nothing on it costs more with more emails. The minutes of the day are read once a minute and only while somebody looks, those
of the last hour each time.

This module is the status page's numbers and its route.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.response import Redirect

from tasks.ledger import STATES, Figures, Ledger, Minute
from tasks.record import Record, State
from web.chart import by_quarter, chart
from web.frame import Frame, Operator
from web.verdict import judge

PAGE: Final = 30
SEARCHED: Final = 500
REFRESH_MS: Final = 2000
SEARCH_REFRESH_MS: Final = 10_000
DAY: Final = 1440
_DAY_MS: Final = 60_000
_ID: Final = 36


class Totals(msgspec.Struct, frozen=True):
    """Counters added up, and the times from acceptance to the relay's 250: upper bounds in ms, None without any."""

    accepted: int
    sent: int
    failed: int
    p50: int | None
    p95: int | None
    p99: int | None


class Found(msgspec.Struct, frozen=True):
    """Emails for the list. ``before`` continues it; ``searched`` is how many were looked through for a text."""

    records: list[Record]
    before: int | None
    searched: int = 0


def totals(minutes: Sequence[Minute]) -> Totals:
    """The sums over ``minutes``."""
    buckets: dict[int, int] = {}
    for minute in minutes:
        for bound, number in minute.buckets.items():
            buckets[bound] = buckets.get(bound, 0) + number
    return Totals(
        sum(minute.accepted for minute in minutes),
        sum(minute.sent for minute in minutes),
        sum(minute.failed for minute in minutes),
        *(percentile(buckets, share) for share in (0.5, 0.95, 0.99)),
    )


def percentile(buckets: dict[int, int], share: float) -> int | None:
    """The bound below which ``share`` of all lie: a bucket's upper edge, since nothing finer is known."""
    needed = share * sum(buckets.values())
    seen = 0
    for bound in sorted(buckets):
        seen += buckets[bound]
        if seen >= needed and seen:
            return bound
    return None


class Days:
    """Figures with the minutes of a whole day, most of them remembered."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = asyncio.Lock()
        self._minutes: list[Minute] = []
        self._at = 0

    async def figures(self) -> tuple[Figures, list[Minute]]:
        """The figures with the last hour's minutes, and the minutes of the day. Raises ``StoreUnavailable``."""
        async with self._lock:
            figures = await self._ledger.figures()
            if not self._minutes or abs(figures.now - self._at) > _DAY_MS:
                self._minutes, self._at = (await self._ledger.figures(minutes=DAY)).minutes, figures.now
        first = figures.minutes[0].at if figures.minutes else 0
        older = [minute for minute in self._minutes if figures.now - DAY * 60_000 < minute.at < first]
        return figures, [*older, *figures.minutes]


async def find(ledger: Ledger, state: State | None, text: str, before: int | None) -> Found:
    """A page of emails; with ``text`` those among the next ``SEARCHED`` whose addresses, client, subject or id hold it."""
    if not text:
        records = await ledger.emails(state=state, limit=PAGE, before=before)
        return Found(records, records[-1].accepted_us if len(records) == PAGE else None)
    looked = await ledger.emails(state=state, limit=SEARCHED, before=before)
    found = [record for record in looked if holds(record, text.lower())]
    if len(found) > PAGE:
        return Found(found[:PAGE], found[PAGE - 1].accepted_us, len(looked))
    return Found(found, looked[-1].accepted_us if len(looked) == SEARCHED else None, len(looked))


def holds(record: Record, text: str) -> bool:
    """Whether an email's id, client, subject or an address of it holds ``text``, which is in lower case."""
    letter = record.letter
    texts = (letter.id, letter.client, letter.subject, letter.sender, letter.message_id, *(d.to for d in record.deliveries))
    return any(text in each.lower() for each in texts)


def status_routes(frame: Frame, ledger: Ledger) -> list[HTTPRouteHandler]:
    """``GET /status``."""
    days = Days(ledger)

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
        figures, day = await days.figures()
        return frame.page(
            "status.html",
            path="/status",
            operator=operator,
            refresh=0 if before is not None else SEARCH_REFRESH_MS if text else REFRESH_MS,
            now=figures.now,
            figures=figures,
            verdict=judge(figures),
            hour=totals(figures.minutes),
            day=totals(day),
            charts=[chart(figures.minutes, "Last hour by minute"), chart(by_quarter(day), "Last day by quarter hour")],
            found=await find(ledger, chosen, text, before),
            states_shown=[each for each in STATES if figures.states[each] or each == chosen],
            chosen=chosen,
            text=text,
            before=before,
        )

    return [status]
