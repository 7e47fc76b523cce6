"""Delivers claimed emails: one attempt each, from the lease to the settled outcome.

The high-level approach, for one claim:

1. An answer lost by the last worker, a life that is over, or a fifth death in a row are settled without the relay.
2. A connection is waited for, first come, first served; then the bytes are loaded and compared with their SHA-256.
3. One transaction. The dot mark goes to Redis after the body and before the dot; refused, or Redis away: no dot.
4. The outcome is judged and written, and written again until Redis takes it: never sent again because writing failed.

Trouble with a relay takes it out for all workers; its mail is held and one probe at a time looks whether it is back. A relay
is only passed over for the next one where nothing can have been sent. This module is the postman: it knows nothing of HTTP,
lanes or arq.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Sequence

import msgspec
from loguru import logger

from tasks import maillog
from tasks.errors import StoreUnavailable
from tasks.judge import Terms, answer_lost, ended, judge, pending
from tasks.mailbox import Mailbox
from tasks.outcome import Fault, Outcome
from tasks.pool import Pool, Slot
from tasks.queue import Claim, Queue, Settlement
from tasks.record import Delivery, Event, HeldFor
from tasks.smtp import RelayTrouble, Session, StaleSession
from tasks.store import forever

POISON_STARTS = 5
HASH_IN_THREAD = 256 * 1024
PROBE_LOOK_SECONDS = 1.0
TRIM_SECONDS = 5.0


class Postman:
    """Carries emails of one process. ``pools`` are the relays in order of preference."""

    def __init__(self, queue: Queue, pools: Sequence[Pool], mailbox: Mailbox, terms: Terms) -> None:
        self._queue = queue
        self._pools = {pool.relay.name: pool for pool in pools}
        self._mailbox = mailbox
        self._terms = terms
        self._down: dict[str, Outcome] = {}
        self._has_accepted: set[str] = set()
        self._dice = random.Random()  # noqa: S311 (spreads retries)
        self._background: list[asyncio.Task[None]] = []
        self.is_stopping = False
        self.carried = 0

    @property
    def routes(self) -> dict[str, list[str]]:
        """What ``Queue.claim`` wants to know: the one route and its relays."""
        return {"main": list(self._pools)}

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return sum(pool.open for pool in self._pools.values())

    async def start(self) -> None:
        """Tells Redis which relays this process uses, and begins to look after them."""
        self._background.append(asyncio.create_task(self._look_after_relays()))
        self._background.append(asyncio.create_task(self._trim()))

    async def stop(self) -> None:
        """Ends the background work and the idle connections."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def hear(self, relays: dict[str, str]) -> None:
        """Takes over what all workers know of the relays: names to up or down."""
        for name, state in relays.items():
            if state == "down":
                self._down.setdefault(name, Outcome("hold", "connect", fault=Fault("paused", "the relay is not taking mail")))
            else:
                self._down.pop(name, None)

    async def carry(self, claim: Claim, *, stock: bool = False) -> tuple[str, int | None]:
        """One attempt. What ``Queue.settle`` answers. Raises nothing but ``CancelledError``, and then nothing was sent or the
        mark tells the next claim."""
        try:
            attempt = await self._attempt(claim)
        except StoreUnavailable as error:
            logger.warning("email {} goes back to its lane: {}", claim.id, error)
            attempt = Attempt(back(claim))
        except Exception:  # noqa: BLE001 (an error of ours must not lose the email)
            logger.exception("email {} met an error of ours; it is tried again later", claim.id)
            attempt = Attempt(internal(claim))
        answer = await forever(lambda: self._queue.settle(claim, attempt.settlement, stock=stock))
        self._tell(claim, attempt, answer[0])
        self.carried += 1
        return answer

    async def give_back(self, claim: Claim) -> None:
        """Puts an email that was not begun back to its old place."""
        await self._queue.settle(claim, back(claim))

    async def _attempt(self, claim: Claim) -> "Attempt":
        now = claim.now
        if claim.answer_lost:
            return Attempt(answer_lost(claim, self._terms, now=now))
        over = ended(claim, self._terms, now=now)
        if over is not None:
            return Attempt(over)
        if claim.starts > POISON_STARTS:
            return Attempt(held(claim, "crashes", f"the worker died {claim.starts - 1} times with this email in its hands"))
        if claim.letter.mode == "capture":
            return Attempt(await self._capture(claim))
        return await self._send(claim, time.monotonic())

    async def _capture(self, claim: Claim) -> Settlement:
        message = await self._message(claim)
        if message is None:
            return damaged(claim)
        to = pending(claim.deliveries)
        letter = claim.letter
        await self._mailbox.keep(
            claim.id, message, client=letter.client, sender=letter.sender, to=to, at=claim.now, email=claim.id
        )
        deliveries = [
            msgspec.structs.replace(delivery, state="captured", at=claim.now) if delivery.to in to else delivery
            for delivery in claim.deliveries
        ]
        text = "kept in the mailbox, as its client's mode says"
        event = Event(at=claim.now, what="captured", attempt=claim.attempt, text=text)
        return Settlement(
            state="captured",
            deliveries=deliveries,
            events=[event],
            keep_content=self._terms.retain_content,
        )

    async def _send(self, claim: Claim, started: float) -> "Attempt":
        last = Outcome("hold", "connect", fault=Fault("paused", "no relay is set"))
        for name, pool in self._pools.items():
            if name in self._down:
                last = self._down[name]
                continue
            async with pool.slot() as slot:
                if name in self._down:
                    last = self._down[name]
                    continue
                if self.is_stopping:
                    return Attempt(back(claim))
                try:
                    outcomes, session = await self._transact(claim, slot, name)
                except RelayTrouble as trouble:
                    last = trouble.outcome
                    await self._take_out(name, last)
                    continue
                except DamagedContent:
                    return Attempt(damaged(claim))
            return await self._judge(claim, outcomes, name, session, started)
        return Attempt(held(claim, "relay", last.said), alarm=last.alarm)

    async def _transact(self, claim: Claim, slot: Slot, name: str) -> tuple[dict[str, Outcome], Session]:
        """One transaction; a connection that the relay had ended meanwhile is replaced at once, no attempt counted."""
        message: bytes | None = None
        while True:
            session = await slot.session()
            if message is None:
                message = await self._message(claim)
                if message is None:
                    raise DamagedContent
            try:
                outcomes = await session.deliver(
                    claim.letter.sender,
                    pending(claim.deliveries),
                    message,
                    lambda: self._mark(claim),
                    accepted_before=name in self._has_accepted,
                )
            except StaleSession:
                continue
            return outcomes, session

    async def _judge(
        self, claim: Claim, outcomes: dict[str, Outcome], name: str, session: Session, started: float
    ) -> "Attempt":
        trouble = next((outcome for outcome in outcomes.values() if outcome.kind == "hold"), None)
        if trouble is not None:
            await self._take_out(name, trouble)
        elif name not in self._has_accepted and any(outcome.kind == "ok" for outcome in outcomes.values()):
            self._has_accepted.add(name)
            await self._queue.relay_accepted(name)
        now = claim.now + round((time.monotonic() - started) * 1000)
        settlement = judge(claim, outcomes, self._terms, now=now, relay=name, tls=session.tls, dice=self._dice.random)
        return Attempt(settlement, outcomes, name, alarm=trouble is not None and trouble.alarm)

    async def _mark(self, claim: Claim) -> bool:
        try:
            answer = await self._queue.mark(claim)
        except StoreUnavailable as error:
            logger.warning("email {}: no dot without its mark ({})", claim.id, error)
            return False
        if answer != "ok":
            logger.warning("email {}: the dot mark is refused ({}), the connection is dropped", claim.id, answer)
        return answer == "ok"

    async def _message(self, claim: Claim) -> bytes | None:
        """The bytes as they were accepted, or None where they are gone or damaged."""
        message = await self._queue.content(claim.id)
        if message is None:
            return None
        if len(message) > HASH_IN_THREAD:
            digest = await asyncio.to_thread(lambda: hashlib.sha256(message).hexdigest())
        else:
            digest = hashlib.sha256(message).hexdigest()
        return message if digest == claim.letter.sha256 else None

    async def _take_out(self, name: str, outcome: Outcome) -> None:
        self._down[name] = outcome
        if await self._queue.relay_down(name, outcome):
            waiting = await self._queue.waiting()
            maillog.relay_closed(name, outcome, waiting=waiting, next_in=30 if outcome.alarm else 5)

    async def _look_after_relays(self) -> None:
        introduced = False
        while True:
            try:
                if not introduced:
                    await self._introduce()
                    introduced = True
                for name in list(self._down):
                    if await self._queue.relay_probe(name):
                        await self._probe(name)
            except StoreUnavailable:
                pass  # said by whoever works with the queue; nothing can be probed without it
            except Exception:  # noqa: BLE001 (this task must go on)
                logger.exception("looking after the relays failed; it goes on")
            await asyncio.sleep(PROBE_LOOK_SECONDS)

    async def _introduce(self) -> None:
        """Says which relays this process uses; whatever was held against other settings of theirs is cleared by that."""
        for name, pool in self._pools.items():
            self.hear({name: await self._queue.relay_seen(name, pool.relay.fingerprint(), pool.relay.name)})
            if (await self._queue.relay(name)).has_accepted:
                self._has_accepted.add(name)

    async def _probe(self, name: str) -> None:
        """Tries a relay that is out: connects, and signs in where it has a password."""
        pool = self._pools[name]
        try:
            session = await pool.take()
        except RelayTrouble as trouble:
            self._down[name] = trouble.outcome
            await self._queue.relay_down(name, trouble.outcome, probed=True)
            return
        pool.put_back(session)
        self._down.pop(name, None)
        since = (await self._queue.relay(name)).since
        if await self._queue.relay_up(name):
            after = max(0, (await self._queue.now() - since) // 1000)
            maillog.relay_open_again(name, after=after, waiting=await self._queue.waiting())

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_SECONDS)
            for pool in self._pools.values():
                pool.trim()

    def _tell(self, claim: Claim, attempt: "Attempt", answer: str) -> None:
        settlement = attempt.settlement
        if answer != "ok":
            logger.warning("email {}: the outcome {} was not taken ({})", claim.id, settlement.state, answer)
        elif settlement.held_for is not None:
            maillog.held(claim.id, settlement.held_for, settlement.why, alarm=attempt.alarm)
        elif settlement.state == "captured":
            maillog.captured(claim.id, len(settlement.deliveries))
        elif not attempt.outcomes and settlement.state != "queued":
            for delivery in settlement.deliveries:
                maillog.expired(claim.id, delivery.to, settlement.why)
        else:
            for to, outcome in attempt.outcomes.items():
                _tell_outcome(claim, to, outcome, attempt)


class Attempt(msgspec.Struct, frozen=True):
    """What one attempt came to: what is to be written, and what the relay said to whom."""

    settlement: Settlement
    outcomes: dict[str, Outcome] = {}
    relay: str = ""
    alarm: bool = False


def _tell_outcome(claim: Claim, to: str, outcome: Outcome, attempt: Attempt) -> None:
    next_in = None if attempt.settlement.delay is None else round(attempt.settlement.delay)
    match outcome.kind:
        case "ok":
            maillog.sent(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt)
        case "fail":
            maillog.failed(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt)
        case "uncertain":
            maillog.uncertain(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt, next_in=next_in)
        case _:
            maillog.deferred(claim.id, to, outcome, relay=attempt.relay, attempt=claim.attempt, next_in=next_in or 0)


class DamagedContent(Exception):
    """The stored bytes are gone or not those that were accepted."""


def back(claim: Claim) -> Settlement:
    """Not begun, or nothing can have been sent: to its old place in the lane, no attempt counted."""
    return Settlement(state="queued", deliveries=claim.deliveries, delay=0, attempt_counts=False)


def held(claim: Claim, reason: HeldFor, why: str) -> Settlement:
    """Aside until somebody, or the relay, releases it; no attempt counted."""
    event = Event(at=claim.now, what="held", text=why)
    return Settlement(
        state="held",
        deliveries=claim.deliveries,
        held_for=reason,
        why=why,
        attempt_counts=False,
        events=[] if reason == "relay" else [event],
    )


def damaged(claim: Claim) -> Settlement:
    """The bytes do not match their SHA-256: held, never sent."""
    return held(claim, "damaged", "the stored message is not the one that was accepted")


def internal(claim: Claim) -> Settlement:
    """An error of ours: later again, and held after five."""
    if claim.starts >= POISON_STARTS:
        return held(claim, "internal", "five attempts ended in an error of this service; its log has the details")
    deliveries = [_deferred(delivery) for delivery in claim.deliveries]
    text = "an error of this service; its log has the details"
    event = Event(at=claim.now, what="deferred", attempt=claim.attempt, text=text)
    return Settlement(
        state="deferred",
        deliveries=deliveries,
        delay=60,
        why=event.text,
        starts=claim.starts,
        events=[event],
        deferred=len(pending(deliveries)),
    )


def _deferred(delivery: Delivery) -> Delivery:
    return msgspec.structs.replace(delivery, state="deferred") if delivery.state == "waiting" else delivery
