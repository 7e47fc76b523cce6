"""The log page: the newest records first, of all processes.

The search runs in a thread and is bounded by the reader in bytes and time; one at a time, so that many open pages cannot keep
all threads busy. A page is there at once: what ``QUICK_SECONDS`` find; who wants to see further back asks for it.

This module is one route around the reader of logs.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from tasks.logline import LEVELS, Level
from web.frame import Frame, Operator
from web.logs import newest

LINES: Final = 200
REFRESH_MS: Final = 2000
SEARCH_REFRESH_MS: Final = 10_000
QUICK_SECONDS: Final = 0.06
DEEP_SECONDS: Final = 3.0

Word = Annotated[str, QueryParameter(max_length=200)]


def log_routes(frame: Frame, log_dir: Path) -> list[HTTPRouteHandler]:
    """``GET /logs``."""
    turn = asyncio.Semaphore(1)

    @get("/logs")
    async def logs(
        operator: NamedDependency[Operator],
        level: Word = "",
        role: Word = "",
        text: Word = "",
        email: Word = "",
        paused: Annotated[bool, QueryParameter()] = False,
        deep: Annotated[bool, QueryParameter()] = False,
    ) -> Response[Any]:
        least: Level | None = level if level in LEVELS else None
        is_search = bool(least or role or text.strip() or email.strip())
        async with turn:
            page = await asyncio.to_thread(
                newest,
                log_dir,
                level=least,
                role=role or None,
                text=text.strip(),
                email_id=email.strip(),
                limit=LINES,
                max_seconds=DEEP_SECONDS if deep else QUICK_SECONDS,
            )
        return frame.page(
            "logs.html",
            path="/logs",
            operator=operator,
            refresh=0 if paused or deep else SEARCH_REFRESH_MS if is_search else REFRESH_MS,
            page=page,
            levels=LEVELS,
            level=least or "",
            role=role,
            text=text.strip(),
            email=email.strip(),
            paused=paused,
            deep=deep,
            today=f"{datetime.now(UTC):%Y-%m-%d}",
            further=is_search and not deep and page.truncated and len(page.records) < LINES,
        )

    return [logs]
