"""Child processes that are started again when they die, and stopped in order.

A child gets a session of its own, so that Ctrl-C reaches the supervisor alone, and the kernel's promise to be stopped when
the supervisor dies. This module is the supervision of processes; what they are is ``up``'s business.
"""

import asyncio
import ctypes
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from loguru import logger

_PR_SET_PDEATHSIG = 1
LONG_LIFE_SECONDS = 30.0
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def _die_with_parent() -> None:
    """Runs in the child before its program: SIGTERM to it when the supervisor is gone (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Child:
    """One kept-alive process. ``grace`` is how long it may take to stop, in seconds."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], *, grace: float) -> None:
        self.name = name
        self._command = list(command)
        self._env = dict(env)
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.gave_up = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts it and keeps it alive from now on."""
        await self._spawn()
        self._task = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        """SIGTERM, the grace, then SIGKILL."""
        self._is_stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self._grace):
                    await process.wait()
            except TimeoutError:
                logger.error("{} does not stop within {} s and is killed", self.name, self._grace)
                process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kill(self) -> None:
        """SIGKILL, now."""
        self._is_stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    async def _keep_alive(self) -> None:
        failures = 0
        while self._process is not None:
            began = time.monotonic()
            code = await self._process.wait()
            if self._is_stopping:
                return
            if code == 2:
                logger.error("{} cannot start: see its lines above", self.name)
                self.gave_up.set()
                return
            failures = 0 if time.monotonic() - began > LONG_LIFE_SECONDS else failures + 1
            pause = PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0]
            logger.error("{} died ({}); started again in {} s", self.name, _how(code), pause)
            await asyncio.sleep(pause)
            if self._is_stopping:
                return
            await self._spawn()


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
