"""The peer's side: its virtual environment, its Redis with default settings, its processes.

This module starts the peer for a measurement and ends it.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from redis.asyncio import Redis

from service.up import valkey_binary
from tests.bench.procfs import Crowd, family
from tests.bench.tools import Sink, listens
from tests.processes import ROOT, Process, free_port, until

FOLDER = Path(__file__).parent / "peer"
VENV = ROOT / "build" / "peer-venv"
PYTHON = VENV / "bin" / "python"
KEY = "test-key-0123456789"
HEADERS = {"X-Api-Key": KEY}
QUEUE = "celery"
_FILL = "import sys, mail\nfor n in range(int(sys.argv[1])): mail.send_email.delay(*sys.argv[2:])"


def install(say: Callable[[str], None]) -> None:
    """Makes the peer's virtual environment as its lock file has it, where it is not there yet."""
    lock = FOLDER / "requirements.txt"
    done = VENV / "installed.txt"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return
    say(f"installing the peer into {VENV.relative_to(ROOT)}")
    shutil.rmtree(VENV, ignore_errors=True)
    if (uv := shutil.which("uv")) is not None:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)], check=True)
        env = {**os.environ, "VIRTUAL_ENV": str(VENV)}
        subprocess.run([uv, "pip", "sync", "--quiet", "--require-hashes", str(lock)], check=True, env=env)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        words = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(lock)]
        subprocess.run([str(PYTHON), "-m", "pip", *words], check=True)
    shutil.copy(lock, done)


class Theirs:
    """The peer under measurement."""

    def __init__(self, folder: Path, sink_port: int) -> None:
        self.folder = folder
        self.redis_port, self.port = free_port(), free_port()
        self.redis = Redis(port=self.redis_port)
        self._env = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "API_KEY": KEY, "RELAY_HOST": "127.0.0.1", "RELAY_PORT": str(sink_port), "PYTHONPATH": str(FOLDER),
            "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self.processes: dict[str, Process] = {}

    @property
    def url(self) -> str:
        """Where emails are POSTed."""
        return f"http://127.0.0.1:{self.port}/send-email/"

    @property
    def crowd(self) -> Crowd:
        """Its processes by role, Celery's four among them."""
        return Crowd({role: family(process.pid) for role, process in self.processes.items()})

    async def start(self, role: str, *words: str) -> None:
        """Starts one process."""
        self.processes[role] = process = Process(list(words), self._env, self.folder / f"{role}.out")
        process.start()
        await asyncio.sleep(0)

    async def start_redis(self) -> None:
        """Valkey with its default settings."""
        await self.start("Valkey", valkey_binary(), "--port", str(self.redis_port), "--dir", str(self.folder))
        await until(lambda: listens(self.redis_port), what="the peer's Valkey")

    async def start_api(self) -> None:
        """uvicorn, one process."""
        await self.start("uvicorn", str(PYTHON), "-m", "uvicorn", "api:app", "--port", str(self.port))
        await until(lambda: listens(self.port), seconds=20, what="the peer's API")

    async def start_worker(self, *more: str) -> None:
        """Celery, four processes."""
        words = ["-A", "mail", "worker", "-c", "4", "--loglevel", "INFO", *more]
        await self.start("Celery", str(PYTHON), "-m", "celery", *words)
        await until(lambda: " ready." in self.processes["Celery"].text(), seconds=30, what="the peer's worker")

    async def start_flower(self) -> None:
        """Its page."""
        port = free_port()
        await self.start("Flower", str(PYTHON), "-m", "celery", "-A", "mail", "flower", f"--port={port}")
        await until(lambda: listens(port), seconds=30, what="Flower")

    async def make_template(self, count: int, *email: str) -> None:
        """So many tasks, made by Celery itself and put aside; before its worker starts."""
        words = [str(PYTHON), "-c", _FILL, str(count), *email]
        process = await asyncio.create_subprocess_exec(*words, env=self._env)
        if await process.wait():
            raise RuntimeError("the peer's queue cannot be filled")
        await self.redis.rename(QUEUE, "template")

    async def fill(self) -> None:
        """Queues the template's tasks at once."""
        await self.redis.copy("template", QUEUE, replace=True)

    async def drain(self) -> None:
        """Waits until nothing is queued or under way."""

        async def is_empty() -> bool:
            return not await self.redis.llen(QUEUE) and not await self.redis.hlen("unacked")

        await until(is_empty, seconds=60, what="the peer's empty queue")

    async def stop(self) -> None:
        """Ends all, the forked ones with them."""
        await self.redis.aclose()
        pids = [pid for process in self.processes.values() for pid in family(process.pid)]
        for process in reversed(self.processes.values()):
            await process.stop(seconds=20)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), what="the end of the peer")


@contextlib.asynccontextmanager
async def theirs(sink: Sink | int, *roles: str) -> AsyncGenerator[Theirs, None]:
    """The peer with its Redis; ``roles`` are ``api``, ``worker`` and ``flower``."""
    folder = Path(tempfile.mkdtemp(prefix="ems-bench-peer-"))
    made = Theirs(folder, sink if isinstance(sink, int) else sink.port)
    try:
        await made.start_redis()
        if "api" in roles:
            await made.start_api()
        if "worker" in roles:
            await made.start_worker(*(["-E"] if "flower" in roles else []))
        if "flower" in roles:
            await made.start_flower()
        yield made
    finally:
        await made.stop()
        shutil.rmtree(folder, ignore_errors=True)
