"""The pages in a real browser, against real processes with real mail and relays that fail in several ways.

With KEEP_SCREENSHOTS=1 the first screens of the four bad days are written to ``deploy/screenshots``.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.browser import Window, chromium, running_browser, window
from tests.days import PASSWORD, SCREENSHOTS, Day, bad_days, usual
from tests.processes import LATER, until

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncGenerator["Browser", None]:
    chromium()
    async with running_browser() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scenery(browser: "Browser") -> AsyncGenerator[tuple[Day, dict[str, Day]], None]:
    """All five days, started side by side."""
    del browser  # where there is none, nothing needs to be started
    async with contextlib.AsyncExitStack() as stack:
        yield await asyncio.gather(stack.enter_async_context(usual()), stack.enter_async_context(bad_days()))


@pytest.fixture(scope="module")
def day(scenery: tuple[Day, dict[str, Day]]) -> Day:
    return scenery[0]


@pytest.fixture(scope="module")
def days(scenery: tuple[Day, dict[str, Day]]) -> dict[str, Day]:
    return scenery[1]


@pytest_asyncio.fixture(loop_scope="module")
async def win(browser: "Browser", day: Day) -> AsyncGenerator[Window, None]:
    """A window of an operator who is signed in; whatever went wrong in it fails the test."""
    async with window(browser, day.url) as made:
        await made.context.add_cookies([await day.cookie()])
        yield made
        made.check()


async def shows(win: Window, text: str, *, seconds: float = 6.0) -> None:
    """Waits until the page says ``text``, by itself."""

    async def said() -> bool:
        return text in await win.text()

    await until(said, seconds=seconds, what=text)


async def note(win: Window) -> str:
    """What the last action did, as the page tells it."""
    return await win.text("p.done")


# getting in


async def test_signing_in_and_out_with_the_keyboard_alone(browser: "Browser", day: Day) -> None:
    async with window(browser, day.url) as win:
        await win.go("/status?state=failed")
        assert win.page.url.startswith(day.url + "/sign-in")
        await win.page.keyboard.type("not it")
        await win.page.keyboard.press("Enter")
        await shows(win, "That is not the password.")
        assert await win.axe() == []
        win.complaints.clear()  # Chromium tells of the 403
        await win.page.focus("#password")
        await win.page.keyboard.type(PASSWORD)
        await win.page.keyboard.press("Enter")
        await win.page.wait_for_url("**/status?state=failed")
        await win.page.get_by_role("button", name="Sign out").focus()
        await win.page.keyboard.press("Enter")
        await win.page.wait_for_url("**/sign-in")
        await win.go("/status")
        assert "/sign-in" in win.page.url
        win.check()


# bad days

FINDINGS = [
    ("wrong-password", "refuses our user name or password", "Put the right ones into SMTP_URL and restart the worker."),
    ("stopped-worker", "Down: no worker is running", "Start one: email-service worker"),
    ("full-redis", "Down: Redis is full", "Raise Redis' maxmemory"),
    ("slow-relay", "is slow: an attempt has been running for", "ask whoever runs the relay"),
]


@pytest.mark.parametrize(("name", "finding", "advice"), FINDINGS, ids=[name for name, _, _ in FINDINGS])
async def test_a_bad_days_first_screen_says_what_is_wrong_and_what_to_do(
    browser: "Browser", days: dict[str, Day], name: str, finding: str, advice: str
) -> None:
    day = days[name]
    async with window(browser, day.url, width=1100, height=620) as win:
        await win.context.add_cookies([await day.cookie()])
        await win.go("/status")
        await shows(win, finding, seconds=30)
        assert finding in await win.text("#verdict h1")
        assert advice in await win.text("#verdict")
        box = await win.page.locator("#verdict").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 620
        await win.go("/")
        assert "Healthy" not in await win.text(".badge")
        if os.environ.get("KEEP_SCREENSHOTS") == "1":
            await win.go("/status")
            await win.page.wait_for_timeout(300)
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            await win.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        win.check()


async def test_a_relay_is_tried_from_the_verdict_and_mail_flows_when_it_answers(
    browser: "Browser", days: dict[str, Day]
) -> None:
    day = days["wrong-password"]
    async with window(browser, day.url) as win:
        await win.context.add_cookies([await day.cookie()])
        await win.go("/status")
        await shows(win, "refuses our user name")
        await win.press("Try the relay now")
        assert (await note(win)).startswith("The relay is tried now")
        win.check()


# live


async def test_a_page_that_updates_keeps_focus_scroll_ticks_details_and_selection(win: Window, day: Day) -> None:
    await win.go("/status")
    page = win.page
    await page.get_by_text("Act on emails", exact=True).click()
    await page.locator("tr:has-text('Invitation 1') input[type=checkbox]").check()
    await page.locator("#hour details summary").click()
    await page.fill("input[name=q]", "half a wo")
    await page.evaluate("scrollTo(0, 250)")
    scrolled = await page.evaluate("scrollY")
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('#emails-title'))")
    await day.post(77, subject="Just in time", email_to="busy@dest.example")
    await shows(win, "Just in time")
    assert await page.evaluate("document.activeElement.name") == "q"
    assert await page.input_value("input[name=q]") == "half a wo"
    assert await page.evaluate("getSelection().toString()") == "Emails"
    assert abs(await page.evaluate("scrollY") - scrolled) < 80  # the browser keeps what is in view in its place
    assert await page.locator("tr:has-text('Invitation 1') input[type=checkbox]").is_checked()
    assert await page.locator("#acting").get_attribute("open") is not None
    assert await page.locator("#hour details").get_attribute("open") is not None
    assert "live · heard" in await win.text("#heard")


async def test_it_says_when_it_does_not_hear_from_the_server(win: Window) -> None:
    await win.go("/status")
    await win.page.route("**/status", lambda route: route.abort())
    await until(lambda: _has(win, "#heard", "no answer from the server"), seconds=8)
    win.complaints.clear()  # Chromium tells of the requests that failed


async def _has(win: Window, selector: str, text: str) -> bool:
    return text in await win.text(selector)


async def test_every_page_reads_the_same_without_script(browser: "Browser", day: Day) -> None:
    context = await browser.new_context(java_script_enabled=False)
    await context.add_cookies([await day.cookie()])
    page = await context.new_page()
    for path, words in (("/status", "Waiting"), ("/logs", "newest first"), ("/mailbox", "Welcome 2"), ("/", "Send an email")):
        await page.goto(day.url + path)
        assert words in await page.inner_text("main")
    await page.goto(day.url + "/logs")
    assert not await page.locator(".copy").first.is_visible()
    await context.close()


# finding


async def test_filters_narrow_the_list_and_stay_in_the_address(win: Window) -> None:
    await win.go("/status")
    await win.follow("failed")
    assert win.page.url.endswith("/status?state=failed")
    assert set(await win.page.locator(".emails tbody .state").all_inner_texts()) == {"failed"}
    await win.page.fill("input[name=q]", "reset YOUR")
    await win.page.keyboard.press("Enter")
    await shows(win, "1 found")
    assert "state=failed" in win.page.url
    await win.follow("Show all")
    await win.page.fill("input[name=q]", "customer7@")
    await win.press("Find")
    await shows(win, "none found")


async def test_older_pages_show_each_email_once(win: Window) -> None:
    await win.go("/status?state=sent")
    seen = await win.page.locator(".emails .subject").all_inner_texts()
    assert len(seen) == 30
    await win.follow("Older")
    seen += await win.page.locator(".emails .subject").all_inner_texts()
    assert len(seen) == len(set(seen)) >= 34
    await win.follow("Newest")
    assert "before" not in win.page.url


# actions


async def test_one_email_is_held_released_tried_and_cancelled(win: Window, day: Day) -> None:
    id_ = await day.post(90, subject="Under the hand", email_to="busy@dest.example")
    await day.until_state(id_, "deferred")
    await win.go(f"/status/emails/{id_}")
    assert "greylisting" in await win.text("#timeline")
    await win.press("Hold")
    assert await note(win) == "It is held, and waits until you release it."
    assert "did=" not in win.page.url
    await win.press("Release")
    assert await note(win) == "It is released, to its old place."
    assert await day.state(id_) == "deferred"
    await win.press("Try now")
    assert await note(win) == "It goes again, at once."
    await day.until_state(id_, "deferred")
    await win.page.reload()
    await win.page.get_by_text("Cancel…").click()
    await win.press("Cancel this email")
    assert await note(win) == "It is cancelled and will not be sent."
    assert await day.state(id_) == "cancelled"
    assert "by operator" in await win.text("#timeline")


async def test_a_failed_email_is_sent_again(win: Window, day: Day) -> None:
    id_ = await day.post(91, subject="Once more", email_to="gone@dest.example")
    await day.until_state(id_, "failed")
    await win.go(f"/status/emails/{id_}")
    await win.press("Send again")
    assert await note(win) == "It goes again, at once."
    await shows(win, "by operator")
    await day.until_state(id_, "failed")
    await win.page.goto(f"{day.url}/status?q={id_}")
    assert win.page.url.endswith(id_)


async def test_many_emails_are_ticked_or_taken_by_their_filter(win: Window, day: Day) -> None:
    ids = [await day.post(n, subject=f"Batch {n}", send_at=LATER) for n in range(3)]
    await win.go("/status?state=scheduled&q=batch")
    await win.page.get_by_text("Act on emails", exact=True).click()
    await win.page.locator("tr:has-text('Batch 1') input[type=checkbox]").check()
    await win.press("Hold")
    assert await note(win) == "1 email held."
    await win.page.get_by_text("Act on emails", exact=True).click()
    await win.page.select_option("select[name=which]", "all")
    await win.press("Cancel…")
    assert await win.text("h1") == "Cancel 2 emails? They cannot be brought back."
    await win.follow("No, go back")
    assert await day.state(ids[0]) == "scheduled"
    await win.page.get_by_text("Act on emails", exact=True).click()
    await win.page.select_option("select[name=which]", "all")
    await win.press("Cancel…")
    await win.press("Cancel 2 emails")
    assert await note(win) == "2 emails cancelled."
    assert [await day.state(id_) for id_ in ids] == ["cancelled", "held", "cancelled"]


async def test_the_queue_is_paused_and_resumed(win: Window, day: Day) -> None:
    await win.go("/status")
    await win.press("Pause the queue")
    try:
        assert (await note(win)).startswith("The queue is paused.")
        assert "Paused by an operator" in await win.text("#verdict h1")
        id_ = await day.post(95)
        await asyncio.sleep(0.3)
        assert await day.state(id_) == "queued"
        await win.go(f"/status/emails/{id_}")
        assert "The queue is paused by an operator." in await win.text()
    finally:
        await win.go("/status")
        await win.press("Resume the queue")
    assert await note(win) == "The queue goes on."
    await day.until_state(id_, "sent")


# logs


async def test_logs_follow_are_copied_and_lead_to_the_email_and_back(win: Window, day: Day) -> None:
    await win.go("/logs")
    id_ = await day.post(96, email_to="follow@dest.example")
    await shows(win, "sent to follow@dest.example")
    line = win.page.locator(".log li:has-text('sent to follow@dest.example')")
    await line.hover()
    await line.get_by_role("button", name="Copy").click()
    copied = await win.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("20")
    assert "Z INFO worker-0 sent to follow@dest.example" in copied
    await win.lead(line.get_by_role("link"))
    assert win.page.url.endswith(f"/status/emails/{id_}")
    await win.follow("Its log lines")
    lines = await win.page.locator(".log .said").all_inner_texts()
    assert len(lines) == 2
    await win.page.select_option("select[name=level]", "WARNING")
    await win.page.check("input[name=paused]")
    await win.press("Find")
    assert "level=WARNING" in win.page.url
    assert id_ in win.page.url
    assert "No record matches." in await win.text()
    assert await win.page.get_attribute("body", "data-refresh") is None


# the mailbox


async def test_hostile_mail_does_nothing_and_can_be_read(browser: "Browser", day: Day) -> None:
    async with window(browser, day.url) as win:
        await win.context.add_cookies([await day.cookie()])
        await win.go("/mailbox?q=script")
        win.check()
        await win.follow("alert(1)")
        frame = win.page.frame_locator("iframe.mail")
        assert "Welcome, Ada" in await frame.locator("h1").inner_text()
        assert await win.text(".codes") == "482913"
        assert await win.page.get_by_role("link", name="https://shop.example/in?t=1").count() == 1
        light = await frame.locator("body").evaluate("node => getComputedStyle(node).color")
        await win.follow("Dark")
        await win.follow("Narrow")
        dark = await frame.locator("body").evaluate("node => getComputedStyle(node).color")
        assert (light, dark) == ("rgb(0, 0, 0)", "rgb(238, 238, 238)")
        box = await win.page.locator("iframe.mail").bounding_box()
        assert box is not None
        assert box["width"] == 360
        async with win.page.expect_download() as caught:
            await win.page.get_by_role("link", name="Source").click()
        assert (await (await caught.value).path()).read_bytes().startswith(b"Date:")
        assert "owned" not in await win.page.title()
        assert win.foreign == []
        strangers = [said for said in win.complaints if "sandboxed" not in said and "Content Security Policy" not in said]
        assert strangers == []  # Chromium tells of each thing that it did not let the email do, and of nothing else
        assert all("evil.example" in said or "sandboxed" in said for said in win.complaints)


async def test_the_mailbox_is_searched_and_emptied_one_by_one(win: Window, day: Day) -> None:
    await day.post(0, "capture-key-0123456789", subject="To be thrown away")
    await win.go("/mailbox")
    await shows(win, "To be thrown away")
    await win.page.fill("input[name=q]", "thrown")
    await win.press("Find")
    assert await win.page.locator(".mails tbody tr").count() == 1
    await win.follow("To be thrown away")
    await win.page.get_by_text("Delete…").click()
    await win.press("Delete this email")
    assert await note(win) == "1 email deleted from the mailbox."
    assert "thrown" not in await win.text("#mails")


STICKING_OUT = """() => [...document.querySelectorAll('main table')].filter((table) => {
  const around = table.parentElement;
  const edge = around.getBoundingClientRect().right - parseFloat(getComputedStyle(around).paddingRight);
  return table.getBoundingClientRect().right > edge + 1;
}).map((table) => table.className)"""
OPEN_ALL = "document.querySelectorAll('main details').forEach((node) => { node.open = true })"

# everybody


async def some_pages(win: Window) -> list[str]:
    """One of each page, as links lead to them."""
    found = ["/", "/status", "/status?q=nobody", "/logs?level=WARNING", "/mailbox"]
    for path, selector in (
        ("/status?state=deferred", ".emails .subject a"),
        ("/status?state=partly_sent", ".emails .subject a"),
        ("/mailbox?q=welcome", ".mails .subject a"),
    ):
        await win.go(path)
        found.append(await win.page.locator(selector).first.get_attribute("href") or "")
    return found


async def test_the_longest_addresses_stay_inside_the_page(win: Window, day: Day) -> None:
    long = f"{'q' * 60}@{'e' * 60}.example"
    id_ = await day.post(97, subject="W" * 400, email_to=[long, "ada@dest.example"], send_at=LATER)
    for path in (f"/status/emails/{id_}", "/status?state=scheduled"):
        await win.go(path)
        assert await win.page.evaluate("document.documentElement.scrollWidth") <= 1280, path
        assert await win.page.evaluate(
            "[...document.querySelectorAll('td')].every((td) => td.getBoundingClientRect().right < 1280)"
        )


async def test_axe_finds_nothing_and_nothing_sticks_out(browser: "Browser", day: Day) -> None:
    async def look(scheme: str, width: int) -> None:
        async with window(browser, day.url, scheme=scheme, width=width) as win:
            await win.context.add_cookies([await day.cookie()])
            for path in await some_pages(win):
                await win.go(path)
                await win.page.evaluate(OPEN_ALL)
                # in dark nothing but the colours differs, and axe takes a second for all its rules on a large page
                assert await win.axe(colours_only=scheme == "dark") == [], path
                assert await win.page.evaluate("document.documentElement.scrollWidth") <= width, path
                for narrower in {width, min(width, 920)}:  # with the charts still beside the parts
                    await win.page.set_viewport_size({"width": narrower, "height": 900})
                    assert await win.page.evaluate(STICKING_OUT) == [], (path, narrower)
                await win.page.set_viewport_size({"width": width, "height": 900})
            win.check()

    await asyncio.gather(look("light", 1280), look("dark", 360))


_REACHED = """() => {
  const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary, [tabindex="0"]')];
  return all.filter((node) => node.checkVisibility({visibilityProperty: true}) && !node.dataset.reached)
    .map((node) => node.outerHTML.slice(0, 120));
}"""


@pytest.mark.parametrize("path", ["/status", "/status?state=deferred", "/logs?level=WARNING", "/mailbox"])
async def test_the_keyboard_alone_reaches_everything(win: Window, path: str) -> None:
    await win.go(path)
    page = win.page
    await page.evaluate(OPEN_ALL)
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0); getSelection().removeAllRanges()")
    await page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    for n in range(250):
        await page.keyboard.press("Tab")
        seen = await page.evaluate(
            "() => { const node = document.activeElement; const old = node.dataset.reached; node.dataset.reached = 1;"
            " return [node === document.body, Boolean(old), node.className, getComputedStyle(node).outlineStyle] }"
        )
        if n == 0:
            assert seen[2] == "skip"
        if seen[0] or seen[1]:
            break
        assert seen[3] != "none", "what has the focus must show it"
    assert await page.evaluate(_REACHED) == []
