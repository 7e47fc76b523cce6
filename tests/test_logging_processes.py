"""What real processes say, warn of and die from is in the JSON files of LOG_DIR: once, at its level, without a secret.

The processes are the product's own commands, with trouble planted in them (``tests.provoked``).
"""

import asyncio
import base64
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from tasks import values
from tasks.logline import LEVELS as LEVELS_OF_THE_LOG
from tasks.logline import Entry, decode
from tests.processes import Stack, an_email, running_stack, running_valkey, until
from tests.provoked import DONE, LEVELS, LIBRARIES
from tests.relay import ScriptedRelay, make_certificate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]

ARQ = str(Path(sys.executable).parent / "arq")
PROVOKED = [sys.executable, "-m", "tests.provoked"]
WORKERS = {"tasks": [*PROVOKED, "-m", "tasks"], "arq": [*PROVOKED, ARQ, "tasks.worker.WorkerSettings"]}
PROCESSES = ("api", *WORKERS)

API_KEY = "canary-api-key-7f3a9c51d2e8"
MADE_KEY = "ems_0123456789ab_" + "c0ffee11" * 8
WRONG_KEY = "ems_ba9876543210_" + "deadbea7" * 8
SMTP_USER = "us@er"
SMTP_PASSWORD = "canary/smtp:p@ss word"
ADMIN_PASSWORD = "canary-admin-8d1f"
WRONG_PASSWORD = "canary-wrong-77aa"
SUBJECT = "canary-subject-5be0"
BODY = "canary-body-91cd"
RESET = "canary-reset-e3d4b1"
CANARIES = {
    "API key": (API_KEY, MADE_KEY, MADE_KEY[-64:]),
    "unknown API key": (WRONG_KEY, WRONG_KEY[-64:]),
    "SMTP password": (
        SMTP_PASSWORD,
        quote(SMTP_PASSWORD, safe=""),
        base64.b64encode(f"\0{SMTP_USER}\0{SMTP_PASSWORD}".encode()).decode(),
        base64.b64encode(SMTP_PASSWORD.encode()).decode(),
    ),
    "ADMIN_PASSWORD": (ADMIN_PASSWORD,),
    "wrong password": (WRONG_PASSWORD,),
    "subject": (SUBJECT,),
    "body": (BODY,),
    "reset token": (RESET,),
}
CONTENT = {
    "text": f"{BODY}. Choose a new password: https://shop.example/reset?token={RESET}",
    "html": f'<p>{BODY}: <a href="https://shop.example/reset?token={RESET}">choose a new password</a></p>',
}


class Said(msgspec.Struct):
    """What was found after it all: each process's records, its output, and answers of the API."""

    records: dict[str, list[Entry]] = {}
    outputs: dict[str, str] = {}
    answers: dict[str, httpx.Response] = {}
    emails: dict[str, str] = {}


def email(word: str, **changes: Any) -> dict[str, Any]:
    return an_email(subject=f"{word} {SUBJECT}", message=CONTENT, **changes)


def entries(log_dir: Path) -> list[Entry]:
    """All records; every line must be one."""
    found: list[Entry] = []
    for path in log_dir.glob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            entry = decode(line)
            assert entry is not None, line
            found.append(entry)
    return found


async def provoke(said: Said) -> None:
    async with ScriptedRelay(tls=make_certificate(), users={SMTP_USER: SMTP_PASSWORD}) as relay:
        relay.replies["RCPT"] = {"gone@dest.example": "550 5.1.1 no such user"}
        login = f"{quote(SMTP_USER, safe='')}:{quote(SMTP_PASSWORD, safe='')}"
        url = f"smtp://{login}@localhost:{relay.port}?ca={make_certificate().ca}"
        own = {"API_KEYS": f"shop:{API_KEY},made:{MADE_KEY}", "ADMIN_PASSWORD": ADMIN_PASSWORD, "LOG_LEVEL": "DEBUG"}
        async with running_stack(url, api_command=[*PROVOKED, "-m", "service"], **own) as stack:
            pids = {"api": stack.apis[0].pid}
            async with stack.http(API_KEY) as http:
                await ask_badly(http, said)
                for name, command in WORKERS.items():
                    pids[name] = (await stack.start_worker(command)).pid
                    await send(http, stack, said, name)
                    assert await stack.workers[-1].stop() == 0
                assert await stack.apis[0].stop(signal.SIGTERM) == 0
            for name, pid in pids.items():
                said.records[name] = [entry for entry in entries(stack.log_dir) if entry.pid == pid]
            for process, name in zip((*stack.apis, *stack.workers), PROCESSES, strict=True):
                said.outputs[name] = process.text()


async def ask_badly(http: httpx.AsyncClient, said: Said) -> None:
    """Everything that the API refuses or fails at."""
    said.answers["handler"] = await http.post("/send-email/", json=email("explode in the handler"))
    said.answers["field"] = await http.post("/send-email/", json=email("bad", email_to=BODY, note=RESET))
    said.answers["key"] = await http.post("/send-email/", json=email("bad"), headers={"authorization": f"Bearer {WRONG_KEY}"})
    for password in (WRONG_PASSWORD, ADMIN_PASSWORD):
        await http.post("/sign-in", data={"password": password})


async def send(http: httpx.AsyncClient, stack: Stack, said: Said, worker: str) -> None:
    """One email of each fate, until the worker's log has them and all that is planted."""
    wanted = {"good": email("good"), "gone": email("gone", email_to="gone@dest.example"), "job": email("explode in the job")}
    for word, body in wanted.items():
        answer = await http.post("/send-email/", json=body, headers={"authorization": f"Bearer {MADE_KEY}"})
        assert answer.status_code == 202, answer.text
        said.emails[f"{worker} {word}"] = answer.json()["result"]

    def is_told() -> bool:
        mine = [entry for entry in entries(stack.log_dir) if entry.role == "worker" and entry.pid == stack.workers[-1].pid]
        told = " ".join(f"{entry.email} {entry.message}" for entry in mine)
        return all(told.count(said.emails[f"{worker} {word}"]) for word in wanted) and DONE in told

    await until(is_told, seconds=12, what=f"{worker} tells it all")


@pytest.fixture(scope="module")
def said() -> Said:
    found = Said()
    asyncio.run(provoke(found))
    return found


def those(said: Said, process: str, **wanted: str) -> list[Entry]:
    """A process's records whose fields begin as ``wanted``."""
    return [
        entry for entry in said.records[process] if all(getattr(entry, key).startswith(text) for key, text in wanted.items())
    ]


@pytest.mark.parametrize("process", PROCESSES)
def test_every_level_of_ours_and_of_libraries_is_found_once(said: Said, process: str) -> None:
    planted = re.compile(r"planted (\w+) of (\S+)")
    found = Counter((e.level, e.logger, m[2]) for e in said.records[process] if (m := planted.fullmatch(e.message)))
    theirs = Counter((level, name, name) for name in LIBRARIES for level in LEVELS)
    assert found == theirs + Counter((level, "__main__", "ours") for level in LEVELS)
    assert len(those(said, process, message=DONE)) == 1


@pytest.mark.parametrize("process", PROCESSES)
def test_what_nobody_catches_is_found_once_with_its_traceback(said: Said, process: str) -> None:
    expected = {
        "LookupError: planted in a thread": ("ERROR", "uncaught", "an exception ends thread planted"),
        "ArithmeticError: planted in a forgotten task": ("ERROR", "asyncio", "Task exception was never retrieved"),
        "BufferError: planted in a callback": ("ERROR", "asyncio", "Exception in callback"),
    }
    for error, (level, name, message) in expected.items():
        (entry,) = (entry for entry in said.records[process] if error in entry.trace or error in entry.message)
        assert (entry.level, entry.logger) == (level, name)
        assert entry.message.startswith(message)
        assert entry.trace.startswith("Traceback (most recent call last):")
        assert entry.trace.endswith(error)
    (warning,) = (entry for entry in said.records[process] if "planted warning" in entry.message)
    assert (warning.level, warning.logger) == ("WARNING", "py.warnings")


@pytest.mark.parametrize(
    ("process", "name", "text"),
    [
        ("api", "uvicorn.error", "Started server process"),
        ("api", "uvicorn.error", "Application startup complete"),
        ("api", "uvicorn.error", "Finished server process"),
        ("api", "__main__", "listening on http://127.0.0.1:"),
        ("api", "__main__", "the API process ends"),
        ("tasks", "tasks.worker", "worker "),
        ("tasks", "tasks.worker", "the worker ends: "),
        ("arq", "arq.worker", "Starting worker for 1 functions: send"),
        ("arq", "arq.worker", "shutdown on SIGTERM ◆"),
    ],
)
def test_their_own_words_at_start_and_end_are_found_once(said: Said, process: str, name: str, text: str) -> None:
    (entry,) = (entry for entry in those(said, process, logger=name) if entry.message.strip().startswith(text))
    assert entry.level == "INFO"


def test_an_exception_of_a_handler_is_found_by_the_error_id_of_its_answer(said: Said) -> None:
    answer = said.answers["handler"]
    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["name"]) == (500, 500, "internal_server_error")
    error_id = answer.headers["x-request-id"]
    assert error_id in body["message"]
    (entry,) = (entry for entry in said.records["api"] if "planted in the handler" in entry.trace)
    assert (entry.level, error_id in entry.message) == ("ERROR", True)
    assert entry.trace.endswith("ZeroDivisionError: planted in the handler")
    assert "put_email" in entry.trace
    assert "planted" not in answer.text


@pytest.mark.parametrize("worker", WORKERS)
def test_an_exception_of_a_job_is_found_once_with_its_email(said: Said, worker: str) -> None:
    (entry,) = (entry for entry in said.records[worker] if "planted in the job" in entry.trace)
    assert entry.level == "ERROR"
    assert said.emails[f"{worker} job"] in entry.email + entry.message
    assert entry.trace.endswith("ZeroDivisionError: planted in the job")


@pytest.mark.parametrize("worker", WORKERS)
def test_the_mail_log_tells_each_email_once(said: Said, worker: str) -> None:
    good, gone = said.emails[f"{worker} good"], said.emails[f"{worker} gone"]
    assert [entry.level for entry in those(said, "api", email=good, message="accepted from made")] == ["INFO"]
    assert [entry.level for entry in those(said, worker, email=good, message="sent to ada@dest.example")] == ["INFO"]
    (failed,) = those(said, worker, email=gone, message="failed for gone@dest.example")
    assert failed.level == "WARNING"
    assert failed.message.endswith("550 5.1.1 no such user")


def test_refused_requests_are_told(said: Said) -> None:
    assert said.answers["field"].status_code == 422
    assert said.answers["key"].status_code == 403
    (entry,) = those(said, "api", message="refused a request with key ba9876543210")
    assert entry.level == "WARNING"
    assert [entry.level for entry in those(said, "api", message="sign-in refused from 127.0.0.1")] == ["WARNING"]
    assert [entry.level for entry in those(said, "api", message="operator signed in from 127.0.0.1")] == ["INFO"]


@pytest.mark.parametrize("what", CANARIES)
def test_no_secret_and_nothing_of_an_email_is_in_any_line(said: Said, what: str) -> None:
    assert all(said.records[process] for process in PROCESSES)
    for process in PROCESSES:
        for text in CANARIES[what]:
            leaks = [entry for entry in said.records[process] if text in msgspec.json.encode(entry).decode()]
            assert leaks == []
            assert [line for line in said.outputs[process].splitlines() if text in line] == []


@pytest.mark.parametrize("process", PROCESSES)
def test_stderr_has_every_record_once(said: Said, process: str) -> None:
    for entry in said.records[process]:
        line = f"{entry.time[:10]} {entry.time[11:23]} {entry.level:<8} {entry.role}-{entry.slot} {entry.logger}"
        assert said.outputs[process].count(line) >= 1
    assert said.outputs[process].count(DONE) == 1
    assert said.outputs[process].count("LookupError: planted in a thread") == 1


def test_every_level_that_can_be_set_is_one_of_the_log() -> None:
    assert set(values.LEVELS) <= set(LEVELS_OF_THE_LOG)


async def test_a_wrong_setting_stops_arqs_own_command_with_one_line_each(tmp_path: Path) -> None:
    with running_valkey(persistent=False) as valkey:
        stack = Stack(tmp_path, valkey, "mail.example", LOG_LEVEL="TRACE")
        process = await stack.start_worker([ARQ, "tasks.worker.WorkerSettings"])
        assert await process.stop(0) == 2
    first, second = process.text().splitlines()
    assert first.startswith("email-service: SMTP_URL: ")
    assert second == "email-service: LOG_LEVEL: must be one of DEBUG, INFO, WARNING, ERROR"
    assert not stack.log_dir.exists()
