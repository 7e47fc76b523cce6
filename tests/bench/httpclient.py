"""A small HTTP client on one kept connection: less of its own time in what it measures than a full one.

This module is the bench's light load; wrk is the heavy one.
"""

import asyncio
from typing import Self


class Answer:
    """Status, headers (lower case) and body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """One request at a time. Made by ``open``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connects to loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request and its answer. Underscores in header names are hyphens."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        fields = {name.lower(): value for name, value in pairs}
        size = int(fields.get("content-length", "0"))
        return Answer(int(head[0].split()[1]), fields, await self._reader.readexactly(size))

    async def send_email(self, body: bytes, headers: dict[str, str]) -> None:
        """One email; raises ``RuntimeError`` where it is not accepted."""
        answer = await self.ask("POST", "/send-email/", body, Content_Type="application/json", **headers)
        if answer.status != 202:
            raise RuntimeError(f"POST was answered {answer.status} {answer.body[:200]!r}")

    async def close(self) -> None:
        """Ends it."""
        self._writer.close()
        await self._writer.wait_closed()
