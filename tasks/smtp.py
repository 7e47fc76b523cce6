"""One session with a relay: opened, used for one transaction after another, ended.

::

    open     greeting ── EHLO ── (STARTTLS ── EHLO) ── (AUTH)             anything wrong: RelayTrouble
    deliver  MAIL ── RCPT… ── DATA ── body ── [mark] ── dot               an Outcome for each recipient
    quit     once the outcomes are stored

The two waits that aiosmtplib makes one are apart here: the body leaves first, then the caller marks its journal, then the
dot alone goes out. Until the dot is out nothing can have been accepted, so every fault before it is certain, and only one
after it is uncertain. Nothing is pipelined, and whatever the relay says unasked ends the session: an answer is taken only
for the question that was open when it came.

Every wait has a limit, and it is asyncio.timeout's: aiosmtplib's own are asyncio.wait_for's, which on Python 3.11 swallows a
cancellation that comes together with the reply, and then a stopped worker would send on.

This module is a session once it is open; how it is opened is in ``opening``.
"""

import asyncio
import ssl
import time
from typing import Final, NoReturn, Self, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from tasks.classify import classify, classify_fault, parse_reply
from tasks.errors import EmailServiceError
from tasks.opening import ERRORS, RelayTrouble, open_client, surplus_of
from tasks.outcome import Fault, Outcome, Reply, Stage
from tasks.relay import Relay
from tasks.transaction import Ended, Mark, Timeouts, Transaction, size_limit
from tasks.wire import Tap, find_fault

__all__ = ["RelayTrouble", "Session", "StaleSession", "Timeouts"]

CHUNK: Final = 256 * 1024
"""Bytes of a body that are handed to the network at a time."""
IDLE: Final = 1.0
"""Seconds after which a session that has carried nothing counts as idle."""


class StaleSession(EmailServiceError):
    """The relay had ended an idle session before the transaction began: reconnect at once, no attempt was made."""


class Session:
    """An open session, for one transaction at a time. Made by ``open``.

    ``usable``: another transaction may follow. ``tls``: the protocol's version, or None. ``certificate_ends``: Unix seconds,
    None where none was verified. In the transaction that runs or ran
    last, ``past_data``: the relay has said 354; ``past_mark``: the dot may have gone out. ``messages``: transactions whose
    dot was answered. ``opened`` and ``last_used`` are monotonic seconds.
    """

    def __init__(self, client: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        self.usable = True
        self.past_data = self.past_mark = False
        self.messages = 0
        self.opened = self.last_used = time.monotonic()
        self._client = client
        self._protocol = _protocol(client)
        self._timeouts = timeouts
        self._extensions = dict(client.esmtp_extensions)  # aiosmtplib forgets its own when the connection is lost
        self._transport = cast(asyncio.Transport, client.transport)
        self._tap = Tap(self._transport, self._protocol)
        tls = self._transport.get_extra_info("ssl_object")
        self.tls: str | None = tls.version() if tls is not None else None
        ends = (tls.getpeercert() or {}).get("notAfter") if tls is not None else None
        self.certificate_ends: float | None = ssl.cert_time_to_seconds(str(ends)) if ends else None

    @classmethod
    async def open(cls, relay: Relay, timeouts: Timeouts, local_hostname: str) -> Self:
        """Connects, greets, makes the link secure and signs in, each once; never falls back to clear text.

        Raises RelayTrouble for whatever goes wrong; nothing of the connection is left then.
        """
        return cls(await open_client(relay, timeouts, local_hostname), timeouts)

    async def deliver(
        self, sender: str, recipients: list[str], message: bytes, mark: Mark, *, accepted_before: bool
    ) -> dict[str, Outcome]:
        """One transaction; an outcome for every recipient, whatever happens on the way.

        ``mark`` is awaited after the body and before the dot; unless it gives True, the dot is never sent.
        ``accepted_before``: this relay has accepted an email since its settings changed. Raises StaleSession when an idle
        session turns out to have been ended, and whatever ``mark`` raises; the connection is closed then. So it is after a
        cancellation: if ``past_mark`` is set when that comes, the relay may have the email.
        """
        if not self.usable:
            raise StaleSession
        self.past_data = self.past_mark = False
        was_idle = self.messages > 0 or time.monotonic() - self.last_used > IDLE
        transaction = Transaction(self, self._extensions, accepted_before=accepted_before)
        try:
            await transaction.run(sender, recipients, message, mark)
        except Ended as ended:
            if was_idle and _is_gone(ended.outcome):
                raise StaleSession from None
            for recipient in recipients:
                transaction.outcomes.setdefault(recipient, ended.outcome)
        except BaseException:
            self.close()
            raise
        self.last_used = time.monotonic()
        return transaction.outcomes

    @property
    def size_limit(self) -> int:
        """The largest message that the relay takes, in bytes; 0 where it says none."""
        return size_limit(self._extensions)

    def is_alive(self) -> bool:
        """Whether the relay has neither closed an idle session nor said anything on it. Sends nothing."""
        return self._tap.is_quiet and self._protocol.is_connected

    async def quit(self) -> None:
        """Says QUIT where that makes sense, waits 2 s at most for an answer that does not matter, and closes."""
        try:
            if self.is_alive():
                self._tap.expecting = True
                async with asyncio.timeout(self._timeouts.quit):
                    await self._client.quit(timeout=None)
        except ERRORS:
            pass  # whatever it says: the outcomes are stored
        finally:
            self.close()

    def close(self) -> None:
        """Drops the connection at once, with whatever has not left yet."""
        self.usable = False
        self._transport.abort()
        self._client.close()

    async def ask(self, stage: Stage, *words: bytes) -> Reply:
        """One command and its one reply. Raises Ended, with the connection closed, when there is none or more than that.

        What follows MAIL makes the session unusable until the dot is answered: RSET is never sent.
        """
        if not self.is_alive():
            raise Ended(self._unasked("idle" if stage == "mail" else stage))
        limit = cast(float, getattr(self._timeouts, stage))
        self.usable = False
        self._tap.expecting = True
        try:
            async with asyncio.timeout(limit):
                code, text = await self._client.execute_command(*words, timeout=None)
        except ERRORS as error:
            self._end(stage, find_fault(error, limit))
        finally:
            self._tap.expecting = False
        if surplus_of(self._protocol):
            self._end(stage, Fault("surplus", "the relay sent more than one reply to one command"))
        if code == 421 or not (200 <= code < 300 or 400 <= code < 600 or (code == 354 and stage == "data")):
            self.close()
        self.past_data = code == 354
        return parse_reply(code, text)

    async def write(self, body: bytes) -> None:
        """The body up to its last CRLF, out of this process; stops early when the relay says something."""
        limit = self._timeouts.body + len(body) / self._timeouts.min_rate
        try:
            async with asyncio.timeout(limit):
                for start in range(0, len(body), CHUNK):
                    self._protocol.write(body[start : start + CHUNK])
                    await self._tap.drained()
                    if not self._tap.is_quiet:
                        break
        except ERRORS as error:
            self._end("body", find_fault(error, limit))

    async def set_mark(self, mark: Mark) -> None:
        """The caller's mark, only while the relay waits for the body's end; raises Ended when mark or relay say no."""
        if self.is_alive() and not await mark():
            self._end("mark", Fault("mark_refused", "the email was taken over or stopped before its end was sent"))
        if not self.is_alive():
            raise Ended(self._unasked("body"))

    async def finish(self, size: int) -> Outcome:
        """The dot, and what becomes of it: uncertain unless one readable answer comes within the budget (RFC 5321 4.5.3.2.6).

        «250 queued» and at once «421 enough for today» is no contradiction; any other second answer is.
        """
        limit = self._timeouts.dot + size / self._timeouts.min_rate
        self.past_mark = self._tap.expecting = True
        try:
            self._protocol.write(b".\r\n")
            async with asyncio.timeout(limit):
                code, text = await self._protocol.read_response(timeout=None)
        except ERRORS as error:
            self.close()
            return classify_fault("dot", find_fault(error, limit), dot_sent=True)
        finally:
            self._tap.expecting = False
        outcome = classify("dot", parse_reply(code, text, queue_id=True))
        surplus = surplus_of(self._protocol)
        if surplus and not surplus.startswith(b"421"):
            outcome = classify_fault("dot", Fault("surplus", "the relay answered the message's end twice"), dot_sent=True)
        self.messages += 1
        self.usable = not surplus and outcome.kind != "uncertain" and code != 421 and self.is_alive()
        if not self.usable:
            self.close()
        return outcome

    def _end(self, stage: Stage, fault: Fault) -> NoReturn:
        self.close()
        raise Ended(classify_fault(stage, fault))

    def _unasked(self, stage: Stage) -> Outcome:
        """Closes; what the relay said while nothing was asked, or that it left."""
        line = bytes(self._tap.stray).partition(b"\n")[0]
        self.close()
        if line[:3].isdigit():
            reply = parse_reply(int(line[:3]), line[4:].decode(errors="surrogateescape"))
            return classify(stage, reply) if 400 <= reply.code < 500 else Outcome("defer", stage, reply)
        if line:
            return classify_fault(stage, Fault("surplus", "the relay spoke out of turn"))
        return classify_fault(stage, Fault("closed", "the relay closed the connection"))


def _is_gone(outcome: Outcome) -> bool:
    """Whether a session was over before its transaction began."""
    if outcome.stage == "mail":
        said_421 = outcome.reply is not None and outcome.reply.code == 421
        return said_421 or (outcome.fault is not None and outcome.fault.what == "closed")
    return outcome.stage == "idle"


def _protocol(client: aiosmtplib.SMTP) -> SMTPProtocol:
    if client.protocol is None:
        raise aiosmtplib.SMTPServerDisconnected("the relay closed the connection")
    return client.protocol
