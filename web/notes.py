"""What an action answers, carried to the page that shows it.

An action answers with a redirect, so that reloading a page repeats nothing; its answer goes along in the address, signed for
this session and good for a minute, so that nobody else's link can make a page say what did not happen.

This module is the way from an action to the next page.
"""

from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response
from litestar.response import Redirect

from web.deeds import told
from web.session import Sessions

NAME: Final = "did"
"""The parameter in the address."""


class Notes:
    """Signs and reads notes for ``sessions``."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def send(self, session: str, note: str, path: str, place: str = "", **query: str) -> Response[Any]:
        """To ``path`` with ``query``, where ``note`` is shown; ``place`` is the id to scroll to."""
        words = {name: value for name, value in query.items() if value}
        words[NAME] = await self._sessions.sign(session, note)
        return Redirect(f"{path}?{urlencode(words)}{f'#{place}' if place else ''}", status_code=303)

    async def read(self, session: str, signed: str | None) -> str:
        """The sentence to show; empty where there is none, or none of ours."""
        return told(await self._sessions.signed(session, signed) or "") if signed else ""
