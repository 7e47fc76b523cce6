"""Our side: the real processes on a Valkey that writes every change to disk before it answers.

This module starts ours for a measurement and ends it.
"""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx

from tasks import keys
from tasks.settings import embedded_socket
from tasks.store import Group, connect
from tests.bench.fill import Pump
from tests.bench.procfs import Crowd, family
from tests.processes import KEY, Process, Stack, Valkey, free_port, running_valkey, until

HEADERS = {"Authorization": f"Bearer {KEY}"}


class Ours:
    """A stack under measurement."""

    def __init__(self, stack: Stack, group: Group) -> None:
        self.stack = stack
        self.group = group
        self.pump = Pump(str(stack.valkey.socket))

    @property
    def url(self) -> str:
        """Where emails are POSTed."""
        return f"{self.stack.url}/send-email/"

    @property
    def port(self) -> int:
        """The API's."""
        return self.stack.ports[0]

    @property
    def crowd(self) -> Crowd:
        """Its processes by role."""
        assert self.stack.valkey.process is not None
        pids = {"Valkey": self.stack.valkey.process.pid}
        for role, processes in (("API", self.stack.apis), ("worker", self.stack.workers)):
            if processes:
                pids[role] = processes[0].pid
        return Crowd({**pids, **{f"worker {n}": each.pid for n, each in enumerate(self.stack.workers[1:], 2)}})

    async def fill(self, count: int) -> None:
        """Puts so many emails, beside the event loop."""
        if not self.pump.size:
            await self.pump.prime()
        await asyncio.to_thread(self.pump.fill, count)

    async def pause(self) -> None:
        """No email is claimed from now on."""
        await self.group.command("SET", keys.PAUSED, "1")

    async def go_on(self) -> None:
        """Emails are claimed again, at once."""
        await self.group.command("DEL", keys.PAUSED)
        await self.group.command("LPUSH", keys.WAKE, "1")

    async def waiting(self) -> int:
        """Emails without a final state."""
        return int(await self.group.command("ZCARD", keys.OPEN))

    async def drain(self, *, seconds: float = 60) -> None:
        """Waits until nothing waits."""

        async def is_empty() -> bool:
            return await self.waiting() == 0

        await until(is_empty, seconds=seconds, what="an empty queue")

    async def memory(self) -> int:
        """Bytes that Valkey uses for data."""
        info: bytes = await self.group.command("INFO", "memory")
        return int(info.partition(b"used_memory:")[2].split()[0])


@contextlib.asynccontextmanager
async def ours(
    smtp_url: str, *, api: bool = True, workers: int = 1, persistent: bool = True, **settings: str
) -> AsyncGenerator[Ours, None]:
    """A new stack. ``persistent``: AOF ``always``; without it no AOF at all."""
    with running_valkey(persistent=persistent) as valkey:
        stack = Stack(valkey.folder, valkey, smtp_url, QUEUE_LIMIT="10000000", **settings)
        group = Group(connect(valkey.url), timeout=60)
        try:
            if api:
                await stack.start_api()
            for _ in range(workers):
                await stack.start_worker()
            made = Ours(stack, group)
            await until(lambda: _beats(group, workers), what="the workers' beats")
            yield made
        finally:
            await group.close()
            await stack.stop()


async def _beats(group: Group, workers: int) -> bool:
    return int(await group.command("ZCARD", keys.WORKERS)) >= workers


class Up:
    """``email-service up``: everything in one, as an operator starts it."""

    def __init__(self, port: int, pid: int, group: Group) -> None:
        self.port = port
        self.group = group
        self.crowd = Crowd({_role(each): each for each in family(pid)})


def _role(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    known = {b"valkey-server": "Valkey", b"-m tasks": "worker", b"-m service": "API"}
    return next((role for part, role in known.items() if part in line), "supervisor")


@contextlib.asynccontextmanager
async def up(smtp_url: str) -> AsyncGenerator[Up, None]:
    """The whole stack under its supervisor."""
    folder = Path(tempfile.mkdtemp(prefix="ems-bench-up-"))
    port = free_port()
    env = Stack(folder, Valkey(folder), smtp_url).env(HTTP_PORT=str(port))
    del env["REDIS_URL"]
    process = Process([str(Path(sys.executable).parent / "email-service"), "up"], env, folder / "up.out")
    process.start()
    group = Group(connect(f"unix://{embedded_socket(folder)}"))
    try:
        async with httpx.AsyncClient() as http:
            await until(lambda: _is_ready(http, port), seconds=30, what="the whole stack")
        await until(lambda: _beats(group, 1), what="the worker's beat")
        yield Up(port, process.pid, group)
    finally:
        await group.close()
        await process.stop(seconds=40)
        shutil.rmtree(folder, ignore_errors=True)


async def _is_ready(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200
    except httpx.HTTPError:
        return False
