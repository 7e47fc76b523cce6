"""A lane: one small stack of the real processes with a door before each, a wire, a witness and a trap.

Slots are ``api``, ``worker-0``, ``worker-1`` and ``valkey``; each start of a slot is an incarnation (``worker-0#3``), and
each death and freeze is written down, since second copies are excused by them. This module is the stand on which things are
broken.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from tests.processes import Process, Stack, Valkey
from tests.prove.clients import Clients
from tests.prove.clocks import Clock
from tests.prove.dishonest import EDITS, sabotaged
from tests.prove.disks import Disk
from tests.prove.door import Door, Noted
from tests.prove.link import Link
from tests.prove.machine import MORTAL, has_port, quiet_port
from tests.prove.records import Records
from tests.prove.resp import Names
from tests.prove.trap import Trap
from tests.prove.witness import Witness

STARTS = asyncio.Semaphore(3)
"""Stacks that start at once: Python's start is nearly all of a lane's CPU."""

FREEZE_SECONDS = 18.0
"""Longer than the lease (15 s), by enough for another worker to take over meanwhile."""


class Down(msgspec.Struct):
    """An incarnation that died (``ended`` stays None) or was frozen."""

    who: str
    began: float
    ended: float | None = None
    died: bool = False


class Lane:
    """``settings`` go to all processes; ``smtp_url`` is filled in from ``fill`` at each start; ``dishonest`` names the
    safeguard that is taken out of them."""

    def __init__(
        self,
        name: str,
        *,
        workers: int = 2,
        dishonest: str = "",
        relay: dict[str, Any] | None = None,
        smtp_url: str = "smtp+plain://127.0.0.1:{port}",
        clocks: bool = False,
        disks: bool = False,
        patience: float = 10**9,
        password: str = "",
        **settings: str,
    ) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"prove-{name}-"))
        self.trap = Trap()
        self.names = Names()
        for script in {edit[0] for edit in EDITS.get(dishonest, ())}:
            self.names.learn(script, sabotaged(dishonest, script)[1])
        self.notes: dict[str, list[Noted]] = defaultdict(list)
        self.downs: list[Down] = []
        self.disks: dict[str, Disk] = {}
        if disks:
            self.disks = {"aof": Disk(self.folder / "aof", "256m"), "log": Disk(self.folder / "log", "16m")}
        data = self.folder / "aof"
        data.mkdir(exist_ok=True)
        self.valkey = Valkey(data)
        self.valkey.prefix = MORTAL
        self.witness = Witness(self.trap, patience=patience, **(relay or {}))
        self.link = Link(0, self._owner, self.folder / "wire.log", patience=patience)
        self.witness.owner = lambda peer: self.link.joined[peer].who if peer in self.link.joined else ""
        self.slots = ["api", *(f"worker-{n}" for n in range(workers))]
        self.doors = {
            slot: Door(self.folder / f"{slot}.sock", self.valkey.socket, self.trap, self.names, self.notes)
            for slot in self.slots
        }
        self.clocks = {slot: Clock(self.folder / f"{slot}.clock") for slot in (*self.slots, "valkey")} if clocks else {}
        self.processes: dict[str, Process] = {}
        self._count: dict[str, int] = {}
        self.fill = {"password": password, "folder": str(self.folder)}
        self._smtp_url, self._dishonest, self._settings = smtp_url, dishonest, settings
        self._later: set[asyncio.Task[Any]] = set()
        self._port = quiet_port()
        self.clients = Clients(f"http://127.0.0.1:{self._port}")
        self.records = Records(self.valkey.url)
        self.keep = False

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts everything and waits until the API answers and the workers have said that they are there."""
        async with STARTS:
            await self.start_slot("valkey")
            await self.witness.start()
            self.link.relay = self.witness.port
            await self.link.start()
            for slot in self.slots:
                await self.doors[slot].start()
                await self.start_slot(slot)
            await self._until_ready()

    async def _until_ready(self) -> None:
        end = time.monotonic() + 40
        async with httpx.AsyncClient() as http:
            while time.monotonic() < end:
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"http://127.0.0.1:{self._port}/health/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"{self.name}: the API does not get ready: {self.processes['api'].text()[-500:]}")
        while await self.records.workers() < len(self.slots) - 1:
            await asyncio.sleep(0.1)
            if time.monotonic() > end:
                raise AssertionError(f"{self.name}: no worker: {self.processes['worker-0'].text()[-500:]}")

    async def start_slot(self, slot: str) -> None:
        """A new incarnation of a slot, unless one runs."""
        if slot == "valkey":
            if self.valkey.process is None or self.valkey.process.poll() is not None:
                self.valkey.more_env = self.clocks["valkey"].env() if self.clocks else {}
                try:
                    await asyncio.to_thread(self.valkey.start)
                except AssertionError:
                    if self.valkey.process is None or self.valkey.process.poll() is not None:
                        raise  # where it lives it was frozen while it started
            return
        running = self.processes.get(slot)
        if running is not None and running.popen is not None and running.popen.poll() is None:
            return
        self._count[slot] = self._count.get(slot, 0) + 1
        door = self.doors[slot]
        door.who = self.who(slot)
        module = "service" if slot == "api" else "tasks"
        honest = [sys.executable, "-m", module]
        command = [sys.executable, "-m", "tests.prove.dishonest", self._dishonest, module] if self._dishonest else honest
        stack = Stack(self.folder, self.valkey, self._smtp_url.format(port=self.link.port, **self.fill), **self._settings)
        more = self.clocks[slot].env() if self.clocks else {}
        env = stack.env(REDIS_URL=door.url, HTTP_PORT=str(self._port), **more)
        process = self.processes[slot] = Process([*MORTAL, *command], env, self.folder / f"{slot}.out")
        process.start()

    def who(self, slot: str) -> str:
        """The present incarnation of a slot."""
        return f"{slot}#{self._count.get(slot, 0)}"

    def slot_of(self, who: str) -> str:
        """The slot of an incarnation."""
        return who.partition("#")[0]

    def _owner(self, port: int) -> str:
        for slot, process in self.processes.items():
            if slot != "api" and process.popen is not None and has_port(process.pid, port):
                return self.who(slot)
        return ""

    # --- what is done to it ---------------------------------------------------------------------------------------------

    def kill(self, slot: str, number: int = signal.SIGKILL) -> None:
        """Kills a slot, or asks it to end with SIGTERM, which excuses nothing; nobody starts it again by itself."""
        if slot == "valkey":
            if self.valkey.process is not None:
                self.valkey.process.send_signal(number)
            return
        if number == signal.SIGKILL:
            self.downs.append(Down(self.who(slot), time.monotonic(), died=True))
        self.processes[slot].send(number)

    async def restart(self, slot: str, after: float = 0.3) -> None:
        """Starts a slot that was killed just now, ``after`` seconds, when it has ended."""
        process = self.processes.get(slot)
        ending = self.valkey.process if slot == "valkey" else process and process.popen
        await asyncio.sleep(after)
        while ending is not None and ending.poll() is None:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.05)
        await self.start_slot(slot)

    def freeze(self, slot: str) -> Down:
        """Stops a slot without its knowing."""
        down = Down(self.who(slot), time.monotonic())
        self.downs.append(down)
        self._send(slot, signal.SIGSTOP)
        return down

    def thaw(self, slot: str, down: Down) -> None:
        """Lets it go on."""
        down.ended = time.monotonic()
        self._send(slot, signal.SIGCONT)

    def _send(self, slot: str, number: int) -> None:
        if slot != "valkey":
            self.processes[slot].send(number)
        elif self.valkey.process is not None:
            self.valkey.process.send_signal(number)

    def later(self, work: Any) -> asyncio.Task[Any]:
        """Does something beside; ``settle`` waits for it."""
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task

    async def mend(self) -> None:
        """Ends all faults: everything runs, nothing is armed, wires and replies are as they should be."""
        self.trap.disarm()
        self.witness.replies.clear()
        await self.link.heal()
        for disk in self.disks.values():
            disk.free()
        for clock in self.clocks.values():
            clock.step(0)
        while self._later:
            await asyncio.gather(*list(self._later), return_exceptions=True)
        if self.link.is_stopped:
            await self.link.start()
        for slot in ("valkey", *self.slots):
            self._send(slot, signal.SIGCONT)
            await self.start_slot(slot)

    async def stop(self) -> None:
        """Kills everything and takes the folder away."""
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        for process in self.processes.values():
            process.send(signal.SIGCONT)
            await process.stop(signal.SIGKILL)
        await asyncio.to_thread(self.valkey.stop, signal.SIGKILL)
        await self.clients.close()
        await self.records.close()
        for door in self.doors.values():
            await door.stop()
        await self.link.stop()
        self.link.close()
        await self.witness.stop()
        for disk in self.disks.values():
            disk.unmount()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
