"""Captured mail: what a client in capture mode sends, and what the loopback SMTP server of ``up`` takes.

The newest ``limit`` are kept, none longer than ``age`` seconds. This module is the mailbox in Redis.
"""

import msgspec

from tasks import keys
from tasks.secret import name_alone
from tasks.store import Group, Script


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


class Mailbox:
    """The mailbox of one Redis; it keeps the newest ``limit``, and none for longer than ``age`` seconds."""

    def __init__(self, group: Group, *, limit: int, age: float) -> None:
        self._group = group
        self._limit = limit
        self._age = age
        self._keep = Script("keep")

    async def keep(
        self, id_: str, message: bytes, *, client: str, sender: str, to: list[str], at: int, email: str = ""
    ) -> None:
        """Stores an email; the same id again replaces it. ``at`` in ms. Raises ``StoreUnavailable``."""
        fields: list[str | bytes] = [
            "message", message, "client", client, "sender", sender, "to", msgspec.json.encode(to), "at", str(at),
            "email", email,
        ]  # fmt: skip
        await self._group.run(self._keep, id_, at, self._limit, round(at - self._age * 1000), *fields)

    async def newest(self, limit: int, *, skip: int = 0) -> list[Mail]:
        """The newest emails first, at most ``limit`` after ``skip``."""
        ids = await self._group.command("ZRANGE", keys.MAILBOX, skip, skip + limit - 1, "REV")
        found = [await self.get(id_.decode()) for id_ in ids]
        return [mail for mail in found if mail is not None]

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

    async def delete(self, id_: str) -> bool:
        """Takes one out; False where it was not there."""
        await self._group.command("ZREM", keys.MAILBOX, id_)
        return bool(await self._group.command("DEL", keys.MAIL + id_))
