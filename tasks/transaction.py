"""One transaction: what is asked in which order, and what the answers come to.

::

    size, addresses ── MAIL ── RCPT… ── DATA ── body ── mark ── dot

Every recipient has an outcome at the end: its own reply's where there was one, otherwise that of whatever ended the
transaction for all. Nothing is sent for a recipient whose address or message the relay said in EHLO that it cannot take.

This module is the course of a transaction; the line it speaks on is ``smtp``'s.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from tasks.classify import classify, classify_fault
from tasks.outcome import Fault, Outcome, Reply, Stage
from tasks.wire import is_path, to_wire

Mark = Callable[[], Awaitable[bool]]


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to wait at each stage (RFC 5321 4.5.3.2). ``body`` and ``dot`` grow by the message's size over ``min_rate``.

    ``min_rate``: bytes per second that even a slow relay reads.
    """

    connect: float = 30
    greeting: float = 60
    ehlo: float = 60
    starttls: float = 60
    auth: float = 120
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    body: float = 180
    dot: float = 600
    quit: float = 2
    min_rate: float = 16 * 1024


class Ended(Exception):
    """The transaction is over for every recipient that has no outcome of its own."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.said)
        self.outcome = outcome


def size_limit(extensions: Mapping[str, str]) -> int:
    """Bytes that EHLO says a message may have; no number, or 0, means that the relay knows no fixed limit (RFC 1870)."""
    said = extensions.get("size", "")[:18]
    return int(said) if said.isascii() and said.isdecimal() else 0


class Line(Protocol):
    """What a transaction needs of a connection. Each raises Ended, with the connection closed, when it breaks."""

    async def ask(self, stage: Stage, *words: bytes) -> Reply:
        """One command, one reply."""
        ...

    async def write(self, body: bytes) -> None:
        """The body, without waiting for an answer."""
        ...

    async def set_mark(self, mark: Mark) -> None:
        """The caller's mark, if the relay still waits for the body's end."""
        ...

    async def finish(self, size: int) -> Outcome:
        """The dot, and the outcome for all accepted recipients."""
        ...


class Transaction:
    """``extensions`` are EHLO's, names in lower case; ``accepted_before``: the relay has accepted an email since its
    settings changed. ``outcomes`` is filled on the way.
    """

    def __init__(self, line: Line, extensions: Mapping[str, str], *, accepted_before: bool) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._line = line
        self._extensions = extensions
        self._accepted_before = accepted_before

    async def run(self, sender: str, recipients: list[str], message: bytes, mark: Mark) -> None:
        """Goes through it until the dot is answered or nobody is left to send to. Raises Ended when it ends early."""
        body, size = to_wire(message)
        self._check_size(size)
        recipients = self._check_addresses(sender, recipients)
        if not recipients:
            return
        needs_utf8 = not (sender.isascii() and all(recipient.isascii() for recipient in recipients))
        await self._mail(sender, size, needs_utf8=needs_utf8, is_eight_bit=not message.isascii())
        accepted = await self._rcpt(recipients)
        if not accepted:
            return
        self._go_on(classify("data", await self._line.ask("data", b"DATA")))
        await self._line.write(body)
        await self._line.set_mark(mark)
        outcome = await self._line.finish(size)
        self.outcomes.update(dict.fromkeys(accepted, outcome))
        if outcome.kind == "ok":
            self._judge_again()

    def _check_size(self, size: int) -> None:
        """RFC 1870: both numbers in bytes."""
        limit = size_limit(self._extensions)
        if 0 < limit < size:
            text = f"the message has {size:,} bytes, the relay takes {limit:,} at most"
            raise Ended(classify_fault("mail", Fault("too_large", text)))

    def _check_addresses(self, sender: str, recipients: list[str]) -> list[str]:
        """The recipients that can be written to this relay; the others' outcomes are set."""
        fault = self._find_fault(sender) if sender else None
        if fault is not None:
            raise Ended(Outcome("fail", "mail", fault=fault))
        for recipient in recipients:
            fault = self._find_fault(recipient)
            if fault is not None:
                self.outcomes[recipient] = Outcome("fail", "rcpt", fault=fault)
        return [recipient for recipient in dict.fromkeys(recipients) if recipient not in self.outcomes]

    def _find_fault(self, address: str) -> Fault | None:
        if not is_path(address):
            return Fault("malformed", "the address cannot be written in SMTP")
        if not address.isascii() and "smtputf8" not in self._extensions:
            return Fault("smtputf8", "5.6.7 the address needs SMTPUTF8, which the relay does not offer")
        return None

    async def _mail(self, sender: str, size: int, *, needs_utf8: bool, is_eight_bit: bool) -> None:
        words = [b"MAIL", b"FROM:<" + sender.encode() + b">"]
        if "size" in self._extensions:
            words.append(b"SIZE=%d" % size)
        if is_eight_bit and "8bitmime" in self._extensions:  # a relay without it nearly always passes them all the same
            words.append(b"BODY=8BITMIME")
        if needs_utf8:
            words.append(b"SMTPUTF8")
        self._go_on(classify("mail", await self._line.ask("mail", *words)))

    async def _rcpt(self, recipients: list[str]) -> list[str]:
        """The accepted recipients; the others' outcomes are set, except when the session ends here."""
        accepted: list[str] = []
        for number, recipient in enumerate(recipients):
            reply = await self._line.ask("rcpt", b"RCPT", b"TO:<" + recipient.encode() + b">")
            if 200 <= reply.code < 300:
                accepted.append(recipient)
                continue
            outcome = classify("rcpt", reply, any_accepted=bool(accepted), relay_accepted=self._accepted_before)
            if reply.code == 421 or not 400 <= reply.code < 600:
                raise Ended(outcome)
            if outcome.at_once:
                self.outcomes.update(dict.fromkeys(recipients[number:], outcome))
                break
            self.outcomes[recipient] = outcome
        return accepted

    def _go_on(self, outcome: Outcome) -> None:
        if outcome.kind != "ok":
            raise Ended(outcome)

    def _judge_again(self) -> None:
        """The relay has just accepted this email for somebody: its 5.7.x for another is about that recipient."""
        for recipient, outcome in self.outcomes.items():
            if outcome.kind == "hold" and outcome.reply is not None:
                self.outcomes[recipient] = classify("rcpt", outcome.reply, any_accepted=True, relay_accepted=True)
