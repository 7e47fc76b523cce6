"""For monitors: ``/health/mail`` says whether mail flows, ``/metrics`` gives the figures to Prometheus.

Both come from the shared figures, at most once a second for each process, so that nobody can ask too often. They need no key,
as the other health checks; they name relays, but no email.

This module is two routes.
"""

from typing import Literal

import msgspec
from litestar import Response, Router, get
from litestar.openapi.datastructures import ResponseSpec

from service.contract import errors
from service.metrics import CONTENT_TYPE, render, render_away
from tasks.errors import StoreUnavailable
from web.pulse import Pulse
from web.verdict import judge


class MailHealth(msgspec.Struct, frozen=True):
    """The verdict of the status page. ``flows``: new mail is taken and mail that is due leaves."""

    status: Literal["ok", "degraded", "down"]
    flows: bool
    message: str
    advice: str
    hints: tuple[str, ...]


def monitor_routes(pulse: Pulse, version: str) -> Router:
    """``GET /health/mail`` and ``GET /metrics``."""

    @get(
        "/health/mail",
        tags=["Health"],
        summary="Does mail flow, and if not, why and what to do?",
        security=[{}],
        responses={**errors(400, 415), 503: ResponseSpec(MailHealth, description="it does not: `message` says why")},
    )
    async def mail() -> Response[MailHealth]:
        found = await pulse.verdict()
        body = MailHealth(found.level, found.flows, found.sentence, found.advice, found.hints)
        return Response(body, status_code=200 if found.flows else 503)

    @get(
        "/metrics",
        tags=["Health"],
        summary="The figures for Prometheus",
        security=[{}],
        media_type=CONTENT_TYPE,
        responses=errors(400, 415),
    )
    async def metrics() -> Response[str]:
        try:
            figures = await pulse.figures()
            text = render(figures, judge(figures), version)
        except StoreUnavailable:
            text = render_away(version)
        return Response(text, media_type=CONTENT_TYPE)

    return Router("/", route_handlers=[mail, metrics])
