"""The real processes for tests: Valkey, API, worker, each on ports and folders of its own.

This module is the harness of every test that crosses a process border.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest

from service.up import valkey_binary
from tasks.store import connect

ROOT = Path(__file__).parent.parent
KEY = "test-key-0123456789"
OTHER_KEY = "other-key-0123456789"


def missing(what: str) -> NoReturn:
    """Skips a test that this machine has no means for; with REQUIRE_SYSTEM=1, as ``.ci/run`` sets it, the test fails."""
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(f"required here: {what}")
    pytest.skip(what)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def until(check: Callable[[], Any], *, seconds: float = 8.0, what: str = "") -> Any:
    """Waits until ``check`` (plain or async) gives something true, and gives that."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or check}")
        await asyncio.sleep(0.02)


class Valkey:
    """A Valkey of one's own, on a socket, that can be killed and started again with its data."""

    def __init__(self, folder: Path, *, appendfsync: str = "always", persistent: bool = True) -> None:
        self.folder = folder
        self.socket = folder / "v.sock"
        self.url = f"unix://{self.socket}"
        self._options = ["--appendonly", "yes" if persistent else "no", "--appendfsync", appendfsync]
        self.process: subprocess.Popen[bytes] | None = None
        self.more_env: dict[str, str] = {}
        self.prefix: list[str] = []

    def start(self) -> None:
        """Starts it and waits until it listens."""
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [*self.prefix, valkey_binary(), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder),
             "--save", "", "--logfile", str(self.folder / "valkey.log"), *self._options],
            env={**os.environ, **self.more_env},
        )  # fmt: skip
        end = time.monotonic() + 8
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.socket))
                sock.sendall(b"PING\r\n")
                if sock.recv(64).startswith(b"+PONG"):
                    return
            if time.monotonic() > end:
                raise AssertionError("Valkey does not start")
            time.sleep(0.01)

    async def command(self, *words: str) -> Any:
        """One command on a connection of its own."""
        client = connect(self.url)
        try:
            return await client.execute_command(*words)
        finally:
            await client.aclose()

    async def info(self) -> dict[str, Any]:
        """What it says of itself."""
        return await self.command("INFO")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends it; SIGKILL is allowed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running_valkey(**options: Any) -> Generator[Valkey, None, None]:
    """A Valkey in a new folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ems-test-"))
    valkey = Valkey(folder, **options)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


class Process:
    """One process of the service with its output in a file."""

    def __init__(self, command: list[str], env: Mapping[str, str], output: Path) -> None:
        self.command = command
        self.env = dict(env)
        self.output = output
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, appending to its output."""
        with self.output.open("ab") as file:
            self.popen = subprocess.Popen(
                self.command, env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    def send(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM, *, seconds: float = 8.0) -> int:
        """Ends it and gives its exit code."""
        if self.popen is None:
            return 0
        self.send(number)
        await until(
            lambda: self.popen is not None and self.popen.poll() is not None, seconds=seconds, what=f"end of {self.command}"
        )
        code = self.popen.returncode
        self.popen = None
        return code

    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""


class Stack:
    """A Valkey, API processes and workers that belong together. ``url`` is the first API's address."""

    def __init__(self, folder: Path, valkey: Valkey, smtp_url: str, **settings: str) -> None:
        self.folder = folder
        self.valkey = valkey
        self.smtp_url = smtp_url
        self.settings = settings
        self.apis: list[Process] = []
        self.workers: list[Process] = []
        self.ports: list[int] = []

    @property
    def log_dir(self) -> Path:
        """Where the processes log."""
        return self.folder / "log"

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a process: nothing of this machine's but the path."""
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "REDIS_URL": self.valkey.url,
            "SMTP_URL": self.smtp_url,
            "API_KEYS": f"shop:{KEY},other:{OTHER_KEY}:*@other.example",
            "ADMIN_PASSWORD": "the-operators-password",
            "DATA_DIR": str(self.folder),
            "LOG_DIR": str(self.log_dir),
            "PYTHONWARNINGS": "default",
        }
        return {**base, **self.settings, **more}

    async def start_api(self, command: list[str] | None = None, **more: str) -> Process:
        """Another API process, listening."""
        port = free_port()
        process = Process(
            command or [sys.executable, "-m", "service"],
            self.env(HTTP_PORT=str(port), **more),
            self.folder / f"api-{len(self.apis)}.out",
        )
        process.start()
        self.apis.append(process)
        self.ports.append(port)
        await self.wait_for_api(port)
        return process

    async def wait_for_api(self, port: int) -> None:
        """Until an API process answers."""

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient() as http:
                    return (await http.get(f"http://127.0.0.1:{port}/health/live")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(answers, what=f"API on {port}")

    async def start_worker(self, command: list[str] | None = None, **more: str) -> Process:
        """Another worker; it may need a moment."""
        process = Process(
            command or [sys.executable, "-m", "tasks"], self.env(**more), self.folder / f"worker-{len(self.workers)}.out"
        )
        process.start()
        self.workers.append(process)
        return process

    @property
    def url(self) -> str:
        """The first API's address."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def http(self, key: str = KEY, number: int = 0) -> httpx.AsyncClient:
        """A client of one API process, with a key."""
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.ports[number]}", headers={"authorization": f"Bearer {key}"}, timeout=15
        )

    async def stop(self) -> None:
        """Kills whatever still runs."""
        for process in (*self.apis, *self.workers):
            process.send(signal.SIGCONT)
            await process.stop(signal.SIGKILL)


@contextlib.asynccontextmanager
async def running_stack(smtp_url: str, *, api_command: list[str] | None = None, **settings: str) -> AsyncGenerator[Stack, None]:
    """A stack in a new folder with one API process and no worker yet, gone afterwards."""
    with running_valkey() as valkey:
        stack = Stack(valkey.folder, valkey, smtp_url, **settings)
        try:
            await stack.start_api(api_command)
            yield stack
        finally:
            await stack.stop()


LATER = f"{datetime.now(UTC) + timedelta(days=180):%Y-%m-%dT%H:%M:%SZ}"
"""A moment that emails may be scheduled for, whenever the tests are run."""


def an_email(number: int = 0, **changes: Any) -> dict[str, Any]:
    """The seed's request."""
    return {
        "email_to": "ada@dest.example",
        "email_from": "shop@shop.example",
        "subject": f"Receipt {number}",
        "message": {"text": f"Thank you, number {number}.", "html": f"<p>Thank you, number <b>{number}</b>.</p>"},
        **changes,
    }
