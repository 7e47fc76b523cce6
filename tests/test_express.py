"""The express lane by itself: what it takes, what it leaves to Litestar, and what it leaves behind."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Generator
from typing import Any

import pytest

from service import app
from service.edge import Edge
from service.express import PATH, Express, told
from tasks.settings import read
from tests.processes import KEY, free_port

NOBODY: Any = None
EMAIL: dict[str, Any] = {"email_to": "a@b.example", "email_from": "c@d.example", "subject": "Hi", "message": {"text": "x"}}
FILE = "QUFB" * 2_000_000


@pytest.fixture
def _collected_by_hand() -> Generator[None, None, None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


async def ask(served: Any, body: bytes, *, length: str = "", path: str = PATH) -> int:
    """One POST; its status."""
    waiting = [body[: len(body) // 2], body[len(body) // 2 :]]
    sent: list[dict[str, Any]] = []
    fields = {"host": "localhost", "authorization": f"Bearer {KEY}", "content-type": "application/json"}
    fields["content-length"] = length or str(len(body))
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers,
        "root_path": "", "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    await served(scope, receive, send)
    return sent[0]["status"]


@pytest.mark.usefixtures("_collected_by_hand")
@pytest.mark.parametrize(
    ("more", "status"),
    [({"email_from": "x@"}, 422), ({"email_from": "c@foreign.example"}, 403), ({"subject": 7}, 422), ({}, 503)],
)
async def test_what_was_refused_is_let_go_at_once(more: dict[str, Any], status: int) -> None:
    settings = read({"API_KEYS": f"shop:{KEY}:*@d.example", "REDIS_URL": f"redis://127.0.0.1:{free_port()}"})
    served = app.build(settings).app
    small, large = json.dumps({**EMAIL, **more}).encode(), json.dumps({
        **EMAIL, **more, "attachments": [{"filename": "a", "content": FILE}],
    }).encode()  # fmt: skip
    assert await ask(served, small) == status
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        assert await ask(served, large) == status
    await asyncio.sleep(0.05)  # for what the loop and its threads still have in hand of the last one
    assert tracemalloc.get_traced_memory()[0] - before < len(large) / 4


async def test_an_error_that_never_reaches_its_route_is_raised_all_the_same() -> None:
    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive, send

    class Strange:
        async def admit(self, scope: Any) -> Any:
            raise KeyError(scope["path"])

    guard: Any = Strange()
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "state": {"fields": {b"content-length": (b"2",), b"transfer-encoding": ()}},
    }
    with pytest.raises(KeyError, match=PATH):
        await Express(deaf, guard, NOBODY, 100)(scope, NOBODY, NOBODY)
    with pytest.raises(KeyError, match=PATH):
        await Express(told(deaf), guard, NOBODY, 100)(scope, NOBODY, NOBODY)


@pytest.mark.parametrize("length", ["0", "00", "101", "0" * 5000 + "2", "+2", "1_0", "²", "2, 2", "-1"])
async def test_a_length_that_is_none_or_too_much_goes_litestars_way(length: str) -> None:
    seen: list[str] = []

    async def litestar(scope: Any, receive: Any, send: Any) -> None:
        del receive
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert await ask(Edge(Express(litestar, NOBODY, NOBODY, 100)), b"{}", length=length) == 200
    assert seen == [PATH]
