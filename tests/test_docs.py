"""The documentation: what is served, and that a real browser shows it under its strict policy."""

import asyncio
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.params import JSONBody
from litestar.testing import TestClient

from service.docs import POLICY, docs_routes, openapi_config
from service.edge import Edge
from service.server import listen, serve


class Email(msgspec.Struct):
    email_to: str
    subject: str


@post("/send-email", status_code=202)
async def send(data: JSONBody[Email]) -> dict[str, str]:
    """Take one email."""
    return {"result": data.subject}


@get("/health/live", security=[{}])
async def live() -> dict[str, str]:
    return {"status": "alive"}


def on_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    return Response("ours", status_code=error.status_code)


def application() -> Litestar:
    return Litestar(
        [send, live, *docs_routes()],
        openapi_config=openapi_config("1.2.3"),
        exception_handlers={HTTPException: on_http},
        logging_config=None,
    )


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    with TestClient(Edge(application())) as client:  # type: ignore[arg-type]
        yield client


def test_the_schema_describes_the_api_and_how_to_authorize(client: TestClient[Any]) -> None:
    answer = client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    schema = answer.json()
    assert schema["openapi"].startswith("3.")
    assert schema["info"]["version"] == "1.2.3"
    assert set(schema["paths"]) == {"/send-email", "/health/live"}
    assert schema["paths"]["/send-email"]["post"]["description"] == "Take one email."
    key = schema["components"]["securitySchemes"]["key"]
    assert (key["type"], key["scheme"]) == ("http", "bearer")
    assert schema["security"] == [{"key": []}]
    assert schema["paths"]["/health/live"]["get"]["security"] == [{}]


def test_the_page_has_nothing_inline_and_nothing_foreign(client: TestClient[Any]) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert not re.search(r"https?://|<style|style=|\son\w+=|<script>", answer.text)
    for url in re.findall(r'(?:src|href)="(/docs-assets/[^"]+)"', answer.text):
        assert client.get(url).status_code == 200, url


def test_only_the_needed_files_of_the_package_are_served(client: TestClient[Any]) -> None:
    types = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "start.js": "text/javascript"}
    for name, kind in types.items():
        answer = client.get(f"/docs-assets/{name}")
        assert answer.headers["content-type"].split(";")[0] == kind
        assert answer.headers["cache-control"] == "public, max-age=3600"
    for name in ("LICENSE", "swagger-ui.js", "swagger-editor-bundle.js", "../core.py", "..%2fcore.py", "%00", ""):
        assert client.get(f"/docs-assets/{name}").status_code == 404, name


def test_an_unknown_path_below_the_documentation_is_an_error_like_any_other(client: TestClient[Any]) -> None:
    for path in ("/docs/nothing", "/docs/nothing.json"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "ours")


@pytest.mark.system
def test_a_browser_shows_the_operations_without_a_complaint(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        assert os.environ.get("REQUIRE_SYSTEM") != "1", "the Debian package chromium is required here"
        pytest.skip("needs the Debian package chromium")
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    stop, loop = asyncio.Event(), asyncio.new_event_loop()
    app = Edge(application())
    served = serve(app, host="127.0.0.1", port=port, stop=stop, graceful_seconds=1, sockets=sockets)
    thread = threading.Thread(target=loop.run_until_complete, args=(served,))
    thread.start()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    try:
        shown = subprocess.run(
            [chromium, *options, "--virtual-time-budget=4000", "--dump-dom", f"http://127.0.0.1:{port}/docs"],
            capture_output=True,
            text=True,
            timeout=9,
            check=True,
        )
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
    for operation in ('data-path="/send-email"', 'data-path="/health/live"', "btn authorize"):
        assert operation in shown.stdout
    assert [line for line in shown.stderr.splitlines() if ":CONSOLE" in line] == []
