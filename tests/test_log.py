"""Whatever is said anywhere is found once, whole, on one line, in one file - or, with no disk, at least on stderr.

What concerns a whole process (hooks, forks, kills, libraries that set up logging themselves) runs in one of its own.
"""

import asyncio
import io
import json
import logging
import logging.config
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from tasks import log, logfile, logsink, maillog
from tasks.logfile import LogFile
from tasks.logline import MAX_LINE, MESSAGE_CHARS, TRACE_CHARS, Cleaner, Entry, decode, encode, level_of
from tasks.secret import Secret

ROOT = Path(__file__).resolve().parent.parent
CANARY = "c4n4ry-S3cret"
HEX = "0123456789abcdef" * 4


def run(code: str, log_dir: Path, *args: str, check: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` in a process of its own; it finds the directory in ``log_dir``."""
    head = "import sys, logging, warnings, os, time\nfrom pathlib import Path\nlog_dir = Path(sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code), str(log_dir), *args],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True, timeout=9, check=False,
    )  # fmt: skip
    assert check is None or done.returncode == check, done.stderr
    return done


def entries(log_dir: Path) -> list[Entry]:
    """All records of all files; every line must be one."""
    found: list[Entry] = []
    for path in sorted(log_dir.glob("*.jsonl")):
        raw = path.read_bytes()
        assert raw.isascii()
        assert not raw or raw.endswith(b"\n")
        for line in raw.splitlines():
            entry = decode(line)
            assert entry is not None, line
            found.append(entry)
    return found


@pytest.fixture(autouse=True)
def _everything_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for owner, name in (
        (logging.Logger, "callHandlers"), (logging.config, "dictConfigClass"),
        (sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, getattr(owner, name))
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logger.remove()
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


# one record, one line


def test_a_record_says_when_who_where_and_what(tmp_path: Path) -> None:
    path = log.setup("worker", tmp_path, stderr=False)
    with logger.contextualize(email="0190-e", request="req-7"):
        logger.info("sent to {} by {}", "a@b.example", "relay:25")
    (line,) = path.read_bytes().splitlines()
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.pop("time"))
    assert record == {
        "level": "INFO", "role": "worker", "slot": 0, "pid": os.getpid(), "logger": __name__,
        "message": "sent to a@b.example by relay:25", "email": "0190-e", "request": "req-7",
    }  # fmt: skip


def test_an_exception_is_kept_with_its_traceback_but_without_local_variables(tmp_path: Path) -> None:
    log.setup("api", tmp_path, stderr=False)
    local = CANARY
    try:
        raise KeyError("gone" if local else "")
    except KeyError:
        logger.exception("it broke")
    (entry,) = entries(tmp_path)
    assert entry.level == "ERROR"
    assert entry.trace.startswith("Traceback (most recent call last):\n")
    assert entry.trace.endswith("KeyError: 'gone'")
    assert CANARY not in entry.trace


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\nc", r"a\nb\r\nc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m \x85 \x7f \x00", r"\x9b31m \x85 \x7f \x00"),
        ("abc\u202edcba\u2066", r"abc\u202edcba\u2066"),
        ("one\u2028two\u2029", r"one\u2028two\u2029"),
        ("lone \ud800 \udfff", r"lone \ud800 \udfff"),
        ("\ufeffzero\u200bwidth", r"\ufeffzero\u200bwidth"),
        ("{} {0} {x!r} {", "{} {0} {x!r} {"),
        ("%s %d %(a)s %", "%s %d %(a)s %"),
        ('"}\n{"level":"ERROR"', r'"}\n{"level":"ERROR"'),
        ("<red>x</red> \\u000a", "<red>x</red> \\u000a"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
    ],
)
def test_foreign_text_stays_on_its_line_and_shows_what_it_holds(tmp_path: Path, text: str, shown: str) -> None:
    log.setup("api", tmp_path, stderr=False)
    logger.info("got {}", text)
    logger.info(text)
    logging.getLogger("library").info("got %s", text)
    logging.getLogger("library").info(text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("x")
    found = entries(tmp_path)
    assert [entry.message for entry in found] == ["got " + shown, shown, "got " + shown, shown, "x"]
    assert shown.split(r"\n", maxsplit=1)[0] in found[-1].trace


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=()), max_size=300), st.sampled_from([8, 200, MESSAGE_CHARS]))
def test_any_text_makes_exactly_one_readable_ascii_line(text: str, limit: int) -> None:
    cleaned = Cleaner([CANARY]).clean(text, limit)
    assert len(cleaned) <= limit
    entry = Entry(
        time="2026-01-31T12:00:00.000000Z",
        level="INFO",
        role="api",
        slot=0,
        pid=1,
        logger=cleaned,
        message=cleaned,
        email=cleaned,
    )
    line = encode(entry)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert len(line.splitlines()) == 1
    assert decode(line[:-1]) == entry


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=200))
def test_any_exception_text_makes_a_trace_that_reads_back(text: str) -> None:
    trace = Cleaner().trace(ValueError, ValueError(text), None)
    line = encode(
        Entry(time="2026-01-31T12:00:00.000000Z", level="INFO", role="api", slot=0, pid=1, logger="x", message="m", trace=trace)
    )
    assert line.count(b"\n") == 1
    entry = decode(line[:-1])
    assert entry is not None
    assert entry.trace == trace


def test_long_texts_are_cut_and_no_line_exceeds_what_readers_take() -> None:
    cleaner = Cleaner()
    astral = "\U0001f389" * 100_000
    trace = cleaner.trace(ValueError, ValueError(("\U0001f389" * 900 + "\n") * 100), None)
    assert len(cleaner.clean(astral)) == MESSAGE_CHARS
    assert len(trace) <= TRACE_CHARS
    entry = Entry(
        time="2026-01-31T12:00:00.000000Z", level="INFO", role="api", slot=0, pid=1, logger=cleaner.clean(astral, 128),
        message=cleaner.clean(astral), email=cleaner.clean(astral, 128), request=cleaner.clean(astral, 128), trace=trace,
    )  # fmt: skip
    assert len(encode(entry)) <= MAX_LINE
    assert cleaner.clean("x" * 1_000_000).startswith("xxx")
    assert "ValueError: xxx" in cleaner.trace(ValueError, ValueError("x" * 1_000_000), None)


class Evil(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class EvilCause(Exception):
    @property
    def __cause__(self) -> BaseException:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise RuntimeError("no cause")


@pytest.mark.parametrize("kind", [Evil, EvilCause])
def test_an_exception_whose_own_code_raises_is_still_logged(
    tmp_path: Path, kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup("api", tmp_path, stderr=False)
    try:
        raise kind("x")
    except Exception:
        logger.exception("caught")
    (entry,) = entries(tmp_path)
    assert entry.message == "caught"
    assert kind.__name__ in entry.trace
    assert capsys.readouterr().err == ""


def test_levels_of_others_become_the_five_words() -> None:
    assert [level_of(number) for number in (0, 5, 10, 19, 20, 25, 30, 40, 50, 99)] == [
        "DEBUG", "DEBUG", "DEBUG", "DEBUG", "INFO", "INFO", "WARNING", "ERROR", "CRITICAL", "CRITICAL",
    ]  # fmt: skip


# secrets

SECRET_TEXTS = [
    f"smtp://user:{CANARY}@host:587", f"redis://:{CANARY}@host/0", f"smtps://u:p@ss/{CANARY}@host", f"https://{CANARY}@host/x",
    f'{{"url":"smtp:\\/\\/user:{CANARY}@host"}}', f"smtp://user:a'{CANARY}\"b@host",
    f"Authorization: Bearer {CANARY}", f"authorization: Basic {CANARY}==", f"Authorization: {CANARY} {CANARY}",
    f"(b'authorization', b'Bearer {CANARY}')", f"{{'Authorization': 'Basic {CANARY}'}}", f"bearer {CANARY}",
    f"Cookie: a=1; session={CANARY}; c=2", f"Set-Cookie: session={CANARY}; HttpOnly", f"[(b'cookie', b'session={CANARY}')]",
    f"password={CANARY}", f"password = {CANARY}", f"PASSWORD: {CANARY}", f'"password": "{CANARY}"', f"'password': 'a {CANARY}'",
    f'"password":"a\\"b {CANARY}"',
    f'password="{CANARY} unclosed', f"ADMIN_PASSWORD={CANARY}", f"passwd={CANARY}", f"pwd={CANARY}",
    f"smtp_pass={CANARY}", f"pass={CANARY}", f"pass_phrase={CANARY}", f"passphrase={CANARY}",
    f"('password', '{CANARY}')", f'{{\\"password\\": \\"{CANARY}\\"}}', f"password=>{CANARY}", f"password=a,b\"c{CANARY}",
    f"token={CANARY}", f"?access_token={CANARY}&x=1", f"csrf_token: {CANARY}", f"secret={CANARY}", f"client-secret={CANARY}",
    f"secret_key='{CANARY}'", f"api_key={CANARY}", f"API-KEY: {CANARY}", f"apikey={CANARY}", f"X-Api-Key: {CANARY}",
    f"API_KEYS=shop:{CANARY}:*@a.example", f"private_key={CANARY}", f"RedisSettings(host='x', password='{CANARY}')",
    f"b'AUTH PLAIN {CANARY}=='", f"AUTH LOGIN {CANARY}", f"AUTH XOAUTH2 {CANARY}",
]  # fmt: skip


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_secrets_by_their_look_are_masked(text: str) -> None:
    for wrapped in (text, f"before {text}", f"x=1 {text}\nafter", text.upper().replace(CANARY.upper(), CANARY)):
        assert CANARY not in Cleaner().clean(wrapped), Cleaner().clean(wrapped)
        assert CANARY not in Cleaner().trace(ValueError, ValueError(wrapped), None)


def test_of_our_own_keys_only_the_public_id_is_left() -> None:
    key = f"ems_0123456789ab_{HEX}"
    clean = Cleaner().clean
    assert clean(f"key {key} used") == "key ems_0123456789ab_*** used"
    assert clean(f"x{key}") == "xems_0123456789ab_***"
    for length in range(1, 64):
        assert HEX[:4] not in clean(key[: 17 + length]).removeprefix("ems_0123456789ab_")
    assert clean(f"Authorization: Bearer {key}") == "Authorization: ***"
    assert HEX not in clean(key.upper()).lower()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=60), st.text(st.characters(exclude_categories=()), max_size=60))
def test_a_secret_that_was_named_is_hidden_wherever_it_stands(before: str, after: str) -> None:
    cleaner = Cleaner(["pa ss/wo:rd", "short"])
    for form in ("pa ss/wo:rd", "pa%20ss%2Fwo%3Ard"):
        assert form not in cleaner.clean(before + form + after)
        assert form not in cleaner.trace(ValueError, ValueError(before + form + after), None)


def test_a_secret_cut_in_two_by_the_length_limit_is_gone_altogether() -> None:
    clean = Cleaner().clean
    for fill in range(16_000, 16_420, 7):
        for text in (f"smtp://user:{CANARY}@host", f"ems_0123456789ab_{HEX}"):
            shown = clean(("password=x " * (fill // 11)) + "y" * (fill % 11) + " " + text + " " + "z" * 5000)
            assert CANARY[:4] not in shown
            assert HEX[:8] not in shown


@pytest.mark.parametrize(
    "text",
    [
        "250 2.0.0 Ok: queued as 4FQ1", "http://127.0.0.1:8014/status/emails/0190",
        "sent to a@b.example by mail.example.com:587",
        "passed 3 tests, bypass: yes, passenger=2", "535 5.7.8 authentication failed", "key added",
        "https://a.example/b c@d.example",
        "the monkey: banana", "author: someone", "compass=north",
    ],
)  # fmt: skip
def test_ordinary_sentences_are_left_alone(text: str) -> None:
    assert Cleaner().clean(text) == text


@pytest.mark.parametrize(
    "piece",
    ["://", "://a:", "token", "token ", "token=\"", "password='\\", "a", "authorization", "bearer ", "ems_0123456789ab_", "\"",
     "\\", "pass_", "auth plain ", "cookie, ", "token,"],
)  # fmt: skip
def test_masking_takes_no_long_time_over_hostile_text(piece: str) -> None:
    start = time.perf_counter()
    Cleaner().clean(piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - start < 0.5


def test_secrets_reach_neither_file_nor_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("api", tmp_path, "DEBUG", secrets=[Secret("the named one")])
    for text in [*SECRET_TEXTS, "x the named one y"]:
        logger.info("{}", text)
        logging.getLogger("lib." + "x").warning("%s", text)
        with logger.contextualize(email=text, request=text):
            logger.debug("x")
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("failed")
    everything = capsys.readouterr().err + "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))
    assert len(entries(tmp_path)) == 4 * (len(SECRET_TEXTS) + 1)
    assert CANARY not in everything
    assert "the named one" not in everything


# everyone is heard

SOURCES = """
    from tasks import log
    import asyncio, gc, threading
    log.setup("api", log_dir)
    logging.getLogger("early.library").error("from logging")
    logging.getLogger("early.library").info("info from logging")
    logging.getLogger("early.library").debug("debug from logging")
    warnings.warn("from warnings")
    logging.getLogger("bad").error("%d", "no number")
    threading.Thread(target=lambda: 1 / 0, name="t-1").start()
    class Dies:
        def __del__(self): raise OSError("from del")
    Dies()
    async def forgotten(): raise LookupError("from a forgotten task")
    async def main():
        loop = asyncio.get_running_loop()
        log.loop_exception_handler(loop)
        loop.call_soon(lambda: [][1])
        asyncio.create_task(forgotten())
        await asyncio.sleep(0.01)
        gc.collect()
    asyncio.run(main())
    raise ArithmeticError("uncaught")
"""


@pytest.mark.parametrize("autoinit", ["True", "False"])
def test_every_source_is_found_once_at_its_level(tmp_path: Path, autoinit: str) -> None:
    done = run(SOURCES, tmp_path, check=1, LOGURU_AUTOINIT=autoinit)
    found = entries(tmp_path)
    assert [(entry.level, entry.logger, entry.message.split(" (")[0]) for entry in found if entry.logger != "bad"] == [
        ("ERROR", "early.library", "from logging"),
        ("INFO", "early.library", "info from logging"),
        ("WARNING", "py.warnings", "<string>:11: UserWarning: from warnings"),
        ("ERROR", "uncaught", "an exception ends thread t-1"),
        ("ERROR", "uncaught", "an exception was ignored"),
        ("ERROR", "asyncio", "Exception in callback main.<locals>.<lambda>() at <string>:21"),
        ("ERROR", "asyncio", "Task exception was never retrieved"),
        ("CRITICAL", "uncaught", "an exception ends the process"),
    ]
    assert [entry.trace.rpartition("\n")[2] for entry in found if entry.trace] == [
        "ZeroDivisionError: division by zero", "OSError: from del", "IndexError: list index out of range",
        "LookupError: from a forgotten task", "ArithmeticError: uncaught",
    ]  # fmt: skip
    (bad,) = (entry for entry in found if entry.logger == "bad")
    assert bad.message == "a log call that fails (TypeError) in <string>, line 12"
    for entry in found:
        assert done.stderr.count(f"{entry.logger}: {entry.message}\n") == 1
    assert done.stderr.count("Traceback") == 5


LIBRARIES = """
    import logging.config
    from litestar import Litestar
    from litestar.logging import LoggingConfig
    from uvicorn.config import LOGGING_CONFIG
    from arq.logs import default_log_config
    from tasks import log

    def disturb():
        logging.config.dictConfig(LOGGING_CONFIG)
        logging.config.dictConfig(default_log_config(verbose=True))
        Litestar([])
        Litestar([], logging_config=LoggingConfig(log_exceptions="always"))
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True, "loggers": {"x": {"level": "CRITICAL"}}})
        for name in ("own", "uvicorn", "uvicorn.access"):
            logging.getLogger(name).addHandler(logging.StreamHandler())
            logging.getLogger(name).propagate = False
        logging.basicConfig(level="CRITICAL")

    when = sys.argv[2]
    if when in ("before", "both"):
        disturb()
    log.setup("api", log_dir, "INFO")
    if when in ("after", "both"):
        disturb()
    if when == "both":
        log.setup("api", log_dir, "INFO")
    for name in sys.argv[3:]:
        logging.getLogger(name).error("error of %s", name)
        logging.getLogger(name).info("info of %s", name)
        logging.getLogger(name).debug("debug of %s", name)
"""


@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_libraries_that_set_up_logging_themselves_are_heard_once(tmp_path: Path, when: str) -> None:
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar", "arq.worker", "arq.jobs", "redis", "own", "x", "new")
    done = run(LIBRARIES, tmp_path, when, *names)
    expected = Counter((level, name, f"{level.lower()} of {name}") for name in names for level in ("ERROR", "INFO"))
    assert Counter((entry.level, entry.logger, entry.message) for entry in entries(tmp_path)) == expected
    assert len(done.stderr.splitlines()) == len(names) * 2


def test_the_level_holds_for_everyone(tmp_path: Path) -> None:
    log.setup("api", tmp_path, "debug", stderr=False)
    logger.debug("ours")
    logging.getLogger("some.library").debug("theirs")
    logging.getLogger("mail.log").info("a line for every command")
    log.setup("api", tmp_path, "ERROR", stderr=False)
    logger.warning("ours")
    logging.getLogger("some.library").warning("theirs")
    logging.getLogger("mail.log").warning("theirs")
    assert [entry.message for entry in entries(tmp_path)] == ["ours", "theirs"]


def test_a_second_call_makes_no_doubles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {log.setup("api", tmp_path) for _ in range(3)}
    assert paths == {tmp_path / "api-0.jsonl"}
    logger.info("once")
    logging.getLogger("library").info("also once")
    assert [entry.message for entry in entries(tmp_path)] == ["once", "also once"]
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_nothing_happens_at_import(tmp_path: Path) -> None:
    run(
        """
        before = (logging.Logger.callHandlers, sys.excepthook, logging.root.handlers[:], warnings.showwarning)
        import tasks.log, tasks.maillog
        assert before == (logging.Logger.callHandlers, sys.excepthook, logging.root.handlers[:], warnings.showwarning)
        assert not list(log_dir.iterdir())
        """,
        tmp_path,
    )


async def test_the_usual_lines_of_one_turn_are_written_together_and_in_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup("api", tmp_path)
    maillog.accepted("E1", "shop", recipients=1, size=9, lane="low")
    maillog.accepted("E2", "shop", recipients=2, size=9, lane="low")
    assert entries(tmp_path) == [], "not yet: the turn goes on"
    logger.warning("in between")
    maillog.accepted("E3", "shop", recipients=1, size=9, lane="low")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found = entries(tmp_path)
    assert [entry.email or entry.message for entry in found] == ["E1", "E2", "in between", "E3"]
    assert found[1].message == "accepted from shop for 2 recipients, 9 bytes, lane low"
    assert {(entry.level, entry.logger) for entry in found if entry.email} == {("INFO", "tasks.maillog")}
    assert [entry.time for entry in found] == sorted(entry.time for entry in found)
    assert [line.split(": ", 1)[0].split(" ")[-1] for line in capsys.readouterr().err.splitlines()][:2] == [
        "email=E1",
        "email=E2",
    ]


async def test_a_line_that_waits_for_its_turn_is_written_when_logging_ends(tmp_path: Path) -> None:
    log.setup("api", tmp_path, stderr=False)
    maillog.accepted("E1", "shop", recipients=1, size=9, lane="low")
    logger.remove()
    assert [entry.email for entry in entries(tmp_path)] == ["E1"]
    await asyncio.sleep(0)
    maillog.accepted("E2", "shop", recipients=1, size=9, lane="low")  # nobody listens any more
    await asyncio.sleep(0)
    assert len(entries(tmp_path)) == 1


async def test_the_usual_lines_keep_to_the_level_and_come_from_threads_too(tmp_path: Path) -> None:
    def tell(email: str) -> None:
        maillog.accepted(email, "shop", recipients=1, size=9, lane="low")

    log.setup("api", tmp_path, "WARNING", stderr=False)
    tell("E1")
    await asyncio.sleep(0)
    assert entries(tmp_path) == []
    log.setup("api", tmp_path, "INFO", stderr=False)
    await asyncio.to_thread(tell, "E2")
    assert [entry.email for entry in entries(tmp_path)] == ["E2"]


def test_a_record_logged_while_one_is_being_written_follows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Talks:
        def __str__(self) -> str:  # as a __del__ would that the garbage collector runs just then
            logging.getLogger("inner").error("from within")
            return "id"

    log.setup("api", tmp_path)
    logger.bind(email=Talks()).info("outer")
    assert [entry.message for entry in entries(tmp_path)] == ["outer", "from within"]
    assert "Loguru" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "level"), [("API", "INFO"), ("a/b", "INFO"), ("", "INFO"), ("api\n", "INFO"), ("api", "LOUD")]
)
def test_a_wrong_role_or_level_is_told_at_once(tmp_path: Path, role: str, level: str) -> None:
    with pytest.raises(ValueError, match=r"role|LOG_LEVEL"):
        log.setup(role, tmp_path, level)
    assert not list(tmp_path.iterdir())


def test_stderr_gets_readable_lines_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("worker", tmp_path)
    try:
        raise ValueError("two\nlines \x1b[2J")
    except ValueError:
        logger.bind(email="0190").exception("failed for {}", "a\x1b[31mb\nc")
    head, *steps = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} ERROR    worker-0 {re.escape(__name__)} email=0190: "
        r"failed for a\\x1b\[31mb\\nc",
        head,
    )
    assert steps[-1] == r"    lines \x1b[2J"
    assert all(step.startswith("    ") for step in steps)


@pytest.mark.parametrize(
    "stream",
    [None, "closed", pytest.param("full", marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full"))],
)
def test_a_lost_stderr_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: str | None) -> None:
    broken = None if stream is None else Path("/dev/full").open("w") if stream == "full" else io.StringIO()  # noqa: SIM115
    if isinstance(broken, io.StringIO):
        broken.close()
    log.setup("api", tmp_path)
    monkeypatch.setattr(sys, "stderr", broken)
    logger.error("still here")
    monkeypatch.undo()
    assert [entry.message for entry in entries(tmp_path)] == ["still here"]
    if stream == "full":
        assert broken is not None
        with pytest.raises(OSError, match="No space"):
            broken.close()


def test_what_ends_a_process_is_told_on_stderr_in_any_case(tmp_path: Path) -> None:
    done = run(
        "from tasks import log\nlog.setup('cli', log_dir, stderr=False)\nlogging.error('x')\nraise OSError('the end')",
        tmp_path,
        check=1,
    )
    assert "the end" in done.stderr
    assert "ERROR" not in done.stderr


# files

WRITER = """
    from tasks import log, logfile
    from loguru import logger
    logfile.LogFile.__init__.__kwdefaults__.update(rotate_bytes=300_000, keep=1000)
    log.setup("worker", log_dir, stderr=False)
    me = sys.argv[2]
    for number in range(int(sys.argv[3])):
        logger.info("line {} {}", me, number)
        if number % 500 == 0:
            os.write(1, b"%d\\n" % number)
"""


def test_four_processes_that_rotate_lose_no_line_even_when_one_is_killed(tmp_path: Path) -> None:
    head = "import sys, os\nfrom pathlib import Path\nlog_dir = Path(sys.argv[1])\n"
    count = 15_000
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(WRITER), str(tmp_path), str(me), str(count)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        )
        for me in range(4)
    ]  # fmt: skip
    out = writers[3].stdout
    assert out is not None
    while (line := out.readline()) and int(line) < 6000:
        pass
    writers[3].kill()
    told = [int((writer.communicate(timeout=9)[0] or b"0").split()[-1]) for writer in writers]
    told[3] = max(told[3], int(line))
    assert [writer.returncode for writer in writers] == [0, 0, 0, -9]
    found = entries(tmp_path)
    numbers = [[int(entry.message.split()[2]) for entry in found if entry.message.split()[1] == str(me)] for me in range(4)]
    for me in range(3):
        assert sorted(numbers[me]) == list(range(count))
    assert sorted(numbers[3]) == list(range(len(numbers[3])))
    assert told[3] < len(numbers[3]) < count
    assert {(entry.slot, entry.pid) for entry in found}.__len__() == 4
    assert len(list(tmp_path.glob("worker-*.*.jsonl"))) >= 12


def test_the_lowest_free_slot_is_taken_and_given_back(tmp_path: Path) -> None:
    first, second, third = (LogFile(tmp_path, "api", _no_trouble) for _ in range(3))
    other = LogFile(tmp_path, "worker", _no_trouble)
    assert (first.slot(), second.slot(), third.slot(), other.slot()) == (0, 1, 2, 0)
    second.close()
    again = LogFile(tmp_path, "api", _no_trouble)
    assert again.slot() == 1
    for file in (first, third, again, other):
        file.close()


def test_rotation_keeps_five_and_the_total_is_bounded(tmp_path: Path) -> None:
    file = LogFile(tmp_path, "api", _no_trouble, rotate_bytes=1000)
    neighbour = LogFile(tmp_path, "api", _no_trouble, rotate_bytes=1000)
    assert (file.slot(), neighbour.slot()) == (0, 1)
    for number in range(500):
        assert file.append(b"%099d\n" % number)
    for _ in range(30):
        neighbour.append(b"x" * 99 + b"\n")
    rotated = sorted(path for path in tmp_path.glob("api-0.*.jsonl"))
    assert len(rotated) == 5
    assert all(logfile.NAME.fullmatch(path.name) for path in rotated)
    lines = b"".join(path.read_bytes() for path in [*rotated, tmp_path / "api-0.jsonl"]).split()
    assert [int(line) for line in lines] == list(range(440, 500))
    assert len(list(tmp_path.glob("api-1.*.jsonl"))) == 2
    file.close()
    neighbour.close()


def test_a_clock_that_was_set_back_does_not_drop_the_newest(tmp_path: Path) -> None:
    (tmp_path / "api-0.20990101T000000000000.jsonl").write_bytes(b"from the future\n")
    file = LogFile(tmp_path, "api", _no_trouble, rotate_bytes=10, keep=2)
    file.slot()
    for line in (b"one line\n", b"two line\n", b"3rd line\n"):
        file.append(line)
    file.close()
    assert {path.read_bytes() for path in tmp_path.glob("*.jsonl")} == {b"one line\n", b"two line\n", b"3rd line\n"}


def test_files_are_for_owner_and_group_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = log.setup("api", tmp_path / "a" / "logs", stderr=False)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750


def test_a_line_torn_by_a_crash_stays_the_only_bad_one(tmp_path: Path) -> None:
    (tmp_path / "api-0.jsonl").write_bytes(b'{"time":"20')
    path = log.setup("api", tmp_path, stderr=False)
    logger.info("after")
    torn, whole = path.read_bytes().splitlines()
    assert decode(torn) is None
    assert decode(whole) is not None


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    (tmp_path / "api-0.jsonl").symlink_to(target)
    log.setup("api", tmp_path, stderr=False)
    logger.info("x")
    assert target.read_bytes() == b""
    assert capsys.readouterr().err.count("log: cannot write") == 1


def test_a_forked_child_takes_a_slot_of_its_own(tmp_path: Path) -> None:
    run(
        """
        from tasks import log
        from loguru import logger
        log.setup("worker", log_dir)
        logger.info("parent")
        if os.fork() == 0:
            logger.info("child")
            os._exit(0)
        os.wait()
        logger.info("parent again")
        """,
        tmp_path,
    )
    assert [(entry.slot, entry.message) for entry in entries(tmp_path)] == [(0, "parent"), (0, "parent again"), (1, "child")]
    assert len({entry.pid for entry in entries(tmp_path)}) == 2


# no disk


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> float:
    """Retries come quickly; how long to wait for one, in seconds."""
    monkeypatch.setattr(logfile, "_AGAIN_SECONDS", 0.02)
    return 0.05


def test_a_directory_that_cannot_be_made_costs_one_warning_a_minute_until_it_can(
    tmp_path: Path, quick: float, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = tmp_path / "logs"
    blocker.write_text("a file")
    path = log.setup("api", blocker / "deep", stderr=True)
    assert path == blocker / "deep" / "api-0.jsonl"
    for number in range(20):
        logger.info("lost {}", number)
        time.sleep(0.005)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "cannot write" in line] == [
        f"log: cannot write {path} (Not a directory); tried again every second, told every minute"
    ]
    assert len(said) == 21
    monkeypatch.setattr(logsink, "COMPLAIN_SECONDS", 0.0)
    blocker.unlink()
    time.sleep(quick)
    logger.info("back")
    assert [entry.message for entry in entries(blocker / "deep")] == [
        "back",
        "20 records before now could not be written to this file",
    ]


@pytest.mark.parametrize("what", ["directory", "file", "lock"])
def test_what_was_removed_while_running_is_made_again(tmp_path: Path, quick: float, what: str) -> None:
    logs = tmp_path / "logs"
    log.setup("api", logs, stderr=False)
    logger.info("one")
    for path in list(logs.iterdir()):
        if what == "directory" or path.suffix == {"file": ".jsonl", "lock": ".lock"}[what]:
            path.rename(tmp_path / path.name)
    if what == "directory":
        logs.rmdir()
    time.sleep(quick)
    logger.info("two")
    assert entries(logs)[-1].message == "two"
    assert (logs / "api-0.lock").exists()


FULL = """
    import resource
    from tasks import log, logfile
    from loguru import logger
    logfile._AGAIN_SECONDS = 0.02
    path = log.setup("api", log_dir)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    for number in range(50):
        logger.info("line {}", number)
        assert path.read_bytes().endswith(b"\\n")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    time.sleep(0.05)
    logger.info("room again")
    logger.info("and on")
"""


def test_a_file_that_can_grow_no_more_keeps_whole_lines_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    done = run(FULL, tmp_path)
    messages = [entry.message for entry in entries(tmp_path)]
    written = messages.index("room again")
    assert 5 < written < 20
    assert messages == [
        *(f"line {number}" for number in range(written)),
        "room again", f"{50 - written} records before now could not be written to this file", "and on",
    ]  # fmt: skip
    assert done.stderr.count("log: cannot write") == 1
    assert len(done.stderr.splitlines()) == 50 + 1 + 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield place
    logger.remove()
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_nobody_and_logging_comes_back(
    small_disk: Path, quick: float, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_disk / "other").write_bytes(b"x" * 16_384)
    log.setup("api", small_disk, stderr=False)
    for number in range(300):
        logger.info("line {}", number)
    assert capsys.readouterr().err.count("\n") == 1
    held = len(entries(small_disk))
    assert 50 < held < 300
    (small_disk / "other").unlink()
    time.sleep(quick)
    logger.info("room again")
    assert len(entries(small_disk)) == held + 2


def test_a_read_only_disk_stops_nobody(small_disk: Path, quick: float, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    log.setup("api", small_disk, stderr=False)
    for number in range(100):
        logger.info("line {}", number)
    assert "Read-only file system" in capsys.readouterr().err
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    time.sleep(quick)
    logger.info("back")
    assert len(entries(small_disk)) == 2


# speed


def test_a_log_call_costs_less_than_60_microseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open("w") as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        log.setup("api", tmp_path)
        best = min(_microseconds(1000) for _ in range(7))
        monkeypatch.undo()
    assert best < 60


def _microseconds(count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        logger.bind(email="0190a1b2-0000-7000-8000-000000000000").info(
            "sent to {} by {} in attempt {}: {}", "someone@example.com", "relay:587", 1, "250 2.0.0 Ok: queued as 12345"
        )
    return (time.perf_counter() - start) / count * 1e6


def _no_trouble(error: OSError) -> None:
    raise AssertionError(error)


def test_the_line_is_what_msgspec_decodes(tmp_path: Path) -> None:
    log.setup("api", tmp_path, stderr=False)
    logger.info("Grüße")
    (line,) = (tmp_path / "api-0.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line, type=Entry).message == "Grüße"
