"""The loopback SMTP server behind the mailbox: what it takes is kept in Redis and can be read on the pages.

``up`` starts it where no relay is set, so that the very first email already goes the whole way, SMTP included. It listens on
loopback only and hands nothing on. This module is aiosmtpd with one handler.
"""

import asyncio
import re
import socket
import time
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope
from loguru import logger

from service.uuid7 import uuid7
from tasks.errors import StoreUnavailable
from tasks.ledger import Ledger
from tasks.mailbox import Mailbox

_OURS = re.compile(rb"^message-id: <([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@", re.IGNORECASE | re.MULTILINE)
_HEAD = 64 * 1024


class _Keeper:
    """aiosmtpd's handler: DATA is answered 250 only once the email is kept."""

    def __init__(self, mailbox: Mailbox, ledger: Ledger) -> None:
        self._mailbox = mailbox
        self._ledger = ledger

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd's word)
        del server, session
        message = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        found = _OURS.search(message[:_HEAD].partition(b"\r\n\r\n")[0])
        email = found[1].decode() if found is not None else ""
        now = round(time.time() * 1000)
        id_ = email or uuid7(now)
        try:
            record = await self._ledger.record(email) if email else None
            await self._mailbox.keep(
                id_,
                message,
                client=record.letter.client if record is not None else "",
                sender=envelope.mail_from or "",
                to=[str(to) for to in envelope.rcpt_tos],
                at=now,
                email=email if record is not None else "",
            )
        except StoreUnavailable as error:
            return f"451 4.3.0 the mailbox cannot keep it now: {error}"
        logger.debug("the mailbox keeps {}", id_)
        return "250 2.0.0 Ok: kept in the mailbox"


async def listen(sock: socket.socket, mailbox: Mailbox, ledger: Ledger, *, max_bytes: int) -> asyncio.Server:
    """Takes mail on ``sock``, messages up to ``max_bytes``."""
    loop = asyncio.get_running_loop()
    handler = _Keeper(mailbox, ledger)
    size = max_bytes + 64 * 1024

    def protocol() -> SMTP:
        return SMTP(
            handler, data_size_limit=size, enable_SMTPUTF8=True, hostname="mailbox.localhost", ident="mailbox", loop=loop
        )

    return await loop.create_server(protocol, sock=sock)
