"""The queue: put, claim, mark, settle, beat: the five writes in the life of an email.

::

    put ──▶ lane ──claim──▶ lease ──mark──▶ (dot) ──settle──▶ final | lane, later | held
                 ◀── lease ran out: the next claim gives it its old place back

Each is one Lua script, so that a crash falls before or after it and never within. The record is the truth; arq's job is only
a trigger that carries the id. This module is the queue as the rest of the service sees it.
"""

from collections.abc import Mapping, Sequence

import msgspec
from loguru import logger

from tasks import keys
from tasks.claim import LEASE_SECONDS, Claim, Claimed, Put, Settlement, read_claim
from tasks.email import Lane
from tasks.errors import QueueFull, RecipientFlooded
from tasks.outcome import Outcome, Reply, Stage
from tasks.rate import Rate
from tasks.record import Delivery, Event, Letter
from tasks.routes import Route
from tasks.script import Script
from tasks.store import Group

PAGE = 200
"""The most that one turn gives back, releases or looks at."""

_encode = msgspec.json.Encoder().encode


class RelayHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relay as all workers see it. Times are milliseconds; ``said`` is its last reply or fault."""

    name: str
    state: str = "up"
    since: int = 0
    stage: Stage | None = None
    said: str = ""
    reply: Reply | None = None
    alarm: bool = False
    probe_at: int | None = None
    has_accepted: bool = False
    shown: str = ""


class Queue:
    """The queue in one Redis. ``retain_records`` in seconds; ``limit`` is the most that may wait; ``recipient_limit`` is what
    one recipient may get from one client."""

    def __init__(self, group: Group, *, retain_records: float, limit: int = 10**9, recipient_limit: Rate | None = None) -> None:
        self._group = group
        self._limit = limit
        self._recipient_limit = recipient_limit
        self._retain = int(retain_records)
        names = ("accept", "claim", "mark", "settle", "beat", "relay")
        self._accept, self._claim, self._mark, self._settle, self._beat, self._relay = map(Script, names)

    async def put(
        self,
        letter: Letter,
        recipients: Sequence[str],
        message: bytes,
        lane: Lane,
        *,
        route: str = "main",
        idempotency: tuple[str, str] | None = None,
    ) -> Put:
        """Stores an email: all of it or nothing, and again with the same id is no second one.

        ``idempotency`` is the client's key and the hash of its body. Raises ``QueueFull``, ``RecipientFlooded`` and
        ``StoreUnavailable``; after the last the email may be stored all the same.
        """
        what, id_, accepted = await self._group.run(
            self._accept,
            letter.id,
            _encode(letter),
            _encode([Delivery(to=to) for to in recipients]),
            message,
            lane,
            _text(letter.send_at),
            _text(letter.expires),
            f"{letter.client}:{idempotency[0]}" if idempotency else "",
            idempotency[1] if idempotency else "",
            self._limit,
            route,
            *self._buckets(letter, recipients),
        )
        if what == b"full":
            raise QueueFull("the queue is full", retry_after=30)
        if what == b"flooded":
            raise RecipientFlooded(recipients[int(id_)], max(1, -(-int(accepted) // 1000)))
        return Put(what.decode(), id_.decode(), int(accepted or 0))

    async def replayed(self, client: str, idempotency: tuple[str, str]) -> str | None:
        """The id of the email that this client put with this key and body before; None where it put none."""
        key, digest = idempotency
        before = await self._group.command("GET", f"{keys.IDEM}{client}:{key}")
        id_, _, its_digest = before.decode().partition(" ") if before is not None else ("", "", "")
        return id_ if its_digest == digest else None

    def _buckets(self, letter: Letter, recipients: Sequence[str]) -> list[str | int]:
        """The recipients' buckets with their size and filling time; captured mail floods nobody."""
        rate = self._recipient_limit
        if rate is None or letter.mode == "capture":
            return []
        return [rate.count, rate.seconds * 1_000_000, *(f"{letter.client}:{_mailbox(to)}" for to in recipients)]

    async def claim(
        self,
        token: str,
        count: int,
        caps: tuple[int, int, int],
        routes: Mapping[str, Sequence[str]],
        *,
        only: str = "",
        idle: bool = False,
    ) -> Claimed:
        """Takes up to ``count`` due emails, at most ``caps`` of the high, normal and low lane, under leases with ``token``.

        ``routes`` maps each route to its relays' names; mail of a route whose relays are all down is moved aside. With
        ``only`` that one email is taken and ``more`` says that somebody else has it. ``idle``: the caller has nothing in hand.
        A claim that was not answered may have taken mail: repeated with its token it gives that out anew, at once; an
        answered token is not used again.
        """
        words = [str(word) for route, relays in routes.items() for word in (route, len(relays), *relays)]
        found, next_due, more, relays, suspects = await self._group.run(
            self._claim, _ms(LEASE_SECONDS), token, count, *caps, PAGE, only, int(idle), *words
        )
        wait = int(next_due)
        claims: list[Claim] = []
        for fields in found:
            try:
                claims.append(read_claim(fields, token))
            except (msgspec.MsgspecError, ValueError):  # written by a newer version, or damaged: no other email waits for it
                await self._set_aside(fields[0].decode(), token)
        return Claimed(
            claims,
            wait / 1000 if wait >= 0 else None,
            bool(more),
            {relays[n].decode(): relays[n + 1].decode() for n in range(0, len(relays), 2)},
            int(suspects),
        )

    async def _set_aside(self, id_: str, token: str) -> None:
        """Holds a claimed email whose record cannot be read here."""
        why = "this version of the service cannot read its record"
        logger.error("email {} is held: {}", id_, why)
        round_, attempt, deliveries = await self._group.command("HMGET", keys.EMAIL + id_, "round", "attempt", "deliveries")
        event = _encode(Event(at=await self.now(), what="held", text=why))
        await self._group.run(
            self._settle, id_, round_ or "1", attempt, "held", deliveries, "", "damaged", why, 0, 0, 0, self._retain, 0, 0, 0,
            "", 0, "", token, event,
        )  # fmt: skip

    async def mark(self, claim: Claim) -> str:
        """Writes the dot mark; ``ok``, or why the dot must not go out: lease, state or expired. Raises StoreUnavailable."""
        answer = await self._group.run(self._mark, claim.id, claim.token, claim.attempt, _ms(LEASE_SECONDS))
        return answer.decode()

    async def settle(self, claim: Claim, what: Settlement, *, stock: bool = False) -> tuple[str, int | None]:
        """Writes an outcome: ``("ok", next attempt in ms or None)``, or why it is not taken. Repeating it is harmless.

        ``stock``: arq's own worker keeps the lane and the job itself. Raises ``StoreUnavailable``.
        """
        answer, next_at = await self._group.run(
            self._settle,
            claim.id,
            claim.round,
            claim.attempt,
            what.state,
            _encode(what.deliveries),
            "" if what.delay is None else str(_ms(what.delay)),
            what.held_for or "",
            what.why,
            int(what.attempt_counts),
            int(stock),
            _ms(what.keep_content),
            self._retain,
            what.sent,
            what.failed,
            what.deferred,
            "" if what.took is None else f"{bucket(what.took)} {what.took}",
            what.starts,
            what.route,
            claim.token,
            *(_encode(event) for event in what.events),
        )
        return answer.decode(), int(next_at) if next_at else None

    async def beat(self, claims: Sequence[Claim]) -> list[str]:
        """Renews the leases of ``claims``; the ids that are somebody else's by now."""
        if not claims:
            return []
        pairs = [word for claim in claims for word in (claim.id, claim.token)]
        return [id_.decode() for id_ in await self._group.run(self._beat, _ms(LEASE_SECONDS), *pairs)]

    async def content(self, id_: str) -> bytes | None:
        """The message's bytes, or None where they are not kept any more."""
        return await self._group.command("GET", keys.CONTENT + id_)

    async def contents(self, ids: Sequence[str]) -> dict[str, bytes | None]:
        """The same of many, in one round trip."""
        return dict(zip(ids, await self._group.command("MGET", *(keys.CONTENT + id_ for id_ in ids)), strict=True))

    async def relay_seen(self, name: str, fingerprint: str, shown: str) -> str:
        """Says that this process uses a relay: up or down. Settings that changed clear what was held against the old ones."""
        return (await self._group.run(self._relay, name, "seen", fingerprint, shown)).decode()

    async def relay_down(self, name: str, outcome: Outcome, *, probed: bool = False) -> bool:
        """Takes a relay out for all workers; True when that is news."""
        last = {"stage": outcome.stage, "said": outcome.said, "reply": outcome.reply}
        return bool(await self._group.run(self._relay, name, "down", _encode(last), int(outcome.alarm), int(probed)))

    async def relay_probe(self, name: str) -> bool:
        """True when this process is the one to try the relay now."""
        return bool(await self._group.run(self._relay, name, "probe"))

    async def relay_up(self, name: str) -> bool:
        """Takes a relay back in; the mail held for it flows again. True when that is news."""
        return bool(await self._group.run(self._relay, name, "up"))

    async def relay_pace(self, name: str, rate: float | None) -> float:
        """Seconds to wait before the next email to a relay, so that all workers together keep ``rate`` and its own pace."""
        return int(await self._group.run(self._relay, name, "pace", "" if rate is None else rate)) / 1000

    async def relay_throttled(self, name: str) -> None:
        """Halves a relay's pace, as it asked for; it grows again by itself."""
        await self._group.run(self._relay, name, "throttled")

    async def tell_routes(self, routes: Sequence[Route]) -> None:
        """Writes down the routes, for those who put mail."""
        await self._group.command("SET", keys.ROUTES, _encode(routes))

    async def routes(self) -> list[Route]:
        """The routes as a worker wrote them last; none where none has yet."""
        raw = await self._group.command("GET", keys.ROUTES)
        return msgspec.json.decode(raw, type=list[Route]) if raw is not None else []

    async def relay_accepted(self, name: str) -> None:
        """Remembers that this relay has taken mail with these settings."""
        await self._group.run(self._relay, name, "accepted")

    async def relay(self, name: str) -> RelayHealth:
        """What is known of a relay."""
        fields = dict(_pairs(await self._group.command("HGETALL", keys.RELAY + name)))
        last = msgspec.json.decode(fields["last"]) if "last" in fields else {}
        return RelayHealth(
            name=name,
            state=fields.get("state", "up"),
            since=int(fields.get("since", 0)),
            stage=last.get("stage"),
            said=last.get("said", ""),
            reply=msgspec.convert(last["reply"], Reply) if last.get("reply") else None,
            alarm=fields.get("alarm") == "1",
            probe_at=int(fields["probe_at"]) if "probe_at" in fields else None,
            has_accepted="accepted" in fields,
            shown=fields.get("shown", name),
        )

    @property
    def limit(self) -> int:
        """The most that may wait."""
        return self._limit

    async def waiting(self) -> int:
        """How many emails have no final state yet."""
        return int(await self._group.command("ZCARD", keys.OPEN))

    async def now(self) -> int:
        """Redis' clock in milliseconds."""
        seconds, micros = await self._group.command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000


def bucket(ms: int) -> int:
    """The upper bound, in ms, of the latency bucket that ``ms`` falls into: 1, 2, 5, 10, 20, 50, … up to a day."""
    bound = 1
    while True:
        for step in (1, 2, 5):
            if ms <= bound * step:
                return bound * step
        bound *= 10
        if bound >= 10**8:
            return bound


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _mailbox(addr: str) -> str:
    """The address by which mail for one mailbox is counted: in lower case, without ``+anything``, which most hosts ignore."""
    local, _, host = addr.lower().rpartition("@")
    return f"{local.partition('+')[0] or local}@{host}"


def _pairs(flat: list[bytes]) -> list[tuple[str, str]]:
    return [(flat[n].decode(), flat[n + 1].decode()) for n in range(0, len(flat), 2)]
