"""F10: how long a large attachment keeps everybody else waiting.

One client POSTs an email with 10 MB attached while another asks ``/health/live`` every 5 ms. How much longer than usual its
slowest answer took is how long the event loop stood still. This module is the measurement of blocking.
"""

import asyncio
import socket
import statistics
import threading
import time

from tests.bench.figures import TARGETS, Figure, number
from tests.bench.message import large_request
from tests.bench.ours import HEADERS, ours
from tests.bench.plan import Plan

SIZE = 10_000_000
EVERY = 0.005


async def blocking(plan: Plan) -> list[Figure]:
    """F10."""
    body = large_request(SIZE)
    found: list[float] = []
    async with ours("smtp+plain://127.0.0.1:9", workers=0) as mine:
        for n in range(plan.rounds + 1):
            waited, took = await asyncio.to_thread(_go, mine.port, body)
            if n:
                found.append(waited)
                plan.say(f"blocking, round {n}: {number(waited)} ms, the POST itself {number(took)} ms")
    return [Figure(TARGETS["F10"], found)]


def _go(port: int, body: bytes) -> tuple[float, float]:
    """The slowest light answer beyond the usual one, and the time of the POST, in ms."""
    took: list[float] = []
    usual = [_ask(port) for _ in range(20)]
    poster = threading.Thread(target=lambda: took.append(_post(port, body)))
    poster.start()
    waits: list[float] = []
    while poster.is_alive():
        waits.append(_ask(port))
        time.sleep(EVERY)
    waits += [_ask(port) for _ in range(20)]
    return (max(waits) - statistics.median(usual)) * 1000, took[0] * 1000


def _ask(port: int) -> float:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        began = time.perf_counter()
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        sock.recv(4096)
        return time.perf_counter() - began


def _post(port: int, body: bytes) -> float:
    fields = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    head = f"POST /send-email/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port)) as sock:
        began = time.perf_counter()
        sock.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        answer = sock.recv(4096)
        assert b" 202 " in answer.partition(b"\r\n")[0], answer
        return time.perf_counter() - began
