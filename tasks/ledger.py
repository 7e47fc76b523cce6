"""Reading: emails, figures, and what Redis says of itself, for the API and the pages.

Nothing here is larger than a page, and no call's cost grows with the number of emails. This module is the read side of the
queue; it changes nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import cast

import msgspec
from loguru import logger

from tasks import keys
from tasks.beat import Beat, beats
from tasks.email import Lane
from tasks.errors import StoreUnavailable
from tasks.queue import Queue, RelayHealth
from tasks.record import WAITING, Delivery, Event, HeldFor, Letter, Record, State
from tasks.store import Group

STATES: tuple[State, ...] = (*WAITING, "sent", "partly_sent", "captured", "failed", "expired", "cancelled")

_letter = msgspec.json.Decoder(Letter).decode
_deliveries = msgspec.json.Decoder(list[Delivery]).decode
_event = msgspec.json.Decoder(Event).decode


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one minute; ``at`` in ms. ``buckets`` maps upper bounds in ms to first-attempt deliveries."""

    at: int
    accepted: int = 0
    sent: int = 0
    failed: int = 0
    deferred: int = 0
    buckets: dict[int, int] = {}


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
    """The state of the service at ``now`` (ms). ``oldest`` is when the oldest waiting email was accepted, ms.

    ``held`` counts the held emails by reason; ``gone`` are workers that stopped beating, with their last beat in ms.
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

    @property
    def waiting(self) -> int:
        """Emails without a final state."""
        return sum(self.states[state] for state in WAITING)


class Ledger:
    """Reads one Redis. Every method raises ``StoreUnavailable`` where it is away."""

    def __init__(self, group: Group, queue: Queue) -> None:
        self._group = group
        self._queue = queue

    async def record(self, id_: str) -> Record | None:
        """One email, or None where there is no such id, or a record that this version cannot read."""
        flat = await self._group.command("HGETALL", keys.EMAIL + id_)
        if not flat:
            return None
        kept = await self._group.command("EXISTS", keys.CONTENT + id_)
        try:
            return _record({flat[n].decode(): flat[n + 1] for n in range(0, len(flat), 2)}, bool(kept))
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            logger.warning("the record of email {} cannot be read: {}", id_, type(error).__name__)
            return None

    async def events(self, record: Record) -> list[Event]:
        """What happened to an email, oldest first, its acceptance included."""
        raw = await self._group.command("LRANGE", keys.EVENTS + record.letter.id, 0, -1)
        first = Event(at=record.accepted, what="accepted", by=record.letter.client)
        return [first, *(_event(line) for line in raw)]

    async def content(self, id_: str) -> bytes | None:
        """The message's bytes while they are kept."""
        return await self._queue.content(id_)

    async def emails(self, *, state: State | None = None, limit: int = 50, before: int | None = None) -> list[Record]:
        """The newest emails first, of one state or all; ``before`` continues a page (``accepted_us`` of its last)."""
        index = keys.STATE + state if state is not None else keys.EMAILS
        top = "+inf" if before is None else f"({before}"
        ids = await self._group.command("ZRANGE", index, top, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit)
        found = await asyncio.gather(*(self.record(id_.decode()) for id_ in ids))
        return [record for record in found if record is not None]

    async def count(self, state: State | None = None) -> int:
        """How many emails are known, of one state or all."""
        return int(await self._group.command("ZCARD", keys.STATE + state if state is not None else keys.EMAILS))

    async def figures(self, *, minutes: int = 60) -> Figures:
        """Everything the status page shows at its top, with the counters of the last ``minutes``."""
        now = await self._queue.now()
        states = await asyncio.gather(*(self.count(state) for state in STATES))
        lanes = await asyncio.gather(*(self._group.command("ZCARD", key) for key in keys.LANES.values()))
        reasons = {"relay": "relay:main", "operator": "operator", "damaged": "damaged", "crashes": "crashes"}
        reasons["internal"] = "internal"
        held = await asyncio.gather(*(self._group.command("ZCARD", keys.HELD + key) for key in reasons.values()))
        oldest = await self._group.command("ZRANGE", keys.OPEN, 0, 0, "WITHSCORES")
        paused = await self._group.command("EXISTS", keys.PAUSED)
        workers, gone = await beats(self._group, now)
        names = dict.fromkeys(name for worker in workers for name in worker.relays)
        return Figures(
            now=now,
            states=dict(zip(STATES, states, strict=True)),
            lanes=cast(dict[Lane, int], dict(zip(keys.LANES, lanes, strict=True))),
            held={reason: count for reason, count in zip(reasons, held, strict=True) if count},
            oldest=int(float(oldest[1])) // 1000 if oldest else None,
            paused=bool(paused),
            workers=workers,
            gone=gone,
            relays=[await self._queue.relay(name) for name in names],
            minutes=await self._minutes(now, minutes),
            redis=await self.redis(),
        )

    async def _minutes(self, now: int, count: int) -> list[Minute]:
        last = now // 60000
        numbers = range(last - count + 1, last + 1)
        raw = await asyncio.gather(*(self._group.command("HGETALL", f"{keys.MINUTE}{n}") for n in numbers))
        return [_minute(n * 60000, flat) for n, flat in zip(numbers, raw, strict=True)]

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


def _minute(at: int, flat: Sequence[bytes]) -> Minute:
    fields = {flat[n].decode(): int(flat[n + 1]) for n in range(0, len(flat), 2)}
    return Minute(
        at=at,
        accepted=fields.get("accepted", 0),
        sent=fields.get("sent", 0),
        failed=fields.get("failed", 0),
        deferred=fields.get("deferred", 0),
        buckets={int(name[1:]): count for name, count in fields.items() if name[0] == "t" and name[1:].isdigit()},
    )


def _record(fields: dict[str, bytes], kept: bool) -> Record:
    def text(name: str) -> str | None:
        return fields[name].decode() if name in fields else None

    def number(name: str, default: int) -> int:
        return int(fields.get(name, default))

    next_at = text("next")
    return Record(
        letter=_letter(fields["letter"]),
        deliveries=_deliveries(fields["deliveries"]),
        state=cast(State, fields["state"].decode()),
        lane=cast(Lane, fields["lane"].decode()),
        accepted=number("accepted", 0) // 1000,
        accepted_us=number("accepted", 0),
        attempt=number("attempt", 0),
        round=number("round", 1),
        dot=number("dot", 0),
        starts=number("starts", 0),
        next_at=int(next_at) if next_at else None,
        held_for=cast(HeldFor | None, text("held_for")),
        why=text("why"),
        content_kept=kept,
    )
