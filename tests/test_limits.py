"""Rates: how often a client may ask, what one recipient may get, and what becomes of wrong keys."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Router, get
from litestar.routes import HTTPRoute

from service.clients import Client, Keyring, check_client, parse_api_keys
from service.guard import NAMES, WRONG_KEYS, Guard
from tasks import keys
from tasks.errors import RecipientFlooded, SettingsInvalid
from tasks.limiter import Limiter
from tasks.queue import Queue
from tasks.rate import Rate, parse_rate
from tasks.store import Group
from tests.letters import put
from tests.processes import KEY, OTHER_KEY, Stack, an_email, running_stack

A_KEY = "0123456789abcdef"
THIRD_KEY = "third-key-0123456789"


# --- as they are written


@pytest.mark.parametrize(
    ("text", "rate"),
    [("14/s", Rate(14, 1)), ("100/m", Rate(100, 60)), ("500/h", Rate(500, 3600)), ("10000/d", Rate(10000, 86400))],
)
def test_a_rate_is_a_number_and_a_unit(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate
    assert str(rate) == text


@pytest.mark.parametrize("text", ["", "0/s", "1", "/m", "1/", "1/w", "-1/m", "1.5/m", " 1/m", "1/m\n", "٣/m", "1" * 10 + "/m"])
def test_anything_else_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a rate is a whole number above 0 and a unit"):
        parse_rate(text)


@given(st.integers(1, 10**9 - 1), st.sampled_from("smhd"))
def test_a_rate_reads_back(count: int, unit: str) -> None:
    assert str(parse_rate(f"{count}/{unit}")) == f"{count}/{unit}"


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        (":::100/m", Client(name="shop", rate=Rate(100, 60))),
        (":*@a.example:capture:5/s", Client(name="shop", senders=["*@a.example"], mode="capture", rate=Rate(5, 1))),
        ("::redirect:me@dev.example:5/s", Client(name="shop", mode="redirect:me@dev.example", rate=Rate(5, 1))),
        ("::redirect:me@dev.example", Client(name="shop", mode="redirect:me@dev.example")),
        ("::redirect:a/b@dev.example", Client(name="shop", mode="redirect:a/b@dev.example")),
        ("::live:", Client(name="shop")),
    ],
)
def test_a_rate_is_the_fifth_field_of_a_key(entry: str, client: Client) -> None:
    assert list(parse_api_keys(f"shop:{A_KEY}{entry}").values()) == [client]


@pytest.mark.parametrize("entry", [":::fast", "::live:1/m:2", "::redirect::1/m", "::capture:0/m", ":::1/m:"])
def test_a_wrong_rate_has_a_line(entry: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        parse_api_keys(f"shop:{A_KEY}{entry}")
    [line] = caught.value.problems
    assert line.startswith("entry 1: ")
    assert A_KEY not in line


# --- the bucket


async def test_a_bucket_gives_what_it_holds_then_fills_evenly(group: Group) -> None:
    limiter, rate = Limiter(group), Rate(5, 1)
    found = [await limiter.spend("shop", rate) for _ in range(7)]
    assert [one.is_over for one in found] == [False] * 5 + [True] * 2
    assert [one.remaining for one in found] == [4, 3, 2, 1, 0, 0, 0]
    assert {one.reset for one in found} == {1}
    assert found[-1].wait == 1
    await asyncio.sleep(0.25)  # one token in 0.2 s
    assert [(await limiter.spend("shop", rate)).is_over for _ in range(2)] == [False, True]
    assert not (await limiter.spend("other", rate)).is_over


async def test_a_refusal_costs_nothing(group: Group) -> None:
    limiter, rate = Limiter(group), Rate(2, 60)
    for _ in range(50):
        last = await limiter.spend("shop", rate)
    assert (last.is_over, last.reset, last.wait) == (True, 60, 30)
    assert 0 < await group.command("PTTL", keys.RATE + "shop") <= 60_000


async def test_a_clock_that_was_set_back_blocks_nobody_for_long(group: Group) -> None:
    far = round((time.time() + 10**6) * 1_000_000)
    await group.command("SET", keys.RATE + "shop", far)
    assert (await Limiter(group).spend("shop", Rate(60, 60))).wait == 1


async def test_a_hundred_at_once_get_what_is_there(group: Group) -> None:
    limiter, rate = Limiter(group), Rate(40, 3600)
    found = await asyncio.gather(*(limiter.spend("shop", rate) for _ in range(100)))
    assert sum(not one.is_over for one in found) == 40


# --- one recipient


@pytest.fixture
def limited(group: Group) -> Queue:
    return Queue(group, retain_records=60, recipient_limit=Rate(2, 3600))


async def test_a_recipient_gets_what_it_may_and_the_refusal_names_it(group: Group, limited: Queue) -> None:
    for _ in range(2):
        await put(limited, "ada@dest.example")
    with pytest.raises(RecipientFlooded) as caught:
        await put(limited, "bob@dest.example", "ada@dest.example")
    assert (caught.value.recipient, caught.value.retry_after) == ("ada@dest.example", 1800)
    assert await group.command("ZCARD", keys.OPEN) == 2, "nothing of a refused email is stored"
    for _ in range(2):
        await put(limited, "bob@dest.example")  # the refused one was not counted for him
    await put(limited, "ada@dest.example", client="other")
    await put(limited, "ada@dest.example", mode="capture")


async def test_other_spellings_of_a_mailbox_count_with_it(limited: Queue) -> None:
    with pytest.raises(RecipientFlooded, match=r"^ADA\+c@DEST\.example has"):
        await put(limited, "ada+a@dest.example", "+b@dest.example", "Ada+b@dest.example", "ADA+c@DEST.example")
    await put(limited, "ada@dest.example", "+b@dest.example", "+c@dest.example", "ada@other.example")


async def test_without_a_limit_nothing_is_counted(group: Group, queue: Queue) -> None:
    for _ in range(50):
        await put(queue, "ada@dest.example")
    assert await group.command("KEYS", keys.RECIPIENT + "*") == []


# --- over HTTP


@pytest.fixture
async def stack() -> AsyncGenerator[Stack, None]:
    api_keys = f"shop:{KEY}:::3/m,other:{OTHER_KEY},third:{THIRD_KEY}"
    async with running_stack("smtp+plain://127.0.0.1:9", API_KEYS=api_keys, RECIPIENT_LIMIT="2/h") as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(40)
async def test_limits_over_http(stack: Stack) -> None:
    async with stack.http() as http, stack.http(OTHER_KEY) as other, stack.http(THIRD_KEY) as third:
        await the_standing_is_in_every_answer_and_the_refusal_comes_before_the_body(http)
        await a_client_without_a_rate_has_no_standing_and_costs_no_question(stack, other)
        await a_flooded_recipient_is_named_and_a_replay_is_free(third)
        await wrong_keys_are_answered_alike_and_damped_and_right_ones_never(stack, other)
        await who_asks_too_often_does_not_fill_the_log(stack, http)
        await a_key_can_be_made_with_a_rate(stack)


async def the_standing_is_in_every_answer_and_the_refusal_comes_before_the_body(http: httpx.AsyncClient) -> None:
    answers = [await http.post("/send-email/", json=an_email())]
    answers.append(await http.get("/emails/none"))
    answers.append(await http.post("/send-email/", json={}))
    answers.append(await http.post("/send-email/", content=b"\xff{", headers={"content-type": "application/json"}))
    assert [answer.status_code for answer in answers] == [202, 404, 422, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
    for answer in answers:
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-policy"]) == ("3", "3;w=60")
        assert 0 < int(answer.headers["ratelimit-reset"]) <= 60
    assert answers[-1].json()["name"] == "rate_limit_exceeded"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 20


async def a_client_without_a_rate_has_no_standing_and_costs_no_question(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.post("/send-email/", json=an_email(email_to="x@dest.example"))
    assert answer.status_code == 202
    assert not any(name.decode() in answer.headers for name in NAMES)
    assert await stack.valkey.command("KEYS", keys.RATE + "*") == [f"{keys.RATE}shop".encode()]


async def a_flooded_recipient_is_named_and_a_replay_is_free(http: httpx.AsyncClient) -> None:
    again = {"idempotency-key": "once"}
    for _ in range(5):
        assert (await http.post("/send-email/", json=an_email(email_to="eve@dest.example"), headers=again)).status_code == 202
    last = [await http.post("/send-email/", json=an_email(email_to="Eve <eve@dest.example>")) for _ in range(2)]
    assert [answer.status_code for answer in last] == [202, 429]
    assert last[1].json()["name"] == "rate_limit_exceeded"
    assert "eve@dest.example" in last[1].json()["message"]
    assert int(last[1].headers["retry-after"]) > 1000


async def wrong_keys_are_answered_alike_and_damped_and_right_ones_never(stack: Stack, right: httpx.AsyncClient) -> None:
    wrong = ["x", "wrong-key-0123456789", f"ems_{'0' * 12}_{'0' * 64}", KEY + "x", KEY[:-1]] * 6
    answers: list[httpx.Response] = []
    for key in wrong:
        async with stack.http(key) as http:
            answers.append(await http.get("/emails/none"))
    statuses = [answer.status_code for answer in answers]
    assert statuses == [403] * WRONG_KEYS + [429] * (len(wrong) - WRONG_KEYS)
    assert len({answer.content for answer in answers[:WRONG_KEYS]}) == 1
    assert len({len(answer.headers) for answer in answers[:WRONG_KEYS]}) == 1
    assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in answers[WRONG_KEYS:])
    assert answers[-1].headers["connection"] == "close"
    assert (await right.get("/emails/none")).status_code == 404
    lines = "".join(path.read_text() for path in stack.log_dir.glob("api-*.jsonl"))
    assert lines.count("refused a request with key") == WRONG_KEYS


async def who_asks_too_often_does_not_fill_the_log(stack: Stack, http: httpx.AsyncClient) -> None:
    for _ in range(20):
        assert (await http.get("/emails/none")).status_code == 429
    lines = "".join(path.read_text() for path in stack.log_dir.glob("api-*.jsonl"))
    assert lines.count("refused from shop: 429 rate_limit_exceeded") == 1


async def a_key_can_be_made_with_a_rate(stack: Stack) -> None:
    async def run(*words: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).parent / "email-service"), "key", *words]
        process = await asyncio.create_subprocess_exec(*command, env=stack.env(), stdout=asyncio.subprocess.PIPE)
        return await process.wait(), (await process.stdout.read()).decode() if process.stdout else ""

    code, key = await run("add", "made", "--rate", "7/h")
    assert code == 0
    assert "made  live  7/h  any sender" in (await run("list"))[1]
    async with stack.http(key.strip()) as http:
        assert (await http.get("/emails/none")).headers["ratelimit-policy"] == "7;w=3600"
    assert (await run("add", "made", "--rate", "often"))[0] != 0


def test_a_client_reads_back_with_its_rate() -> None:
    assert check_client("shop", [], "live", "5/m").rate == Rate(5, 60)


def test_all_routers_share_one_guard(group: Group) -> None:
    """Litestar copies routers deeply: a copied guard would count for itself, on connections that nobody closes."""
    guard = Guard(Keyring(group, {}), Limiter(group))

    @get("/x")
    async def handler() -> None: ...

    app = Litestar([Router("/", route_handlers=[handler], guards=[guard])], logging_config=None, openapi_config=None)
    [route] = [route for route in app.routes if isinstance(route, HTTPRoute)]
    assert {id(found) for handler in route.route_handlers for found in handler.resolve_guards()} == {id(guard)}
