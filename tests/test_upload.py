"""A gigabyte in chunks, and many large bodies at once: refused early, with memory flat."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.processes import KEY, Stack, an_email, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]

WRONG_KEY = "a-wrong-key-0123456789"
GIGABYTE = 1_000_000_000
CHUNK = b"%x\r\n" % 1_000_000 + b" " * 1_000_000 + b"\r\n"
HEAD = b"POST /send-email/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture
async def stack() -> AsyncGenerator[Stack, None]:
    async with running_stack("smtp+plain://127.0.0.1:9") as made:
        yield made


def peak_megabytes(stack: Stack) -> float:
    """The most memory that the API process has ever had."""
    [line] = [line for line in Path(f"/proc/{stack.apis[0].pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


async def upload(stack: Stack, key: str) -> tuple[str, int]:
    """Sends a gigabyte as long as anybody listens: the status, and how many bytes were taken from us."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports[0])
    answer = asyncio.create_task(reader.read(65_536))
    size = 0
    writer.write(HEAD + f"Authorization: Bearer {key}\r\n\r\n".encode())
    with contextlib.suppress(OSError):
        while size < GIGABYTE and not answer.done():
            writer.write(CHUNK)
            await writer.drain()
            size += len(CHUNK)
    text = b""
    with contextlib.suppress(OSError):
        text = await answer
    writer.transport.abort()
    return text[9:12].decode(), size


async def answer_to_head(stack: Stack, key: str) -> str:
    """The status that answers the head of an upload of which no body follows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.ports[0])
    writer.write(HEAD + f"Authorization: Bearer {key}\r\n\r\n".encode())
    text = await asyncio.wait_for(reader.readline(), 5)
    writer.transport.abort()
    return text[9:12].decode()


async def test_a_gigabyte_is_refused_early_with_memory_flat(stack: Stack) -> None:
    async with stack.http() as http:
        assert (await http.post("/send-email/", json=an_email())).status_code == 202
        before = peak_megabytes(stack)
        status, size = await upload(stack, KEY)
        assert status == "413"
        assert size < 60_000_000, "the limit is 40 MB, and some is in sockets"
        assert peak_megabytes(stack) - before < 100
        assert await answer_to_head(stack, WRONG_KEY) == "403", "no byte of the body is needed to know a wrong key"
        before = peak_megabytes(stack)
        status, size = await upload(stack, WRONG_KEY)
        assert status == "403"
        assert size < 60_000_000, "it is answered at its head: all else is on its way, and dropped"
        assert peak_megabytes(stack) - before < 10, "nothing of it is kept"
        before = peak_megabytes(stack)
        for _ in range(3):
            assert (await upload(stack, KEY))[0] == "413"
        assert peak_megabytes(stack) - before < 30, "what a body took is free again"
        assert (await http.post("/send-email/", json=an_email(1))).status_code == 202


@pytest.mark.parametrize(("piece", "field"), [("[]", "attachments[0]"), ('{"":0}', "body"), ("0", "attachments[0]")])
async def test_a_body_of_many_small_values_takes_no_more_than_its_size(stack: Stack, piece: str, field: str) -> None:
    many = ",".join([piece] * (30_000_000 // (len(piece) + 1)))
    body = f'{{"email_to":"a@b.example","attachments":[{many}]}}'
    async with stack.http() as http:
        assert (await http.post("/send-email/", json=an_email())).status_code == 202
        before = peak_megabytes(stack)
        answer = await http.post("/send-email/", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].startswith(field)
    assert peak_megabytes(stack) - before < 150


async def test_many_large_bodies_at_once_stay_below_the_ceiling(stack: Stack) -> None:
    before = peak_megabytes(stack)
    found = await asyncio.gather(*(upload(stack, KEY) for _ in range(12)))
    assert {status for status, _ in found} <= {"413", "503"}
    assert peak_megabytes(stack) - before < 450, "268 MB for all bodies, and what their pieces cost beside"
    async with stack.http() as http:
        assert (await http.post("/send-email/", json=an_email())).status_code == 202
