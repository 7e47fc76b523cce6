"""The command line as people meet it: whole processes, their output and exit codes."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from service.clients import Keyring
from tasks import keys
from tasks.beat import Beat, tell
from tasks.store import Group
from tests.processes import ROOT, free_port

COMMAND = [sys.executable, "-c", "from service.cli import main; main()"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


async def run(valkey: str, *args: str | bytes, **env: str) -> Said:
    """One command; nothing of this machine's environment but the path."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *args,
        cwd=ROOT, env={"PATH": os.environ["PATH"], "REDIS_URL": valkey, "PYTHONWARNINGS": "error", **env},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


async def test_a_key_is_made_shown_once_listed_without_its_secret_and_revoked(valkey: str, group: Group) -> None:
    added = await run(
        valkey, "key", "add", "shop", "--sender", "*@shop.example", "--sender", "b@c.example", "--mode", "capture"
    )
    assert (added.code, added.err) == (0, "The key of shop: keep it now, it is not shown again.\n")
    key = added.out.strip()
    _, id_, secret = key.split("_")
    client = await Keyring(group, {}).find(key)
    assert client is not None
    assert (client.name, client.senders, client.mode) == ("shop", ["*@shop.example", "b@c.example"], "capture")

    listed = await run(valkey, "key", "list")
    assert listed.code == 0
    assert re.fullmatch(
        rf"{id_}  \d{{4}}-\d\d-\d\d \d\d:\d\d  shop  capture  any rate  \*@shop\.example b@c\.example\n", listed.out
    )

    revoked = await run(valkey, "key", "revoke", key)
    assert (revoked.code, revoked.out) == (0, f"Key {id_} is revoked; it stops working everywhere within 5 seconds.\n")
    assert secret not in listed.out + listed.err + revoked.out + revoked.err
    assert await Keyring(group, {}).find(key) is None


async def test_what_goes_wrong_with_a_key_is_one_line_and_a_code(valkey: str, group: Group) -> None:
    cases = [
        (["key", "revoke", "0123456789ab"], 1, "email-service: there is no key '0123456789ab'"),
        (["key", "revoke", b"\xff"], 2, "email-service: "),
        (["key", "add", "my shop"], 2, "email-service: a client's name is 1 to 64 letters"),
        (["key", "add", "shop", "--mode", "dead"], 2, "email-service: a mode is live, capture or redirect:address"),
        (["key", "add", "shop", "--sender", "nobody"], 2, "email-service: "),
    ]
    answers = await asyncio.gather(*(run(valkey, *args) for args, _, _ in cases))
    for (args, code, line), said in zip(cases, answers, strict=True):
        assert (said.code, said.out) == (code, ""), args
        assert said.err.startswith(line), args
        assert said.err.count("\n") == 1, args
    assert await group.command("EXISTS", keys.KEYS) == 0


async def test_without_redis_a_command_says_so_and_ends(valkey: str) -> None:
    del valkey
    secret = "the-password"
    url = f"redis://:{secret}@127.0.0.1:{free_port()}"
    for said in await asyncio.gather(run(url, "key", "list"), run(url, "worker", "--check")):
        assert (said.code, said.out, said.err) == (1, "", "email-service: Redis is not reachable (ConnectionError)\n")


async def test_wrong_settings_are_said_line_by_line_with_code_2(valkey: str) -> None:
    said = await run(valkey, "key", "list", MAX_AGE="5", HTTP_PORT="x")
    assert said.code == 2
    assert [line.partition(": must")[0] for line in said.err.splitlines()] == [
        "email-service: HTTP_PORT",
        "email-service: MAX_AGE",
    ]


async def test_the_check_finds_a_living_worker_of_this_host(valkey: str, group: Group) -> None:
    def beat(host: str) -> Beat:
        now = round(time.time() * 1000)
        return Beat(
            name=f"{host}:1", host=host, pid=1, started=now, at=now, in_hand=0, slots=1, carried=0, connections=0, memory=0
        )

    await tell(group, beat("elsewhere"))
    said = await run(valkey, "worker", "--check")
    assert (said.code, said.out) == (1, "")
    assert said.err == f"email-service: no worker of {socket.gethostname()} has been heard of for 15 s\n"
    await tell(group, beat(socket.gethostname()))
    assert await run(valkey, "worker", "--check") == Said(0, "", "")


@pytest.mark.parametrize("args", [[], ["nothing"], ["key"], ["key", "add"], ["key", "revoke"], ["worker", "--chek"]])
def test_a_wrong_command_line_is_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from service.cli import main

    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    assert "usage: email-service" in capsys.readouterr().err


def test_the_command_is_installed_and_starts_without_the_long_running_parts(tmp_path: Path) -> None:
    """``worker --check`` runs every few seconds in a container: it must not load the HTTP side."""
    del tmp_path
    answer = subprocess.run(
        [sys.executable, "-c", "import sys, service.cli; print(*[name for name in sys.modules if name in set(sys.argv[1:])])",
         "litestar", "uvicorn", "aiosmtpd", "jinja2", "service.up", "service.app", "tasks.worker"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.split() == []
    assert (Path(sys.executable).parent / "email-service").exists()
