"""Reading emails: one by its id, or a page of the newest.

Nothing here is larger than a page, and no call's cost grows with the number of emails. This module is the read side of the
queue; it changes nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import cast

import msgspec
from loguru import logger

from tasks import keys
from tasks.email import Lane
from tasks.figures import STATES, Figures, Gauges, Minute, RedisHealth
from tasks.queue import Queue
from tasks.record import Delivery, Event, HeldFor, Letter, Record, State
from tasks.script import Script
from tasks.store import Group

__all__ = ["STATES", "Figures", "Ledger", "Minute", "Page", "RedisHealth"]

_letter = msgspec.json.Decoder(Letter).decode
_deliveries = msgspec.json.Decoder(list[Delivery]).decode
_event = msgspec.json.Decoder(Event).decode


class Page(msgspec.Struct, frozen=True):
    """Emails, newest first; ``before`` continues after them and is None at the end."""

    records: list[Record]
    before: int | None


class Ledger:
    """Reads one Redis. Every method raises ``StoreUnavailable`` where it is away."""

    def __init__(self, group: Group, queue: Queue) -> None:
        self._group = group
        self._queue = queue
        self._gauges = Gauges(group, queue)
        self._page = Script("page")

    async def record(self, id_: str) -> Record | None:
        """One email, or None where there is no such id, or a record that this version cannot read."""
        flat, kept = await asyncio.gather(
            self._group.command("HGETALL", keys.EMAIL + id_), self._group.command("EXISTS", keys.CONTENT + id_)
        )
        return _readable(id_, flat, kept) if flat else None

    async def events(self, record: Record) -> list[Event]:
        """What happened to an email, oldest first, its acceptance included."""
        raw = await self._group.command("LRANGE", keys.EVENTS + record.letter.id, 0, -1)
        first = Event(at=record.accepted, what="accepted", by=record.letter.client)
        return [first, *(_event(line) for line in raw)]

    async def next_probe(self, record: Record) -> int | None:
        """When a relay of an email that is held for them is tried next (ms), which may release it; None for all others."""
        if record.held_for != "relay":
            return None
        names = [name for route in await self._queue.routes() if route.name == record.route for name in route.relays]
        probes = [health.probe_at for health in [await self._queue.relay(name) for name in names]]
        return min((at for at in probes if at is not None), default=None)

    async def content(self, id_: str) -> bytes | None:
        """The message's bytes while they are kept."""
        return await self._queue.content(id_)

    async def page(self, state: State | None = None, *, limit: int = 50, before: int | None = None) -> Page:
        """The newest emails, of one state or all. Records that have expired or cannot be read are passed over."""
        top = "" if before is None else str(before)
        cursor, found = await self._group.run(self._page, state or "", top, limit)
        records = [_readable("of a page", flat, kept) for kept, flat in found]
        return Page([record for record in records if record is not None], int(cursor) if cursor else None)

    async def count(self, state: State | None = None) -> int:
        """How many emails are known, of one state or all."""
        return int(await self._group.command("ZCARD", keys.STATE + state if state is not None else keys.EMAILS))

    async def figures(self, *, minutes: int = 60) -> Figures:
        """How things stand."""
        return await self._gauges.figures(minutes)

    async def redis(self) -> RedisHealth:
        """What Redis says of itself."""
        return await self._gauges.redis()


def _readable(id_: str, flat: list[bytes], kept: int) -> Record | None:
    try:
        return _record({flat[n].decode(): flat[n + 1] for n in range(0, len(flat), 2)}, bool(kept))
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        logger.warning("the record of email {} cannot be read: {}", id_, type(error).__name__)
        return None


def _record(fields: Mapping[str, bytes], kept: bool) -> Record:
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
        route=text("route") or "main",
        why=text("why"),
        content_kept=kept,
    )
