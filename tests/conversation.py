"""One connection to the scripted relay, and what a script may make of a reply.

This module is the server's side of an SMTP conversation.
"""

import asyncio
import base64
import hmac
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.relay import ScriptedRelay


class Hang(NamedTuple):
    """Says nothing any more."""


class Close(NamedTuple):
    """Closes the connection, after ``reply`` if there is one."""

    reply: str | None = None


class Reset(NamedTuple):
    """Closes with a TCP reset."""


class Delay(NamedTuple):
    """Waits ``seconds``, then does ``then``."""

    seconds: float
    then: Any = None


class Raw(NamedTuple):
    """Sends bytes as they are; ``and_then`` goes out ``gap`` seconds later, unasked."""

    data: bytes
    and_then: bytes = b""
    gap: float = 0.05


class Trickle(NamedTuple):
    """Sends the reply one byte every ``gap`` seconds."""

    reply: str
    gap: float = 1.0


Action = str | None | Hang | Close | Reset | Delay | Raw | Trickle
Script = Action | list[Action] | dict[str, Action] | Callable[[str], Action]


class Taken(NamedTuple):
    """An email that the relay accepted. ``at`` is monotonic; ``message`` is un-stuffed."""

    sender: str
    recipients: list[str]
    message: bytes
    at: float
    connection: int


class Gone(Exception):
    """The connection has ended, as the script wanted."""


class Conversation:
    """One connection's state: who signed in, and the envelope."""

    def __init__(self, relay: "ScriptedRelay", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.relay, self.reader, self.writer, self.number = relay, reader, writer, number
        self.signed_in = not relay.users
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.asked = 0

    async def run(self) -> None:
        await self.act("banner", "220 relay.test ESMTP")
        verbs = {
            "EHLO": self.ehlo, "STAR": self.starttls, "AUTH": self.auth, "MAIL": self.mail, "RCPT": self.rcpt,
            "DATA": self.data, "QUIT": self.quit,
        }  # fmt: skip
        while raw := await self.reader.readline():
            line = raw.decode(errors="surrogateescape").rstrip("\r\n")
            self.relay.log.append(line)
            await verbs.get(line[:4].upper(), self.unknown)(line)

    async def act(self, stage: str, usual: str, line: str = "", place: int | None = None) -> str:
        """Does what the script says and gives what was said, empty if nothing was."""
        return await self.perform(self.relay.next_action(stage, line, place), usual)

    async def perform(self, action: Action, usual: str) -> str:
        writer = self.writer
        match action:
            case None | str():
                said = usual if action is None else action
                writer.write(said.encode(errors="surrogateescape") + b"\r\n")
                await writer.drain()
                if said.startswith("421"):
                    raise self.leave()
                return said
            case Delay(seconds, then):
                await asyncio.sleep(seconds)
                return await self.perform(then, usual)
            case Raw(data, and_then, gap):
                writer.write(data)
                if and_then:
                    asyncio.get_running_loop().call_later(gap, writer.write, and_then)
                return data.decode("latin-1")
            case Trickle(reply, gap):
                for byte in reply.encode() + b"\r\n":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(gap)
                return reply
            case Close(reply):
                if reply:
                    writer.write(reply.encode() + b"\r\n")
            case Reset():
                self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Hang():
                while await self.reader.read(65536):
                    pass
        raise self.leave()

    def leave(self) -> Gone:
        if not self.writer.transport.is_closing():
            self.writer.close()
        return Gone()

    async def ehlo(self, _: str) -> None:
        relay = self.relay
        words = ["relay.test", *relay.extensions]
        if relay.offers_tls and self.writer.get_extra_info("ssl_object") is None:
            words.append("STARTTLS")
        if relay.users:
            words.append(f"AUTH {relay.auth}")
        await self.act("EHLO", "\r\n".join([f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]))

    async def starttls(self, _: str) -> None:
        if (await self.act("STARTTLS", "220 go ahead")).startswith("220 go"):
            await self.writer.start_tls(self.relay.context())

    async def auth(self, line: str) -> None:
        method, _, initial = line[5:].partition(" ")
        user, password = "", ""
        if method.upper() == "PLAIN":
            _, user, password = base64.b64decode(initial or await self.challenge("")).decode().split("\0")
        elif method.upper() == "LOGIN":
            user = base64.b64decode(initial or await self.challenge("VXNlcm5hbWU6")).decode()
            password = base64.b64decode(await self.challenge("UGFzc3dvcmQ6")).decode()
        elif method.upper() == "CRAM-MD5":
            question = base64.b64encode(b"<1@relay.test>").decode()
            user, _, digest = base64.b64decode(await self.challenge(question)).decode().partition(" ")
            known = self.relay.users.get(user, "")
            password = known if hmac.new(known.encode(), b"<1@relay.test>", "md5").hexdigest() == digest else ""
        right = bool(password) and self.relay.users.get(user) == password
        said = await self.act("AUTH", "235 2.7.0 welcome" if right else "535 5.7.8 wrong user or password", line)
        self.signed_in = said.startswith("235")

    async def challenge(self, question: str) -> str:
        await self.perform(f"334 {question}", "")
        return (await self.reader.readline()).decode().strip()

    async def mail(self, line: str) -> None:
        usual = "250 2.1.0 ok" if self.signed_in else "530 5.7.0 authentication required"
        if (await self.act("MAIL", usual, line)).startswith("2"):
            self.sender, self.recipients, self.asked = line[line.index("<") + 1 : line.rindex(">")], [], 0

    async def rcpt(self, line: str) -> None:
        recipient = line[line.index("<") + 1 : line.rindex(">")]
        place, self.asked = self.asked, self.asked + 1
        usual = "250 2.1.5 ok" if self.sender is not None else "503 5.5.1 MAIL first"
        if (await self.act("RCPT", usual, recipient, place)).startswith("2"):
            self.recipients.append(recipient)

    async def data(self, _: str) -> None:
        usual = "354 go on" if self.recipients else "554 5.5.1 no valid recipients"
        if not (await self.act("DATA", usual)).startswith("354"):
            return
        message = _unstuff(await (self.read_slowly(self.relay.read_rate) if self.relay.read_rate else self.read_message()))
        action = self.relay.next_action("DOT", "", None)
        if not _says_no(action):
            self.relay.take(Taken(self.sender or "", self.recipients, message, time.monotonic(), self.number))
        self.sender, self.recipients = None, []
        await self.perform(action, f"250 2.0.0 Ok: queued as {len(self.relay.emails):06X}")

    async def read_message(self) -> bytes:
        return await self.reader.readuntil(b"\r\n.\r\n")

    async def read_slowly(self, rate: int) -> bytes:
        message = bytearray()
        while not message.endswith(b"\r\n.\r\n"):
            chunk = await self.reader.read(max(1, rate // 50))
            if not chunk:
                raise self.leave()
            message += chunk
            await asyncio.sleep(len(chunk) / rate)
        return bytes(message)

    async def quit(self, _: str) -> None:
        await self.act("QUIT", "221 2.0.0 bye")
        raise self.leave()

    async def unknown(self, _: str) -> None:
        await self.perform("500 5.5.2 what?", "")


def _says_no(action: Action) -> bool:
    """Whether an answer to the dot refuses. A lost answer does not: the relay has the email then."""
    match action:
        case Delay(_, then):
            return _says_no(then)
        case Raw(data):
            return not data.startswith(b"2")
        case str() | Trickle() | Close(str()):
            return not (action if isinstance(action, str) else action.reply or "").startswith("2")
        case _:
            return False


def _unstuff(raw: bytes) -> bytes:
    message = raw[:-3].replace(b"\r\n..", b"\r\n.")
    return message[1:] if message.startswith(b".") else message
