"""How things stand: counts, times, workers, relays, and what Redis says of itself.

All of it comes from Redis in two round trips, so that every process shows the same, and no part of it costs more with more
emails. Counters are kept by minute for two hours, by quarter of an hour for a day, and for ever (``totals``).

This module is the figures and their reading; it changes nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import msgspec

from tasks import keys
from tasks.beat import Beat, Link, oldest, read
from tasks.email import Lane
from tasks.errors import StoreUnavailable
from tasks.queue import Queue, RelayHealth
from tasks.record import WAITING, State
from tasks.script import Script
from tasks.store import Group

STATES: tuple[State, ...] = (*WAITING, "sent", "partly_sent", "captured", "failed", "expired", "cancelled")
QUARTERS = 96
_HELD = {"relay": "relay:main", "operator": "operator", "damaged": "damaged", "crashes": "crashes", "internal": "internal"}
_COUNTERS = ("accepted", "sent", "failed", "deferred")


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of a span of time that begins at ``at`` (ms). ``accepted`` counts emails, the others recipients.

    ``buckets`` maps upper bounds in ms to the emails, by lane, that reached the relay in their first attempt; ``took`` is
    their time from acceptance to the relay's 250 in all, in ms. Single minutes and quarters come without both.
    """

    at: int
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    deferred: int = 0
    buckets: dict[str, dict[int, int]] = {}
    took: dict[str, int] = {}


class RedisHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis says of itself. Memory in bytes (``memory_max`` 0: no limit), latency in ms. Empty text: it would not say."""

    server: str
    version: str
    memory: int
    memory_max: int
    durability: str
    policy: str
    latency: float
    replicas: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service at ``now`` (ms). ``oldest`` is when the oldest waiting email was accepted, ms,
    of those that do not wait for a moment their clients chose.

    ``held`` counts the held emails by reason; ``gone`` are workers that stopped beating, with their last beat in ms; ``due``
    is since when the first email of a lane could go, ms; ``known`` counts all emails; ``limit`` is the most that may wait.
    ``hour`` adds the ``minutes`` up, ``recent`` the last five.
    """

    now: int
    states: dict[State, int]
    lanes: dict[Lane, int]
    held: dict[str, int]
    oldest: int | None
    paused: bool
    workers: list[Beat]
    gone: list[tuple[str, int]]
    relays: list[RelayHealth]
    minutes: list[Minute]
    redis: RedisHealth
    quarters: list[Minute] = []
    totals: Minute = Minute(at=0)
    hour: Minute = Minute(at=0)
    recent: Minute = Minute(at=0)
    due: dict[Lane, int] = {}
    known: int = 0
    limit: int = 10**9

    @property
    def waiting(self) -> int:
        """Emails without a final state."""
        return sum(self.states[state] for state in WAITING)

    def link(self, relay: str) -> Link:
        """All workers' connections to a relay, and what it said last to any of them."""
        links = [link for worker in self.workers for link in worker.links if link.relay == relay]
        last = max(links, key=lambda link: link.at, default=Link(relay=relay, connections=0))
        return msgspec.structs.replace(last, connections=sum(link.connections for link in links))


class Gauges:
    """Reads the figures of one Redis. Every method raises ``StoreUnavailable`` where it is away."""

    def __init__(self, group: Group, queue: Queue) -> None:
        self._group = group
        self._queue = queue
        self._script = Script("figures")

    async def figures(self, minutes: int = 60) -> Figures:
        """Everything the status page shows at its top, with the counters of the last ``minutes`` and of a day."""
        since = oldest(round(time.time() * 1000))
        words = (minutes, QUARTERS, since, len(STATES), *STATES, *_HELD.values())
        found, redis = await asyncio.gather(self._group.run(self._script, *words), self.redis())
        now, states, lanes, held, known, first, paused, beats, totals, by_minute, by_quarter, hour, recent = found
        at = int(now)
        workers, gone = read(beats)
        names = dict.fromkeys(name for worker in workers for name in worker.relays)
        relays = await asyncio.gather(*(self._queue.relay(name) for name in names))
        due = {lane: int(float(lanes[2 * n + 1])) for n, lane in enumerate(keys.LANES) if lanes[2 * n + 1]}
        return Figures(
            now=at,
            states=dict(zip(STATES, states, strict=True)),
            lanes=cast(dict[Lane, int], dict(zip(keys.LANES, lanes[::2], strict=True))),
            held={reason: count for reason, count in zip(_HELD, held, strict=True) if count},
            oldest=int(float(first)) // 1000 if first else None,
            paused=bool(paused),
            workers=workers,
            gone=gone,
            relays=list(relays),
            minutes=_spans(at, 60_000, by_minute),
            redis=redis,
            quarters=_spans(at, 900_000, by_quarter),
            totals=_added(totals),
            hour=_added(hour),
            recent=_added(recent),
            due=cast(dict[Lane, int], {lane: since for lane, since in due.items() if since <= at}),
            known=known,
            limit=self._queue.limit,
        )

    async def redis(self) -> RedisHealth:
        """What Redis says of itself."""
        start = time.perf_counter()
        info = await self._group.command("INFO")
        latency = (time.perf_counter() - start) * 1000
        said = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
        fsync = await self._config("appendfsync")
        aof = said.get("aof_enabled") == "1"
        return RedisHealth(
            server=said.get("server_name", "redis"),
            version=said.get("valkey_version", said.get("redis_version", "")),
            memory=int(said.get("used_memory", 0)),
            memory_max=int(said.get("maxmemory", 0)),
            durability=(fsync or "aof") if aof else "none",
            policy=said.get("maxmemory_policy", ""),
            latency=latency,
            replicas=int(said.get("connected_slaves", 0)),
        )

    async def _config(self, name: str) -> str:
        """A configuration value; empty where a managed Redis does not let us ask."""
        try:
            answer = await self._group.command("CONFIG", "GET", name)
        except StoreUnavailable:
            return ""
        return answer[1].decode() if len(answer) == 2 else ""


def _spans(now: int, length: int, found: Sequence[Sequence[bytes | None]]) -> list[Minute]:
    """Counters of spans of ``length`` ms, the last one being that of ``now``."""
    first = now // length - len(found) + 1
    spans: list[Minute] = []
    for n, counters in enumerate(found):
        accepted, sent, failed, deferred = (int(value) if value else 0 for value in counters)
        spans.append(Minute(at=(first + n) * length, accepted=accepted, sent=sent, failed=failed, deferred=deferred))
    return spans


def _added(flat: Sequence[bytes]) -> Minute:
    counters = dict.fromkeys(_COUNTERS, 0)
    buckets: dict[str, dict[int, int]] = {}
    took: dict[str, int] = {}
    for n in range(0, len(flat), 2):
        name, value = flat[n].decode(), int(flat[n + 1])
        lane = name.rstrip("0123456789")
        if name in counters:
            counters[name] = value
        elif name.endswith("_ms"):
            took[name.removesuffix("_ms")] = value
        elif lane in keys.LANES and lane != name:
            buckets.setdefault(lane, {})[int(name[len(lane) :])] = value
    return Minute(at=0, buckets=buckets, took=took, **counters)
