"""Everything in one command, ``email-service up``: in an empty folder, with an environment of PATH and HOME alone."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.ports import holder_of
from tests.processes import an_email, free_port, missing, until
from tests.relay import ScriptedRelay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]

COMMAND = str(Path(sys.executable).parent / "email-service")
PARTS = {"api": "-m service", "worker": "-m tasks", "valkey": "valkey-server"}


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> dict[int, str]:
    """The running children of a process, with their command lines."""
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = path.read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            child = int(path.parent.name)
            if int(parent) == pid and is_alive(child):
                found[child] = path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return found


class Up:
    """One ``email-service up`` in a folder of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), **env}
        self.popen: subprocess.Popen[bytes] | None = None
        self.out = folder.parent / f"{folder.name}.out"
        self.err = folder.parent / f"{folder.name}.err"

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    async def start(self) -> str:
        """Starts it and gives what it has printed when it is ready."""
        with self.out.open("wb") as out, self.err.open("ab") as err:
            self.popen = subprocess.Popen(  # noqa: ASYNC220 (it forks, that is all)
                [COMMAND, "up"], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        await until(self.is_ready, seconds=20, what="the greeting")
        return self.printed

    def is_ready(self) -> bool:
        assert self.popen is not None
        assert self.popen.poll() is None, self.err.read_text()
        return "Ctrl-C stops everything." in self.printed

    @property
    def printed(self) -> str:
        return self.out.read_text("utf-8")

    def found(self, pattern: str) -> str:
        """What the one group of ``pattern`` is in the greeting."""
        match = re.search(pattern, self.printed, re.MULTILINE | re.DOTALL)
        assert match is not None, self.printed
        return match[1]

    @property
    def url(self) -> str:
        return self.found(r"Pages +(\S+)/status$")

    @property
    def link(self) -> str:
        return self.found(r"Sign in \(once\) +(\S+)$")

    @property
    def key(self) -> str:
        return self.found(r"'Authorization: Bearer (\S+)'")

    @property
    def curl(self) -> str:
        return self.found(r"^(curl .*?\}')$")

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=10)

    def part(self, name: str) -> int | None:
        """The process id of one of its parts, or None while it does not run."""
        return next((pid for pid, command in children(self.pid).items() if PARTS[name] in command), None)

    async def end(self, number: int) -> int:
        """Sends it a signal and gives its exit code, once neither it nor any of its children is left."""
        all_of_it = [self.pid, *children(self.pid)]
        assert len(all_of_it) >= 3
        self.popen.send_signal(number)  # pyright: ignore[reportOptionalMemberAccess]
        code = await asyncio.to_thread(self.popen.wait, 15)  # pyright: ignore[reportOptionalMemberAccess]
        patience = 0 if number == signal.SIGINT else 8
        await until(lambda: not any(map(is_alive, all_of_it)), seconds=patience, what=f"end of {all_of_it}")
        self.popen = None
        return code

    def clean_up(self) -> None:
        """Kills whatever a failed test has left."""
        if self.popen is not None:
            for pid in (*children(self.pid), self.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.popen.wait()


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """An empty folder under a short name, since sockets have to fit into 108 bytes."""
    parent = Path(tempfile.mkdtemp(prefix="ems-up-"))
    folder = parent / "here"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(parent)


@contextlib.contextmanager
def an_up(folder: Path, **env: str) -> Iterator[Up]:
    """Not started yet; gone afterwards."""
    made = Up(folder, **env)
    try:
        yield made
    finally:
        made.clean_up()


def refused(folder: Path, **env: str) -> str:
    """The one line of an ``up`` that cannot start, and says so at once with exit code 2."""
    made = Up(folder, **env)
    began = time.monotonic()
    done = subprocess.run([COMMAND, "up"], cwd=folder, env=made.env, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2, done
    assert time.monotonic() - began < 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("email-service: ")
    return line


async def post(up: Up, http: httpx.AsyncClient, subject: str) -> str:
    """Sends an email, again as long as the answer is «try again» or nobody answers."""

    async def ask() -> str | None:
        try:
            answer = await http.post("/send-email/", json=an_email(subject=subject))
        except httpx.TransportError:
            return None
        assert answer.status_code in (202, 503), answer.text
        return answer.json()["result"] if answer.status_code == 202 else None

    return await until(ask, seconds=12, what=f"202 for {subject}")


async def until_sent(http: httpx.AsyncClient, id_: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        shown = (await http.get(f"/emails/{id_}")).json()
        return shown if shown.get("state") == "sent" else None

    return await until(ask, seconds=25, what=f"{id_} sent")  # what a lost answer leaves leased is free after 15


async def mailbox_page(up: Up) -> str:
    """The mailbox as the operator sees it who follows the printed link."""
    async with httpx.AsyncClient(base_url=up.url, follow_redirects=True) as browser:
        assert (await browser.get(up.link)).status_code == 200
        page = await browser.get("/mailbox")
        assert (page.status_code, page.url.path) == (200, "/mailbox")
        browser.cookies.clear()
        assert (await browser.get(up.link)).status_code == 403, "a link that was used"
    return page.text


async def test_the_first_start_in_an_empty_folder_prints_what_sends_and_shows_the_first_email() -> None:
    for port in (8014, 8025):
        if holder := holder_of(port):
            missing(f"port {port} is taken by process {holder.pid} ({holder.command})")
    with a_folder() as folder, an_up(folder) as up:
        await up.start()
        assert (up.url, up.key[:4]) == ("http://127.0.0.1:8014", "ems_")
        id_ = await first_email(up)
        async with up.http() as http:
            assert (await until_sent(http, id_))["subject"] == "Hello"
        page = await mailbox_page(up)
        assert "Hello" in page
        assert "ada@example.com" in page
        key, password = up.key, up.found(r"\(password: (\S+)\)")
        began = time.monotonic()
        assert await up.end(signal.SIGINT) == 0
        assert time.monotonic() - began < 8
        assert {path.name for path in folder.iterdir()} == {"var"}
        assert (folder / "var" / "credentials.json").stat().st_mode & 0o777 == 0o600
        await up.start()
        assert (up.key, up.found(r"\(password: (\S+)\)")) == (key, password)
        async with up.http() as http:
            assert (await http.get(f"/emails/{id_}")).json()["state"] == "sent"
        assert "Hello" in await mailbox_page(up)
        assert await up.end(signal.SIGTERM) == 0


async def first_email(up: Up) -> str:
    """Runs the printed line exactly as it is, and gives the email's id."""
    if shutil.which("curl") is None:
        words = shlex.split(up.curl.replace("\\\n", ""))
        headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
        async with httpx.AsyncClient() as http:
            answer = await http.post(words[1], headers=headers, content=words[words.index("-d") + 1])
        assert answer.status_code == 202
        return answer.json()["result"]
    (up.folder.parent / ".curlrc").write_text('silent\nwrite-out = " %{http_code}"\n')
    shell = await asyncio.create_subprocess_exec("bash", "-c", up.curl, stdout=asyncio.subprocess.PIPE, env=up.env)
    body, _, status = (await shell.communicate())[0].decode().rpartition(" ")
    assert status == "202"
    return json.loads(body)["result"]


@pytest.fixture(scope="module")
def up() -> Generator[Up, None, None]:
    """One that runs for several tests, on ports that its ``.env`` names."""
    with a_folder() as folder:
        lines = ["# ours", f"export HTTP_PORT='{free_port()}'", f"MAILBOX_PORT={free_port()}", 'RETRY_DELAYS="300ms"', ""]
        (folder / ".env").write_text("\n".join(lines))
        with an_up(folder) as made:
            asyncio.run(made.start())
            yield made
            assert asyncio.run(made.end(signal.SIGINT)) == 0


def ports(up: Up) -> tuple[int, int]:
    http, mailbox = re.findall(r"PORT='?(\d+)", (up.folder / ".env").read_text())
    return int(http), int(mailbox)


async def test_a_dotenv_file_is_read(up: Up) -> None:
    http, mailbox = ports(up)
    assert up.url == f"http://127.0.0.1:{http}"
    holders = [holder_of(port) for port in (http, mailbox)]
    assert [holder.pid for holder in holders if holder] == [up.part("api"), up.pid]


@pytest.mark.parametrize("name", PARTS)
async def test_a_killed_part_is_started_again_and_mail_flows_and_nothing_is_lost(up: Up, name: str) -> None:
    async with up.http() as http:
        before = [await post(up, http, f"before {name} {number}") for number in range(5)]
        old = up.part(name)
        assert old is not None
        if name != "api":  # what is in a worker's hands may wait for the end of its lease: tests/test_flow.py
            for id_ in before:
                await until_sent(http, id_)
        os.kill(old, signal.SIGKILL)
        after = [await post(up, http, f"after {name} {number}") for number in range(5)]
        for id_ in before + after:
            assert [one["state"] for one in (await until_sent(http, id_))["recipients"]] == ["sent"]
        new = await until(lambda: up.part(name))
    assert new != old
    assert re.search(rf"ERROR +up-0 \S+: {name} died \(signal SIGKILL\); started again in 0\.\d s", up.err.read_text())
    assert sorted(map(bool, map(up.part, PARTS))) == [True] * 3


async def test_a_second_one_in_the_same_folder_is_one_line(up: Up) -> None:
    line = refused(up.folder)
    assert line == f"email-service: var is in use by another `email-service up` (process {up.pid})"


async def test_a_taken_port_is_one_line_that_names_it_and_its_holder(up: Up) -> None:
    http, mailbox = ports(up)
    with a_folder() as folder:
        line = refused(folder, HTTP_PORT=str(http), MAILBOX_PORT=str(free_port()))
        assert f"port {http}: the port is taken by process {up.part('api')} (" in line
        assert line.endswith("choose another port with HTTP_PORT.")
        line = refused(folder, HTTP_PORT=str(free_port()), MAILBOX_PORT=str(mailbox))
        assert f"port {mailbox}: the port is taken by process {up.pid} (" in line
        assert line.endswith("choose another port with MAILBOX_PORT.")


async def test_with_a_relay_mail_goes_there_from_a_deep_folder_and_a_killed_supervisor_leaves_nothing() -> None:
    mailbox_port = free_port()
    deep = Path(*["a-folder-with-a-long-name"] * 6) / "data"
    with a_folder() as folder:
        assert len(str(folder / deep)) > 108
        async with ScriptedRelay() as relay:
            smtp_url = f"smtp+plain://127.0.0.1:{relay.port}"
            env = {"HTTP_PORT": str(free_port()), "MAILBOX_PORT": str(mailbox_port), "SMTP_URL": smtp_url}
            with an_up(folder, DATA_DIR=str(deep), TMPDIR=str(folder.parent), **env) as up:
                assert f"Mail goes         127.0.0.1:{relay.port}\n" in await up.start()
                async with up.http() as http:
                    await until_sent(http, await post(up, http, "to the relay"))
                assert b"Subject: to the relay\r\n" in relay.emails[0].message
                assert holder_of(mailbox_port) is None
                assert (folder / deep / "valkey").is_dir()
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(valkey_socket(up))
                assert await up.end(signal.SIGKILL) == -signal.SIGKILL


def valkey_socket(up: Up) -> str:
    """Where the Valkey of an ``up`` listens, as its command line says."""
    (command,) = (command for command in children(up.pid).values() if PARTS["valkey"] in command)
    match = re.search(r"unixsocket:(\S+)", command)
    assert match is not None, command
    return match[1]
