"""One HTTP/1.1 connection, with what uvicorn's own lacks: deadlines, caps, and errors in our shape.

uvicorn has no limit for a head that arrives a byte a second, for the size of a head, for a client that does not read
its answer, or for a body that goes on after the answer. Each connection here passes these stages, each with its limit:

    connected ──▶ head ──▶ body (limits: service.intake) ──▶ answer ──▶ idle ──▶ head …
                  408, 431                                 │ └─▶ rest of a body that nobody needs: dropped for a while
                                                           └─▶ a client that does not read: cut off

This module is uvicorn's protocol class with these limits; it knows nothing of routes.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.refusal import Refusal
from service.whole import offer_whole

_WHOLE_URL = re.compile(rb"[^:/?#]+://([^/?#]*)(.*)", re.DOTALL)
_HOST = re.compile(rb"[0-9A-Za-z!$&'()*+,;=\-._~:\[\]%]*")
"""RFC 3986 3.2.2, without names of users."""
_SPARE_FILES = 256  # for Redis, logs and the listening sockets


def connection_cap() -> int:
    """How many connections this process can afford: below its limit of open files, at most 10,000."""
    try:
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:  # not on Windows
        files = 2048
    return max(32, min(10_000, files - _SPARE_FILES if files > 2 * _SPARE_FILES else files // 2))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost. Times in seconds, sizes in bytes."""

    head_seconds: float = 10
    """From the first byte of a head (or the connection) to its end; also for a body's rest after the answer."""
    head_bytes: int = 32_768
    """Request line and header fields together."""
    idle_seconds: float = 75
    """Between two requests; longer than the 60 s of common proxies, so that they end first and no request is lost."""
    stall_seconds: float = 60
    """For a client that does not read its answer."""
    linger_seconds: float = 2
    """For a client that still sends when it has been refused, until it has read why."""
    pipelined: int = 16
    """Requests that may wait on one connection behind a running one."""
    connections: int = field(default_factory=connection_cap)


class _Refused(Exception):
    """Raised inside a parser's callback to make it stop; what there is to say has been said."""


class Protocol(HttpToolsProtocol):
    """One HTTP/1.1 connection."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self.timeout_keep_alive = cast("int", limits.idle_seconds)  # call_later takes fractions as well
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._head_open = False
        self._overhead = 0  # bytes since the last progress: a head so far, or trailers
        self._draining = False
        self._is_offer = False
        self._deaf = False

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the head's deadline, or refuse a connection too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Refusal(503, "Too many connections. Try again in a few seconds."))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, within the limits of a head."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._overhead += len(data)
        self._parse(data)
        if self._overhead > self._limits.head_bytes:
            self._refuse(self._too_large())
        elif self._timer is None and self._waits_for_head():
            self._start_timer()  # only now: most heads come in one piece and need no clock

    def pause_writing(self) -> None:
        """The client reads too slowly, or not at all."""
        super().pause_writing()
        if self._stalled is None:
            self._watch_reader()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    # The parser

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "This is not a valid HTTP/1.1 request."))

    def _decline(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 with a request that offers another protocol, as Java's client does with HTTP/2.

        httptools skips the body of such a request, so the head is parsed again without its offer.
        """
        self._is_offer = False
        line = b"%s %s HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        fields = b"".join(b"%s: %s\r\n" % pair for pair in self.headers if pair[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self._parse(line + fields + b"\r\n" + rest)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._head_open = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head. Trailers come through here as well, after the body: they are dropped."""
        if self._head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: check it, then start the request."""
        self._head_open = False
        self._overhead = 0
        self._stop_timer()
        if not self.url.startswith(b"/"):
            self._follow_target()
        if refusal := self._head_refusal():
            self._refuse(refusal)
            raise _Refused
        self._is_offer = self.parser.should_upgrade()
        if self._is_offer:
            return
        super().on_headers_complete()
        offer_whole(self.scope, self.cycle)
        if self.expect_100_continue:
            # Answered before its body was asked for, such a request leaves open whether the body still comes.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body's last byte."""
        self._overhead = 0
        if self._is_offer:
            return
        super().on_message_complete()
        if self._draining:
            self._draining = False
            self._stop_timer()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """The answer is out. A body still on its way is read and dropped, so that the client gets to read the answer."""
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self.cycle.more_body and not self.transport.is_closing():
            self._draining = True
            self._unset_keepalive_if_required()
            self._start_timer()

    # The limits

    def _watch_reader(self, unread: int | None = None) -> None:
        """Cut off a client that has read nothing since the last look, when so many bytes were left for it."""
        size = self.transport.get_write_buffer_size()
        if unread is not None and size >= unread:
            self.transport.abort()
            return
        self._stalled = self.loop.call_later(self._limits.stall_seconds, self._watch_reader, size)

    def _is_answered(self) -> bool:
        """Whether nothing is pending; before the first request uvicorn's cycle is None, whatever its type says."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _waits_for_head(self) -> bool:
        """Whether a head has begun, or bytes came that begin none and have stopped the idle clock."""
        is_idle = self._is_answered() and self.timeout_keep_alive_task is None
        return not self._deaf and (self._head_open or is_idle)

    def _head_refusal(self) -> Refusal | None:
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._limits.head_bytes:
            return self._too_large()
        if len(self.pipeline) >= self._limits.pipelined:
            return Refusal(400, "Too many requests at once on one connection.")
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1") or self.parser.get_method() == b"CONNECT":
            return Refusal(400, "This is an HTTP/1.1 server, and no proxy.")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1") or (hosts and _HOST.fullmatch(hosts[0]) is None):
            return Refusal(400, "A request needs exactly one Host header, a name or address (RFC 9112, section 3.2).")
        if any(name == b"transfer-encoding" and value.strip().lower() != b"chunked" for name, value in self.headers):
            return Refusal(400, "The only Transfer-Encoding here is chunked: nothing is inflated.")
        return None

    def _follow_target(self) -> None:
        """Make Host say what a whole URL as target does, which counts for more (RFC 9112, section 3.2.2)."""
        if match := _WHOLE_URL.fullmatch(self.url):
            authority, rest = match.groups()
            self.url = rest if rest.startswith(b"/") else b"/" + rest
            self.headers[:] = [(name, authority if name == b"host" else value) for name, value in self.headers]

    def _too_large(self) -> Refusal:
        return Refusal(431, f"Request line and headers together may have {self._limits.head_bytes} bytes.")

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self._limits.head_seconds, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._head_open and not self._draining:
            self._refuse(Refusal(408, f"The head did not arrive within {self._limits.head_seconds:g} seconds."))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer by ourselves and end the connection; a request that is whole gets its answer first."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        self._stop_timer()
        if self._draining:  # it has its answer
            self.transport.close()
            return
        cycle = self.cycle
        is_pending = not self._is_answered()
        if is_pending and not cycle.more_body:
            cycle.keep_alive = False
            return
        if is_pending:  # its own body is broken: nobody is to wait for the rest
            cycle.disconnected = True
            cycle.message_event.set()
        if not is_pending or not (cycle.response_started or self.pipeline):
            self.transport.write(_answer(refusal))
            if refusal.status != 503:
                # Closed with input unread, the system would reset the connection, and the answer might get lost.
                self.transport.write_eof()
                self._timer = self.loop.call_later(self._limits.linger_seconds, self.transport.close)
                return
        self.transport.close()


def _answer(refusal: Refusal) -> bytes:
    """A whole HTTP answer, after which the connection closes."""
    body = refusal.body()
    phrase = STATUS_LINE[refusal.status]
    head = (
        b"content-type: application/json\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n"
    )
    return phrase + head % len(body) + body
