"""Emails as the queue takes them, for tests that do not need a composed one."""

import hashlib
from secrets import token_hex
from typing import Any

from service.uuid7 import uuid7
from tasks.claim import Claim, Claimed, Put
from tasks.email import Lane
from tasks.queue import Queue
from tasks.record import Letter

MESSAGE = b"Subject: Hi\r\n\r\nhello\r\n"


def a_letter(**changes: Any) -> Letter:
    """A letter of client ``shop`` with a new id."""
    now = 1_795_000_000_000
    id_ = uuid7(now)
    fields: dict[str, Any] = {
        "id": id_,
        "client": "shop",
        "from_": "Shop <shop@shop.example>",
        "to": ["ada@dest.example"],
        "subject": "Hi",
        "sender": "shop@shop.example",
        "message_id": f"<{id_}@shop.example>",
        "sha256": hashlib.sha256(MESSAGE).hexdigest(),
        "size": len(MESSAGE),
        "created": now,
    }
    return Letter(**{**fields, **changes})


async def put(queue: Queue, *to: str, lane: Lane = "normal", message: bytes = MESSAGE, **changes: Any) -> Put:
    """Puts a letter for ``to`` (default: ada)."""
    changes.setdefault("sha256", hashlib.sha256(message).hexdigest())
    letter = a_letter(**changes)
    return await queue.put(letter, list(to) or ["ada@dest.example"], message, lane)


async def claim(
    queue: Queue, count: int = 50, *, token: str = "", caps: tuple[int, int, int] = (50, 50, 50), idle: bool = False
) -> Claimed:
    """Claims for the relay ``r:25``, by a new token unless one is given."""
    return await queue.claim(token or token_hex(8), count, caps, {"main": ["r:25"]}, idle=idle)


async def claim_one(queue: Queue, token: str = "") -> Claim:
    """The one email that is due, whatever befell those who had it before."""
    [found] = (await claim(queue, token=token, idle=True)).claims
    return found
