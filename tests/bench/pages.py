"""What the pages cost with a million emails known and a gigabyte of logs: ``python -m tests.bench.pages``.

Fills a Valkey of its own with records as real ones are, the way the accept and settle scripts leave them, and a log folder with
lines as the service writes them; starts one API process on both; asks each page a number of times and says the median and the
slowest, and then what a status page that stays open costs in CPU, of the API and of Valkey.

This module is the benchmark of the pages; it asserts nothing but exits with 1 where a bound is missed.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tasks import keys
from tasks.beat import tell
from tasks.figures import STATES
from tasks.logline import Entry, encode
from tasks.outcome import Reply
from tasks.record import Delivery, Event, Letter
from tasks.store import Group, connect
from tests.processes import Stack, running_valkey
from tests.test_pages import beat
from web.session import make_sign_in_link

MUST_MS = 100.0
MUST_CPU = 0.01
SHARES = {"sent": 0.93, "failed": 0.03, "deferred": 0.01, "queued": 0.01, "held": 0.005, "scheduled": 0.005, "captured": 0.01}
STATES_BY_SHARE = [state for state, share in SHARES.items() for _ in range(round(share * 1000))]
LANES = ("high", "normal", "normal", "normal", "low")
CHUNK = 2000


def record(number: int, at_us: int) -> tuple[str, str, list[Any], bytes]:
    """One email as it lies in Redis: id, state, the fields of its hash, its event."""
    at_ms = at_us // 1000
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    stamp = f"{at_ms:012x}"
    id_ = f"{stamp[:8]}-{stamp[8:]}-7{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"
    state = STATES_BY_SHARE[int(digest[:6], 16) % len(STATES_BY_SHARE)]
    to = f"customer.{digest[:8]}@dest{number % 97}.example"
    letter = Letter(
        id=id_, client=("shop", "blog", "wiki", "crm")[number % 4], from_="My Shop <hello@shop.example>", to=[to],
        subject=f"Your receipt {number} of {digest[:6]}", sender="hello@shop.example", message_id=f"<{id_}@shop.example>",
        sha256=digest * 2, size=1600, created=at_ms,
    )  # fmt: skip
    reply = Reply(550, "5.1.1 no such user", "5.1.1") if state == "failed" else Reply(250, "2.0.0 queued as 4F1C")
    told = "waiting" if state in {"queued", "scheduled", "held"} else state
    delivery = Delivery(to=to, state=told, attempts=1, stage="dot", reply=reply, relay="smtp.example.com:587", at=at_ms + 40)
    lane = LANES[number % 5]
    fields: list[Any] = [
        "letter", msgspec.json.encode(letter), "deliveries", msgspec.json.encode([delivery]), "state", state, "lane", lane,
        "place", f"{at_ms}.000", "accepted", str(at_us), "born", str(at_ms), "route", "main", "attempt", "1", "starts", "0",
    ]  # fmt: skip
    if state == "held":
        fields += ["held_for", "operator", "why", "held by operator"]
    if state in {"deferred", "scheduled"}:
        fields += ["next", str(at_ms + 10**9)]
    event = Event(at=at_ms + 40, what=state, attempt=1, to=to, stage="dot", reply=reply, relay="smtp.example.com:587")
    return id_, state, fields, msgspec.json.encode(event)


def commands(first: int, last: int, start_us: int, step_us: int) -> Iterator[tuple[Any, ...]]:
    """What puts the emails ``first`` to ``last`` into Redis."""
    for number in range(first, last):
        at = start_us + number * step_us
        id_, state, fields, event = record(number, at)
        yield "HSET", keys.EMAIL + id_, *fields
        yield "RPUSH", keys.EVENTS + id_, event
        yield "ZADD", keys.EMAILS, at, id_
        yield "ZADD", keys.STATE + state, at, id_
        if state in {"queued", "deferred", "scheduled", "held"}:
            yield "ZADD", keys.OPEN, at, id_
        if state == "queued":
            yield "ZADD", keys.LANES[LANES[number % 5]], at / 1000, id_
        if state == "held":
            yield "ZADD", keys.HELD + "operator", at / 1000, id_


async def fill(url: str, number: int) -> float:
    """Puts ``number`` emails of the last 20 days into Redis; the seconds that it took."""
    client = connect(url)
    started = time.monotonic()
    connection = await client.connection_pool.get_connection()  # type: ignore[union-attr]
    step = 20 * 86_400_000_000 // number
    start = time.time_ns() // 1000 - number * step
    for first in range(0, number, CHUNK):
        batch = list(commands(first, min(number, first + CHUNK), start, step))
        await connection.send_packed_command(connection.pack_commands(batch))
        for _ in batch:
            await connection.read_response()
        if first % 100_000 == 0:
            print(f"  {first:,} emails", file=sys.stderr, flush=True)
    await client.connection_pool.release(connection)
    group = Group(client)
    await fill_counters(group)
    await group.close()
    await client.aclose()
    return time.monotonic() - started


async def fill_counters(group: Group) -> None:
    """Counters of a busy day, and two workers."""
    now = time.time_ns() // 10**6
    words = ["accepted", 340, "sent", 320, "failed", 7, "deferred", 12]
    words += [word for lane in keys.LANES for bound in (10, 20, 50, 100, 200, 500, 1000) for word in (f"{lane}{bound}", 9)]
    for back in range(120):
        await group.command("HSET", f"{keys.MINUTE}{now // 60_000 - back}", *words)
    for back in range(100):
        await group.command("HSET", f"{keys.QUARTER}{now // 900_000 - back}", *words)
    await group.command("HSET", keys.TOTALS, *words)
    for pid in (1, 2):
        await tell(group, msgspec.structs.replace(beat(now, "smtp.example.com:587"), name=f"h:{pid}", pid=pid))
        await group.command("PERSIST", f"{keys.WORKER}h:{pid}")


def fill_logs(folder: Path, size: int) -> float:
    """Writes ``size`` bytes of log lines, 10 MB a file, five files a slot; the seconds that it took."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    at = time.time() - 86_400
    files = max(1, size // 10_000_000)
    for number in range(files):
        slot, part = number // 5, number % 5
        name = f"worker-{slot}.jsonl" if part == 4 else f"worker-{slot}.20260101T00000000000{part}.jsonl"
        begin = at + number * 86_000 / files
        lines: list[bytes] = []
        written = 0
        while written < 10_000_000:
            moment = begin + written * 800 / 10_000_000
            clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 10**6):06}Z"
            entry = Entry(
                time=clock, level="INFO", role="worker", slot=slot, pid=7, logger="tasks.maillog",
                email=f"01a210b0-0585-752f-bf50-{written:012x}",
                message=f"sent to customer.{written:x}@dest.example by smtp.example.com:587 in attempt 1: 250 {written:x}",
            )  # fmt: skip
            lines.append(encode(entry))
            written += len(lines[-1])
        (folder / name).write_bytes(b"".join(lines))
        os.utime(folder / name, (begin + 800, begin + 800))
    return time.monotonic() - started


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(http: httpx.AsyncClient, path: str, times: int, pids: list[int]) -> tuple[float, float, float, int]:
    """The median and the slowest answer in ms, the CPU of ``pids`` for one in ms, and its size."""
    took: list[float] = []
    before = sum(map(cpu_seconds, pids))
    answer = httpx.Response(0)
    for _ in range(times):
        started = time.perf_counter()
        answer = await http.get(path)
        took.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
    spent = (sum(map(cpu_seconds, pids)) - before) * 1000 / times
    return statistics.median(took), max(took), spent, len(answer.content)


async def watch(http: httpx.AsyncClient, path: str, seconds: float, pids: list[int]) -> list[float]:
    """What one open page that asks every two seconds costs each process, as a part of a core, beyond its idling."""
    parts: list[list[float]] = []
    for is_open in (False, True):
        before = [cpu_seconds(pid) for pid in pids]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if is_open:
                await http.get(path)
            await asyncio.sleep(2)
        parts.append([(cpu_seconds(pid) - used) / seconds for pid, used in zip(pids, before, strict=True)])
    return [is_open - idle for idle, is_open in zip(*parts, strict=True)]


async def some_paths(http: httpx.AsyncClient) -> list[str]:
    """The pages as an operator goes through them."""
    page = (await http.get("/status?state=sent")).text
    older = re.search(r'href="(/status\?before=[^"]+)"', page)
    email = re.search(r'href="(/status/emails/[^"]+)"', page)
    assert older is not None
    assert email is not None
    middle = f"/status?before={time.time_ns() // 1000 - 10 * 86_400_000_000}"
    return [
        "/", "/status", *(f"/status?state={state}" for state in STATES if state in SHARES), older[1].replace("&amp;", "&"),
        middle,
        "/status?q=customer.0000", email[1], "/logs", "/logs?level=ERROR", "/logs?text=nowhere+to+be+found",
        f"/logs?email={email[1].rpartition('/')[2]}", "/mailbox", "/health/mail", "/metrics",
    ]  # fmt: skip


async def run(emails: int, log_bytes: int, times: int, seconds: float) -> bool:
    """Measures all; whether every bound was kept."""
    with running_valkey(persistent=False) as valkey, contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, valkey.folder, ignore_errors=True)
        print(f"{emails:,} emails in {await fill(valkey.url, emails):.0f} s", file=sys.stderr)
        print(f"{log_bytes:,} bytes of logs in {fill_logs(valkey.folder / 'log', log_bytes):.0f} s", file=sys.stderr)
        info = await valkey.info()
        service = Stack(valkey.folder, valkey, "smtp+plain://127.0.0.1:9", LOG_LEVEL="WARNING")
        try:
            await service.start_api()
            group = Group(connect(valkey.url))
            async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:
                await http.get(await make_sign_in_link(group, service.url))
                await group.close()
                print(f"Valkey uses {info['used_memory'] / emails:,.0f} bytes an email. {times} times each:\n")
                assert valkey.process is not None
                pids = [service.apis[0].pid, valkey.process.pid]
                is_good = await _pages(http, times, pids)
                api, store = await watch(http, "/status", seconds, pids)
                print(
                    f"\nan open status page costs {api:.2%} of a core in the API, {store:.2%} in Valkey (bound {MUST_CPU:.0%})"
                )
                return is_good and api + store <= MUST_CPU
        finally:
            await service.stop()


async def _pages(http: httpx.AsyncClient, times: int, pids: list[int]) -> bool:
    is_good = True
    print(f"{'page':<44} {'median':>9} {'slowest':>9} {'CPU':>9} {'size':>9}")
    for path in await some_paths(http):
        await http.get(path)
        median, slowest, spent, size = await ask(http, path, times, pids)
        is_good &= median <= MUST_MS
        slow = "" if median <= MUST_MS else "  too slow"
        print(f"{path[:44]:<44} {median:>6.1f} ms {slowest:>6.1f} ms {spent:>6.1f} ms {size / 1000:>6.1f} kB{slow}")
    return is_good


def main() -> None:
    """Reads the arguments and runs."""
    parser = argparse.ArgumentParser(description="What the pages cost.")
    parser.add_argument("--emails", type=int, default=1_000_000)
    parser.add_argument("--log-bytes", type=int, default=1_000_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg()[0]}), file=sys.stderr)
    sys.exit(not asyncio.run(run(args.emails, args.log_bytes, args.times, args.seconds)))


if __name__ == "__main__":
    main()
