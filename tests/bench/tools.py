"""The programs that the bench borrows: wrk, and Postfix's smtp-sink and smtp-source.

This module starts them and reads what they say.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import msgspec

from tests.processes import free_port

NEEDED = {"wrk": "wrk", "smtp-sink": "postfix", "smtp-source": "postfix"}
"""Program → its Debian package."""


class ToolMissing(RuntimeError):
    """A program that the bench needs is not installed."""


def find(name: str) -> str:
    """Its path. Raises ``ToolMissing``."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ToolMissing(f"{name} is needed: apt-get install {NEEDED[name]}")
    return found


def listens(port: int) -> bool:
    """Whether anybody takes connections on a port of loopback."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Load(msgspec.Struct, frozen=True):
    """What wrk has seen."""

    requests: int
    seconds: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


async def wrk(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, connections: int = 32) -> Load:
    """POSTs ``body`` as fast as it is answered. Raises ``RuntimeError`` where an answer was not a 2xx."""
    with tempfile.TemporaryDirectory(prefix="ems-bench-") as folder:
        script = _script(Path(folder), body, {**headers, "Content-Type": "application/json"})
        words = [find("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url]
        process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = (await process.communicate())[0].decode()
    found = re.search(r"^(\d+) (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    if found is None or int(found[1]) == 0:
        raise RuntimeError(f"wrk: {said.strip()[-300:]}")
    load = Load(int(found[1]), int(found[2]) / 1e6, int(found[3]) + int(found[4]))
    if load.failed:
        raise RuntimeError(f"{load.failed} of {load.requests} requests to {url} failed")
    return load


def _script(folder: Path, body: bytes, headers: Mapping[str, str]) -> Path:
    """What wrk is to ask, and to say in the end: requests, µs, wrong answers, broken connections."""
    fields = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
    (folder / "body").write_bytes(body)
    script = folder / "post.lua"
    script.write_text(
        f"""wrk.method = "POST"
{fields}
wrk.body = io.open({json.dumps(str(folder / "body"))}, "rb"):read("*a")
function done(s)
  local e = s.errors
  io.write(string.format("%d %d %d %d\\n", s.requests, s.duration, e.status, e.connect + e.read + e.write + e.timeout))
end
"""
    )
    return script


class Sink:
    """smtp-sink on a port of its own: takes everything, keeps nothing, and counts."""

    def __init__(self) -> None:
        self.port = free_port()
        self._said = tempfile.NamedTemporaryFile(prefix="ems-bench-sink-")  # noqa: SIM115 (closed in stop)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        words = [find("smtp-sink"), "-c", *user, f"127.0.0.1:{self.port}", "512"]
        self._process = subprocess.Popen(words, stdout=self._said, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if listens(self.port):
                return self
            time.sleep(0.02)
        raise ToolMissing("smtp-sink does not start")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        self._said.close()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """As ``SMTP_URL`` names it."""
        return f"smtp+plain://127.0.0.1:{self.port}"

    def count(self) -> int:
        """Messages taken so far."""
        size = os.fstat(self._said.fileno()).st_size
        tail = os.pread(self._said.fileno(), 200, max(0, size - 200))
        found = re.findall(rb"mesg=(\d+)", tail)
        return int(found[-1]) if found else 0


class Window(msgspec.Struct, frozen=True):
    """A stretch of steady sending."""

    count: int
    seconds: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.count / self.seconds


async def steady(
    count: Callable[[], int], *, warm: int, most: int, seconds: float, on_begin: Callable[[], None] = lambda: None
) -> Window:
    """Watches a counter from ``warm`` on until it has gained ``most`` in all or ``seconds`` are over.

    Raises ``RuntimeError`` where it does not move.
    """
    base = count()
    end = time.monotonic() + 30
    while count() - base < warm:
        if time.monotonic() > end:
            raise RuntimeError(f"only {count() - base} emails arrived in 30 s")
        await asyncio.sleep(0.005)
    first, began = count(), time.perf_counter()
    on_begin()
    while True:
        await asyncio.sleep(0.005)
        last, now = count(), time.perf_counter()
        if last - base >= most or now - began >= seconds:
            return Window(last - first, now - began)


async def smtp_source(sink: Sink, messages: int) -> Window:
    """The C program's pace on ten kept connections."""
    words = [find("smtp-source"), "-d", "-s", "10", "-m", str(messages), "-l", "2200", "-f", "a@b.example", "-t", "c@d.example"]
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*words, f"127.0.0.1:{sink.port}", stdout=subprocess.DEVNULL)
    await process.wait()
    return Window(messages, time.perf_counter() - began)
