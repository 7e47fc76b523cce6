"""The pages, put together.

::

    /                    anyone      README, verdict                              info
    /sign-in /sign-out   anyone      password or one-time link                    signin
    /static/…            anyone      style sheet, script, icon                    assets
    /status              operator    verdict, figures, charts, emails             status, emails
    /status/emails/<id>  operator    one email's history                          history
    /status/… by POST    operator    retry, hold, cancel, pause, try a relay      actions, deeds, notes
    /logs                operator    the newest log records                       logpage
    /mailbox…            operator    captured mail                                mailpage, mailfiles

The gate stands before every operator's route: a stranger is sent to ``/sign-in``, a POST must come from a page of ours. Redis
away is a page of its own (503), which says so.

This module is the wiring of ``web``.
"""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Redirect

from tasks.errors import StoreUnavailable
from tasks.ledger import Ledger
from tasks.levers import Levers
from tasks.mailbox import Mailbox
from tasks.settings import Settings
from tasks.store import Group
from web.actions import Actions
from web.assets import Assets
from web.frame import Frame, Operator
from web.history import history_routes
from web.info import info_routes
from web.logpage import log_routes
from web.mailfiles import file_routes
from web.mailpage import mailbox_routes
from web.notes import NAME, Notes
from web.pulse import Pulse
from web.session import Sessions
from web.signin import BODY_LIMIT, SignIn, foreign
from web.status import status_routes
from web.verdict import store_away

Asked = Request[Any, Any, Any]


def page_routes(
    *,
    ledger: Ledger,
    levers: Levers,
    mailbox: Mailbox,
    pulse: Pulse,
    group: Group,
    settings: Settings,
    version: str,
    readme: str,
) -> Router:
    """All pages, as one router for the application. ``readme`` is the README's Markdown.

    Makes no connection; where Redis is away the pages answer 503 and say so.
    """
    assets = Assets()
    frame = Frame(assets, version)
    sessions = Sessions(group, settings.admin_password)
    notes = Notes(sessions)
    sign_in = SignIn(frame, sessions, settings)

    async def gate(request: Asked) -> Response[Any] | None:
        session = await sign_in.session(request)
        if session is None:
            return _send_away(frame, request)
        if request.method == "POST" and not await sign_in.is_ours(request, session):
            return foreign(frame)
        note = await notes.read(session, request.query_params.get(NAME))
        request.scope["state"]["operator"] = Operator(session, await sessions.token(session), note)
        return None

    inside = Router(
        "/",
        before_request=gate,
        dependencies={"operator": Provide(_operator, sync_to_thread=False)},
        request_max_body_size=BODY_LIMIT,
        route_handlers=[
            *status_routes(frame, ledger, pulse),
            *history_routes(frame, ledger, pulse),
            *Actions(frame, notes, ledger, levers, pulse).routes(),
            *log_routes(frame, settings.logs),
            *mailbox_routes(frame, notes, mailbox),
            *file_routes(mailbox),
        ],
    )

    def store_is_away(_: Asked, error: StoreUnavailable) -> Response[Any]:
        verdict = store_away(error)
        return frame.page("away.html", status=503, headers={"retry-after": str(error.retry_after)}, verdict=verdict)

    def refused(_: Asked, error: HTTPException) -> Response[Any]:
        return frame.page("problem.html", status=error.status_code, title=_title(error.status_code), words=_words(error))

    return Router(
        "/",
        include_in_schema=False,
        exception_handlers={StoreUnavailable: store_is_away, HTTPException: refused, ValidationException: refused},
        route_handlers=[
            *info_routes(frame, pulse, readme, settings.address),
            *sign_in.routes(),
            *assets.routes(),
            inside,
        ],
    )


def _operator(request: Asked) -> Operator:
    return request.scope["state"]["operator"]


def _send_away(frame: Frame, request: Asked) -> Response[Any]:
    """To the sign-in form, and back from there.

    Who follows a link from another site comes without the cookie (SameSite=Strict), signed in or not: a page of ours asks
    once more, and then it is there.
    """
    if request.method != "GET":
        return Redirect("/sign-in", status_code=303)
    query = request.scope["query_string"].decode("latin-1")
    here = request.url.path + (f"?{query}" if query else "")
    if request.headers.get("sec-fetch-site") == "cross-site" and request.headers.get("sec-fetch-mode") == "navigate":
        return frame.page("again.html", here=here)
    return Redirect(f"/sign-in?next={quote(here, safe='/')}", status_code=303)


def _title(status: int) -> str:
    return {404: "Not found", 403: "Not allowed", 405: "Not possible", 413: "Too large"}.get(status, "That did not work")


def _words(error: HTTPException) -> str:
    if error.status_code == 400:
        return "The address has a part that makes no sense here. Go back to the page and choose again."
    return error.detail
