"""Secrets and contents are planted everywhere they can come from, then everything that can be read is searched for them.

``tests.test_logging_processes`` does the same for what processes say when they break. Here: errors, pages, Redis, reprs.
"""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.answers import show
from service.clients import Client, StoredKey, digest, parse_api_keys
from tasks import parts
from tasks.compose import Limits, compose
from tasks.email import Email
from tasks.logline import mask_links
from tasks.mailbox import Mail
from tasks.reader import read as read_message
from tasks.record import Record
from tasks.settings import read
from tests.letters import a_letter
from tests.processes import LATER, Stack, an_email, running_stack, until
from tests.relay import ScriptedRelay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]

API_KEY = "canary-api-key-41fd7a9c"
CAPTURE_KEY = "canary-capture-key-93b1"
WRONG_KEY = f"ems_{'0c' * 6}_" + "badc0de5" * 8
ADMIN_PASSWORD = "canary-admin-c48e"
WRONG_PASSWORD = "canary-guess-aa17"
SMTP_PASSWORD = "canary-smtp-5d3b"
BODY = "canary-body-e07c"
FILE = "canary-file-11b9"
RESET = "Zq7f9K2mX4pL8vT1canaryR3s3t"
SESSION = "canary-session-6a2f"

SECRETS = (API_KEY, CAPTURE_KEY, WRONG_KEY, WRONG_KEY[-64:], ADMIN_PASSWORD, WRONG_PASSWORD, SMTP_PASSWORD, SESSION)
CONTENTS = (BODY, FILE)
LINKS = (f"https://shop.example/reset/{RESET}", f"https://shop.example/reset?t={RESET}&x=1")
EMAIL = an_email(
    subject=f"Reset: {LINKS[0]}",
    message={"text": f"{BODY} {LINKS[1]}", "html": f"<p>{BODY} <a href='{LINKS[0]}'>reset</a></p>"},
    attachments=[{"filename": "a.txt", "content": base64.b64encode(FILE.encode()).decode()}],
    headers={"List-Unsubscribe": f"<{LINKS[0]}>"},
)


class Found(msgspec.Struct):
    """Everything that can be read, by where it stood."""

    texts: dict[str, str] = {}
    jobs: list[bytes] = []
    statuses: set[int] = set()


def forms(word: str) -> Iterator[str]:
    """The ways in which a word may be written."""
    yield word
    yield quote(word, safe="")
    for shift in range(3):  # inside longer base64 text, at each of its three places
        yield base64.b64encode(b"\0" * shift + word.encode())[4 * shift // 3 + 2 : -4].decode()


async def plant(found: Found) -> None:
    keys = f"shop:{API_KEY},test:{CAPTURE_KEY}::capture"
    async with ScriptedRelay(users={"user": SMTP_PASSWORD}) as relay:
        relay.replies["RCPT"] = {
            "gone@dest.example": f"550 5.1.1 no such user, see {LINKS[0]}",
            "later@dest.example": f"451 4.7.1 try {LINKS[1]} later",
        }
        url = f"smtp+plain://user:{SMTP_PASSWORD}@127.0.0.1:{relay.port}"
        own = {"API_KEYS": keys, "ADMIN_PASSWORD": ADMIN_PASSWORD, "LOG_LEVEL": "DEBUG", "MAX_MESSAGE_BYTES": "100kB"}
        async with running_stack(url, **own) as stack:
            await stack.start_worker()
            async with stack.http(API_KEY) as http, stack.http(CAPTURE_KEY) as capture:
                ids = await send(http, capture)
                await ask_badly(found, stack, http)
                await look_at_pages(found, stack, ids)
                await look_into_redis(found, stack)
                await be_full_and_away(found, stack, http)
        for process in (*stack.apis, *stack.workers):
            found.texts[f"output of {' '.join(process.command[1:])}"] = process.text()


async def send(http: httpx.AsyncClient, capture: httpx.AsyncClient) -> list[str]:
    """One email of each fate."""
    fates = {
        "sent": (http, EMAIL, {"idempotency-key": "one"}),
        "failed": (http, {**EMAIL, "email_to": "gone@dest.example"}, {}),
        "deferred": (http, {**EMAIL, "email_to": "later@dest.example"}, {}),
        "captured": (capture, EMAIL, {}),
        "scheduled": (http, {**EMAIL, "send_at": LATER}, {}),
    }
    ids: list[str] = []
    for state, (client, body, headers) in fates.items():
        answer = await client.post("/send-email/", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        ids.append(answer.json()["result"])

        async def is_there(client: httpx.AsyncClient = client, state: str = state) -> bool:
            return (await client.get(f"/emails/{ids[-1]}")).json()["state"] == state

        await until(is_there, what=state)
    return ids


async def ask_badly(found: Found, stack: Stack, http: httpx.AsyncClient) -> None:
    """Everything that is refused, with secrets and contents in it."""
    typed = {"content-type": "application/json"}
    whole = msgspec.json.encode(EMAIL)
    requests: dict[str, dict[str, Any]] = {
        "control": {"json": {**EMAIL, "message": {"text": f"{BODY}\0"}}},
        "two wrong": {"json": {**EMAIL, "email_to": "nobody", "message": {"html": f"{BODY}\x1b"}}},
        "unknown": {"json": {**EMAIL, "more": BODY}},
        "type": {"json": {**EMAIL, "message": BODY}},
        "broken": {"content": whole[:-1], "headers": typed},
        "utf-8": {"content": whole + b"\xff", "headers": typed},
        "base64": {"json": {**EMAIL, "attachments": [{"filename": "a", "content": f"!{FILE}"}]}},
        "large": {"json": {**EMAIL, "message": {"text": f"{BODY} " * 10_000}}},
        "form": {"data": {"text": BODY, "password": WRONG_PASSWORD}},
        "other body": {"json": {**EMAIL, "subject": "x"}, "headers": {"idempotency-key": "one"}},
        "wrong key": {"json": EMAIL, "headers": {"authorization": f"Bearer {WRONG_KEY}"}},
        "basic": {"json": EMAIL, "headers": {"authorization": f"Basic {API_KEY}"}},
        "sender": {"json": {**EMAIL, "email_from": "x"}},
    }
    for name, request in requests.items():
        keep(found, f"refusal: {name}", await http.post("/send-email/", **request))
    for path in (f"/emails/{API_KEY}", f"/status?password={WRONG_PASSWORD}", f"/nothing/{WRONG_KEY}"):
        answer = await http.get(path, headers={"cookie": f"session={SESSION}"})
        keep(found, f"refusal: {path[:10]}", answer)
    keep(found, "refusal: sign-in", await http.post("/sign-in", data={"password": WRONG_PASSWORD}))


def keep(found: Found, where: str, answer: httpx.Response) -> None:
    """An answer with its headers, but for the places that are the client's own words: a redirect back to what it asked for."""
    headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "location")
    found.texts[where] = f"{headers}\n{answer.text}"
    found.statuses.add(answer.status_code)


async def look_at_pages(found: Found, stack: Stack, ids: list[str]) -> None:
    """All that a signed-in operator sees, but for captured mail itself."""
    async with httpx.AsyncClient(base_url=stack.url) as operator:
        assert (await operator.post("/sign-in", data={"password": ADMIN_PASSWORD})).status_code == 303
        paths = [
            "/",
            "/status",
            "/logs",
            "/logs?level=WARNING",
            "/logs?text=shop.example",
            "/mailbox",
            "/docs",
            "/openapi.json",
        ]
        for path in [*paths, *(f"/status/emails/{id_}" for id_ in ids)]:
            answer = await operator.get(path)
            assert answer.status_code == 200, path
            found.texts[f"page {path}"] = answer.text
        assert "shop.example/reset/Zq7f***" in found.texts["page /status"], "the subject is shown, its token is not"
        assert RESET in (await operator.get(f"/mailbox/{ids[3]}")).text, "captured mail is there to be read"


async def look_into_redis(found: Found, stack: Stack) -> None:
    """Every key but the contents, which are there to be sent."""
    readers = {
        b"string": ("GET",), b"hash": ("HGETALL",), b"set": ("SMEMBERS",), b"list": ("LRANGE", "0", "-1"),
        b"zset": ("ZRANGE", "0", "-1"),
    }  # fmt: skip
    for key in await stack.valkey.command("KEYS", "*"):
        name = key.decode()
        word, *rest = readers[await stack.valkey.command("TYPE", name)]
        value = await stack.valkey.command(word, name, *rest)
        if name.startswith("arq:job:"):
            found.jobs.append(value)
        if not name.startswith(("ems:content:", "ems:mail:")):
            found.texts[f"redis {name}"] = f"{name} {value!r}"


async def be_full_and_away(found: Found, stack: Stack, http: httpx.AsyncClient) -> None:
    """A full Redis quotes the whole command in its error; a dead one breaks connections in the middle."""
    await stack.valkey.command("CONFIG", "SET", "maxmemory", "1")
    keep(found, "refusal: full", await http.post("/send-email/", json=EMAIL))
    stack.valkey.stop(9)
    keep(found, "refusal: away", await http.post("/send-email/", json=EMAIL))
    for path in stack.log_dir.glob("*.jsonl"):
        found.texts[f"log {path.name}"] = path.read_text("utf-8")


@pytest.fixture(scope="module")
def found() -> Found:
    made = Found()
    asyncio.run(plant(made))
    return made


def test_every_kind_of_refusal_was_met(found: Found) -> None:
    assert found.statuses >= {400, 401, 403, 409, 415, 422, 503}
    assert len([where for where in found.texts if where.startswith("log ")]) >= 2


@pytest.mark.parametrize("word", [*SECRETS, *CONTENTS])
def test_no_secret_and_no_content_stands_anywhere(found: Found, word: str) -> None:
    leaks = [where for where, text in found.texts.items() for form in forms(word) if form in text]
    # What a client wrote into a wrong field, the refusal may repeat to that client, 64 characters of it.
    own = {FILE: {"refusal: base64"}}.get(word, set())
    assert set(leaks) - own == set()


def test_tokens_in_links_are_masked_in_logs_and_on_pages(found: Found) -> None:
    places = {where for where, text in found.texts.items() if RESET in text and not where.startswith("redis ems:")}
    assert places == set()
    assert any("reset/Zq7f***" in text for where, text in found.texts.items() if where.startswith("log worker"))


def test_a_job_holds_an_id_and_nothing_else(found: Found) -> None:
    assert found.jobs
    for raw in found.jobs:
        job = msgspec.msgpack.decode(raw)
        assert set(job) == {"t", "f", "a", "k", "et"}
        assert (job["f"], len(job["a"]), job["k"]) == ("send", 1, {})
        assert len(job["a"][0]) == 36


def test_no_repr_tells_a_secret_or_a_content() -> None:
    email = msgspec.json.decode(msgspec.json.encode(EMAIL), type=Email)
    composed = compose(email, id="0" * 36, at_ms=0, limits=Limits(10**7, 50))
    settings = read({
        "ADMIN_PASSWORD": ADMIN_PASSWORD, "API_KEYS": f"shop:{API_KEY}", "SMTP_URL": f"smtp://u:{SMTP_PASSWORD}@h.example",
    })  # fmt: skip
    letter = a_letter(subject=EMAIL["subject"])
    record = Record(letter=letter, deliveries=[], state="sent", lane="normal", attempt=1, accepted=0)
    mail = Mail(id="1", message=composed.message, client="c", sender="s", to=[], at=0, email="")
    client = Client(name="shop")
    things = [
        email, email.message, email.attachments, composed, settings, settings.api_keys, parts.secrets(settings), letter, record,
        show(record, [], composed.message), mail, read_message(composed.message), parse_api_keys(f"shop:{API_KEY}"),
        StoredKey(id="1", client=client, sha256=digest(API_KEY), made=0),
    ]  # fmt: skip
    shown = "\n".join(f"{thing!r} {thing!s}" for thing in things)
    assert [word for word in (*SECRETS, *CONTENTS, RESET) for form in forms(word) if form in shown] == []


@given(st.text("abcdefgXYZ012345_-", min_size=16, max_size=80), st.sampled_from(["/r/{}", "?t={}", "/r?a=b&t={}#x", "/{}/x"]))
def test_no_long_token_survives_in_a_link(token: str, where: str) -> None:
    masked = mask_links(f"see https://shop.example{where.format(token)} now")
    is_token = any(char.isdigit() for char in token) and any(char.isalpha() for char in token)
    assert (token in masked) is not is_token
    assert masked.startswith("see https://shop.example")
    assert masked.endswith(" now")


@pytest.mark.parametrize(
    "text",
    [
        "550 5.7.1 see https://support.google.com/mail/?p=UnsolicitedMessageError a1b2c3-20020a056a000a",
        "https://www.spamhaus.org/query/ip/192.0.2.123",
        "smtps://a1b2c3d4e5f6a7b8c9d0.relay.example:465",
        "listening on http://127.0.0.1:8014",
        "no link: Zq7f9K2mX4pL8vT1canary",
    ],
)
def test_what_is_no_token_in_a_link_stays(text: str) -> None:
    assert mask_links(text) == text
