"""What the pages show, and what they never let through."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from tasks import keys, store
from tasks.beat import Beat, Link, tell
from tasks.claim import Settlement
from tasks.ledger import Minute
from tasks.logline import Entry, encode
from tasks.mailbox import Mailbox
from tasks.outcome import Outcome, Reply
from tasks.queue import Queue
from tasks.reader import read
from tasks.record import Delivery, Event
from tasks.store import Group
from tests.letters import MESSAGE, claim_one, put
from tests.pages import ADDRESS, csrf, pages, sign_in, signed_in
from web.chart import blocks, ceiling, chart
from web.info import render
from web.mailfiles import with_pictures
from web.percentiles import Times, percentile, times, totals

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>'{{7*7}}</title>"
HTML = (
    b"From: shop@shop.example\r\nSubject: Welcome\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
    b"--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nplain words\r\n"
    b'--a\r\nContent-Type: text/html\r\n\r\n<b>rich</b><img src="cid:logo"><script>alert(1)</script>\r\n--a--\r\n'
    b"--m\r\nContent-Type: image/png\r\nContent-ID: <logo>\r\nContent-Disposition: inline; filename=logo.png\r\n\r\nPNG\r\n"
    b'--m\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename="../a\\"b\xc3\xbc.html"\r\n\r\n'
    b"<script>x</script>\r\n--m--\r\n"
)


class Elements(HTMLParser):
    """A page's elements with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def check_clean(html: str) -> None:
    """No inline script or style, no event handler, nothing from elsewhere, every id once."""
    elements = Elements(html).found
    for tag, attributes in elements:
        assert tag not in ("style", "img", "object", "embed", "base"), tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        for name in ("src", "href", "action"):
            assert re.match(r"(/(?!/)|#|https?://(?=[^/]*example))", attributes.get(name) or "/"), attributes
        assert tag != "script" or (attributes.get("src") or "").startswith("/static/app.js?v=")
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))


async def failed(queue: Queue, subject: str = "Hi", text: str = "5.1.1 no such user") -> str:
    """An email that the relay has refused; its id."""
    made = await put(queue, subject=subject)
    claim = await claim_one(queue)
    reply = Reply(550, text, "5.1.1")
    delivery = Delivery("ada@dest.example", "failed", 1, stage="rcpt", reply=reply, relay="r:25", at=claim.now)
    event = Event(
        at=claim.now, what="failed", attempt=1, to=delivery.to, stage="rcpt", reply=reply, relay="r:25", tls="TLSv1.3"
    )
    await queue.settle(claim, Settlement(state="failed", deliveries=[delivery], events=[event], failed=1, keep_content=60))
    return made.id


def beat(now: int, *relays: str) -> Beat:
    return Beat(
        name="h:1", host="h", pid=1, started=now - 5000, at=now, in_hand=0, slots=50, carried=3, connections=1, memory=10**7,
        relays=list(relays),
    )  # fmt: skip


async def test_an_open_relay_shows_its_connections_and_what_it_said_last(group: Group, queue: Queue, tmp_path: Path) -> None:
    now = await queue.now()
    await queue.relay_seen("r:25", "f", "relay.example:25")
    said = {"stage": "dot", "reply": Reply(250, "2.0.0 Ok", "2.0.0"), "said": "250 2.0.0 Ok <b>"}
    links = [Link(relay="r:25", connections=2, at=now - 60_000), Link(relay="r:25", connections=1, at=now, **said)]  # type: ignore[arg-type]
    for n, link in enumerate(links):
        made = msgspec.structs.replace(beat(now, "r:25"), name=f"h:{n}", links=[link])
        await tell(group, made)
    async with signed_in(group, tmp_path) as client:
        page = (await client.get("/status")).text
    assert "3 connections" in page
    assert "<q>250 2.0.0 Ok &lt;b&gt;</q>" in page
    assert "the relay has taken the email" in page


PATHS = ["/status", "/status?state=failed", "/status?q=x", "/status?before=5", "/logs", "/logs?level=ERROR&text=x", "/mailbox"]


@pytest.mark.parametrize(
    "path", [*PATHS, "/status/emails/x", "/mailbox/x", "/mailbox/x/html", "/mailbox/x/source", "/mailbox/x/files/0"]
)
async def test_a_stranger_is_sent_to_sign_in(group: Group, tmp_path: Path, path: str) -> None:
    async with pages(group, tmp_path) as client:
        answer = await client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=/")
        assert (await client.post("/mailbox/x/delete")).headers["location"] == "/sign-in"


@pytest.mark.parametrize("path", ["/", "/sign-in", *PATHS])
async def test_every_page_has_a_strict_policy_and_nothing_inline_even_when_empty(
    group: Group, tmp_path: Path, path: str
) -> None:
    async with pages(group, tmp_path) as client:
        if path != "/sign-in":
            await sign_in(client, group)
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        check_clean(answer.text)


async def test_an_empty_service_says_what_to_do_next(group: Group, tmp_path: Path) -> None:
    async with signed_in(group, tmp_path) as client:
        status = (await client.get("/status")).text
        assert "No worker is running" in status
        assert "email-service worker" in status
        assert "No email yet" in status
        assert "The mailbox is empty" in (await client.get("/mailbox")).text
        assert "No record yet" in (await client.get("/logs")).text


async def test_status_shows_verdict_figures_and_the_newest_emails_first(group: Group, queue: Queue, tmp_path: Path) -> None:
    await tell(group, beat(await queue.now(), "r:25"))
    await failed(queue, "Subject 0")
    ids = [(await put(queue, f"p{n}@dest.example", subject=f"Subject {n}")).id for n in range(1, 4)]
    async with signed_in(group, tmp_path) as client:
        page = (await client.get("/status")).text
        assert "Healthy: 3 emails leaving" in page
        places = [page.index(f"Subject {n}") for n in (3, 2, 1, 0)]
        assert places == sorted(places)
        only = (await client.get("/status?state=failed")).text
        assert "Subject 0" in only
        assert "Subject 1" not in only
        assert "the address does not exist" in only
        found = (await client.get("/status?q=P1@DEST")).text
        assert "Subject 1" in found
        assert "Subject 2" not in found
        assert "among the newest 4 emails" in found
        assert (await client.get(f"/status?q={ids[0]}")).headers["location"] == f"/status/emails/{ids[0]}"


async def test_paging_shows_each_email_once(group: Group, queue: Queue, tmp_path: Path) -> None:
    for number in range(65):
        await put(queue, subject=f"No {number}.")
    async with signed_in(group, tmp_path) as client:
        seen: list[str] = []
        path: str | None = "/status?state=queued"
        while path:
            page = (await client.get(path)).text
            seen += re.findall(r">No (\d+)\.<", page)
            older = re.search(r'<a href="(/status\?before=[^"]+)"', page)
            path = older[1].replace("&amp;", "&") if older else None
        assert seen == [str(number) for number in reversed(range(65))]


@pytest.mark.parametrize(
    "path", ["/status?before=x", "/status?before=-1", "/status?state=" + "x" * 99, "/mailbox?skip=-5", "/logs?paused=2"]
)
async def test_an_address_that_makes_no_sense_is_a_page_not_an_error(group: Group, tmp_path: Path, path: str) -> None:
    async with signed_in(group, tmp_path) as client:
        answer = await client.get(path)
        assert answer.status_code == 400
        assert "makes no sense" in answer.text
        assert (await client.get("/status?state=nonsense")).status_code == 200


async def test_an_email_tells_its_story_and_never_its_body(group: Group, queue: Queue, tmp_path: Path) -> None:
    id_ = await failed(queue)
    async with signed_in(group, tmp_path) as client:
        page = (await client.get(f"/status/emails/{id_}")).text
        for words in ("from client shop", "550 5.1.1 no such user", "The address does not exist", "The client should",
                      "TLSv1.3", "stage rcpt", f"/logs?email={id_}", hashlib.sha256(MESSAGE).hexdigest()):  # fmt: skip
            assert words in page
        assert "hello" not in page
        check_clean(page)


async def test_a_waiting_email_says_what_stands_in_its_way(group: Group, queue: Queue, tmp_path: Path) -> None:
    id_ = (await put(queue)).id
    async with signed_in(group, tmp_path) as client:

        async def shown() -> str:
            return (await client.get(f"/status/emails/{id_}")).text

        assert "No worker is running" in await shown()
        await tell(group, beat(await queue.now(), "r:25"))
        await queue.relay_down("r:25", Outcome("hold", "auth", Reply(535, "5.7.8 no", "5.7.8"), alarm=True))
        page = await shown()
        assert "takes no mail (535 5.7.8 no)" in page
        assert "Put the right ones into <code>SMTP_URL</code>" in page
        await group.command("SET", keys.PAUSED, "1")
        assert "paused by an operator" in await shown()


@pytest.mark.parametrize("id_", ["nope", "..%2f..%2fetc", "%00", "*", "a" * 100])
async def test_an_unknown_email_is_not_found(group: Group, tmp_path: Path, id_: str) -> None:
    async with signed_in(group, tmp_path) as client:
        for path in (f"/status/emails/{id_}", f"/mailbox/{id_}", f"/mailbox/{id_}/html", f"/mailbox/{id_}/files/0"):
            assert (await client.get(path)).status_code == 404


async def test_hostile_text_stays_text_on_every_page(group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path) -> None:
    id_ = await failed(queue, HOSTILE, HOSTILE)
    await put(queue, HOSTILE, client=HOSTILE, from_=HOSTILE, to=[HOSTILE], message_id=HOSTILE)
    message = f"Subject: {HOSTILE}\r\nX: {HOSTILE}\r\n\r\n{HOSTILE}\r\n".encode()
    await mailbox.keep("m1", message, client=HOSTILE, sender=HOSTILE, to=[HOSTILE], at=await queue.now())
    entry = Entry(time="2026-11-25T10:00:00.000000Z", level="ERROR", role="api", slot=0, pid=1, logger="x", message=HOSTILE,
                  email=HOSTILE, trace=HOSTILE)  # fmt: skip
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "api-0.jsonl").write_bytes(encode(entry))
    async with signed_in(group, tmp_path) as client:
        for path in ("/status", f"/status/emails/{id_}", "/mailbox", "/mailbox/m1", "/logs", "/logs?text=%3Cscript%3E"):
            page = (await client.get(path)).text
            check_clean(page)
            assert "&lt;script&gt;alert(2)" in page, path
            assert "49" not in re.findall(r"'(\d+)", page)


async def test_the_log_page_filters_and_links(group: Group, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lines = [
        Entry(time=f"2026-11-25T10:00:0{n}.000000Z", level="ERROR" if n == 1 else "INFO", role="api", slot=0, pid=1,
              logger="x", message=f"line {n}", email="0190-abc" if n == 2 else "")
        for n in range(4)
    ]  # fmt: skip
    (tmp_path / "log" / "api-0.jsonl").write_bytes(b"".join(map(encode, lines)))
    async with signed_in(group, tmp_path) as client:

        async def shown(query: str) -> list[str]:
            return re.findall(r"line \d", (await client.get(f"/logs?{query}")).text)

        assert await shown("") == ["line 3", "line 2", "line 1", "line 0"]
        assert await shown("level=ERROR&role=&text=&email=") == ["line 1"]
        assert await shown("level=NONSENSE&text=+LINE+3") == ["line 3"]
        assert await shown("email=0190-abc") == ["line 2"]
        assert await shown("role=..%2f..%2fetc") == []
        assert 'href="/status/emails/0190-abc"' in (await client.get("/logs")).text
        assert "data-refresh" not in (await client.get("/logs?paused=true")).text


async def test_captured_mail_is_shown_and_its_html_only_in_a_sandbox(
    group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path
) -> None:
    await mailbox.keep(
        "m1", HTML, client="shop", sender="shop@shop.example", to=["ada@dest.example"], at=await queue.now(), email="e1"
    )
    async with signed_in(group, tmp_path) as client:
        assert ">Welcome</a>" in (await client.get("/mailbox")).text
        page = (await client.get("/mailbox/m1")).text
        check_clean(page)
        assert "plain words" in page
        assert "rich" not in page
        assert "/status/emails/e1" in page
        [frame] = [attributes for tag, attributes in Elements(page).found if tag == "iframe"]
        assert (frame["sandbox"], frame["src"]) == (None, "/mailbox/m1/html?scheme=light")
        inner = await client.get("/mailbox/m1/html")
        assert inner.headers["content-type"] == "text/html; charset=utf-8"
        policy = inner.headers["content-security-policy"]
        assert policy.split("; ")[0] == "default-src 'none'"
        assert policy.split("; ")[-1] == "sandbox"
        assert inner.headers["x-frame-options"] == "SAMEORIGIN"
        assert '<img src="data:image/png;base64,UE5H">' in inner.text


def test_a_picture_that_the_html_names_often_does_not_fill_the_memory() -> None:
    message = HTML.replace(b'src="cid:logo"', b'src="cid:logo" ' * 40_000)
    small, large = message.replace(b"PNG\r\n", b"\r\n"), message.replace(b"PNG\r\n", b"PNG" * 1000 + b"\r\n")
    assert with_pictures(small, read(small)).count("data:image/png") == 40_000
    assert with_pictures(large, read(large)) == read(large).html


async def test_the_mailbox_is_searched_by_client_and_text_and_emptied(
    group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path
) -> None:
    for n in range(6):
        message = f"Subject: Letter {n}\r\n\r\nhi".encode()
        to = [f"p{n}@dest.example"]
        await mailbox.keep(f"m{n}", message, client=("shop", "blog")[n % 2], sender="s@x.example", to=to, at=await queue.now())
    async with signed_in(group, tmp_path) as client:

        async def shown(query: str) -> list[str]:
            return re.findall(r">Letter (\d)<", (await client.get(f"/mailbox?{query}")).text)

        assert await shown("") == list("543210")
        assert await shown("client=blog") == list("531")
        assert await shown("q=P4@") == ["4"]
        assert await shown("client=blog&q=letter+4") == []
        assert "among the newest 3 emails of blog; none found" in (await client.get("/mailbox?client=blog&q=letter+4")).text
        token = csrf((await client.get("/mailbox")).text)
        assert (await client.post("/mailbox/clear", data={"csrf": token, "client": "blog"})).status_code == 400
        done = await client.post("/mailbox/clear", data={"csrf": token, "client": "blog", "sure": "yes"})
        assert "3 emails deleted from the mailbox." in (await client.get(done.headers["location"])).text
        assert await shown("") == list("420")


async def test_a_captured_email_shows_what_is_in_it_and_how_others_would_see_it(
    group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path
) -> None:
    html = (
        "<meta name='color-scheme' content='light dark'><style>:root{color-scheme:light dark}"
        "@media (prefers-color-scheme: dark){p{color:#fff}}</style><a href='https://shop.example/in?a=1&amp;b=2'>In</a>"
    )
    head = "Subject: Code 482913\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n"
    await mailbox.keep("m1", (head + html).encode(), client="shop", sender="", to=["a@b.example"], at=await queue.now())
    async with signed_in(group, tmp_path) as client:
        page = (await client.get("/mailbox/m1?scheme=dark&width=narrow")).text
        check_clean(page)
        assert "<code>482913</code>" in page
        assert 'href="https://shop.example/in?a=1&amp;b=2" rel="noopener noreferrer"' in page
        assert 'class="mail dark slim" sandbox src="/mailbox/m1/html?scheme=dark"' in page
        dark, light = [(await client.get(f"/mailbox/m1/html?scheme={each}")).text for each in ("dark", "light")]
        assert "content='dark'" in dark
        assert "color-scheme:dark}@media (min-width:0){p" in dark
        assert "color-scheme:light}@media (max-width:0){p" in light
        assert (await client.get("/mailbox/m1?scheme=pink")).status_code == 400


async def test_what_is_downloaded_is_never_opened(group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path) -> None:
    await mailbox.keep("m1", HTML, client="shop", sender="", to=[], at=await queue.now())
    async with signed_in(group, tmp_path) as client:
        source = await client.get("/mailbox/m1/source")
        assert source.content == HTML
        assert source.headers["content-type"] == "text/plain; charset=utf-8"
        assert source.headers["content-disposition"].startswith('attachment; filename="m1.eml"')
        file = await client.get("/mailbox/m1/files/1")
        assert file.content == b"<script>x</script>"
        assert file.headers["content-type"] == "application/octet-stream"
        disposition = file.headers["content-disposition"]
        assert disposition.startswith('attachment; filename=".._')
        assert disposition.count('"') == 2
        assert disposition.isascii()
        assert (await client.get("/mailbox/m1/files/9")).status_code == 404
        for answer in (source, file):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]


async def test_deleting_needs_the_token_and_says_that_it_was_done(
    group: Group, queue: Queue, mailbox: Mailbox, tmp_path: Path
) -> None:
    await mailbox.keep("m1", MESSAGE, client="shop", sender="", to=["a@x.example"], at=await queue.now())
    async with signed_in(group, tmp_path) as client:
        token = csrf((await client.get("/mailbox/m1")).text)
        for data, headers in (({}, {}), ({"csrf": "0" * 64}, {}), ({"csrf": token}, {"origin": "http://evil.example"})):
            assert (await client.post("/mailbox/m1/delete", data=data, headers=headers)).status_code == 403
        assert await mailbox.count() == 1
        done = await client.post("/mailbox/m1/delete", data={"csrf": token}, headers={"origin": ADDRESS})
        assert done.status_code == 303
        assert "1 email deleted from the mailbox." in (await client.get(done.headers["location"])).text
        assert await mailbox.count() == 0


async def test_the_front_page_is_the_readme_with_this_address_and_a_badge(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path, PUBLIC_URL="https://mail.example.com") as client:
        page = (await client.get("/")).text
        assert "curl https://mail.example.com/send-email/" in page
        assert '<h2 id="send">Send</h2>' in page
        assert "See the licence." in page
        assert "Version 1.2.3" in page
        assert 'class="badge down"' in page


def test_the_readme_lets_no_html_and_no_dead_link_through() -> None:
    html, contents = render(
        "# A `b`\n\n## A\n\n## A\n\n<script>x</script> [j](javascript:x) [d](docs/x.md) ![pic](mock.png) [h](/status)\n\n"
        "| a | |\n|---|---|\n| 1 | 2 |\n\n| | |\n|---|---|\n| 3 | 4 |\n\n```sh\n<pre><code\n```\n",
        "http://a.example",
    )
    check_clean(html)
    assert "&lt;script&gt;" in html
    assert re.findall(r'href="([^"]*)"', html) == ["/status"]
    assert contents == [("a", "A"), ("a-", "A")]
    assert html.count("<thead>") == 1
    assert html.count('<pre tabindex="0">') == 1


async def test_static_files_are_kept_for_ever_by_their_hash(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client:
        page = (await client.get("/")).text
        address = re.search(r'"(/static/style.css\?v=\w+)"', page)
        assert address is not None
        kept = await client.get(address[1])
        assert "immutable" in kept.headers["cache-control"]
        assert kept.headers["content-type"] == "text/css; charset=utf-8"
        plain = await client.get("/static/style.css")
        assert plain.headers["cache-control"] == "no-cache"
        same = await client.get("/static/style.css", headers={"if-none-match": plain.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        for name in ("nope.css", "..%2fframe.py", "%2e%2e%2fpages.py"):
            assert (await client.get(f"/static/{name}")).status_code == 404


async def test_without_redis_every_page_says_so(tmp_path: Path) -> None:
    client = store.connect(f"unix://{tmp_path / 'nobody'}")
    group = Group(client, timeout=1)
    async with pages(group, tmp_path) as browser:
        browser.cookies.set("session", "a.b.c")
        for path in ("/status", "/status/emails/x", "/logs", "/mailbox"):
            answer = await browser.get(path)
            assert answer.status_code == 503
            assert "Down: Redis is not reachable" in answer.text
            assert "REDIS_URL" in answer.text
            check_clean(answer.text)
        front = await browser.get("/")
        assert front.status_code == 200
        assert 'class="badge down"' in front.text
    await group.close()
    await client.aclose()


def test_percentiles_are_the_upper_edges_of_their_buckets() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({20: 50, 50: 45, 1000: 5}, 0.5) == 20
    assert percentile({20: 50, 50: 45, 1000: 5}, 0.95) == 50
    assert percentile({20: 50, 50: 45, 1000: 5}, 0.99) == 1000
    added = totals([Minute(at=0, accepted=2, sent=1), Minute(at=1, sent=3, failed=1)])
    assert (added.accepted, added.sent, added.failed) == (2, 4, 1)
    hour = Minute(at=0, buckets={"high": {5: 2}, "low": {10: 1}})
    assert times(hour) == Times(3, 5, 10, 10)
    assert times(hour, "high") == Times(2, 5, 5, 5)
    assert times(hour, "normal") == Times()


def test_a_chart_fits_whatever_the_numbers_are() -> None:
    minutes = [Minute(at=n * 60_000, accepted=n * 7, sent=n * 5, deferred=n, failed=n % 3) for n in range(60)]
    made = chart(minutes, "Last hour by minute")
    assert (made.top, made.width) == (500, 60)
    for minute in minutes:
        pieces = blocks((minute.sent, minute.deferred, minute.failed), made.top)
        assert sum(block.height for block in pieces) <= 100.01
        assert all(block.y >= 0 for block in pieces)
    assert made.title.startswith("Last hour by minute: 12,390 accepted, 8,850 sent, 1,770 deferred, 60 failed")
    drawn = Elements(made.columns).found
    assert [tag for tag, _ in drawn].count("g") == 60
    assert made.rows.startswith('<tr><th scope="row">00:59</th><td>413</td><td>295</td><td>59</td><td>2</td></tr>')
    assert made.rows.count("<tr>") == 59  # in the first minute nothing happened
    assert chart([], "x").columns == ""
    assert [ceiling(most) for most in (0, 4, 5, 6, 9, 11, 99, 101)] == [4, 4, 5, 8, 10, 20, 100, 200]


async def test_each_lane_has_its_three_percentiles(group: Group, tmp_path: Path) -> None:
    now = int((await group.command("TIME"))[0])
    await group.command("HSET", f"{keys.MINUTE}{now // 60}", "high20", "50", "high50", "45", "high1000", "5")
    async with signed_in(group, tmp_path) as client:
        page = (await client.get("/status")).text
        assert '<th scope="row">high</th><td>0</td><td>–</td><td>20 ms</td><td>50 ms</td><td>1 s</td>' in page


async def test_the_day_is_added_up_from_its_quarters_and_the_hour_from_its_minutes(group: Group, tmp_path: Path) -> None:
    now = int((await group.command("TIME"))[0])
    for back in (0, 59, 61):
        await group.command("HSET", f"{keys.MINUTE}{now // 60 - back}", "sent", "5")
    for back in (0, 1, 95, 96):
        await group.command("HSET", f"{keys.QUARTER}{now // 900 - back}", "sent", "7")
    async with signed_in(group, tmp_path) as client:
        page = (await client.get("/status")).text
        assert re.search(r"<dt>Sent</dt><dd>(5|10)<small>in 1 h · (14|21) in 24 h", page)
