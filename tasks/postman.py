"""Delivers claimed emails: one attempt each, from the lease to the settled outcome.

The high-level approach, for one claim:

1. An answer lost by the last worker, a life that is over, or a fifth death in a row are settled without the relay.
2. A connection is waited for, first come, first served; the bytes, loaded meanwhile, are compared with their SHA-256.
3. One transaction. The dot mark goes to Redis after the body and before the dot; refused, or Redis away: no dot.
4. The outcome is judged and written, and written again until Redis takes it: never sent again because writing failed.

Trouble with a relay takes it out for all workers; its mail is held and one probe at a time looks whether it is back. A relay
is only passed over for the next one where nothing can have been sent. This module is the postman: it knows nothing of HTTP,
lanes or arq.
"""

import asyncio
import hashlib
import math
import random
import time
from collections.abc import Sequence

import msgspec
from loguru import logger

from tasks.attempt import Attempt, tell
from tasks.beat import Link
from tasks.claim import Claim, Settlement
from tasks.errors import StoreUnavailable
from tasks.judge import Terms, answer_lost, ended, judge, pending
from tasks.mailbox import Mailbox
from tasks.outcome import Fault, Outcome
from tasks.pool import Pool, Slot
from tasks.queue import Queue
from tasks.record import Event
from tasks.relaywatch import RelayWatch
from tasks.routes import choose, routes_of
from tasks.setback import POISON_STARTS, back, damaged, held, internal
from tasks.smtp import RelayTrouble, Session, StaleSession
from tasks.store import forever

HASH_IN_THREAD = 256 * 1024
LOAD_AHEAD = 64 * 1024
"""Messages up to this size are loaded as soon as they are claimed, all in one round trip; larger ones when it is their turn."""
GIVE_BACK_SECONDS = 2.0


class Postman:
    """Carries emails of one process. ``pools`` are the relays in order of preference."""

    def __init__(self, queue: Queue, pools: Sequence[Pool], mailbox: Mailbox, terms: Terms) -> None:
        self._queue = queue
        self._pools = {pool.relay.name: pool for pool in pools}
        self._routes = routes_of([pool.relay for pool in pools])
        self.routes = {route.name: route.relays for route in self._routes}
        """Route → its relays' names, as ``Queue.claim`` wants to know."""
        self._mailbox = mailbox
        self._terms = terms
        self._heard: dict[str, tuple[int, Outcome]] = {}
        self._watch = RelayWatch(queue, self._pools, self._routes)
        self._dice = random.Random()  # noqa: S311 (spreads retries)
        self._early: dict[str, Session | None] = {}
        self._loading: dict[str, asyncio.Task[dict[str, bytes | None]]] = {}
        self._marked: set[str] = set()
        self.is_stopping = False
        self.carried = 0

    @property
    def relays(self) -> list[str]:
        """The relays' names."""
        return list(self._pools)

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return sum(pool.open for pool in self._pools.values())

    @property
    def links(self) -> list[Link]:
        """How it stands with each relay, here."""
        return [self._link(name, pool) for name, pool in self._pools.items()]

    def _link(self, name: str, pool: Pool) -> Link:
        if name not in self._heard:
            return Link(relay=name, connections=pool.open)
        at, last = self._heard[name]
        return Link(relay=name, connections=pool.open, stage=last.stage, reply=last.reply, said=last.said, at=at)

    async def start(self) -> None:
        """Begins to look after the relays."""
        self._watch.start()

    async def stop(self) -> None:
        """Ends the background work and the idle connections."""
        await self._watch.stop()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def hear(self, relays: dict[str, str], *, asked: float = math.inf) -> None:
        """Takes over what all workers know of the relays, as ``Queue.claim`` answers it; ``asked`` at that monotonic moment."""
        self._watch.hear(relays, asked=asked)

    def load(self, claims: Sequence[Claim]) -> None:
        """Begins to load the messages of ``claims``, each of which is to be carried now."""
        ids = [claim.id for claim in claims if claim.letter.size <= LOAD_AHEAD]
        if ids:
            loading = asyncio.create_task(self._queue.contents(ids))
            loading.add_done_callback(_look_at)
            self._loading.update(dict.fromkeys(ids, loading))

    def may_interrupt(self, id_: str) -> bool:
        """Whether an email's attempt may be broken off with nothing sent: it is not past its 354."""
        if id_ not in self._early:
            return False
        session = self._early[id_]
        return session is None or not session.past_data

    async def carry(self, claim: Claim, *, stock: bool = False) -> tuple[str, int | None]:
        """One attempt; what ``Queue.settle`` answers. Raises nothing but ``CancelledError``.

        Cancelled before the mark, the email is back in its lane; after it, the lease runs out and the next claim finds the
        mark.
        """
        self._early[claim.id] = None
        try:
            attempt = await self._attempt(claim)
        except asyncio.CancelledError:
            if claim.id not in self._marked:
                await asyncio.shield(self._give_back(claim, stock=stock))
            raise
        except StoreUnavailable as error:
            logger.warning("email {} goes back to its lane: {}", claim.id, error)
            attempt = Attempt(self._broken_off(claim, back(claim)))
        except Exception:  # noqa: BLE001 (an error of ours must not lose the email)
            logger.exception("email {} met an error of ours; it is tried again later", claim.id)
            attempt = Attempt(self._broken_off(claim, internal(claim)))
        finally:
            del self._early[claim.id]
            self._loading.pop(claim.id, None)
        try:
            answer = await forever(lambda: self._queue.settle(claim, attempt.settlement, stock=stock))
        finally:
            self._marked.discard(claim.id)
        tell(claim, attempt, answer[0])
        self.carried += 1
        return answer

    def _broken_off(self, claim: Claim, otherwise: Settlement) -> Settlement:
        """What to write after an attempt that ended in an error: past the mark nobody knows what the relay has."""
        return answer_lost(claim, self._terms, now=claim.now, lost=claim.attempt) if claim.id in self._marked else otherwise

    async def _give_back(self, claim: Claim, *, stock: bool) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._queue.settle(claim, back(claim), stock=stock)
        except (TimeoutError, StoreUnavailable):
            pass  # its lease runs out

    async def _attempt(self, claim: Claim) -> Attempt:
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

    async def _send(self, claim: Claim, started: float) -> Attempt:
        route = choose(self._routes, claim.letter.sender)
        last = Outcome("hold", "connect", fault=Fault("paused", "no relay is set for this sender"))
        name = ""
        for name in self.routes[route]:
            pool = self._pools[name]
            while (known := self._watch.down.get(name)) is None:
                async with pool.slot() as slot:
                    if name in self._watch.down:
                        continue
                    if self.is_stopping or not await self._watch.wait_for_pace(name, lambda: self.is_stopping):
                        return Attempt(back(claim))
                    try:
                        outcomes, session = await self._transact(claim, slot, name)
                    except RelayTrouble as trouble:
                        await self._meet_trouble(name, trouble.outcome)
                        continue
                    except DamagedContent:
                        return Attempt(damaged(claim))
                return await self._judge(claim, outcomes, name, session, started)
            last = known
        why = f"{name}: {last.said}" if name else last.said
        return Attempt(held(claim, "relay", why, route=route), alarm=last.alarm)

    async def _transact(self, claim: Claim, slot: Slot, name: str) -> tuple[dict[str, Outcome], Session]:
        """One transaction; a connection that the relay had ended meanwhile is replaced at once, no attempt counted."""
        message: bytes | None = None
        while True:
            session = await slot.session()
            if message is None:
                message = await self._message(claim)
                if message is None:
                    raise DamagedContent
            self._early[claim.id] = session
            try:
                outcomes = await session.deliver(
                    claim.letter.sender,
                    pending(claim.deliveries),
                    message,
                    lambda: self._mark(claim),
                    accepted_before=self._watch.has_accepted(name),
                )
            except StaleSession:
                continue
            return outcomes, session

    async def _meet_trouble(self, name: str, outcome: Outcome) -> None:
        """A relay that refuses one more connection while it serves others gets fewer; any other trouble takes it out."""
        busy = outcome.reply is not None and outcome.reply.code // 100 == 4 and outcome.stage in {"greeting", "ehlo"}
        if not (busy and self._pools[name].shrink()):
            await self._watch.take_out(name, outcome)

    async def _judge(self, claim: Claim, outcomes: dict[str, Outcome], name: str, session: Session, started: float) -> Attempt:
        trouble = next((outcome for outcome in outcomes.values() if outcome.kind == "hold"), None)
        await self._watch.learn(name, outcomes.values())
        now = claim.now + round((time.monotonic() - started) * 1000)
        if outcomes:
            self._heard[name] = (now, next(reversed(outcomes.values())))
        settlement = judge(claim, outcomes, self._terms, now=now, relay=name, tls=session.tls, dice=self._dice.random)
        settlement.route = choose(self._routes, claim.letter.sender)
        return Attempt(settlement, outcomes, name, alarm=trouble is not None and trouble.alarm)

    async def _mark(self, claim: Claim) -> bool:
        try:
            answer = await self._queue.mark(claim)
        except StoreUnavailable as error:
            logger.warning("email {}: no dot without its mark ({})", claim.id, error)
            return False
        if answer != "ok":
            logger.warning("email {}: the dot mark is refused ({}), the connection is dropped", claim.id, answer)
            return False
        self._marked.add(claim.id)
        return True

    async def _message(self, claim: Claim) -> bytes | None:
        """The bytes as they were accepted, or None where they are gone or damaged."""
        message = await self._loaded(claim)
        if message is None:
            return None
        if len(message) > HASH_IN_THREAD:
            digest = await asyncio.to_thread(lambda: hashlib.sha256(message).hexdigest())
        else:
            digest = hashlib.sha256(message).hexdigest()
        return message if digest == claim.letter.sha256 else None

    async def _loaded(self, claim: Claim) -> bytes | None:
        loading = self._loading.pop(claim.id, None)
        if loading is None:
            return await self._queue.content(claim.id)
        if not loading.done():
            await asyncio.wait((loading,))  # others wait for it too: to be cancelled here must not cancel it
        return loading.result()[claim.id]


def _look_at(loading: asyncio.Task[dict[str, bytes | None]]) -> None:
    """Those who need the messages meet the error themselves; where nobody does, asyncio need not complain."""
    if not loading.cancelled():
        loading.exception()


class DamagedContent(Exception):
    """The stored bytes are gone or not those that were accepted."""
