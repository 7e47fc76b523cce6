"""The relay, as a witness: it does what the script tells it to, and remembers every stage, reply and copy.

This module is the scripted relay of the tests with a memory and a place for traps.
"""

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tests.conversation import Action, Close, Conversation, Delay, Gone, Hang, Raw, Reset, Taken, Trickle, _says_no, _unstuff
from tests.prove.trap import Trap
from tests.relay import ScriptedRelay

_ID = re.compile(rb"^message-id:\s*<([0-9a-f-]{36})@", re.IGNORECASE | re.MULTILINE)
_TAKEN = re.compile(rb"2\d\d[ -].*\r\n\Z", re.DOTALL)
RATE = 16 * 1024
"""Bytes a second that a worker expects of the slowest relay: its patience grows with the message."""


class Copy(msgspec.Struct, kw_only=True):
    """One email that was complete at the relay and not refused there. ``peer`` is the port of its connection.

    ``answered`` is when the reply to the dot had left, None where there was none or none that a client can read; ``doubtful``
    where it cannot be said whether the client took it for an answer.
    """

    email: str
    recipients: list[str]
    sha256: str
    peer: int
    at: float
    answered: float | None = None
    doubtful: bool = False


class Said(msgspec.Struct, frozen=True):
    """What the relay did at one stage. ``about`` is the sender or recipient; ``reply`` the words, or what was done instead."""

    at: float
    peer: int
    stage: str
    about: str
    reply: str


class Witness(ScriptedRelay):
    """``patience``: a reply to the dot that is held back longer than this counts as lost, in seconds."""

    def __init__(self, trap: Trap, *, patience: float = 10**9, **options: Any) -> None:
        super().__init__(**options)
        self.trap = trap
        self.patience = patience
        self.copies: list[Copy] = []
        self.said: list[Said] = []
        self.connected: list[float] = []
        self.most_open = 0
        self.owner: Callable[[int], str] = lambda _: ""
        self.take = lambda _: None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected.append(time.monotonic())
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        self.most_open = max(self.most_open, len(self._open))
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError, Gone, ValueError):
                await Watched(self, reader, writer, self.connections).run()
        finally:
            del self._open[writer]
            writer.transport.abort()


class Watched(Conversation):
    """One connection under the witness's eyes. Stages, as traps and scripts know them: CONNECT, BANNER, EHLO, MAIL, RCPT,
    DATA, BODY, DOT. Scripts for DATA and DOT are told the sender."""

    relay: Witness

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.peer = self.writer.get_extra_info("peername")[1]
        self.about = ""
        self.spoke_unasked = False

    async def run(self) -> None:
        await self.pass_by("CONNECT", "after")
        await super().run()

    async def pass_by(self, stage: str, when: Any) -> None:
        if not await self.relay.trap.pass_by(stage, when, self.relay.owner(self.peer)):
            raise self.leave()

    async def act(self, stage: str, usual: str, line: str = "", place: int | None = None) -> str:
        name = stage.upper()
        if name == "MAIL":
            self.about = line[line.index("<") + 1 : line.index(">")]
        line = line if name == "RCPT" else self.about
        await self.pass_by(name, "before")
        action = self.relay.next_action(stage, line, place)
        self.note(name, line, usual if action is None else action)
        self.spoke_unasked = self.spoke_unasked or isinstance(action, Raw)
        said = await self.perform(action, usual)
        await self.pass_by(name, "after")
        return said

    def note(self, stage: str, about: str, action: Action) -> None:
        self.relay.said.append(Said(time.monotonic(), self.peer, stage, about, _words(action)))

    async def data(self, _: str) -> None:
        usual = "354 go on" if self.recipients else "554 5.5.1 no valid recipients"
        if not (await self.act("DATA", usual)).startswith("354"):
            return
        if self.relay.trap.is_at("BODY", "after"):
            start = await self.reader.readexactly(1000)
            await self.pass_by("BODY", "after")
            raw = start + await self.read_message()
        else:
            raw = await (self.read_slowly(self.relay.read_rate) if self.relay.read_rate else self.read_message())
        message = _unstuff(raw)
        action = self.relay.next_action("DOT", self.about, None)
        usual = f"250 2.0.0 Ok: queued as {len(self.relay.copies):06X}"
        self.note("DOT", self.about, usual if action is None else action)
        copy = None
        if not _says_no(action):
            found = _ID.search(message.partition(b"\r\n\r\n")[0])
            copy = Copy(
                email=found[1].decode() if found else "?",
                recipients=self.recipients,
                sha256=hashlib.sha256(message).hexdigest(),
                peer=self.peer,
                at=time.monotonic(),
            )
            self.relay.copies.append(copy)
            self.relay.take(Taken(self.sender or "", self.recipients, message, copy.at, self.number))
        self.sender, self.recipients = None, []
        self.spoke_unasked = self.spoke_unasked or isinstance(action, Raw)
        if copy is not None:
            copy.doubtful = self.spoke_unasked or (isinstance(action, Delay) and action.seconds > self.relay.patience)
        await self.pass_by("DOT", "before")
        await self.perform(action, usual)
        if copy is not None and _is_answer(action, self.relay.patience + len(raw) / RATE):
            copy.answered = time.monotonic()
        await self.pass_by("DOT", "after")


def _words(action: Action) -> str:
    """What is said in the end; what is done, where nothing is."""
    match action:
        case Delay(_, then):
            return _words(then)
        case Trickle(reply) | Close(str(reply)):
            return reply
        case str():
            return action
        case _:
            return str(action)


def _is_answer(action: Action, patience: float) -> bool:
    """Whether a client that waits ``patience`` seconds reads one clear yes from this."""
    match action:
        case None | str():
            return True
        case Delay(seconds, then):
            return seconds < patience and _is_answer(then, patience - seconds)
        case Trickle(reply, gap):
            return (len(reply) + 2) * gap < patience
        case Raw(data):
            return data.count(b"\r\n") == 1 and _TAKEN.match(data) is not None
        case Close(reply):
            return reply is not None
        case _:
            return False


__all__ = ["Close", "Copy", "Delay", "Hang", "Raw", "Reset", "Said", "Trickle", "Witness"]
