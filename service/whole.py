"""Requests and answers in one piece, where ASGI's messages are several.

Each write of an answer is a system call that wakes the client; with uvicorn's looks at every header they are a sixth of what a
small answer costs. So this server offers its applications, beside `http.response.start` and `.body`, one call for an answer
that is complete, and the body that has arrived with its head without waiting for it. Where an offer cannot be taken (the
client is gone or reads slowly, the connection is to close, the body is still coming) it says so, and the application does with
ASGI's messages.

This module is an extension of uvicorn's HTTP protocol.
"""

from collections.abc import Iterable
from typing import Any, cast

from litestar.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

NAME = "ems.response.whole"
"""Under which name `scope["extensions"]` has both offers."""

Pairs = Iterable[tuple[bytes, bytes]]


class Whole:
    """The offers for one request."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytearray | None:
        """The request's body, once, where all of it is here."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = cycle.body, bytearray()
        cycle.flow.resume_reading()
        cycle.message_event.clear()
        return body

    def __call__(self, status: int, headers: Pairs, body: bytes) -> bool:
        """Answers, unless it is impossible. Names are lower case; neither length nor `connection` is among them.

        Raises ValueError for a header that would end its line.
        """
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or not cycle.keep_alive:
            return False
        lines = [b"%s: %s\r\n" % pair for pair in (*cycle.default_headers, *headers)]
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("a header of an answer holds a line end")
        cycle.transport.write(b"%s%scontent-length: %d\r\n\r\n%s" % (STATUS_LINE[status], head, len(body), body))
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = cycle.chunked_encoding = False
        cycle.expected_content_length = 0
        cycle.message_event.set()
        cycle.on_response()
        return True


def offer_whole(scope: Any, cycle: RequestResponseCycle) -> None:
    """Makes the offers. A HEAD request gets none, since its answer has no body."""
    if scope["method"] != "HEAD":
        scope["extensions"] = {NAME: Whole(cycle)}


def whole_of(scope: Scope) -> Whole | None:
    """The offers of the server, if it makes any."""
    extensions = cast("dict[str, Any] | None", scope.get("extensions"))
    return extensions.get(NAME) if extensions else None
