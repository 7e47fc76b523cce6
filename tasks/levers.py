"""What clients and operators may do to waiting and ended mail: cancel, retry, hold, release; to relays: probe now; to the
queue: pause and resume.

Every lever may be pulled twice: the second time it answers what is the case. Who pulled it stands in the email's events.
This module is the levers, for the API and the pages alike.
"""

from typing import Literal

import msgspec
from loguru import logger

from tasks import keys, maillog
from tasks.judge import KEEP_UNSENT_SECONDS, OPEN_STATES
from tasks.ledger import Ledger
from tasks.queue import Queue
from tasks.record import FINAL, Delivery, Event, Record, State, derive_state
from tasks.script import Script
from tasks.store import Group

TRIES = 5
"""How often a lever is pulled again where the email moved on between reading and writing."""

_encode = msgspec.json.Encoder().encode

Said = Literal["done", "already", "gone", "too_late", "sent", "empty", "busy"]
"""``done``; ``already``: it was so; ``gone``: no such email; ``too_late``: its final dot may have gone out; ``sent``: the relay
has it; ``empty``: its content is not kept any more; ``busy``: an attempt runs, try again."""


class Levers:
    """The levers of one Redis. ``retain_records`` and ``retain_content`` in seconds."""

    def __init__(self, group: Group, queue: Queue, ledger: Ledger, *, retain_records: float, retain_content: float) -> None:
        self._group = group
        self._queue = queue
        self._ledger = ledger
        self._record_seconds = int(retain_records)
        self._content_ms = round(retain_content * 1000)
        self._lever = Script("lever")

    async def cancel(self, id_: str, by: str) -> Said:
        """Stops an email that has not gone; recipients who have it keep it."""
        for _ in range(TRIES):
            record = await self._ledger.record(id_)
            if record is None:
                return "gone"
            if record.state in FINAL or is_final(record):
                return "already" if record.state == "cancelled" else "sent"
            said = await self._close(record, "cancelled", by, "")
            if said == "sending":
                return "too_late"
            if said != "changed":
                maillog.cancelled(id_, by)
                return "done"
        return "busy"

    async def expire(self, record: Record) -> None:
        """Ends an email whose ``expires_at`` came while it waited."""
        await self._close(record, "expired", "", "its expires_at came first")

    async def retry(self, id_: str, by: str) -> Said:
        """Sends an email again to those who have not got it: a new round where it had ended, at once where it waits."""
        for _ in range(TRIES):
            record = await self._ledger.record(id_)
            if record is None:
                return "gone"
            if record.state in {"sent", "captured"}:
                return "sent"
            if record.state in {"queued", "sending"}:
                return "already"
            said = await self._retry(record, by)
            if said == "empty":
                return "empty"
            if said != "changed":
                return "done"
        return "busy"

    async def hold(self, id_: str, by: str) -> Said:
        """Keeps a waiting email back until somebody releases it."""
        for _ in range(TRIES):
            record = await self._ledger.record(id_)
            if record is None:
                return "gone"
            if record.state in FINAL or is_final(record):
                return "sent"
            if record.state == "held" and record.held_for == "operator":
                return "already"
            if record.state in {"sending", "held"}:
                return "busy"
            if await self._pull(record, "hold", await self._event("held", by), state=f"held by {by}") != "changed":
                maillog.held(id_, "operator", f"by {by}")
                return "done"
        return "busy"

    async def release(self, id_: str, by: str) -> Said:
        """Puts a held email back to its old place in its lane."""
        for _ in range(TRIES):
            record = await self._ledger.record(id_)
            if record is None:
                return "gone"
            if record.state != "held":
                return "already"
            if await self._pull(record, "release", await self._event("resumed", by)) != "changed":
                maillog.resumed(id_, record.held_for or "operator", by)
                return "done"
        return "busy"

    async def probe(self, relay: str, by: str) -> Said:
        """Has the relay tried now, whatever its next probe was to be."""
        if (await self._queue.relay(relay)).state != "down":
            return "already"
        await self._group.command("HSET", keys.RELAY + relay, "probe_at", "0")
        logger.info("relay {} is to be tried now, says {}", relay, by)
        return "done"

    async def pause(self, by: str) -> Said:
        """No worker takes a new email until the queue is resumed; what runs is finished."""
        made = await self._group.command("SET", keys.PAUSED, by, "NX")
        if made is None:
            return "already"
        logger.warning("the queue is paused by {}", by)
        return "done"

    async def resume(self, by: str) -> Said:
        """Lets the workers go on."""
        if not await self._group.command("DEL", keys.PAUSED):
            return "already"
        await self._group.command("LPUSH", keys.WAKE, "1")
        logger.info("the queue goes on, says {}", by)
        return "done"

    async def _retry(self, record: Record, by: str) -> str:
        if record.state == "held":
            return await self._pull(record, "release", await self._event("resumed", by))
        if record.state not in FINAL and not is_final(record):
            return await self._pull(record, "now", await self._event("retried", by))
        deliveries = [_reopened(delivery) for delivery in record.deliveries]
        said = await self._pull(record, "reopen", await self._event("retried", by), deliveries=deliveries)
        if said == "ok":
            maillog.retried(record.letter.id, by, round=record.round + 1)
        return said

    async def _close(self, record: Record, word: Literal["cancelled", "expired"], by: str, text: str) -> str:
        deliveries = [
            msgspec.structs.replace(delivery, state=word)
            if delivery.state in OPEN_STATES and delivery.state != "uncertain"
            else delivery
            for delivery in record.deliveries
        ]
        keep = self._content_ms if word == "cancelled" else round(KEEP_UNSENT_SECONDS * 1000)
        event = await self._event(word, by, text)
        return await self._pull(record, "close", event, deliveries=deliveries, state=derive_state(deliveries), content_ms=keep)

    async def _event(self, what: str, by: str, text: str = "") -> Event:
        return Event(at=await self._queue.now(), what=what, text=text, by=by or None)

    async def _pull(
        self,
        record: Record,
        verb: str,
        event: Event,
        *,
        deliveries: list[Delivery] | None = None,
        state: State | str = "",
        content_ms: int = 0,
    ) -> str:
        answer = await self._group.run(
            self._lever,
            record.letter.id,
            verb,
            record.state,
            record.attempt,
            _encode(deliveries) if deliveries is not None else "",
            state,
            self._record_seconds,
            content_ms,
            _encode(event),
        )
        return answer.decode()


def is_final(record: Record) -> bool:
    """Whether an uncertain email has no next attempt: then that is its last word."""
    return record.state == "uncertain" and record.next_at is None


def _reopened(delivery: Delivery) -> Delivery:
    if delivery.state in {"sent", "captured"}:
        return delivery
    return Delivery(to=delivery.to, uncertain=min(delivery.uncertain, 1), reply=delivery.reply, at=delivery.at)
