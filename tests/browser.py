"""A real browser for the tests: Chromium by Playwright, with every complaint of it kept.

This module is the harness of the browser tests.
"""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tests.processes import missing

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Locator, Page

AXE_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}


def chromium() -> str:
    """Where the browser is; skips the test where it, or what drives it, is missing."""
    for package in ("playwright", "axe_playwright_python"):
        if find_spec(package) is None:
            missing(f"needs the Python package {package.replace('_', '-')}")
    found = shutil.which("chromium")
    if found is None:
        missing("needs the Debian package chromium")
    return found


AXE_COLOURS = {"runOnly": ["color-contrast"]}


class Window:
    """A browser's window that remembers what went wrong in it. ``origin`` is the only one it may ask."""

    def __init__(self, context: "BrowserContext", page: "Page", origin: str) -> None:
        self.context = context
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"pageerror: {error}"))

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"{kind}: {text}")

    async def watch(self) -> None:
        """Keeps every request to another host, and lets none out."""

        async def route(route: Any) -> None:
            url = route.request.url
            if url.startswith((self.origin + "/", "data:")):
                await route.continue_()
            else:
                self.foreign.append(url)
                await route.abort()

        await self.context.route("**/*", route)

    async def go(self, path: str) -> None:
        """Opens a page of the service."""
        answer = await self.page.goto(self.origin + path)
        assert answer is not None
        assert answer.status < 400, f"{path}: {answer.status}"

    async def text(self, selector: str = "main") -> str:
        """What is to be read there."""
        return " ".join((await self.page.inner_text(selector)).split())

    async def press(self, name: str) -> None:
        """Presses the button of that name, and waits for the page it leads to with its script run."""
        await self.lead(self.page.get_by_role("button", name=name, exact=True).first)

    async def follow(self, name: str) -> None:
        """Follows the link of that name, to its end."""
        await self.lead(self.page.get_by_role("link", name=name).first)

    async def lead(self, locator: "Locator") -> None:
        """Clicks what leads to another page, and waits for that one."""
        # A click alone returns while the answer is under way: what is read next may be of either page.
        async with self.page.expect_navigation():
            await locator.click()

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked."""
        assert self.complaints == [], self.complaints
        assert self.foreign == [], self.foreign

    async def axe(self, *, colours_only: bool = False) -> list[str]:
        """What axe finds on the page as it stands."""
        from axe_playwright_python.async_playwright import Axe

        charts = {"exclude": [["svg g"]]}  # hundreds of columns that say the same to axe
        results = await Axe().run(self.page, charts, options=AXE_COLOURS if colours_only else AXE_RULES)
        return [
            f"{found['id']}: {node['target']} {node.get('failureSummary', '')}"
            for found in results.response["violations"]
            for node in found["nodes"]
        ]


@asynccontextmanager
async def running_browser() -> AsyncGenerator["Browser", None]:
    """Chromium, headless."""
    path = chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def window(
    browser: "Browser", origin: str, *, scheme: str = "light", width: int = 1280, height: int = 900
) -> AsyncGenerator[Window, None]:
    """A window without a session."""
    context = await browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        permissions=["clipboard-read", "clipboard-write"],
        reduced_motion="reduce",
    )
    context.set_default_timeout(6000)
    made = Window(context, await context.new_page(), origin)
    await made.watch()
    try:
        yield made
    finally:
        await context.close()
