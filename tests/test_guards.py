"""What is pinned in foreign libraries because their public face is not enough: an update must look at it anew."""

import ast
import asyncio
import importlib
import inspect
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated

import aiosmtplib
import msgspec
import pytest
from aiosmtplib.protocol import SMTPProtocol
from arq import Retry, constants
from arq.worker import Worker, func
from redis.asyncio.connection import AbstractConnection, ConnectionPool

from tasks import keys, log, stock, worker
from tasks.store import Group, connect

ROOT = Path(__file__).resolve().parent.parent


def test_aiosmtplib_is_the_version_whose_private_name_is_used() -> None:
    assert aiosmtplib.__version__ == "5.1.3"


async def test_aiosmtplib_keeps_what_follows_a_reply_in_its_buffer() -> None:
    """``tasks.smtp`` looks there for a second reply in the same segment; nothing public shows it."""
    protocol = SMTPProtocol()
    protocol.connection_made(asyncio.Transport())
    protocol.data_received(b"354 go\r\n250 early\r\n")
    assert await protocol.read_response(timeout=1) == (354, "go")
    assert protocol._buffer == b"250 early\r\n"  # pyright: ignore[reportPrivateUsage]


# arq: its worker is subclassed, and it is maintenance-only, so an update is somebody's deliberate step


def test_arq_is_the_version_whose_worker_is_subclassed() -> None:
    assert metadata.version("arq") == "0.28.0"


@pytest.mark.parametrize(
    ("method", "signature", "is_async"),
    [
        ("main", "(self) -> None", True),
        ("handle_sig_wait_for_completion", "(self, signum: signal.Signals) -> None", False),
        ("close", "(self) -> None", True),
        ("run", "(self) -> None", False),
        ("async_run", "(self) -> None", True),
    ],
)
def test_the_methods_of_arqs_worker_that_are_replaced_or_called(method: str, signature: str, is_async: bool) -> None:
    found = getattr(Worker, method)
    assert str(inspect.signature(found)) == signature
    assert inspect.iscoroutinefunction(found) is is_async


def test_arqs_worker_takes_what_ours_hands_it() -> None:
    known = inspect.signature(Worker.__init__).parameters
    ours = {"functions", "redis_pool", "max_jobs", "job_completion_wait", "health_check_key", *stock.STOCK}
    assert ours <= set(known)
    assert known["handle_signals"].default is True
    assert {"name", "timeout", "max_tries"} <= set(inspect.signature(func).parameters)


async def test_arqs_worker_has_the_attributes_that_ours_works_with(group: Group, valkey: str) -> None:
    """Also: it takes both signals for the method that ours replaces, and has no hook of ours that could end it."""
    del group
    client = connect(valkey)
    found = Worker([func(stock.send, name="send")], redis_pool=client, max_jobs=3, job_completion_wait=7, **stock.STOCK)
    try:
        assert (found.tasks, found.job_counter, found.jobs_complete, found.jobs_retried) == ({}, 0, 0, 0)
        assert (found.max_jobs, found.allow_pick_jobs, found.main_task, found._job_completion_wait) == (3, True, None, 7)
        assert found.loop is asyncio.get_running_loop()
        assert found.keep_result_s == 0
        assert found.on_startup is found.on_shutdown is found.on_job_start is found.after_job_end is None
        assert "handle_sig_wait_for_completion" in inspect.getsource(Worker.__init__)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            found.loop.remove_signal_handler(number)
        await client.aclose()


def test_ours_replaces_only_what_is_pinned_here() -> None:
    replaced = {name for name in vars(worker.MailWorker) if hasattr(Worker, name) and not name.startswith("__")}
    assert replaced == {"main", "handle_sig_wait_for_completion", "close"}


def test_arqs_keys_are_those_of_our_map() -> None:
    assert keys.LANES["normal"] == constants.default_queue_name
    assert constants.job_key_prefix == keys.JOB
    assert constants.in_progress_key_prefix == keys.RUNNING
    assert constants.retry_key_prefix == keys.RETRIED


def test_arqs_retry_takes_seconds() -> None:
    assert Retry(defer=5).defer_score == 5000


# redis-py: the group speaks on its connections directly


@pytest.mark.parametrize(
    ("owner", "method", "parameters"),
    [
        (AbstractConnection, "pack_commands", ["self", "commands"]),
        (AbstractConnection, "send_packed_command", ["self", "command", "check_health"]),
        (AbstractConnection, "disconnect", ["self", "nowait"]),
        (ConnectionPool, "release", ["self", "connection"]),
    ],
)
def test_the_methods_of_redis_py_that_the_group_calls(owner: type, method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, method)).parameters) == parameters


def test_redis_py_is_within_arqs_bound() -> None:
    assert metadata.version("redis").startswith("5.3.")


# msgspec and re: a dollar lets a trailing newline through


def strings_of(path: Path) -> Iterator[tuple[int, str]]:
    """String constants in calls of ``re`` and ``Meta(pattern=…)``, f-strings joined with their holes left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = [*call.args[:1]] if name.startswith("re.") else []
        given += [keyword.value for keyword in call.keywords if keyword.arg == "pattern"]
        for value in given:
            for node in ast.walk(value):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    yield node.lineno, text


@pytest.mark.parametrize("package", ["service", "tasks", "web"])
def test_patterns_end_in_z_and_never_in_a_dollar(package: str) -> None:
    found = [(path, line, text) for path in (ROOT / package).rglob("*.py") for line, text in strings_of(path)]
    assert found
    for path, line, text in found:
        outside_classes = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "", text)
        assert "$" not in outside_classes, f"{path.name}:{line} {text!r}"


def test_msgspec_still_searches_so_that_patterns_need_both_ends() -> None:
    loose = msgspec.json.Decoder(Annotated[str, msgspec.Meta(pattern="^[a-z]+$")])
    strict = msgspec.json.Decoder(Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\Z")])
    assert loose.decode(rb'"abc\n"') == "abc\n"  # why no pattern of ours ends so
    with pytest.raises(msgspec.ValidationError):
        strict.decode(rb'"abc\n"')


def test_every_msgspec_pattern_is_anchored_at_both_ends() -> None:
    for path in ROOT.glob("*/*.py"):
        if path.parent.name not in {"service", "tasks", "web"}:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Meta"):
                for keyword in node.keywords:
                    if keyword.arg == "pattern":
                        text = ast.unparse(keyword.value)
                        if not isinstance(keyword.value, ast.Constant):
                            text = str(getattr(importlib.import_module(f"{path.parent.name}.{path.stem}"), text))
                        assert text.strip("'r").startswith("^"), f"{path.name}:{node.lineno} {text}"
                        assert text.strip("'").endswith("\\Z"), f"{path.name}:{node.lineno} {text}"


# loguru: what a stranger may set in the environment


def test_loguru_still_takes_defaults_from_the_environment_and_ours_says_all_of_them() -> None:
    """LOGURU_DIAGNOSE=YES would write variables' values, secrets among them, into tracebacks: set-up names each option."""
    given = inspect.getsource(log.setup)
    for option in ("format=", "level=", "diagnose=False", "backtrace=False", "catch=True", "enqueue=False"):
        assert option in given
    found = subprocess.run(
        [sys.executable, "-c", "from loguru import _defaults as d; print(d.LOGURU_DIAGNOSE, d.LOGURU_LEVEL)"],
        env={"LOGURU_DIAGNOSE": "NO", "LOGURU_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["False", "ERROR"]
