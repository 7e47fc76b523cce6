"""A fail-over by Sentinel under load: nothing is lost that two Redis held, and mail goes on by itself."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from service.up import valkey_binary
from tasks.store import connect, disconnect
from tests.processes import Process, Stack, an_email, free_port, until
from tests.relay import ScriptedRelay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(100)]


class Sentinels:
    """A primary, a replica and three sentinels on loopback, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port() for _ in range(5)]
        self.processes: list[subprocess.Popen[bytes]] = []
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports[2:])
        self.url = f"redis+sentinel://{places}/mail"

    def _start(self, number: int, *options: str) -> None:
        folder = self.folder / str(number)
        folder.mkdir()
        command = [valkey_binary(), *options, "--dir", str(folder), "--logfile", str(folder / "log")]
        self.processes.append(subprocess.Popen(command))

    def start(self) -> None:
        """Starts all five."""
        primary = str(self.ports[0])
        safe = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"]
        self._start(0, "--port", primary, *safe)
        self._start(1, "--port", str(self.ports[1]), *safe, "--replicaof", "127.0.0.1", primary)
        for number, port in enumerate(self.ports[2:], 2):
            path = self.folder / f"{number}.conf"
            path.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor mail 127.0.0.1 {primary} 2\n"
                "sentinel down-after-milliseconds mail 3000\nsentinel failover-timeout mail 4000\n"
            )
            self._start(number, str(path), "--sentinel")

    async def ready(self) -> None:
        """Until the replica follows and the sentinels know each other."""
        client = connect(f"redis://127.0.0.1:{self.ports[2]}/0")

        async def knows() -> bool:
            with contextlib.suppress(Exception):
                answer = await client.execute_command("SENTINEL", "CKQUORUM", "mail")
                replicas = await client.execute_command("SENTINEL", "REPLICAS", "mail")
                return b"OK" in answer and len(replicas) == 1
            return False

        await until(knows, seconds=15)
        await disconnect(client)
        primary = connect(f"redis://127.0.0.1:{self.ports[0]}/0")
        await until(lambda: primary.execute_command("WAIT", "1", "1000"), seconds=10)
        await disconnect(primary)

    async def until_replicated(self) -> None:
        """Until the other one has all that the first has, which still is the primary: a machine that stood still for long
        would have made the sentinels change it, and what was written to the wrong one meanwhile would be lost by right."""
        sentinel = connect(f"redis://127.0.0.1:{self.ports[2]}/0")
        _, port = await sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mail")
        await disconnect(sentinel)
        assert int(port) == self.ports[0], "the sentinels have changed the primary by themselves"
        primary = connect(f"redis://127.0.0.1:{self.ports[0]}/0")
        await primary.set("last", "write")  # WAIT is about what its own connection wrote
        assert await primary.execute_command("WAIT", "1", "5000") >= 1
        await disconnect(primary)

    def kill_primary(self) -> None:
        """SIGKILL."""
        self.processes[0].kill()
        self.processes[0].wait()

    def stop(self) -> None:
        """Ends what still runs."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
async def sentinels() -> AsyncGenerator[Sentinels, None]:
    folder = Path(tempfile.mkdtemp(prefix="ems-sentinel-"))
    made = Sentinels(folder)
    made.start()
    try:
        await made.ready()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Nowhere:
    """Stands for the Valkey that a Stack usually has: its address is the sentinels'."""

    def __init__(self, url: str) -> None:
        self.url = url


async def post_until_accepted(http: httpx.AsyncClient, number: int) -> str:
    """As a good client does: again after a 503, with the same key."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            answer = await http.post("/send-email", json=an_email(number), headers={"idempotency-key": f"n{number}"})
            if answer.status_code == 202:
                return answer.json()["result"]
            assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)
    raise AssertionError(f"email {number} was never accepted")


async def until_sent(http: httpx.AsyncClient, ids: list[str], *, seconds: float = 10) -> None:
    states: list[str] = []

    async def all_sent() -> bool:
        states[:] = [(await http.get(f"/emails/{id_}")).json().get("state") for id_ in ids]
        return set(states) == {"sent"}

    try:
        await until(all_sent, seconds=seconds)
    except AssertionError:
        raise AssertionError(f"not all sent: {Counter(states)}") from None


async def test_mail_goes_on_after_the_primary_is_killed(sentinels: Sentinels) -> None:
    async with ScriptedRelay() as relay:
        stack = Stack(
            sentinels.folder,
            _Nowhere(sentinels.url),  # type: ignore[arg-type]
            f"smtp+plain://127.0.0.1:{relay.port}",
            REDIS_WAIT_REPLICAS="0",
        )
        try:
            await stack.start_api()
            worker: Process = await stack.start_worker()
            async with stack.http() as http:
                ids = [await post_until_accepted(http, number) for number in range(30)]
                await until(lambda: len(relay.emails) == 30, seconds=10)
                await until_sent(http, ids)
                await sentinels.until_replicated()
                sentinels.kill_primary()
                began = time.monotonic()
                ids += [await post_until_accepted(http, number) for number in range(30, 60)]
                await until_sent(http, ids, seconds=55)  # the promise is 60 s
                assert time.monotonic() - began < 60
                assert worker.popen is not None
                assert worker.popen.poll() is None
        finally:
            await stack.stop()
    assert len(relay.emails) == 60
    assert len({taken.message for taken in relay.emails}) == 60


async def test_without_enough_replicas_no_202_is_given(sentinels: Sentinels) -> None:
    stack = Stack(
        sentinels.folder,
        _Nowhere(f"redis://127.0.0.1:{sentinels.ports[0]}/0"),  # type: ignore[arg-type]
        "smtp+plain://127.0.0.1:9",
        REDIS_WAIT_REPLICAS="1",
    )
    try:
        await stack.start_api()
        async with stack.http() as http:
            assert (await http.post("/send-email", json=an_email(1))).status_code == 202
            sentinels.processes[1].send_signal(signal.SIGSTOP)
            answer = await http.post("/send-email", json=an_email(2))
            sentinels.processes[1].send_signal(signal.SIGCONT)
            assert answer.status_code == 503
    finally:
        await stack.stop()
