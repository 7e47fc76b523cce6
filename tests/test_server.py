"""The HTTP server against clients that are slow, greedy, broken or malicious, over real sockets and uvloop."""

import asyncio
import contextlib
import functools
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from litestar.types import ASGIApp

from service.edge import Edge
from service.intake import BodyLimits
from service.server import AppNotStarted, CannotListen, Limits, PortTaken, listen, serve
from service.whole import whole_of

QUICK = Limits(head_seconds=0.2, idle_seconds=0.3, stall_seconds=0.2, linger_seconds=0.2, connections=50)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"


def on_uvloop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on the loop that the service runs on."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(test(*args, **kwargs), 8))

    return run


class Echo:
    """Answers with the method, the path, the header names and the body; `/early` does not wait for the body."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.answered = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                self.events.append(word)
                await send({"type": f"lifespan.{word}.complete"})
            return
        body = b"" if scope["path"] == "/early" else await self.body(receive)
        if scope["path"] == "/wait":
            await self.answered.wait()
        names = [name.decode() for name, _ in scope["headers"]]
        text = json.dumps([scope["method"], scope["path"], names, body.decode()]).encode()
        if scope["path"] == "/big":
            text = b"x" * 20_000_000
        headers = [(b"content-length", b"%d" % len(text))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text, "more_body": False})

    async def body(self, receive: Any) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.events.append("disconnect")
                return b""
            parts.append(message["body"])
            if not message["more_body"]:
                return b"".join(parts)


@dataclass
class Running:
    port: int
    app: Any
    stop: asyncio.Event
    task: asyncio.Task[None]
    peers: list["Peer"] = field(default_factory=list)

    async def connect(self) -> "Peer":
        self.peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.peers[-1]

    async def talk(self, *pieces: bytes, pause: float = 0) -> bytes:
        """Send, piece by piece, and read all until the server ends the connection."""
        peer = await self.connect()
        reading = asyncio.create_task(peer.rest())
        for piece in pieces:
            if reading.done():
                break
            with contextlib.suppress(OSError):
                await peer.send(piece)
            await asyncio.sleep(pause)
        return await reading


@dataclass
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def rest(self) -> bytes:
        data = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := await asyncio.wait_for(self.reader.read(65536), 3):
                data += piece
        return bytes(data)

    async def answer(self) -> tuple[int, bytes, bytes]:
        """One answer: status, head, body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 3)
        return split(head + await self.reader.readexactly(length_of(head)))

    def close(self) -> None:
        self.writer.close()


def length_of(head: bytes) -> int:
    return next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))


def split(answer: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(answer.split(b" ", 2)[1]), head, body


def is_refusal(answer: bytes, status: int) -> bool:
    """Whether this is one answer in the error shape, after which the connection closes."""
    code, head, body = split(answer)
    error = json.loads(body)
    assert error["statusCode"] == code, answer
    assert set(error) == {"statusCode", "name", "message"}
    assert b"\r\nconnection: close" in head
    assert length_of(head) == len(body)
    return code == status


@contextlib.asynccontextmanager
async def running(app: ASGIApp | None = None, *, limits: Limits = QUICK, graceful_seconds: int = 1) -> AsyncIterator[Running]:
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    app, stop, is_listening = app or Echo(), asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        serve(
            app,
            host="127.0.0.1",
            port=port,
            stop=stop,
            graceful_seconds=graceful_seconds,
            sockets=sockets,
            on_listening=is_listening.set,
            limits=limits,
        )
    )
    await asyncio.wait_for(is_listening.wait(), 3)
    server = Running(port, app, stop, task)
    try:
        yield server
    finally:
        stop.set()
        for peer in server.peers:
            peer.close()
        await asyncio.wait_for(task, graceful_seconds + 3)


def seconds() -> float:
    return asyncio.get_running_loop().time()


# Heads


@on_uvloop
async def test_a_slow_head_is_refused_when_its_time_is_over() -> None:
    async with running() as server:
        began = seconds()
        answer = await server.talk(*(GET[i : i + 1] for i in range(len(GET))), pause=0.02)
        assert is_refusal(answer, 408)
        assert 0.15 < seconds() - began < 1.5


@on_uvloop
async def test_a_slow_second_head_is_refused_as_well() -> None:
    async with running() as server:
        answer = await server.talk(GET + b"\r\n", *(GET[i : i + 1] for i in range(len(GET))), pause=0.02)
        assert answer.startswith(b"HTTP/1.1 200")
        assert is_refusal(answer[answer.rindex(b"HTTP/1.1") :], 408)


@on_uvloop
async def test_who_connects_and_says_nothing_is_dropped_without_a_word() -> None:
    async with running() as server:
        began = seconds()
        assert await server.talk() == b""
        assert await server.talk(*[b"\r\n"] * 30, pause=0.02) == b""
        assert 0.35 < seconds() - began < 2


GIANT: dict[str, list[bytes]] = {
    "one header": [GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n"],
    "a header without an end": [GET + b"X: "] + [b"a" * 8000] * 20,
    "many headers": [GET + b"".join(b"X%d: y\r\n" % i for i in range(5000)) + b"\r\n"],
    "a long path": [b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a path without an end": [b"GET /"] + [b"a" * 8000] * 20,
    "empty lines without an end": [b"\r\n" * 4000] * 20,
}


@on_uvloop
async def test_a_giant_head_is_refused() -> None:
    async with running() as server:
        answers = await asyncio.gather(*(server.talk(*pieces, pause=0.001) for pieces in GIANT.values()))
    assert [name for name, answer in zip(GIANT, answers, strict=True) if not is_refusal(answer, 431)] == []


@on_uvloop
async def test_a_refused_client_that_goes_on_sending_still_gets_the_answer() -> None:
    async with running() as server:
        peer = await server.connect()
        for _ in range(40):
            await peer.send(b"X" * 5000)
            await asyncio.sleep(0.001)
        assert is_refusal(await peer.rest(), 400)


@on_uvloop
async def test_a_head_of_thirty_kilobytes_is_fine() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(GET + b"X: " + b"a" * 30_000 + b"\r\n\r\n")
        assert (await peer.answer())[0] == 200


INVALID = [
    b"GARBAGE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n",
    b"F{}O / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    GET + b"Host: y\r\n\r\n",
    GET + b"X: a\x00b\r\n\r\n",
    GET + b"X : a\r\n\r\n",
    GET + b" folded\r\n\r\n",
    POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: 0x3\r\n\r\nabc",
    POST + b"Content-Length: +3\r\n\r\nabc",
    POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: identity, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
]


@on_uvloop
async def test_what_is_no_valid_request_is_refused_in_our_shape() -> None:
    async with running() as server:
        answers = await asyncio.gather(*(server.talk(request) for request in INVALID))
    wrong = [request for request, answer in zip(INVALID, answers, strict=True) if not is_refusal(answer, 400)]
    assert wrong == []


@on_uvloop
async def test_an_old_request_needs_no_host() -> None:
    async with running() as server:
        assert (await server.talk(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


@on_uvloop
async def test_an_offer_of_http_2_is_answered_in_http_1() -> None:
    async with running() as server:
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        peer = await server.connect()
        for _ in range(2):
            await peer.send(POST + offer + b"Content-Length: 2\r\n\r\nhi")
            status, _, body = await peer.answer()
            assert (status, json.loads(body)[3]) == (200, "hi")


@on_uvloop
@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://b.example:81/x?y", "b.example:81", "/x"),
        ("HTTPS://b.example", "b.example", "/"),
        ("http://b.example?c/d", "b.example", "/"),
        ("/x://y/z", "a", "/x://y/z"),
    ],
)
async def test_a_whole_url_as_target_counts_for_more_than_host(target: str, host: str, path: str) -> None:
    seen: list[dict[bytes, bytes]] = []
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["headers"]))
            paths.append(scope["path"])
        await Echo()(scope, receive, send)

    async with running(app) as server:
        await server.talk(f"GET {target} HTTP/1.1\r\nHost: a\r\nX: y\r\nConnection: close\r\n\r\n".encode())
    assert seen == [{b"host": host.encode(), b"x": b"y", b"connection": b"close"}]
    assert paths == [path]


@on_uvloop
@pytest.mark.parametrize("host", ["a b", "x<y", "a/b", "ä", "a@b", "a\\b"])
async def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    async with running() as server:
        assert is_refusal(await server.talk(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()), 400)


@on_uvloop
async def test_a_target_that_names_a_user_is_refused() -> None:
    async with running() as server:
        assert is_refusal(await server.talk(b"GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400)


# Bodies


@on_uvloop
async def test_a_slow_body_is_refused() -> None:
    edge = Edge(Echo(), body=BodyLimits(grace_seconds=0.2))
    async with running(edge) as server:
        answer = await server.talk(POST + b"Content-Length: 100\r\n\r\n", *[b"a"] * 40, pause=0.02)
        assert is_refusal(answer, 408)


@on_uvloop
async def test_trailers_do_not_become_headers() -> None:
    async with running() as server:
        chunked = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
        peer = await server.connect()
        await peer.send(POST + chunked)
        _, _, body = await peer.answer()
        assert json.loads(body) == ["POST", "/", ["host", "transfer-encoding"], "hi"]


@on_uvloop
async def test_trailers_without_an_end_are_refused() -> None:
    async with running() as server:
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: "
        assert is_refusal(await server.talk(head, *[b"a" * 8000] * 20, pause=0.001), 431)


@on_uvloop
async def test_a_body_broken_after_its_answer_gets_no_second_one() -> None:
    async with running() as server:
        head = b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await server.talk(head, b"2\r\nhi\r\n", b"nonsense\r\n", pause=0.05)
        assert answer.count(b"HTTP/1.1") == 1


@on_uvloop
async def test_a_large_body_is_read_whole_in_any_pieces() -> None:
    async with running() as server:
        peer = await server.connect()
        for piece in (100, 7000, 70_000):
            body = b"a" * 700_000
            await peer.send(POST + b"Content-Length: 700000\r\n\r\n")
            for start in range(0, len(body), piece * 10):
                await peer.send(body[start : start + piece * 10])
            assert len(json.loads((await peer.answer())[2])[3]) == 700_000
        await peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;x=y\r\na\r\n" * 20_000 + b"0\r\n\r\n")
        assert len(json.loads((await peer.answer())[2])[3]) == 20_000


@on_uvloop
async def test_who_reads_slowly_gets_the_whole_answer() -> None:
    async with running() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1000)
        writer.write(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size = 0
        while piece := await asyncio.wait_for(reader.read(1_000_000), 3):
            size += len(piece)
            if size % 7 == 0:
                await asyncio.sleep(0.0001)
        assert size > 20_000_000
        writer.close()


@on_uvloop
async def test_an_early_answer_reaches_who_still_sends_and_the_connection_goes_on() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n")
        assert (await peer.answer())[0] == 200
        await peer.send(b"a" * 200_000 + GET + b"\r\n")
        assert (await peer.answer())[0] == 200


@on_uvloop
async def test_a_body_that_nobody_needs_may_not_go_on_for_ever() -> None:
    async with running() as server:
        began = seconds()
        head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        answer = await server.talk(head, *[b"a"] * 100, pause=0.02)
        assert answer.count(b"HTTP/1.1") == 1
        assert seconds() - began < 1.5


@on_uvloop
async def test_a_request_refused_before_its_body_was_asked_for_ends_the_connection() -> None:
    async with running() as server:
        head = b"POST /early HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        answer = await server.talk(head)
        assert b"connection: close" in answer
        assert b"100 Continue" not in answer
        answer = await server.talk(head.replace(b"/early", b"/"), b"123456789")
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


@on_uvloop
async def test_garbage_after_a_whole_request_does_not_cost_its_answer() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi, and more than that\r\n")
        await asyncio.sleep(0.05)
        server.app.answered.set()
        answer = await peer.rest()
        assert answer.count(b"HTTP/1.1") == 1
        assert split(answer)[0] == 200


@on_uvloop
async def test_a_broken_body_ends_the_request_at_once() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await asyncio.sleep(0.05)
        await peer.send(b"nonsense\r\n")
        assert is_refusal(await peer.rest(), 400)
        await asyncio.sleep(0.05)
        assert "disconnect" in server.app.events


# Many requests, many connections


@on_uvloop
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(8)))
        assert [json.loads((await peer.answer())[2])[1] for _ in range(8)] == [f"/{i}" for i in range(8)]


# Answers in one piece


class Handed:
    """Takes a body that is here already, waits for any other; answers with how it came and how long it was."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await Echo()(scope, receive, send)
            return
        body = scope["state"]["body"]
        at_hand = body.at_hand()
        got = at_hand if at_hand is not None else await body.whole()
        assert body.at_hand() is None
        if scope["path"] == "/wait":
            assert (await receive())["type"] == "http.disconnect"
            self.gone.set()
            return
        await scope["state"]["send_json"](200, [], b'["%s", %d]' % (b"waited" if at_hand is None else b"at hand", len(got)))


def posted(size: int, path: bytes = b"/") -> bytes:
    """A request with a body of so many bytes."""
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, size, b"b" * size)


@on_uvloop
async def test_a_body_that_came_with_its_head_is_at_hand_and_any_other_waited_for() -> None:
    async with running(Edge(Handed())) as server:
        peer = await server.connect()
        await peer.send(posted(1) + posted(2) + posted(3))  # each has its own
        for size in (1, 2, 3):
            assert (await peer.answer())[2] == b'["at hand", %d]' % size
        head, body = posted(200_000)[:-200_000], b"b" * 200_000
        await peer.send(head)
        for start in range(0, 200_000, 50_000):
            await asyncio.sleep(0.02)
            await peer.send(body[start : start + 50_000])
        assert (await peer.answer())[2] == b'["waited", 200000]'
        await peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        assert (await peer.answer())[2] == b'["at hand", 2]'
        await peer.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert b"100 Continue" in await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"hi")
        assert (await peer.answer())[2] == b'["waited", 2]'


@on_uvloop
async def test_who_has_taken_the_body_still_hears_that_the_client_is_gone() -> None:
    app = Handed()
    async with running(Edge(app)) as server:
        peer = await server.connect()
        await peer.send(posted(5, b"/wait"))
        await asyncio.sleep(0.05)
        peer.writer.transport.abort()
        await asyncio.wait_for(app.gone.wait(), 2)


@on_uvloop
async def test_bodies_at_hand_count_until_they_are_answered_and_no_longer() -> None:
    async with running(Edge(Handed(), body=BodyLimits(held_bytes=100))) as server:
        peer = await server.connect()
        for _ in range(20):
            await peer.send(posted(60) + posted(101))
            assert (await peer.answer())[2] == b'["at hand", 60]'
            assert (await peer.answer())[0] == 503
        waiting = [await server.connect() for _ in range(2)]
        for one in waiting:
            await one.send(posted(40, b"/wait"))
        await asyncio.sleep(0.05)
        await peer.send(posted(20) + posted(21))
        assert [(await peer.answer())[0] for _ in range(2)] == [200, 503]
        waiting[0].writer.transport.abort()
        await asyncio.sleep(0.05)
        await peer.send(posted(60))
        assert (await peer.answer())[0] == 200


class Wholly:
    """Answers in one piece where that is offered; says in a header how it answered."""

    def __init__(self, *headers: tuple[bytes, bytes], body: bytes = b"[]") -> None:
        self.headers = headers
        self.body = body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await Echo()(scope, receive, send)
            return
        whole = whole_of(scope)
        path = scope["path"].encode()
        if whole is not None and whole(202, [(b"how", b"whole"), (b"path", path), *self.headers], self.body):
            return
        headers = [(b"content-length", b"%d" % len(self.body)), (b"how", b"parts"), (b"path", path)]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


@on_uvloop
async def test_a_whole_answer_is_one_answer_and_the_connection_goes_on() -> None:
    async with running(Wholly(body=b"{}")) as server:
        peer = await server.connect()
        await peer.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in range(5)))
        for i in range(5):
            status, head, body = await peer.answer()
            assert (status, body) == (202, b"{}")
            assert b"\r\nhow: whole\r\npath: /%d\r\n" % i in head
            assert head.count(b"\r\ndate: ") == head.count(b"content-length") == 1


@on_uvloop
async def test_a_body_still_on_its_way_does_not_hinder_a_whole_answer() -> None:
    async with running(Wholly()) as server:
        peer = await server.connect()
        await peer.send(POST + b"Content-Length: 10\r\n\r\n12345")
        assert b"how: whole" in (await peer.answer())[1]
        await peer.send(b"67890" + GET + b"\r\n")
        assert b"how: whole" in (await peer.answer())[1]


@on_uvloop
async def test_where_the_connection_ends_or_no_body_may_come_an_answer_is_sent_in_parts() -> None:
    async with running(Wholly(body=b"{}")) as server:
        assert b"how: parts" in await server.talk(GET + b"Connection: close\r\n\r\n")
        assert b"how: parts" in await server.talk(b"GET / HTTP/1.0\r\n\r\n")
        answer = await server.talk(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"how: parts" in answer
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb"])
def test_a_line_end_in_a_header_of_a_whole_answer_is_an_error(value: bytes) -> None:
    @on_uvloop
    async def see() -> None:
        async with running(Wholly((b"location", value))) as server:
            answer = await server.talk(GET + b"\r\n")
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert b"set-cookie" not in answer

    see()


@on_uvloop
async def test_a_flood_of_pipelined_requests_is_cut() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        await asyncio.sleep(0.1)
        server.app.answered.set()
        answer = await peer.rest()
        assert answer.count(b"HTTP/1.1 200") == QUICK.pipelined + 1


@on_uvloop
async def test_an_endless_head_behind_a_running_request_is_cut() -> None:
    async with running() as server:
        peer = await server.connect()
        await peer.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"X: ")
        for _ in range(20):
            await peer.send(b"a" * 8000)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        server.app.answered.set()
        assert split(await peer.rest())[0] == 200


@on_uvloop
async def test_an_idle_connection_ends() -> None:
    async with running() as server:
        began = seconds()
        assert (await server.talk(GET + b"\r\n")).startswith(b"HTTP/1.1 200")
        assert 0.25 < seconds() - began < 1.5


@on_uvloop
async def test_connections_above_the_cap_are_refused_and_the_others_served() -> None:
    async with running(limits=Limits(head_seconds=5, connections=10)) as server:
        first = await server.connect()
        held = [await server.connect() for _ in range(9)]
        assert is_refusal(await server.talk(), 503)
        await first.send(GET + b"\r\n")
        assert (await first.answer())[0] == 200
        held.pop().close()
        await asyncio.sleep(0.05)
        again = await server.connect()
        await again.send(GET + b"\r\n")
        assert (await again.answer())[0] == 200


@on_uvloop
async def test_who_does_not_read_the_answer_is_cut_off() -> None:
    async with running() as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.5)
        sock.settimeout(2)
        size = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := await asyncio.to_thread(sock.recv, 1_000_000):
                size += len(piece)
        assert size < 20_000_000
        sock.close()


# Start and end


@on_uvloop
async def test_stopping_lets_running_requests_finish_and_ends_idle_connections() -> None:
    app = Echo()
    async with running(app, graceful_seconds=3) as server:
        busy, idle = await server.connect(), await server.connect()
        await busy.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        server.stop.set()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
        app.answered.set()
        status, head, _ = split(await busy.rest())
        assert (status, b"connection: close" in head) == (200, True)
        await asyncio.wait_for(server.task, 1)
    assert app.events == ["startup", "shutdown"]


@on_uvloop
async def test_a_hung_upload_delays_the_end_no_longer_than_allowed() -> None:
    app = Echo()
    async with running(Edge(app), graceful_seconds=0.4) as server:
        peer = await server.connect()
        await peer.send(POST + b"Content-Length: 100\r\n\r\nabc")
        await asyncio.sleep(0.05)
        server.stop.set()
        began = seconds()
        assert is_refusal(await peer.rest(), 503)
        await asyncio.wait_for(server.task, 2)
        assert 0.4 < seconds() - began < 1.4
    assert app.events == ["startup", "shutdown"]


def test_a_port_that_is_taken_is_refused_with_the_name_of_its_holder() -> None:
    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    try:
        with pytest.raises(PortTaken) as caught:
            asyncio.run(serve(Echo(), host="127.0.0.1", port=port, stop=asyncio.Event()))
    finally:
        sockets[0].close()
    assert f"127.0.0.1 port {port}" in str(caught.value)
    assert caught.value.port == port
    if Path("/proc/net").is_dir():
        assert f"process {os.getpid()} (" in str(caught.value)


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(CannotListen, match=r"Cannot listen on 203\.0\.113\.1 port 0: Cannot assign"):
        listen("203.0.113.1", 0)


@on_uvloop
async def test_an_application_that_does_not_start_frees_the_port() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    sockets = listen("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    with pytest.raises(AppNotStarted):
        await serve(broken, host="127.0.0.1", port=port, stop=asyncio.Event(), sockets=sockets)
    listen("127.0.0.1", port)[0].close()
