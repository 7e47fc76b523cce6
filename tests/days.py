"""Days in the life of a service, with real processes: a usual one, and four on which something is wrong.

This module is the scenery of the browser tests and of the screenshots.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx

from tests.processes import LATER, Stack, an_email, running_stack, until
from tests.relay import Delay, ScriptedRelay

PASSWORD = "the-operators-password"
CAPTURE_KEY = "capture-key-0123456789"
SHOP_KEY = "shop-key-0123456789"
BLOG_KEY = "blog-key-0123456789"
SETTINGS = {
    "API_KEYS": f"shop:{SHOP_KEY},blog:{BLOG_KEY},tests:{CAPTURE_KEY}::capture",
    "ADMIN_PASSWORD": PASSWORD,
    "RETRY_DELAYS": "1h",
    "SMTP_CONNECTIONS": "2",
}
SCREENSHOTS = Path(__file__).parent.parent / "deploy" / "screenshots"
HOSTILE = {
    "email_to": "ada@dest.example",
    "email_from": "shop@shop.example",
    "subject": "</title><script>alert(1)</script><img src=x onerror=alert(2)>",
    "message": {
        "text": "Your code is 482913.",
        "html": (
            "<script>document.title='owned';fetch('http://evil.example/a')</script>"
            "<img src='http://evil.example/pixel.png' onerror='alert(1)'>"
            "<link rel=stylesheet href='http://evil.example/b.css'><iframe src='http://evil.example/c'></iframe>"
            "<form action='http://evil.example/d'><input name=x autofocus></form><meta http-equiv=refresh content='0;url=http://evil.example/e'>"
            "<style>@import url(http://evil.example/f.css);body{background:url(http://evil.example/g)}"
            "@media (prefers-color-scheme:dark){body{background:#101010;color:#eee}}</style>"
            "<h1>Welcome, Ada</h1><p>Your code is <b>482913</b>. <a href='https://shop.example/in?t=1'>Sign in</a></p>"
        ),
    },
    "attachments": [{"filename": "terms <b>.html", "content": "PHNjcmlwdD54PC9zY3JpcHQ+", "content_type": "text/html"}],
}


class Day:
    """One service and how to get into its pages."""

    def __init__(self, stack: Stack, relay: ScriptedRelay | None = None) -> None:
        self.stack = stack
        self.relay = relay
        self._cookie = ""

    @property
    def url(self) -> str:
        return self.stack.url

    async def cookie(self) -> dict[str, Any]:
        """The session of an operator, for a browser."""
        if not self._cookie:
            async with httpx.AsyncClient(base_url=self.url, timeout=15) as http:
                answer = await http.post("/sign-in", data={"password": PASSWORD})
                self._cookie = answer.cookies["session"]
        return {"name": "session", "value": self._cookie, "url": self.url, "httpOnly": True, "sameSite": "Strict"}

    async def post(self, number: int = 0, key: str = SHOP_KEY, **changes: Any) -> str:
        """Sends an email; its id."""
        async with self.stack.http(key) as http:
            answer = await http.post("/send-email/", json=an_email(number, **changes))
            assert answer.status_code == 202, answer.text
            return answer.json()["result"]

    async def state(self, id_: str, key: str = SHOP_KEY) -> str:
        """An email's state."""
        async with self.stack.http(key) as http:
            return (await http.get(f"/emails/{id_}")).json()["state"]

    async def until_state(self, id_: str, *states: str, key: str = SHOP_KEY) -> None:
        """Waits for an email to be in one of ``states``."""

        async def reached() -> bool:
            return await self.state(id_, key) in states

        await until(reached, seconds=12, what=f"{id_} {states}")


@contextlib.asynccontextmanager
async def usual() -> AsyncGenerator[Day, None]:
    """A relay that takes most mail, refuses some, puts some off; mail in every state that lasts."""
    async with ScriptedRelay() as relay:
        relay.replies["RCPT"] = {
            "gone@dest.example": "550 5.1.1 no such user",
            "full@dest.example": "452 4.2.2 mailbox full",
            "busy@dest.example": "450 4.7.1 greylisted, come back later",
        }
        async with running_stack(f"smtp+plain://127.0.0.1:{relay.port}", **SETTINGS) as stack:
            await stack.start_worker()
            day = Day(stack, relay)
            ids = [
                await day.post(n, subject=f"Your receipt {2041 + n}", email_to=f"customer{n}@dest.example") for n in range(34)
            ]
            failed = [await day.post(0, subject="Reset your password", email_to="gone@dest.example", priority="high")]
            failed += [await day.post(0, subject="Both", email_to=["gone@dest.example", "ada@dest.example"])]
            waits = [await day.post(n, BLOG_KEY, subject="A new comment", email_to="full@dest.example") for n in range(2)]
            waits += [await day.post(0, BLOG_KEY, subject="News", email_to="busy@dest.example", priority="low")]
            for n in range(3):
                await day.post(n, subject=f"Invitation {n}", send_at=LATER)
            captured = await day.post(0, CAPTURE_KEY, **HOSTILE)
            for n in range(3):
                await day.post(n, CAPTURE_KEY, subject=f"Welcome {n}")
            await day.until_state(ids[-1], "sent")
            for id_ in failed:
                await day.until_state(id_, "failed", "partly_sent")
            for id_ in waits:
                await day.until_state(id_, "deferred", key=BLOG_KEY)
            await day.until_state(captured, "captured", key=CAPTURE_KEY)
            yield day


@contextlib.asynccontextmanager
async def wrong_password() -> AsyncGenerator[Day, None]:
    """The relay does not take our password."""
    async with ScriptedRelay(users={"user": "right"}) as relay:
        relay.replies["AUTH"] = "535 5.7.8 authentication failed"
        async with running_stack(f"smtp+plain://user:wrong@127.0.0.1:{relay.port}", **SETTINGS) as stack:
            await stack.start_worker()
            day = Day(stack, relay)
            ids = [await day.post(n) for n in range(41)]
            await day.until_state(ids[0], "held")
            yield day


@contextlib.asynccontextmanager
async def stopped_worker() -> AsyncGenerator[Day, None]:
    """Somebody has stopped the only worker."""
    async with ScriptedRelay() as relay, running_stack(f"smtp+plain://127.0.0.1:{relay.port}", **SETTINGS) as stack:
        worker = await stack.start_worker()
        day = Day(stack, relay)
        await day.until_state(await day.post(), "sent")
        await worker.stop()
        for n in range(12):
            await day.post(n)
        yield day


@contextlib.asynccontextmanager
async def full_redis() -> AsyncGenerator[Day, None]:
    """Redis has used up its memory."""
    async with ScriptedRelay() as relay, running_stack(f"smtp+plain://127.0.0.1:{relay.port}", **SETTINGS) as stack:
        await stack.start_worker()
        day = Day(stack, relay)
        await day.cookie()
        await day.until_state(await day.post(), "sent")
        used = (await stack.valkey.info())["used_memory"]
        await stack.valkey.command("CONFIG", "SET", "maxmemory", str(round(used * 1.05)))
        yield day


@contextlib.asynccontextmanager
async def slow_relay() -> AsyncGenerator[Day, None]:
    """The relay takes half a minute for each email."""
    async with ScriptedRelay() as relay:
        relay.replies["DOT"] = lambda _: Delay(30, "250 2.0.0 at last")
        async with running_stack(f"smtp+plain://127.0.0.1:{relay.port}", **SETTINGS) as stack:
            await stack.start_worker()
            day = Day(stack, relay)
            for n in range(7):
                await day.post(n)
            yield day


BAD_DAYS = {
    "wrong-password": wrong_password,
    "stopped-worker": stopped_worker,
    "full-redis": full_redis,
    "slow-relay": slow_relay,
}


@contextlib.asynccontextmanager
async def bad_days() -> AsyncGenerator[dict[str, Day], None]:
    """All four at once."""
    async with contextlib.AsyncExitStack() as stack:
        made = await asyncio.gather(*(stack.enter_async_context(day()) for day in BAD_DAYS.values()))
        yield dict(zip(BAD_DAYS, made, strict=True))
