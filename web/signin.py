"""Signing in and out.

A wrong password is answered slowly and counted (``attempts``); the right one is refused, too, while an address has used up its
attempts, for otherwise the count would stop nobody. Where no password is set the pages are closed and say what to set, but a
one-time link still opens them.

This module is the way in.
"""

import asyncio
import time
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.response import Redirect

from tasks import maillog
from tasks.settings import Settings
from web.attempts import Attempts
from web.frame import HEADERS, Frame
from web.session import LIFETIME_SECONDS, Sessions, is_own_origin, local_path

PAUSE_SECONDS: Final = 0.5
BODY_LIMIT: Final = 65_536

Asked = Request[Any, Any, Any]


class SignIn:
    """The routes ``/sign-in`` and ``/sign-out``, and the cookie."""

    def __init__(self, frame: Frame, sessions: Sessions, settings: Settings) -> None:
        self._frame = frame
        self._sessions = sessions
        self._public_url = settings.public_url
        self._secure = (settings.public_url or "").startswith("https://")
        self._attempts = Attempts(time.monotonic)
        self.cookie = "__Host-session" if self._secure else "session"

    async def session(self, request: Asked) -> str | None:
        """The id of the session that a request comes with, or None."""
        return await self._sessions.read(request.cookies.get(self.cookie))

    async def is_ours(self, request: Asked, session: str) -> bool:
        """Whether a POST comes from a page of ours that this session was shown."""
        if not self._is_own(request):
            return False
        return await self._sessions.is_token(session, await field(request, "csrf"))

    def routes(self) -> list[HTTPRouteHandler]:
        """The four handlers."""

        @get("/sign-in")
        async def show(
            request: Asked,
            token: Annotated[str, QueryParameter(max_length=200)] = "",
            following: Annotated[str, QueryParameter(name="next", max_length=2000)] = "",
        ) -> Response[Any]:
            if token:
                return await self._by_link(request, token, following)
            if await self.session(request) is not None:
                return Redirect(local_path(following), status_code=303)
            return self._form(following)

        @post("/sign-in", request_max_body_size=BODY_LIMIT)
        async def enter(request: Asked) -> Response[Any]:
            return await self._by_password(request)

        @post("/sign-out", request_max_body_size=BODY_LIMIT)
        async def leave(request: Asked) -> Response[Any]:
            session = await self.session(request)
            if session is None:  # and the cookie stays: a foreign page's POST comes without it and must not end anything
                return Redirect("/sign-in", status_code=303)
            if not await self.is_ours(request, session):
                return foreign(self._frame)
            await self._sessions.close(session)
            answer = Redirect("/sign-in", status_code=303)
            self._set(answer, "", 0)
            return answer

        return [show, enter, leave]

    async def _by_link(self, request: Asked, token: str, following: str) -> Response[Any]:
        if not await self._sessions.use_link(token):
            maillog.refused_sign_in(_peer(request), "the link was used before or is too old")
            problem = "This link was used before, or is older than an hour. Ask for a new one: `make run` prints it."
            return self._form(following, problem, status=403)
        return await self._let_in(request, following)

    async def _by_password(self, request: Asked) -> Response[Any]:
        if not self._is_own(request):
            return foreign(self._frame)
        following, peer = await field(request, "next"), _peer(request)
        if not self._sessions.has_password:
            return self._form(following)
        wait = self._attempts.wait(peer)
        if wait:
            problem = f"Too many wrong passwords from your address. Try again in {wait} s."
            return self._form(following, problem, status=429, headers={"retry-after": str(wait)})
        if not self._sessions.is_password(await field(request, "password")):
            self._attempts.wrong(peer)
            maillog.refused_sign_in(peer, "the password is wrong")
            await asyncio.sleep(PAUSE_SECONDS)
            return self._form(following, "That is not the password.", status=403)
        self._attempts.right(peer)
        return await self._let_in(request, following)

    async def _let_in(self, request: Asked, following: str) -> Response[Any]:
        value = await self._sessions.open()
        maillog.signed_in(_peer(request))
        answer = Redirect(local_path(following), status_code=303, headers=HEADERS)
        self._set(answer, value, LIFETIME_SECONDS)
        return answer

    def _set(self, answer: Response[Any], value: str, seconds: int) -> None:
        answer.set_cookie(self.cookie, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="strict")

    def _form(
        self, following: str, problem: str = "", *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response[Any]:
        closed = not self._sessions.has_password
        status = 403 if closed else status
        following = local_path(following) if following else ""
        return self._frame.page(
            "sign-in.html", status=status, headers=headers, path="/sign-in", following=following, problem=problem, closed=closed
        )

    def _is_own(self, request: Asked) -> bool:
        return is_own_origin(request.headers.get("origin"), request.headers.get("host", ""), self._public_url)


async def field(request: Asked, name: str) -> str:
    """A field of a form; empty where it is missing or a file."""
    value = (await request.form()).get(name)
    return value if isinstance(value, str) else ""


def foreign(frame: Frame) -> Response[Any]:
    """The answer to a POST that did not come from a page of ours."""
    return frame.page(
        "problem.html",
        status=403,
        title="Not from here",
        words="This did not come from a page of this service, or the page was too old. Go back, reload it and try again.",
    )


def _peer(request: Asked) -> str:
    return request.client.host if request.client is not None else "unknown"
