"""The log page: the newest records first, of all processes.

The search runs in a thread and is bounded by the reader in bytes and time; one at a time, so that many open pages cannot keep
all threads busy.

This module is one route around the reader of logs.
"""

import asyncio
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
    ) -> Response[Any]:
        least: Level | None = level if level in LEVELS else None
        async with turn:
            page = await asyncio.to_thread(
                newest, log_dir, level=least, role=role or None, text=text.strip(), email_id=email.strip(), limit=LINES
            )
        return frame.page(
            "logs.html",
            path="/logs",
            operator=operator,
            refresh=0 if paused else REFRESH_MS,
            page=page,
            levels=LEVELS,
            level=least or "",
            role=role,
            text=text.strip(),
            email=email.strip(),
            paused=paused,
        )

    return [logs]
