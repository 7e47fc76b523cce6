"""Waiting for captured mail: what end-to-end tests of other projects build on."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from service.capture import capture_routes
from service.clients import Client, Keyring, digest
from service.edge import Edge
from service.errors import HANDLERS
from service.guard import Guard
from tasks.limiter import Limiter
from tasks.mailbox import Mailbox, NotThere
from tasks.store import Group
from tests.processes import KEY, OTHER_KEY, an_email, running_stack, until

NOW = 1_795_000_000_000
MESSAGE = (
    b"From: Shop <shop@shop.example>\r\nTo: ada@dest.example\r\nSubject: 482913 is your code\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/html\r\n\r\n"
    b'<p>Or follow <a href="https://shop.example/in?t=1&amp;u=2">this link</a>.</p>\r\n'
    b"--m\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=terms.txt\r\n\r\nx\r\n--m--\r\n"
)


@pytest.fixture
async def http(group: Group, mailbox: Mailbox) -> AsyncGenerator[httpx.AsyncClient, None]:
    keyring = Keyring(group, {digest(KEY): Client(name="shop"), digest(OTHER_KEY): Client(name="other")})
    routes = capture_routes(Guard(keyring, Limiter(group)), mailbox)
    app = Edge(Litestar([routes], exception_handlers=HANDLERS, logging_config=None, openapi_config=None))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x", headers={"authorization": f"Bearer {KEY}"}) as made:
        yield made


async def keep(
    mailbox: Mailbox, id_: str, to: str = "ada@dest.example", client: str = "shop", message: bytes = MESSAGE
) -> None:
    await mailbox.keep(id_, message, client=client, sender="shop@shop.example", to=[to, "second@dest.example"], at=NOW)


async def ask(http: httpx.AsyncClient, to: str = "ada@dest.example", **query: str) -> httpx.Response:
    return await http.get("/mailbox/next", params={"to": to, "timeout": "0", **query})


async def test_an_email_comes_with_its_links_and_codes(http: httpx.AsyncClient, mailbox: Mailbox) -> None:
    await keep(mailbox, "m1")
    answer = await ask(http, "Ada <ADA@dest.example>")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "m1", "from": "Shop <shop@shop.example>", "to": ["ada@dest.example", "second@dest.example"],
        "subject": "482913 is your code", "text": "Or follow this link (https://shop.example/in?t=1&u=2).\n",
        "html": '<p>Or follow <a href="https://shop.example/in?t=1&amp;u=2">this link</a>.</p>',
        "links": ["https://shop.example/in?t=1&u=2"], "codes": ["482913"], "attachments": ["terms.txt"],
        "captured_at": "2026-11-18T11:06:40.000Z",
    }  # fmt: skip


async def test_each_is_handed_out_once_the_oldest_first_and_again_only_by_its_place(
    http: httpx.AsyncClient, mailbox: Mailbox
) -> None:
    for id_ in ("b", "a", "c"):
        await keep(mailbox, id_)
    assert [(await ask(http)).json()["id"] for _ in range(3)] == ["b", "a", "c"]
    none = await ask(http)
    assert (none.status_code, none.json()["message"]) == (404, "No email to ada@dest.example was captured within 0 s.")
    assert [(await ask(http, after=after)).json()["id"] for after in ("b", "a", "a")] == ["a", "c", "c"]
    assert (await ask(http, after="c")).status_code == 404
    assert "no captured email of yours" in (await ask(http, after="nope")).json()["message"]
    await keep(mailbox, "a")  # a second copy of one that was handed out is no new one
    assert (await ask(http)).status_code == 404


async def test_nobody_gets_the_mail_of_another_client_or_address(http: httpx.AsyncClient, mailbox: Mailbox) -> None:
    await keep(mailbox, "m1", client="other")
    await keep(mailbox, "m2", to="bob@dest.example")
    assert (await ask(http)).status_code == 404
    assert (await ask(http, after="m1")).status_code == 404
    assert (await ask(http, "bob@dest.example")).json()["id"] == "m2"
    theirs = await http.get("/mailbox/next?to=ada@dest.example", headers={"authorization": f"Bearer {OTHER_KEY}"})
    assert theirs.json()["id"] == "m1"


async def test_who_asks_first_waits_and_gets_it_soon_after_it_comes(http: httpx.AsyncClient, mailbox: Mailbox) -> None:
    waiting = [asyncio.create_task(ask(http, f"p{n}@dest.example", timeout="5")) for n in range(9)]
    await asyncio.sleep(0.3)
    started = time.monotonic()
    for n in reversed(range(9)):
        await keep(mailbox, f"m{n}", to=f"p{n}@dest.example")
    answers = await asyncio.gather(*waiting)
    assert time.monotonic() - started < 2
    assert [answer.json()["id"] for answer in answers] == [f"m{n}" for n in range(9)]


async def test_what_is_left_over_is_passed_by(
    http: httpx.AsyncClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(mailbox, "old")
    monkeypatch.setattr("tasks.mailbox.BACK_SECONDS", 0.0)
    assert (await ask(http)).status_code == 404
    with pytest.raises(NotThere):
        await mailbox.next("shop", "a@b.example", after="x")


async def test_a_queue_of_those_who_wait_ends_somewhere(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [asyncio.create_task(ask(http, timeout="1")) for _ in range(101)]
    answers = await asyncio.gather(*many)
    assert sorted(answer.status_code for answer in answers) == [404] * 100 + [429]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "to"),
        ({"to": "nobody"}, "to"),
        ({"to": "a@b.example\r\nx"}, "to"),
        ({"to": "a@b.example", "timeout": "61"}, "timeout"),
        ({"to": "a@b.example", "timeout": "-1"}, "timeout"),
        ({"to": "a@b.example", "timeout": "nan"}, "timeout"),
        ({"to": "a@b.example", "timeout": "soon"}, "timeout"),
    ],
)
async def test_a_wrong_question_names_its_field(http: httpx.AsyncClient, query: dict[str, str], field: str) -> None:
    answer = await http.get("/mailbox/next", params=query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_it_needs_a_key(http: httpx.AsyncClient) -> None:
    del http.headers["authorization"]
    assert (await ask(http)).status_code == 401
    assert (await http.get("/mailbox/next?to=a@b.example", headers={"authorization": "Bearer no"})).status_code == 403


@pytest.mark.slow
async def test_from_the_post_to_the_test_that_waits() -> None:
    key = "capture-key-0123456789"
    async with running_stack("smtp+plain://127.0.0.1:9", API_KEYS=f"test:{key}::capture") as stack:
        await stack.start_worker()
        async with stack.http(key) as http:
            posted = await http.post("/send-email/", json=an_email(message={"text": "Your code is 314159."}))
            answer = await http.get("/mailbox/next?to=ada@dest.example&timeout=8")
            assert answer.json()["codes"] == ["314159"]
            assert answer.json()["id"] == posted.json()["result"]

            async def captured() -> bool:
                return (await http.get(f"/emails/{answer.json()['id']}")).json()["state"] == "captured"

            await until(captured)


@pytest.mark.slow
async def test_the_example_of_the_readme_works_as_it_stands(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    example = re.search(r"```python\n(import json, os, urllib\.parse.*?)```", readme, re.DOTALL)
    assert example is not None
    key = "capture-key-0123456789"
    async with running_stack("smtp+plain://127.0.0.1:9", API_KEYS=f"my-tests:{key}::capture") as stack:
        await stack.start_worker()
        (tmp_path / "test_example.py").write_text(example[1].replace("http://127.0.0.1:8014", stack.url), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
        ran = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env={**os.environ, "KEY": key, "PYTHONWARNINGS": "ignore"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await ran.communicate()
        assert ran.returncode == 0, output.decode()
        assert b"1 passed" in output
