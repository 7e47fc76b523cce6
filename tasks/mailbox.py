"""Captured mail: what a client in capture mode sends, and what the loopback SMTP server of ``up`` takes.

The newest ``limit`` are kept, none longer than ``age`` seconds. Subject and size are fields of their own, so that a list needs
no message. This module is the mailbox in Redis.
"""

import asyncio
import time

import msgspec

from tasks import keys
from tasks.reader import read
from tasks.script import Script
from tasks.secret import name_alone
from tasks.store import Group

POLL_SECONDS = 0.1
"""Between two looks for the next email: a blocking pop would need a connection for each who waits, and one email has as many
who may wait for it as it has recipients; a look costs Redis some 20 µs."""
BACK_SECONDS = 300.0
"""An email captured longer before the question is left over from something else."""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One captured email. ``at`` in milliseconds; ``email`` is the id of the email it was, where that is known."""

    id: str
    message: bytes
    client: str
    sender: str
    to: list[str]
    at: int
    email: str

    __repr__ = name_alone


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A captured email in a list. ``size`` in bytes."""

    id: str
    client: str
    sender: str
    to: list[str]
    at: int
    email: str
    subject: str
    size: int

    __repr__ = name_alone


class Heads(msgspec.Struct, frozen=True):
    """A page of them: ``total`` counts all, ``clients`` are those of which there is mail."""

    total: int
    heads: list[Head]
    clients: list[str]


class NotThere(Exception):
    """The email after which to look is not in the mailbox."""


class Mailbox:
    """The mailbox of one Redis; it keeps the newest ``limit``, and none for longer than ``age`` seconds.

    Every method that is awaited raises ``StoreUnavailable`` where Redis is away.
    """

    def __init__(self, group: Group, *, limit: int, age: float) -> None:
        self._group = group
        self._limit = limit
        self._age = age
        self._keep, self._drop, self._heads, self._next = map(Script, ("keep", "drop", "heads", "next"))

    async def keep(
        self, id_: str, message: bytes, *, client: str, sender: str, to: list[str], at: int, email: str = ""
    ) -> None:
        """Stores an email; the same id again replaces it. ``at`` in ms."""
        fields: list[str | bytes] = [
            "message", message, "sender", sender, "to", msgspec.json.encode(to), "at", str(at), "email", email,
            "subject", subject(message).encode("utf-8", "replace"), "size", str(len(message)),
        ]  # fmt: skip
        await self._group.run(self._keep, id_, at, self._limit, round(at - self._age * 1000), client, *fields)

    async def page(self, limit: int, *, skip: int = 0, client: str | None = None) -> Heads:
        """The newest first, at most ``limit`` after ``skip``; of one client or all."""
        total, found, clients = await self._group.run(self._heads, skip, limit, *([] if client is None else [client]))
        return Heads(total, [_head(fields) for fields in found], sorted(name.decode() for name in clients))

    async def count(self) -> int:
        """How many there are."""
        return int(await self._group.command("ZCARD", keys.MAILBOX))

    async def get(self, id_: str) -> Mail | None:
        """One email, or None."""
        flat = await self._group.command("HGETALL", keys.MAIL + id_)
        fields = {flat[n].decode(): flat[n + 1] for n in range(0, len(flat), 2)}
        if not fields:
            return None
        return Mail(
            id=id_,
            message=fields["message"],
            client=fields["client"].decode(),
            sender=fields["sender"].decode(),
            to=msgspec.json.decode(fields["to"], type=list[str]),
            at=int(fields["at"]),
            email=fields["email"].decode(),
        )

    async def next(self, client: str, to: str, *, after: str = "", timeout: float = 0.0) -> Mail | None:
        """Waits up to ``timeout`` seconds for the next email of ``client`` to the address ``to``; None where none comes.

        Without ``after`` that is the oldest of the last ``BACK_SECONDS`` that was not handed out before, so that an email
        which was quicker than the question is found, and each is found once. With ``after``, the id of a captured email, it
        is the first one after that, handed out or not. Raises ``NotThere`` where there is none of that id.
        """
        end = time.monotonic() + timeout
        cursor = b""
        while True:
            found, cursor, is_known = await self._group.run(
                self._next, client, to.encode("utf-8", "replace").lower(), cursor, after, round(BACK_SECONDS * 1e6)
            )
            if not is_known:
                raise NotThere
            if found and (mail := await self.get(found.decode())) is not None:
                return mail
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(POLL_SECONDS)

    async def delete(self, id_: str) -> bool:
        """Takes one out; False where it was not there."""
        gone, _ = await self._group.run(self._drop, id_)
        return bool(gone)

    async def clear(self, client: str | None = None) -> int:
        """Takes all out, of one client or of all; how many."""
        gone, more = 0, 1
        while more:
            found, more = await self._group.run(self._drop, "all", *([] if client is None else [client]))
            gone += int(found)
        return gone


def subject(message: bytes) -> str:
    """The subject, read from the head alone."""
    head = read(message[:65_536].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    return next((value for name, value in head.headers if name.lower() == "subject"), "")[:998]


def _head(fields: list[bytes]) -> Head:
    id_, client, sender, to, at, email, title, size = fields
    return Head(
        id=id_.decode(),
        client=client.decode(),
        sender=sender.decode(),
        to=msgspec.json.decode(to, type=list[str]),
        at=int(at),
        email=email.decode(),
        subject=title.decode(),
        size=int(size),
    )
