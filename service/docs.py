"""The API's documentation: `/docs` for people, `/openapi.json` for programs.

Swagger UI comes from the installed package swagger-ui-py, so that it works without the internet. Its start is a script
file of our own, so that the page needs neither inline script nor inline style: its policy allows neither.

This module is configuration and three small routes for Litestar.
"""

import importlib.util
from html import escape
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.params import FromPath
from litestar.response import File

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS = "/docs-assets"
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_CACHE = {"cache-control": "public, max-age=3600"}
_START = """\
"use strict";
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#documentation",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


class _SwaggerPage(SwaggerRenderPlugin):
    """Swagger UI without inline script or style and without any foreign host."""

    def __init__(self) -> None:
        super().__init__(
            path="/",
            js_url=f"{_ASSETS}/swagger-ui-bundle.js",
            css_url=f"{_ASSETS}/swagger-ui.css",
            standalone_preset_js_url="",
            favicon='<link rel="icon" href="data:,">',
            style="",
        )

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        title = escape(openapi_schema["info"]["title"])
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{self.favicon}
<link rel="stylesheet" href="{self.css_url}">
</head>
<body>
<div id="documentation"></div>
<noscript>This page needs JavaScript. The same in plain: <a href="/openapi.json">/openapi.json</a></noscript>
<script src="{self.js_url}"></script>
<script src="{_ASSETS}/start.js"></script>
</body>
</html>
""".encode()


def openapi_config(version: str) -> OpenAPIConfig:
    """What Litestar needs to describe the API and to show it at `/docs`; `version` is the service's own.

    Every route asks for the client's key; one that does not says so by `security=[{}]`.
    """
    scheme = SecurityScheme(type="http", scheme="bearer", description="A client's key, `ems_…`")
    return OpenAPIConfig(
        title="Email Micro Service",
        version=version,
        description="Send emails. That's it.",
        license=License(name="MIT", identifier="MIT"),
        components=Components(security_schemes={"key": scheme}),
        security=[{"key": []}],
        use_handler_docstrings=True,
        render_plugins=[_SwaggerPage()],
        openapi_router=Router(
            "/docs",
            route_handlers=[],
            include_in_schema=False,
            response_headers={"content-security-policy": POLICY},
            after_request=_refuse_html_404,
        ),
    )


def docs_routes() -> list[HTTPRouteHandler]:
    """The routes beside `/docs`: the schema, and the page's files by name, no others."""
    return [_schema, _start, _asset]


def _refuse_html_404(response: Response[Any]) -> Response[Any]:
    """Litestar answers unknown paths below `/docs` with a page of its own; ours is an error like any other."""
    if response.status_code == 404:
        raise NotFoundException
    return response


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def _schema(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    return Response(request.app.openapi_schema.to_schema(), media_type=MediaType.JSON)


@get(f"{_ASSETS}/start.js", include_in_schema=False, sync_to_thread=False)
def _start() -> Response[str]:
    return Response(_START, media_type="text/javascript", headers=_CACHE)


@get(f"{_ASSETS}/{{name:str}}", include_in_schema=False, sync_to_thread=False)
def _asset(name: FromPath[str]) -> File:
    if name not in _FILES:
        raise NotFoundException
    return File(
        _static() / name,
        filename=name,
        content_disposition_type="inline",
        media_type=_FILES[name],
        headers=_CACHE,
        chunk_size=65_536,  # a slow reader keeps no more than this in memory
    )


def _static() -> Path:
    """Where the package keeps its files; found without importing it, which would load its template engine."""
    spec = importlib.util.find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise NotFoundException("The package swagger-ui-py is not installed.")
    return Path(spec.origin).parent / "static"
