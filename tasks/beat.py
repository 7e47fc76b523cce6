"""What a worker says of itself every few seconds, for the status page and health checks.

This module is the words and the two writes of a worker's beat.
"""

from collections.abc import Sequence

import msgspec

from tasks import keys
from tasks.outcome import Reply, Stage
from tasks.store import Group

FRESH_SECONDS = 15.0
"""A worker that has not been heard for so long is gone."""

REMEMBER_SECONDS = 3600.0


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A worker and one of its relays. ``said``: what that said last about an email, at ``stage``; ``at`` in ms since 1970."""

    relay: str
    connections: int
    stage: Stage | None = None
    reply: Reply | None = None
    said: str = ""
    at: int = 0


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. ``started`` and ``at`` in ms since 1970, ``memory`` in bytes; ``stock``: arq's own worker.
    ``since``: when the email was claimed that is longest in its hands, by Redis' clock."""

    name: str
    host: str
    pid: int
    started: int
    at: int
    in_hand: int
    slots: int
    carried: int
    connections: int
    memory: int
    relays: list[str] = []
    links: list[Link] = []
    stock: bool = False
    since: int | None = None


async def tell(group: Group, beat: Beat) -> None:
    """Writes a beat; it expires by itself when no other follows. Raises ``StoreUnavailable``."""
    await group.command("SET", keys.WORKER + beat.name, msgspec.json.encode(beat), "PX", round(FRESH_SECONDS * 1000))
    await group.command("ZADD", keys.WORKERS, beat.at, beat.name)
    await group.command("ZREMRANGEBYSCORE", keys.WORKERS, "-inf", oldest(beat.at))


async def forget(group: Group, name: str) -> None:
    """Takes a worker that ends in order off the list."""
    await group.command("DEL", keys.WORKER + name)
    await group.command("ZREM", keys.WORKERS, name)


async def beats(group: Group, now: int) -> tuple[list[Beat], list[tuple[str, int]]]:
    """The workers that are there, and those that stopped beating within the hour. ``now`` in ms."""
    flat = await group.command("ZRANGE", keys.WORKERS, oldest(now), "+inf", "BYSCORE", "LIMIT", 0, 200, "WITHSCORES")
    found: list[bytes] = []
    for n in range(0, len(flat), 2):
        raw = await group.command("GET", keys.WORKER + flat[n].decode())
        found += [flat[n], flat[n + 1], raw or b""]
    return read(found)


def oldest(now: int) -> int:
    """The oldest last beat that is remembered."""
    return round(now - REMEMBER_SECONDS * 1000)


def read(flat: Sequence[bytes]) -> tuple[list[Beat], list[tuple[str, int]]]:
    """The workers that are there, and those that stopped beating: name and last beat. ``flat``: name, last beat, beat, …"""
    alive: list[Beat] = []
    gone: list[tuple[str, int]] = []
    for n in range(0, len(flat), 3):
        name, last, raw = flat[n : n + 3]
        if raw:
            alive.append(msgspec.json.decode(raw, type=Beat))
        else:
            gone.append((name.decode(), int(float(last))))
    return alive, gone
