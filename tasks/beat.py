"""What a worker says of itself every few seconds, for the status page and health checks.

This module is the words and the two writes of a worker's beat.
"""

import msgspec

from tasks import keys
from tasks.store import Group

FRESH_SECONDS = 15.0
"""A worker that has not been heard for so long is gone."""

REMEMBER_SECONDS = 3600.0


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process. ``started`` and ``at`` in ms since 1970, ``memory`` in bytes; ``stock``: arq's own worker."""

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
    stock: bool = False


async def tell(group: Group, beat: Beat) -> None:
    """Writes a beat; it expires by itself when no other follows. Raises ``StoreUnavailable``."""
    await group.command("SET", keys.WORKER + beat.name, msgspec.json.encode(beat), "PX", round(FRESH_SECONDS * 1000))
    await group.command("ZADD", keys.WORKERS, beat.at, beat.name)


async def forget(group: Group, name: str) -> None:
    """Takes a worker that ends in order off the list."""
    await group.command("DEL", keys.WORKER + name)
    await group.command("ZREM", keys.WORKERS, name)


async def beats(group: Group, now: int) -> tuple[list[Beat], list[tuple[str, int]]]:
    """The workers that are there, and those that stopped beating within the hour: name and last beat. ``now`` in ms."""
    await group.command("ZREMRANGEBYSCORE", keys.WORKERS, "-inf", round(now - REMEMBER_SECONDS * 1000))
    flat = await group.command("ZRANGE", keys.WORKERS, 0, 199, "WITHSCORES")
    alive: list[Beat] = []
    gone: list[tuple[str, int]] = []
    for n in range(0, len(flat), 2):
        raw = await group.command("GET", keys.WORKER + flat[n].decode())
        if raw is None:
            gone.append((flat[n].decode(), int(float(flat[n + 1]))))
        else:
            alive.append(msgspec.json.decode(raw, type=Beat))
    return alive, gone
