"""The gate before the pages: sessions, passwords, one-time links, and who may POST."""

import asyncio
import time
from pathlib import Path

import pytest

from tasks import keys
from tasks.secret import Secret
from tasks.store import Group
from tests.pages import ADDRESS, PASSWORD, csrf, pages, sign_in, signed_in
from web import session, signin
from web.attempts import ALLOWED, REMEMBERED, WINDOW_SECONDS, Attempts
from web.session import Sessions, is_own_origin, local_path, make_sign_in_link


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "PAUSE_SECONDS", 0.0)


async def test_a_session_is_good_in_every_process_and_no_other_text_is_one(group: Group) -> None:
    one, other = Sessions(group, Secret("a")), Sessions(group, Secret("a"))
    cookie = await one.open()
    assert await other.read(cookie) == cookie.split(".")[0]
    for bad in (None, "", "x", cookie[:-1], cookie + "x", "é" + cookie, cookie.replace(".", "", 1), "a.b.c", "." * 300):
        assert await other.read(bad) is None


async def test_the_secret_is_made_once_however_many_ask_at_once(group: Group) -> None:
    cookies = await asyncio.gather(*(Sessions(group, None).open() for _ in range(20)))
    assert all([await Sessions(group, None).read(cookie) for cookie in cookies])
    assert len(await group.command("GET", keys.SESSION_SECRET)) == 64


async def test_a_session_ends_by_age_by_signing_out_by_a_new_password_and_with_the_secret(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(group, Secret("a"))
    cookie = await sessions.open()
    assert await Sessions(group, Secret("b")).read(cookie) is None
    with monkeypatch.context() as later:
        later.setattr(session, "LIFETIME_SECONDS", -1)
        assert await sessions.read(cookie) is None
    id_ = await sessions.read(cookie)
    assert id_ is not None
    await sessions.close(id_)
    assert await Sessions(group, Secret("a")).read(cookie) is None
    second = await sessions.open()
    await group.command("DEL", keys.SESSION_SECRET)
    assert await sessions.read(second) is None


async def test_a_token_belongs_to_its_session(group: Group) -> None:
    sessions = Sessions(group, None)
    one, two = [(await sessions.open()).split(".")[0] for _ in range(2)]
    token = await sessions.token(one)
    assert await sessions.is_token(one, token)
    assert not await sessions.is_token(two, token)
    assert not await sessions.is_token(one, "")
    assert not await sessions.is_token(one, "é\ud800")


def test_no_password_is_none_and_not_the_empty_one() -> None:
    group = object.__new__(Group)
    assert not Sessions(group, None).is_password("")
    assert not Sessions(group, Secret("")).is_password("")
    assert Sessions(group, Secret("ü")).is_password("ü")
    assert not Sessions(group, Secret("ü")).is_password("\udcfc")


async def test_a_link_signs_in_once_and_only_its_hash_is_kept(group: Group, tmp_path: Path) -> None:
    link = await make_sign_in_link(group, ADDRESS + "/")
    assert link.startswith(f"{ADDRESS}/sign-in?token=")
    [key] = [key.decode() for key in await group.command("KEYS", keys.SIGN_IN + "*")]
    assert link.split("=")[1] not in key
    assert 3590 < await group.command("TTL", key) <= 3600
    async with pages(group, tmp_path) as client:
        first = await client.get(link)
        assert (first.status_code, first.headers["location"]) == (303, "/status")
        assert (await client.get("/status")).status_code == 200
        client.cookies.clear()
        again = await client.get(link)
        assert again.status_code == 403
        assert "used before" in again.text
        assert "set-cookie" not in again.headers


async def test_the_password_signs_in_and_leads_back(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client:
        sent = await client.get("/logs?level=ERROR&text=a%20b")
        assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in?next=/logs%3Flevel%3DERROR%26text%3Da%2520b")
        form = await client.get(sent.headers["location"])
        assert 'value="/logs?level=ERROR&amp;text=a%20b"' in form.text
        wrong = await client.post("/sign-in", data={"password": PASSWORD + "x", "next": "/logs"})
        assert wrong.status_code == 403
        assert "not the password" in wrong.text
        right = await client.post("/sign-in", data={"password": PASSWORD, "next": "/logs?level=ERROR"})
        assert (right.status_code, right.headers["location"]) == (303, "/logs?level=ERROR")
        cookie = right.headers["set-cookie"]
        assert cookie.startswith("session=")
        assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie
        assert (await client.get("/sign-in?next=/mailbox")).headers["location"] == "/mailbox"


async def test_behind_https_the_cookie_is_secure_and_bound_to_the_host(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path, PUBLIC_URL="https://mail.example.com") as client:
        right = await client.post("/sign-in", data={"password": PASSWORD}, headers={"origin": "https://mail.example.com"})
        cookie = right.headers["set-cookie"]
        assert cookie.startswith("__Host-session=")
        assert "Secure" in cookie


async def test_without_a_password_the_pages_are_closed_and_say_what_to_set(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path, ADMIN_PASSWORD="") as client:
        form = await client.get("/sign-in")
        assert form.status_code == 403
        assert "ADMIN_PASSWORD" in form.text
        assert 'name="password"' not in form.text
        assert (await client.post("/sign-in", data={"password": ""})).status_code == 403
        await sign_in(client, group)
        assert (await client.get("/status")).status_code == 200


async def test_wrong_passwords_run_out_and_then_the_right_one_is_refused_too(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client:
        for _ in range(ALLOWED):
            assert (await client.post("/sign-in", data={"password": "x"})).status_code == 403
        last = await client.post("/sign-in", data={"password": PASSWORD})
        assert last.status_code == 429
        assert 0 < int(last.headers["retry-after"]) <= WINDOW_SECONDS
        await sign_in(client, group)  # a link still does


async def test_odd_forms_are_wrong_passwords_and_nothing_worse(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client:
        for body, kind in (
            (b"", "application/x-www-form-urlencoded"),
            (b"\xff\xfe=%ff", "application/x-www-form-urlencoded"),
            (b'{"password": 1}', "application/json"),
            (b"password", "text/plain"),
        ):
            answer = await client.post("/sign-in", content=body, headers={"content-type": kind})
            assert answer.status_code in (400, 403), answer.text
        big = await client.post("/sign-in", data={"password": "x" * 100_000})
        assert big.status_code == 413


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://evil.example:443", "http://testserver.local.evil.example"]
)
async def test_a_post_from_elsewhere_is_refused(group: Group, tmp_path: Path, origin: str) -> None:
    async with pages(group, tmp_path) as client:
        answer = await client.post("/sign-in", data={"password": PASSWORD}, headers={"origin": origin})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        await sign_in(client, group)
        token = csrf((await client.get("/status")).text)
        out = await client.post("/sign-out", data={"csrf": token}, headers={"origin": origin})
        assert out.status_code == 403
        assert (await client.get("/status")).status_code == 200


async def test_signing_out_needs_the_token_and_ends_the_session_everywhere(group: Group, tmp_path: Path) -> None:
    async with signed_in(group, tmp_path) as client:
        cookie = dict(client.cookies)
        token = csrf((await client.get("/status")).text)
        assert (await client.post("/sign-out", data={"csrf": "0" * 64})).status_code == 403
        client.cookies.clear()
        stranger = await client.post("/sign-out", headers={"origin": "http://evil.example"})  # SameSite: it comes without
        assert "set-cookie" not in stranger.headers
        client.cookies.update(cookie)
        out = await client.post("/sign-out", data={"csrf": token}, headers={"origin": ADDRESS})
        assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
        client.cookies.update(cookie)
        assert (await client.get("/status")).status_code == 303


async def test_who_follows_a_link_from_another_site_is_asked_once_more_by_our_own_page(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        again = await client.get('/status?state="><script>', headers=headers)
        assert again.status_code == 200
        assert '<meta http-equiv="refresh" content="0;url=/status?state=%22%3E%3Cscript%3E">' in again.text
        assert (await client.get("/status", headers={"sec-fetch-site": "same-origin"})).status_code == 303


@pytest.mark.parametrize(
    ("origin", "host", "public", "own"),
    [
        (None, "a:1", None, True),
        ("http://a:1", "a:1", None, True),
        ("https://a:1", "a:1", None, True),
        ("http://a", "a:80", None, True),
        ("https://mail.example.com", "127.0.0.1:8014", "https://mail.example.com", True),
        ("http://mail.example.com", "127.0.0.1:8014", "https://mail.example.com", False),
        ("http://a:2", "a:1", None, False),
        ("http://b", "a", None, False),
        ("null", "null", None, False),
        ("", "", None, False),
        ("file://", "", None, False),
        ("http://a:99999", "a:99999", None, False),
        ("http://[", "[", None, False),
    ],
)
def test_which_origin_is_our_own(origin: str | None, host: str, public: str | None, own: bool) -> None:
    assert is_own_origin(origin, host, public) is own


@pytest.mark.parametrize(
    "wanted",
    ["", "//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/a\r\nb: c",
     "/sign-in?next=/x", "/sign-out", "/ü", "/" + "a" * 3000, "/\t/evil.example"],
)  # fmt: skip
def test_no_link_leads_away_after_signing_in(wanted: str) -> None:
    assert local_path(wanted) == "/status"
    assert local_path("/logs?text=//x") == "/logs?text=//x"


def test_attempts_are_forgotten_after_a_while_and_bounded() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(ALLOWED):
        assert attempts.wait("a") == 0
        attempts.wrong("a")
    assert attempts.wait("a") == WINDOW_SECONDS
    assert attempts.wait("b") == 0
    now[0] = WINDOW_SECONDS + 1
    assert attempts.wait("a") == 0
    attempts.wrong("a")
    attempts.right("a")
    for number in range(REMEMBERED + 50):
        attempts.wrong(str(number))
    assert len(attempts._wrong) == REMEMBERED


async def test_a_wrong_password_is_answered_slowly(group: Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "PAUSE_SECONDS", 0.2)
    async with pages(group, tmp_path) as client:
        began = time.monotonic()
        await client.post("/sign-in", data={"password": "x"})
        assert time.monotonic() - began >= 0.2
