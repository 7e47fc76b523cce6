"""What all pages have in common: the templates, the words in them, and the headers of every answer.

The policy lets a page load its style sheet, its script and its pictures from here and nothing from anywhere else; there is no
inline style or script. ``Referrer-Policy`` is ``same-origin``, not ``no-referrer``: with the latter browsers send
``Origin: null`` with a form, and a POST could not be told from a foreign one.

This module is the only one that knows Jinja.
"""

import time
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import MediaType, Response
from markupsafe import Markup

from tasks.logline import mask_links
from web import phrases
from web.assets import Assets
from web.deeds import label, possible
from web.meaning import meaning
from web.reason import reason

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Operator(msgspec.Struct, frozen=True):
    """Who looks at a page: the session's id, the token for its forms, and what their last action did."""

    session: str
    token: str
    note: str = ""


class Frame:
    """Makes pages from templates. ``version`` is the service's own."""

    def __init__(self, assets: Assets, version: str) -> None:
        folder = Path(__file__).parent / "templates"
        self._jinja = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_finished,
        )
        words = {name: getattr(phrases, name) for name in ("span", "ago", "clock", "number", "size", "code")}
        known: dict[str, Any] = {
            "asset": assets.address,
            "version": version,
            "time": phrases.time,
            "count": phrases.count,
            "meaning": meaning,
            "reason": reason,
            "possible": possible,
            "label": label,
            "path": "",
            "operator": None,
            "refresh": 0,
        }
        cast("dict[str, Any]", self._jinja.filters).update(words)
        cast("dict[str, Any]", self._jinja.globals).update(known)

    def page(self, template: str, *, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response[Any]:
        """The page. ``values``: ``path`` marks the place in the navigation; ``operator`` shows what only an operator sees;
        ``refresh`` is the pause between live updates in ms (0: none); ``now`` is this moment in ms unless given."""
        values.setdefault("now", round(time.time() * 1000))
        html = self._jinja.get_template(template).render(values)
        return Response(html, status_code=status, media_type=MediaType.HTML, headers={**HEADERS, **(headers or {})})

    def safe(self, html: str) -> Markup:
        """HTML that was made here from escaped parts."""
        return Markup(html)  # noqa: S704 (its only caller renders Markdown with HTML switched off)


@pass_context
def _finished(context: Context, value: Any) -> Any:
    """Every value on its way into a page: without long tokens in links, but where captured mail is shown to be read."""
    if isinstance(value, str) and "://" in value and context.name != "mail.html":
        return type(value)(mask_links(value))
    return value
