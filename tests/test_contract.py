"""The OpenAPI document and the service say the same: every documented status is given, with the documented shape."""

import signal
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from tests.processes import KEY, LATER, OTHER_KEY, Stack, an_email, running_stack, until
from tests.relay import ScriptedRelay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]

SPENT_KEY = "spent-key-0123456789"
SEND, ONE, CANCEL, RETRY = "/send-email", "/emails/{email_id}", "/emails/{email_id}/cancel", "/emails/{email_id}/retry"
TYPED = {"content-type": "application/json"}
NEXT = "/mailbox/next"
WAYS = (("post", SEND), ("get", ONE), ("post", CANCEL), ("post", RETRY), ("get", NEXT))
OPEN = ("/health/live", "/health/ready", "/health/mail", "/metrics")


@pytest.fixture
async def stack() -> AsyncGenerator[Stack, None]:
    keys = f"shop:{KEY}:*@shop.example:capture,spent:{SPENT_KEY}:::1/d,other:{OTHER_KEY}"
    async with ScriptedRelay() as relay:
        url = f"smtp+plain://127.0.0.1:{relay.port}"
        async with running_stack(url, API_KEYS=keys, MAX_REQUEST_BYTES="20kB") as made:
            yield made


async def test_every_documented_answer_is_given_and_no_other(stack: Stack) -> None:
    async with stack.http() as http, httpx.AsyncClient(base_url=stack.url) as stranger, stack.http(SPENT_KEY) as spent:
        document = (await http.get("/openapi.json")).json()
        documented = {
            (method, path, int(status))
            for path, item in document["paths"].items()
            for method, operation in item.items()
            for status in operation["responses"]
        }
        given: dict[tuple[str, str, int], httpx.Response] = {}

        async def ask(who: httpx.AsyncClient, method: str, path: str, /, **options: Any) -> httpx.Response:
            email_id = options.pop("email_id", "none")
            answer = await who.request(method, path.replace("{email_id}", email_id), **options)
            given[method, path, answer.status_code] = answer
            return answer

        await stack.start_worker()
        await send(ask, http)
        await one(ask, http)
        for method, path in WAYS:
            body = asked(path)
            await ask(stranger, method, path, **body)
            await ask(stranger, method, path, **body, headers={"authorization": "Bearer wrong"})
            await ask(http, method, path, headers=[("authorization", "Bearer a"), ("authorization", "Bearer b")])
            await ask(http, method, path, headers={"content-encoding": "gzip"})
            await ask(spent, method, path, **body)
            await ask(spent, method, path, **body)
        for path in OPEN:
            await ask(stranger, "get", path)
            await ask(stranger, "get", path, headers=[("authorization", "Bearer a"), ("authorization", "Bearer b")])
            await ask(stranger, "get", path, headers={"content-encoding": "gzip"})
        stack.valkey.stop(signal.SIGKILL)
        for method, path in WAYS:
            email_id = "00000000-0000-7000-8000-000000000000"
            await ask(http, method, path, email_id=email_id, **asked(path))
        await ask(stranger, "get", "/health/ready")

        async def is_down() -> bool:  # the verdict is two seconds old at most
            return (await ask(stranger, "get", "/health/mail")).status_code == 503

        await until(is_down)
    assert documented - set(given) == set()
    assert set(given) - documented == set()
    for (_, path, status), answer in given.items():
        if status >= 400 and not (path in OPEN and status == 503):
            is_ours(answer)


def asked(path: str) -> dict[str, Any]:
    """What a good request to this route has."""
    return {SEND: {"json": an_email()}, NEXT: {"params": {"to": "eve@dest.example", "timeout": "0"}}}.get(path, {})


async def send(ask: Any, http: httpx.AsyncClient) -> None:
    """What only ``POST /send-email`` answers."""
    again = {"idempotency-key": "a"}
    await ask(http, "post", SEND, json=an_email(), headers=again)
    await ask(http, "post", SEND, json=an_email(1), headers=again)
    await ask(http, "post", SEND, content=b"{", headers=TYPED)
    await ask(http, "post", SEND, content=b" " * 20_001, headers=TYPED)
    await ask(http, "post", SEND, json={})


async def one(ask: Any, http: httpx.AsyncClient) -> None:
    """What the routes of one email answer."""
    for method, path in WAYS[1:4]:
        await ask(http, method, path)
    id_ = (await http.post(SEND, json=an_email(send_at=LATER))).json()["result"]
    await ask(http, "get", ONE, email_id=id_)
    await ask(http, "post", RETRY, email_id=id_)
    await ask(http, "post", CANCEL, email_id=id_)
    await ask(http, "post", RETRY, email_id=id_)
    final = (await http.post(SEND, json=an_email())).json()["result"]

    async def is_captured() -> bool:
        return (await http.get(f"/emails/{final}")).json()["state"] == "captured"

    await until(is_captured)
    await ask(http, "post", CANCEL, email_id=final)
    await ask(http, "get", NEXT, params={"to": "ada@dest.example"})
    await ask(http, "get", NEXT, params={"to": "nobody"})
    await ask(http, "get", NEXT, params={"to": "eve@dest.example", "timeout": "0"})


def is_ours(answer: httpx.Response) -> None:
    """One shape for every error."""
    body = answer.json()
    assert set(body) - {"errors"} == {"statusCode", "name", "message"}, body
    assert body["statusCode"] == answer.status_code
    assert body["name"].replace("_", "").isalpha()
    if answer.status_code in {429, 503}:
        assert int(answer.headers["retry-after"]) > 0


async def test_the_examples_can_be_sent_as_they_are(stack: Stack) -> None:
    async with stack.http() as http:
        document = (await http.get("/openapi.json")).json()
        content = document["paths"][SEND]["post"]["requestBody"]["content"]["application/json"]
        assert len(content["examples"]) == 2
        for example in content["examples"].values():
            email = {**example["value"], "email_from": "hello@shop.example"}
            answer = await http.post(SEND, json=email)
            assert answer.status_code == 202, answer.text
        for item in document["paths"].values():
            for operation in item.values():
                for status, response in operation["responses"].items():
                    for one in (response.get("content", {}).get("application/json", {}).get("examples") or {}).values():
                        assert one["value"]["statusCode"] == int(status)


async def test_another_clients_email_is_not_there_on_any_route(stack: Stack) -> None:
    """Over every route of the document that names an email, so that a new one is not forgotten."""
    async with stack.http() as http, stack.http(OTHER_KEY) as other:
        id_ = (await http.post(SEND, json=an_email(send_at=LATER))).json()["result"]
        before = (await http.get(f"/emails/{id_}")).json()
        document = (await http.get("/openapi.json")).json()
        ways = [(method, path) for path, item in document["paths"].items() if "{email_id}" in path for method in item]
        assert set(ways) >= set(WAYS[1:4])
        for method, path in ways:
            foreign = await other.request(method, path.replace("{email_id}", id_))
            unknown = await other.request(method, path.replace("{email_id}", "00000000-0000-7000-8000-000000000000"))
            assert (foreign.status_code, foreign.content) == (404, unknown.content), path
        assert (await http.get(f"/emails/{id_}")).json() == before
