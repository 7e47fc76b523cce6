"""F5: from the POST to the relay's 250, at 50 emails a second, whole stacks.

The relay here has a clock: it answers as a relay does and notes when it said 250 to which subject. Clock, relay and client are
one process, so that there is one time. This module is the measurement of latency.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

from tests.bench import message
from tests.bench.figures import TARGETS, Figure, number, percentile, ratios
from tests.bench.httpclient import Connection
from tests.bench.ours import HEADERS, ours
from tests.bench.plan import Plan
from tests.bench.theirs import HEADERS as THEIR_HEADERS
from tests.bench.theirs import theirs
from tests.processes import until

RATE = 50
_SUBJECT = re.compile(rb"\r\nSubject: (\S+)\r\n")


class Clock(asyncio.Protocol):
    """One connection to the relay with a clock. ``seen`` maps subjects to seconds."""

    def __init__(self, seen: dict[bytes, float]) -> None:
        self._seen = seen
        self._rest = b""
        self._is_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 clock.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while self._step():
            pass

    def _step(self) -> bool:
        """One command or one body; False where more bytes are needed."""
        end = b"\r\n.\r\n" if self._is_body else b"\r\n"
        part, found, rest = self._rest.partition(end)
        if not found:
            return False
        self._rest = rest
        if self._is_body:
            self._is_body = False
            self._transport.write(b"250 2.0.0 Ok: queued as 12345\r\n")
            subject = _SUBJECT.search(b"\r\n" + part)
            if subject is not None:
                self._seen[subject[1]] = time.perf_counter()
            return True
        verb = part[:4].upper()
        if verb == b"EHLO":
            self._transport.write(b"250-clock.example\r\n250-8BITMIME\r\n250 SIZE 30000000\r\n")
        elif verb == b"DATA":
            self._is_body = True
            self._transport.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"221 2.0.0 Bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 2.1.0 Ok\r\n")
        return True


async def latency(plan: Plan) -> list[Figure]:
    """F5."""
    seen: dict[bytes, float] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Clock(seen), "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    rounds: list[tuple[list[float], list[float]]] = []
    async with server, ours(f"smtp+plain://127.0.0.1:{port}") as mine, theirs(port, "api", "worker") as peer:
        sides = ((mine.port, HEADERS), (peer.port, THEIR_HEADERS))
        for at, headers in sides:
            await _go(seen, at, headers, "w", plan.many(50, 20))
        for n in range(plan.rounds):
            found = [await _go(seen, at, headers, f"{n}", plan.many(300, 50)) for at, headers in sides]
            rounds.append((found[0], found[1]))
            told = [f"p50 {number(percentile(each, 0.5))} ms, p99 {number(percentile(each, 0.99))} ms" for each in found]
            plan.say(f"latency, round {n + 1}: " + " · ".join(told))
    figures: list[Figure] = []
    for name, share in (("F5 p50", 0.5), ("F5 p99", 0.99)):
        we, they = ([percentile(each[n], share) for each in rounds] for n in (0, 1))
        peer_said = f"the peer {number(percentile([ms for each in rounds for ms in each[1]], share))} ms"
        figures += [Figure(TARGETS[name], we, peer_said), Figure(TARGETS[f"{name} ÷"], ratios(we, they))]
    return figures


async def _go(seen: dict[bytes, float], port: int, headers: dict[str, str], name: str, count: int) -> list[float]:
    """Milliseconds from POST to 250 of ``count`` emails, one each 20 ms."""
    began: dict[bytes, float] = {}
    connection = await Connection.open(port)

    async def post(n: int) -> None:
        subject = f"{port}-{name}-{n}"
        began[subject.encode()] = time.perf_counter()
        await connection.send_email(message.request(subject), headers)

    await paced(post, count, RATE)
    await until(lambda: began.keys() <= seen.keys(), seconds=15, what="all emails at the relay")
    await connection.close()
    return [(seen[subject] - at) * 1000 for subject, at in began.items()]


async def paced(work: Callable[[int], Awaitable[None]], count: int, rate: float) -> None:
    """``work(n)`` for each n, begun ``rate`` times a second, one after the other."""
    first = time.perf_counter()
    for n in range(count):
        await asyncio.sleep(max(0.0, first + n / rate - time.perf_counter()))
        await work(n)
