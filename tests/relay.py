"""A scripted SMTP server on loopback, for every test that needs a relay.

::

    async with ScriptedRelay() as relay:
        relay.replies["RCPT"] = "451 4.7.1 later"                  always
        relay.replies["RCPT"] = [None, "550 5.1.1 no"]             by its place in the transaction (None: the usual reply)
        relay.replies["RCPT"] = {"b@x.example": Close()}           by address
        relay.replies["DOT"] = ["451 busy", None]                  first, second, … time; afterwards the usual reply
        relay.replies["MAIL"] = lambda line: Delay(1, "250 ok")

Stages: banner EHLO STARTTLS AUTH MAIL RCPT DATA DOT QUIT. ``python -m tests.relay --port 2525`` runs it alone and prints a
JSON line for each accepted email. This module is the relay that does what a test tells it to.
"""

import argparse
import asyncio
import contextlib
import hashlib
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import msgspec

from tests.certificates import Certificate, make_certificate
from tests.conversation import Action, Close, Conversation, Delay, Gone, Hang, Raw, Reset, Script, Taken, Trickle

__all__ = [
    "Action", "Certificate", "Close", "Delay", "Hang", "Raw", "Reset", "ScriptedRelay", "Taken", "Trickle", "make_certificate",
]  # fmt: skip


class ScriptedRelay:
    """Listens on 127.0.0.1 from ``start`` to ``stop``; the port stays the same when it is started again.

    ``tls``: certificate for STARTTLS, or from the first byte with ``implicit``. ``users``: AUTH is offered and demanded.
    ``read_rate``: bytes a second that it reads of a message. ``log`` holds every command line, ``connections`` counts.
    """

    def __init__(
        self,
        *,
        tls: Certificate | None = None,
        implicit: bool = False,
        users: dict[str, str] | None = None,
        extensions: tuple[str, ...] = ("PIPELINING", "SIZE 30000000", "8BITMIME", "ENHANCEDSTATUSCODES"),
        auth: str = "PLAIN LOGIN",
        read_rate: int | None = None,
        port: int = 0,
    ) -> None:
        self.replies: dict[str, Script] = {}
        self.emails: list[Taken] = []
        self.log: list[str] | deque[str] = []
        self.connections = 0
        self.port = port
        self.users = users or {}
        self.extensions = extensions
        self.auth = auth
        self.read_rate = read_rate
        self.take: Callable[[Taken], None] = self.emails.append
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}
        self._tls = tls
        self._implicit = implicit
        self.offers_tls = tls is not None and not implicit
        self._server: asyncio.Server | None = None
        self._times: dict[str, int] = {}

    async def start(self) -> None:
        """Listens; on the port it had before, if any."""
        context = self.context() if self._implicit else None
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # without it asyncio sets no NODELAY
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.read_rate:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(("127.0.0.1", self.port))
        self.port = sock.getsockname()[1]
        self._server = await asyncio.start_server(
            self._serve, sock=sock, ssl=context, backlog=512, limit=4096 if self.read_rate else 64 << 20
        )

    async def stop(self) -> None:
        """Stops listening and cuts every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        serving = list(self._open.values())
        for writer, task in list(self._open.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._open)

    def context(self) -> ssl.SSLContext:
        assert self._tls is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._tls.server)
        return context

    def say(self, data: bytes) -> None:
        """Says something unasked on every open connection."""
        for writer in self._open:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError, Gone):
            await Conversation(self, reader, writer, self.connections).run()
        del self._open[writer]
        writer.transport.abort()
        await asyncio.sleep(0)

    def next_action(self, stage: str, line: str, place: int | None) -> Action:
        """What the script says about this stage now; None for the usual reply."""
        script = self.replies.get(stage)
        if isinstance(script, list):
            index = self._times.get(stage, 0) if place is None else place
            self._times[stage] = index + 1
            return script[index] if index < len(script) else None
        if isinstance(script, dict):
            return script.get(line)
        return script(line) if callable(script) else script


async def serve(port: int) -> None:
    """Runs until it is stopped; a JSON line for each email."""
    relay = ScriptedRelay(port=port)
    relay.log = deque(maxlen=0)
    relay.take = _print
    await relay.start()
    print(f"listening on 127.0.0.1:{relay.port}", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


def _print(taken: Taken) -> None:
    headers = taken.message.partition(b"\r\n\r\n")[0].decode(errors="replace").split("\r\n")
    found = [line[11:].strip() for line in headers if line.lower().startswith("message-id:")]
    line = {
        "at": time.time(),
        "connection": taken.connection,
        "sender": taken.sender,
        "recipients": taken.recipients,
        "message_id": found[0] if found else None,
        "size": len(taken.message),
        "sha256": hashlib.sha256(taken.message).hexdigest(),
    }
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A scripted SMTP server on loopback.")
    parser.add_argument("--port", type=int, default=2525)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))
