"""The live service as the cases see it: clients with keys, a signed-in operator, and a relay that shows what it got.

This module is the harness of the table.
"""

import asyncio
import contextlib
import email
import email.policy
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from email.message import EmailMessage
from typing import Any, NamedTuple, cast

import fast_mail_parser
import httpx

from tests.processes import KEY, OTHER_KEY, Stack, an_email, running_stack, until
from tests.relay import ScriptedRelay

PASSWORD = "the-operators-password"
LIMITED_KEY = "limited-key-0123456789"
TESTER_KEY = "tester-key-0123456789"
HOSTILE_REPLY = "550 5.1.1 <script>alert(3)</script> \x1b[31m\u202e no such user"
JSON = {"content-type": "application/json"}
LINES = re.compile(rb"(?:[\t\x20-\x7e]{0,998}\r\n)*")


class Case(NamedTuple):
    """One example. ``ask`` gives what came back, in the words of ``expected``."""

    kind: str
    input: str
    expected: str
    ask: Callable[["Probe"], Awaitable[str]]

    def __str__(self) -> str:
        return f"{self.kind}: {self.input}"


class Delivered(NamedTuple):
    """An email as the relay got it, read twice."""

    sender: str
    recipients: list[str]
    raw: bytes
    python: EmailMessage
    rust: Any


class Probe:
    """The stack and its clients."""

    def __init__(self, stack: Stack, relay: ScriptedRelay) -> None:
        self.stack = stack
        self.relay = relay
        self.http = stack.http()
        self.other = stack.http(OTHER_KEY)
        self.limited = stack.http(LIMITED_KEY)
        self.tester = stack.http(TESTER_KEY)
        self.narrow = stack.http(number=1)
        self.stranger = httpx.AsyncClient(base_url=stack.url, timeout=15)
        self.operator = httpx.AsyncClient(base_url=stack.url, timeout=15)
        self.ids: dict[str, str] = {}
        self.measured = ""

    async def sign_in(self) -> None:
        """Gives the operator a session."""
        answer = await self.operator.post("/sign-in", data={"password": PASSWORD})
        assert answer.status_code == 303, answer.text

    async def close(self) -> None:
        """Closes every client."""
        for client in (self.http, self.other, self.limited, self.tester, self.narrow, self.stranger, self.operator):
            await client.aclose()

    async def post(self, **changes: Any) -> httpx.Response:
        """A good email with some fields replaced."""
        return await self.raw(json.dumps(an_email(**changes)).encode())

    async def raw(self, body: bytes, **headers: str) -> httpx.Response:
        """Any bytes as JSON."""
        return await self.http.post("/send-email/", content=body, headers={**JSON, **headers})

    async def deliver(self, **changes: Any) -> Delivered:
        """Posts and waits until the relay has it. The bytes are checked to be lines that end in CRLF, of 7 bits."""
        answer = await self.post(**changes)
        if answer.status_code != 202:
            raise AssertionError(said(answer))
        needle = answer.json()["result"].encode()
        taken = await until(lambda: next((one for one in reversed(self.relay.emails) if needle in one.message), None))
        raw: bytes = taken.message
        if LINES.fullmatch(raw) is None:
            raise AssertionError("a line that does not end in CRLF, is too long, or has 8 bits")
        python = cast(EmailMessage, email.message_from_bytes(raw, policy=email.policy.default))
        return Delivered(taken.sender, taken.recipients, raw, python, fast_mail_parser.parse_email(raw))

    async def talk(self, data: bytes, *, end: bool = False, seconds: float = 3.0, number: int = 0) -> bytes:
        """Sends bytes on a connection of its own and gives what comes back until the server ends it, or time is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.stack.ports[number])
        found = bytearray()
        try:
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
                if end:
                    writer.write_eof()
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(seconds):
                    while piece := await reader.read(65_536):
                        found += piece
        finally:
            writer.transport.abort()
        return bytes(found)


def said(answer: httpx.Response) -> str:
    """``202``, ``422 subject`` or ``403 invalid_api_key``: the status, and the first wrong field or else the name.

    An answer that is not in the one error shape says so.
    """
    if answer.status_code < 400:
        return str(answer.status_code)
    try:
        body = answer.json()
        shape = set(body) - {"errors"}
        word = body["errors"][0]["field"] if body.get("errors") else body["name"]
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} in another shape"
    if shape != {"statusCode", "name", "message"} or body["statusCode"] != answer.status_code or len(answer.content) > 20_000:
        return f"{answer.status_code} in another shape"
    return f"{answer.status_code} {word}"


def statuses(answer: bytes) -> str:
    """The status of each answer on a connection, in order; nothing where there was none."""
    return " ".join(found.decode() for found in re.findall(rb"HTTP/1\.1 (\d{3})", answer)) or "closed"


@contextlib.asynccontextmanager
async def probing() -> AsyncGenerator[Probe, None]:
    """A whole service: an API with small limits, one with next to none, a worker, a relay."""
    keys = f"shop:{KEY},other:{OTHER_KEY}:*@other.example,limited:{LIMITED_KEY}:::20/m,tester:{TESTER_KEY}::capture"
    settings = {"API_KEYS": keys, "SMTP_CONNECTIONS": "2", "MAX_REQUEST_BYTES": "2MB", "MAX_MESSAGE_BYTES": "1MB"}
    async with ScriptedRelay() as relay:
        relay.replies["RCPT"] = {"hostile@dest.example": HOSTILE_REPLY}
        async with running_stack(f"smtp+plain://127.0.0.1:{relay.port}", **settings) as stack:
            await asyncio.gather(stack.start_api(QUEUE_LIMIT="1", RECIPIENT_LIMIT="2/h"), stack.start_worker())
            probe = Probe(stack, relay)
            await probe.sign_in()
            try:
                yield probe
            finally:
                await probe.close()
