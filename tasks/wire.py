"""Bytes and sockets below the SMTP conversation.

This module is the part of speaking to a relay that needs no SMTP library.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from tasks.outcome import Fault

_LONE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_PATH: Final = re.compile(
    r'(?:[^\s\x00-\x1f\x7f-\x9f<>()\[\]",:;\\]+|"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[\x20-\x7e])*")'
    r"@(?:[^\s\x00-\x1f\x7f-\x9f<>()\[\]\"@,:;\\]+|\[[A-Za-z0-9:.]+\])"
)
_STRAY_LIMIT: Final = 4096


def is_path(address: str) -> bool:
    """Whether ``address`` can stand between < and > of MAIL or RCPT without ending it or the line (RFC 5321 4.1.2)."""
    return _PATH.fullmatch(address) is not None


def to_wire(message: bytes) -> tuple[bytes, int]:
    """The message as DATA carries it, without the final dot, and its size before dot-stuffing (RFC 1870, in bytes).

    Lone CR and LF become CRLF, so that no relay can see an end of data where we see none; the last line ends in CRLF;
    a leading dot is doubled (RFC 5321 4.5.2). A canonical message without such dots is returned as it is.
    """
    if message.count(b"\r\n") != message.count(b"\n") or message.count(b"\r") != message.count(b"\n"):
        message = _LONE.sub(b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    size = len(message)
    if b"\r\n." in message:
        message = message.replace(b"\r\n.", b"\r\n..")
    if message.startswith(b"."):
        message = b"." + message
    return message, size


async def dial(host: str, port: int, limit: float) -> socket.socket:
    """A connected, non-blocking TCP socket within ``limit`` seconds, each address of the host getting its share of them.

    Keep-alive probes are on: a peer that is gone without a word is noticed within about two minutes, and a NAT does not
    forget the connection while a relay scans a message. Raises OSError (TimeoutError, gaierror and others among it).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    async with asyncio.timeout_at(deadline):
        try:
            places = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:  # a name that DNS cannot hold
            raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
    trouble = OSError("the host has no address")
    for number, (family, _, protocol, _, address) in enumerate(places):
        try:
            async with asyncio.timeout((deadline - loop.time()) / (len(places) - number)):
                return await _dial_one(family, protocol, address)
        except OSError as error:
            trouble = error
    raise trouble


async def _dial_one(family: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        sock.setblocking(False)
        _keep_alive(sock)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):  # macOS names the first one otherwise
            sock.setsockopt(socket.IPPROTO_TCP, cast(int, getattr(socket, option)), value)


def find_fault(error: BaseException, limit: float) -> Fault:
    """Why the connection failed us. TLS comes first: its errors are OSError and ValueError as well. ``limit`` in seconds."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for kind, describe in _FAULTS:
        for cause in causes:
            if isinstance(cause, kind):
                return describe(cause, limit)
    return Fault("malformed", "the relay's reply cannot be read")


def _certificate(error: BaseException, _: float) -> Fault:
    why = str(getattr(error, "verify_message", "") or "it cannot be verified")
    return Fault("certificate", f"the relay's certificate is not valid: {why.rstrip('.')}"[:300])


def _tls(error: BaseException, _: float) -> Fault:
    why = str(getattr(error, "reason", "") or type(error).__name__).replace("_", " ").lower()
    return Fault("tls", f"no TLS with the relay: {why}"[:300])


def _timeout(_: BaseException, limit: float) -> Fault:
    return Fault("timeout", f"no answer within {limit:,.0f} s" if limit >= 1 else f"no answer within {limit:g} s")


def _unreachable(error: BaseException, _: float) -> Fault:
    why = str(error.args[-1]) if error.args else type(error).__name__
    return Fault("unreachable", f"the relay cannot be reached: {why}"[:300])


_FAULTS: Final[tuple[tuple[type[BaseException], Callable[[BaseException, float], Fault]], ...]] = (
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _tls),
    (TimeoutError, _timeout),
    (ConnectionAbortedError, _timeout),  # how asyncio says that a TLS handshake took too long
    (socket.gaierror, lambda _, __: Fault("dns", "the relay's name has no address")),
    (ConnectionRefusedError, lambda _, __: Fault("refused", "the relay refuses connections")),
    (ConnectionError, lambda _, __: Fault("closed", "the relay closed the connection")),
    (OSError, _unreachable),
)


class Tap(asyncio.Protocol):
    """Stands between a transport and the protocol that reads replies, and keeps from it what comes unasked.

    While ``expecting`` is set, data goes on to ``inner``; otherwise the first 4 kB are kept in ``stray`` for whoever looks
    next. ``lost``: the relay has closed its side, or the connection is gone.
    """

    def __init__(self, transport: asyncio.Transport, inner: asyncio.Protocol) -> None:
        self.expecting = False
        self.lost = False
        self.stray = bytearray()
        self._inner = inner
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=1, low=0)  # drained() then means that the kernel has all of it

    @property
    def is_quiet(self) -> bool:
        """Whether the connection stands and nothing has been said unasked."""
        return not (self.lost or self.stray)

    async def drained(self) -> None:
        """Wait until all that was written has left this process, or the connection is not quiet any more."""
        while self._paused and self.is_quiet:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def data_received(self, data: bytes) -> None:
        if self.expecting:
            self._inner.data_received(data)
        else:
            self.stray += data[: _STRAY_LIMIT - len(self.stray)]
            self._wake()

    def eof_received(self) -> bool | None:
        self.lost = True
        self._wake()
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._wake()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
