"""The rules around the application, one request at a time and without a socket."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.params import JSONBody

from service.edge import Edge
from service.intake import BodyLimits
from service.refusal import Refusal, body_refusal, error_name, fields_of, head_refusal, redirect

JSON = (b"content-type", b"application/json")
LENGTH = (b"content-length", b"2")


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    scope: dict[str, Any]

    def header(self, name: str) -> str | None:
        values = [value.decode() for key, value in self.headers if key.lower() == name.encode()]
        assert len(values) < 2, name
        return values[0] if values else None


async def ask(
    app: Any,
    path: str = "/",
    *,
    method: str = "GET",
    headers: list[tuple[bytes, bytes]] | None = None,
    pieces: list[bytes | float | None] | None = None,
) -> Answer:
    """One request. Pieces of the body are bytes, a pause in seconds, or None for a lost connection."""
    waiting = list(pieces or [b""])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        while waiting:
            piece = waiting.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            if isinstance(piece, bytes):
                return {"type": "http.request", "body": piece, "more_body": bool(waiting)}
            await asyncio.sleep(piece)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers or [], "query_string": b""}
    await app(scope, receive, send)
    body = b"".join(message["body"] for message in sent[1:])
    return Answer(sent[0]["status"], sent[0]["headers"], body, scope)


class Plain:
    """Reads the body and answers with its length, and with the headers given."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)
        self.calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": f"{scope['method']} {size}".encode(), "more_body": False})


# Paths


@pytest.mark.parametrize("path", ["/Docs/", "/docs/", "/DOCS", "/Docs", "//docs", "/docs//", "/dOcS/"])
async def test_other_spellings_of_the_documentation_are_redirected(path: str) -> None:
    answer = await ask(Edge(Plain()), path)
    assert (answer.status, answer.header("location"), answer.body) == (308, "/docs", b"")


@pytest.mark.parametrize("path", ["/docs", "/", "/doc", "/docs/x", "/docs-assets/start.js", "/x/docs", "/documents"])
def test_other_paths_are_not_redirected(path: str) -> None:
    assert redirect(path) is None


# Heads


async def test_two_authorization_headers_are_refused() -> None:
    app = Plain()
    answer = await ask(Edge(app), headers=[(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")])
    assert (answer.status, json.loads(answer.body)["name"], app.calls) == (400, "bad_request", 0)


@pytest.mark.parametrize(
    ("value", "is_refused"), [(b"gzip", True), (b"identity", False), (b"Identity", False), (b"identity, br", True)]
)
def test_encoded_bodies_are_refused(value: bytes, is_refused: bool) -> None:
    refusal = head_refusal(fields_of([(b"content-encoding", value)]))
    assert (refusal is not None and refusal.status == 415) == is_refused


@pytest.mark.parametrize(
    ("method", "headers", "is_refused"),
    [
        ("POST", [LENGTH], True),
        ("POST", [LENGTH, (b"content-type", b"text/plain")], True),
        ("POST", [LENGTH, (b"content-type", b"application/x-www-form-urlencoded")], True),
        ("POST", [LENGTH, (b"content-type", b"multipart/form-data; boundary=application/json")], True),
        ("POST", [LENGTH, (b"content-type", b"text/plain, application/json")], True),
        ("POST", [LENGTH, (b"content-type", b"application/json-patch+json")], True),
        ("POST", [LENGTH, (b"content-type", b"application/json; charset=utf-16")], True),
        ("POST", [LENGTH, JSON, (b"content-type", b"text/plain")], True),
        ("POST", [(b"transfer-encoding", b"chunked")], True),
        ("PATCH", [LENGTH], True),
        ("DELETE", [LENGTH], True),
        ("POST", [LENGTH, JSON], False),
        ("POST", [LENGTH, (b"content-type", b"Application/JSON;charset=UTF-8")], False),
        ("POST", [LENGTH, (b"content-type", b'application/json ; charset="utf-8"')], False),
        ("POST", [(b"transfer-encoding", b"chunked"), JSON], False),
        ("POST", [], False),
        ("POST", [(b"content-length", b"0")], False),
        ("POST", [(b"content-length", b"0"), (b"content-type", b"text/plain")], False),
        ("GET", [LENGTH], False),
        ("GET", [LENGTH, (b"content-type", b"text/plain")], False),
    ],
)
def test_a_body_must_be_json_and_none_is_fine(method: str, headers: list[tuple[bytes, bytes]], is_refused: bool) -> None:
    refusal = body_refusal(method, fields_of(headers))
    assert (refusal is not None and refusal.status == 415) == is_refused


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/send-email", 415),
        ("/send-email/", 415),
        ("//send-email//", 415),
        ("/emails", 415),
        ("/emails/1/retry", 415),
        ("/sign-in", 200),
        ("/status/emails/1", 200),
        ("/emailsx", 200),
    ],
)
async def test_only_client_routes_take_json_alone(path: str, status: int) -> None:
    headers = [LENGTH, (b"content-type", b"application/x-www-form-urlencoded")]
    answer = await ask(Edge(Plain()), path, method="POST", headers=headers, pieces=[b"a="])
    assert answer.status == status


async def test_head_is_answered_like_get() -> None:
    answer = await ask(Edge(Plain()), method="HEAD")
    assert answer.body.startswith(b"GET")
    assert answer.scope["method"] == "HEAD", "the server must still know that it leaves the body out"


# Bodies


async def test_a_body_that_stalls_is_refused_after_its_grace() -> None:
    edge = Edge(Plain(), body=BodyLimits(grace_seconds=0.05))
    answer = await ask(edge, method="POST", headers=[LENGTH], pieces=[b"a", 1.0, b"b"])
    assert (answer.status, answer.header("connection")) == (408, "close")


async def test_a_body_that_trickles_is_refused_however_lively_it_is() -> None:
    edge = Edge(Plain(), body=BodyLimits(grace_seconds=0.05, bytes_per_second=1000))
    pieces: list[bytes | float | None] = [part for _ in range(50) for part in (b"a", 0.01)]
    assert (await ask(edge, method="POST", headers=[LENGTH], pieces=pieces)).status == 408


async def test_a_body_that_is_fast_enough_may_take_longer_than_the_grace() -> None:
    edge = Edge(Plain(), body=BodyLimits(grace_seconds=0.05, bytes_per_second=1000))
    pieces: list[bytes | float | None] = [part for _ in range(8) for part in (b"a" * 100, 0.02)]
    answer = await ask(edge, method="POST", headers=[LENGTH], pieces=[*pieces, b"end"])
    assert (answer.status, answer.body) == (200, b"POST 803")


async def test_a_body_may_not_take_longer_than_its_total() -> None:
    edge = Edge(Plain(), body=BodyLimits(seconds=0.05, grace_seconds=10))
    pieces: list[bytes | float | None] = [part for _ in range(50) for part in (b"a" * 1000, 0.01)]
    assert (await ask(edge, method="POST", headers=[LENGTH], pieces=pieces)).status == 408


async def test_a_connection_lost_within_the_body_is_no_error_of_ours() -> None:
    answer = await ask(Edge(Plain()), method="POST", headers=[LENGTH], pieces=[b"a", None])
    assert answer.status == 400


async def test_bodies_that_are_too_many_together_are_told_to_come_again() -> None:
    edge = Edge(Plain(), body=BodyLimits(held_bytes=1000))

    async def send(pause: float) -> Answer:
        return await ask(edge, method="POST", headers=[LENGTH], pieces=[b"a" * 600, pause, b"b"])

    first, second = await asyncio.gather(send(0.1), send(0.05))
    assert (first.status, second.status) == (200, 503)
    assert second.header("retry-after") == "5"
    assert (await send(0)).status == 200, "what was held is free again"


async def test_waiting_after_the_body_has_no_deadline() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"hi"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.1)
        await Plain()(scope, lambda: asyncio.sleep(0, {"body": b"", "more_body": False}), send)

    edge = Edge(app, body=BodyLimits(grace_seconds=0.02))
    assert (await ask(edge, method="POST", headers=[LENGTH], pieces=[b"hi"])).status == 200


# Answers


async def test_every_answer_has_the_security_headers() -> None:
    answer = await ask(Edge(Plain()))
    expected = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "x-frame-options": "DENY",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
    }
    assert {name: answer.header(name) for name in expected} == expected


async def test_headers_that_the_answer_has_are_kept() -> None:
    own = (b"X-Frame-Options", b"SAMEORIGIN"), (b"content-security-policy", b"sandbox"), (b"cache-control", b"private")
    answer = await ask(Edge(Plain(*own)))
    assert [answer.header(name.decode().lower()) for name, _ in own] == [value.decode() for _, value in own]
    assert answer.header("x-content-type-options") == "nosniff"


async def test_the_request_id_is_ours_and_new_each_time() -> None:
    seen: list[str] = []
    for _ in range(3):
        answer = await ask(Edge(Plain((b"x-request-id", b"app"))), headers=[(b"x-request-id", b"client")])
        request_id = answer.header("x-request-id")
        assert request_id == answer.scope["state"]["request_id"]
        seen.append(str(request_id))
    assert len({*seen, "app", "client"}) == 5


async def test_an_unexpected_error_is_answered_without_its_text() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("secret")

    answer = await ask(Edge(app))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert json.loads(answer.body)["name"] == "internal_server_error"


async def test_a_cancelled_request_says_that_the_service_stops() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(ask(Edge(app)))
    await asyncio.sleep(0.01)
    task.cancel()
    answer = await task
    assert (answer.status, json.loads(answer.body)["name"]) == (503, "service_unavailable")


@pytest.mark.parametrize(("status", "name"), [(408, "request_timeout"), (415, "unsupported_media_type"), (799, "error")])
def test_a_status_has_a_name(status: int, name: str) -> None:
    assert error_name(status) == name


# In front of Litestar


async def test_a_slow_body_within_litestar_is_a_408_of_the_applications_own_shape() -> None:
    @post("/emails")
    async def take(data: JSONBody[dict[str, str]]) -> dict[str, str]:
        return data

    def on_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        body = Refusal(error.status_code, error.detail).body()
        return Response(body, status_code=error.status_code, headers=error.headers, media_type="application/json")

    app = Litestar([take], exception_handlers={HTTPException: on_http}, logging_config=None, openapi_config=None)
    edge = Edge(app, body=BodyLimits(grace_seconds=0.05))
    answer = await ask(edge, "/emails", method="POST", headers=[JSON, LENGTH], pieces=[b"{", 1.0])
    assert (answer.status, answer.header("connection")) == (408, "close")
    assert json.loads(answer.body)["name"] == "request_timeout"
    answer = await ask(edge, "/emails", method="POST", headers=[JSON, LENGTH], pieces=[b"{", b"}"])
    assert (answer.status, answer.body) == (201, b"{}")


async def test_what_the_lifespan_says_passes_untouched() -> None:
    seen: list[Any] = []

    async def app(*parts: Any) -> None:
        seen.append(parts)

    parts = ({"type": "lifespan"}, object(), object())
    await Edge(app)(*parts)  # type: ignore[arg-type]
    assert seen == [parts]


async def test_litestar_answers_head_too() -> None:
    @get("/health/live")
    async def live() -> str:
        return "ok"

    answer = await ask(Edge(Litestar([live], logging_config=None, openapi_config=None)), "/health/live", method="HEAD")
    assert answer.status == 200
