"""The log page's reader: everything that is there, newest first, within bounds, whatever lies in the directory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.logline import MAX_LINE, Entry, Level, encode
from web import logchain, logs
from web.logs import LogPage, newest

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(step: float) -> str:
    """A moment, in seconds after noon."""
    return (START + timedelta(seconds=step)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def line(
    step: float,
    message: str = "m",
    *,
    role: str = "api",
    slot: int = 0,
    level: Level = "INFO",
    email: str = "",
    trace: str = "",
) -> bytes:
    return encode(
        Entry(time=at(step), level=level, role=role, slot=slot, pid=1, logger="x", message=message, email=email, trace=trace)
    )


def write(log_dir: Path, name: str, lines: Iterable[bytes]) -> Path:
    path = log_dir / name
    path.write_bytes(b"".join(lines))
    return path


def said(page: LogPage) -> list[str]:
    return [record.message for record in page.records]


# order


def test_newest_first_over_all_processes_and_rotated_files(tmp_path: Path) -> None:
    write(tmp_path, "api-0.20260131T120003000000.jsonl", [line(1, "a1"), line(3, "a3")])
    write(tmp_path, "api-0.jsonl", [line(5, "a5"), line(7, "a7")])
    write(tmp_path, "worker-0.20260131T120002000000.jsonl", [line(0, "w0", role="worker"), line(2, "w2", role="worker")])
    write(tmp_path, "worker-0.20260131T120004000000.jsonl", [line(4, "w4", role="worker")])
    write(tmp_path, "worker-12.jsonl", [line(6, "w6", role="worker", slot=12)])
    page = newest(tmp_path)
    assert said(page) == ["a7", "w6", "a5", "w4", "a3", "w2", "a1", "w0"]
    assert (page.truncated, page.why, page.complete_to, page.bad, page.files) == (False, "", "", 0, 5)
    assert page.roles == ["api", "worker"]
    assert page.bytes_read == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_records_of_threads_that_overtook_each_other_are_put_in_order(tmp_path: Path) -> None:
    write(tmp_path, "api-0.jsonl", [line(1, "1"), line(3, "3"), line(2, "2"), line(4, "4")])
    assert said(newest(tmp_path)) == ["4", "3", "2", "1"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chains=st.lists(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 150)), max_size=25), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 25), max_size=3),
    limit=st.integers(1, 60),
    block=st.integers(64, 400),
)
def test_it_finds_what_a_plain_sort_finds_whatever_the_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chains: Sequence[Sequence[tuple[int, int]]],
    cuts: Sequence[int],
    limit: int,
    block: int,
) -> None:
    monkeypatch.setattr(logchain, "BLOCK", block)
    for path in tmp_path.iterdir():
        path.unlink()
    times: list[str] = []
    for slot, chain in enumerate(chains):
        lines = [line(step, "x" * size, slot=slot) for step, size in sorted(chain)]
        times += [at(step) for step, _ in chain]
        bounds = [0, *sorted({min(cut, len(lines)) for cut in cuts}), len(lines)]
        for number, (start, end) in enumerate(pairwise(bounds)):
            last = number == len(bounds) - 2
            name = f"api-{slot}.jsonl" if last else f"api-{slot}.20260131T12000000000{number}.jsonl"
            write(tmp_path, name, lines[start:end])
    page = newest(tmp_path, limit=limit)
    assert [record.time for record in page.records] == sorted(times, reverse=True)[:limit]
    assert page.bad == 0
    if len(times) > limit:
        assert page.truncated
        assert page.complete_to == page.records[-1].time
    if len(times) < limit:
        assert not page.truncated


# filters


@pytest.fixture
def some(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "api-0.jsonl",
        [
            line(1, "accepted", email="0190-a"),
            line(2, "level", level="WARNING"),
            line(3, 'says "level":"CRITICAL"', level="INFO"),
            line(4, "Timeout (x.y) [a]\\n", level="ERROR", email="0190-b", trace="Traceback:\n  File x\nValueError: Grüße"),
            line(5, "DEBUG", level="DEBUG"),
        ],
    )
    write(tmp_path, "worker-3.jsonl", [line(6, "job 0190-a done", role="worker", slot=3, level="CRITICAL")])
    return tmp_path


@pytest.mark.parametrize(
    ("level", "count"), [(None, 6), ("DEBUG", 6), ("INFO", 5), ("WARNING", 3), ("ERROR", 2), ("CRITICAL", 1)]
)
def test_a_level_means_that_one_or_worse(some: Path, level: Level | None, count: int) -> None:
    assert len(newest(some, level=level).records) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 6), ("accepted", 1), ("ACCEPTED", 1), ("timeout (X.Y) [A]", 1), (".*", 0), ("(", 1), ('says "level":"', 1),
        ("\\n", 1), ("valueerror", 1), ("grüße", 1), ("GRÜSSE", 0), ("Traceback:\n  File", 1), ("worker", 0), ("\x00", 0),
        ("\ud800", 0), ("x" * 1_000_000, 0),
    ],
)  # fmt: skip
def test_the_text_is_a_plain_substring_in_any_case(some: Path, text: str, count: int) -> None:
    assert len(newest(some, text=text).records) == count


def test_an_email_is_found_by_its_id_also_in_the_words_of_others(some: Path) -> None:
    assert said(newest(some, email_id="0190-a")) == ["job 0190-a done", "accepted"]
    assert said(newest(some, email_id="0190-b", level="ERROR", role="api", text="x.y")) == ["Timeout (x.y) [a]\\n"]
    assert said(newest(some, email_id="é")) == []


@pytest.mark.parametrize("role", ["api", "worker", "", "nobody", "../../etc", "api-0", "a\x00b", "*"])
def test_a_role_only_chooses_among_what_is_there(some: Path, role: str) -> None:
    page = newest(some, role=role)
    assert {record.role for record in page.records} == ({role} & {"api", "worker"})
    assert page.roles == ["api", "worker"]


def test_a_level_that_is_none_is_told(some: Path) -> None:
    with pytest.raises(ValueError, match="a log level is one of DEBUG, INFO"):
        newest(some, level="LOUD")  # pyright: ignore[reportArgumentType]


def test_a_follower_gets_only_what_is_new(some: Path) -> None:
    page = newest(some)
    assert newest(some, after=page.records[0].time).records == []
    with (some / "api-0.jsonl").open("ab") as file:
        file.write(line(7, "new"))
    follow = newest(some, after=page.records[0].time)
    assert (said(follow), follow.truncated) == (["new"], False)


# what does not belong there

GOOD = json.loads(line(1))
BAD_LINES = [
    b"no json", b'{"time":"2026-01-31T12:00:00.00', b"[]", b"null", b"1", b"\xff\xfe\x00", b"\x00" * 500, b"{}",
    json.dumps({**GOOD, "role": "worker"}).encode(), json.dumps({**GOOD, "slot": 1}).encode(),
    json.dumps({**GOOD, "level": "LOUD"}).encode(), json.dumps({**GOOD, "time": "2026-01-31 12:00:00"}).encode(),
    json.dumps({**GOOD, "time": "2026-01-31T12:00:00.000000Z\n"}).encode(), json.dumps({**GOOD, "message": 1}).encode(),
    json.dumps({**GOOD, "message": "raw \x1b[31m"}).encode(), json.dumps({**GOOD, "message": "two\nlines"}).encode(),
    json.dumps({**GOOD, "email": "\u202e"}).encode(), json.dumps({**GOOD, "trace": "a\n\x9b"}).encode(),
    json.dumps({**GOOD, "message": "\ud800"}).encode(), json.dumps({**GOOD, "x": "y" * MAX_LINE}).encode(),
    b'{"time":' * 5000, b"x" * (MAX_LINE * 2),
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_is_counted_and_hides_nothing(tmp_path: Path, bad: bytes) -> None:
    write(tmp_path, "api-0.jsonl", [line(1, "before"), bad + b"\n", line(2, "after"), b"\n"])
    page = newest(tmp_path)
    assert (said(page), page.bad) == (["after", "before"], 1)
    write(tmp_path, "api-0.jsonl", [bad + b"\n", line(2, "after"), bad + b"\n"])
    page = newest(tmp_path)
    assert (said(page), page.bad) == (["after"], 2)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(20, 300))
def test_no_garbage_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, garbage: list[bytes], block: int) -> None:
    monkeypatch.setattr(logchain, "BLOCK", block)
    write(tmp_path, "api-0.jsonl", [line(1, "first"), *garbage, b"\n", line(2, "last")])
    page = newest(tmp_path)
    assert said(page)[0] == "last"
    assert said(page)[-1] == "first"


def test_a_line_still_being_written_is_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path, "api-0.jsonl", [line(1, "one"), line(2, "two")[:30]])
    page = newest(tmp_path)
    assert (said(page), page.bad) == (["one"], 0)
    write(tmp_path, "api-0.jsonl", [line(1, "one"), line(2, "two")])
    assert said(newest(tmp_path)) == ["two", "one"]
    path.write_bytes(b"")
    assert said(newest(tmp_path)) == []
    path.write_bytes(b"no newline at all" * 10_000)
    assert said(newest(tmp_path)) == []


def test_only_regular_files_with_our_names_are_opened(tmp_path: Path) -> None:
    secret = write(tmp_path, "elsewhere", [line(1, "secret")])
    logs_dir = tmp_path / "logs"
    logs_dir.mkdir()
    write(logs_dir, "api-0.jsonl", [line(1, "ours")])
    (logs_dir / "api-1.jsonl").symlink_to(secret)
    (logs_dir / "api-0.20260131T120000000000.jsonl").symlink_to(secret)
    (logs_dir / "api-2.jsonl").mkdir()
    os.mkfifo(logs_dir / "api-3.jsonl")
    for name in (
        "api-00.jsonl",
        "api-0.jsonl.bak",
        "api.jsonl",
        "API-0.jsonl",
        "api-0.1.jsonl",
        "api-0.lock",
        "api-0.jsonl\n",
        "a b-0.jsonl",
    ):
        write(logs_dir, name, [line(1, "not ours")])
    page = newest(logs_dir)
    assert (said(page), page.files) == (["ours"], 1)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    page = newest(tmp_path / "nowhere")
    assert (page.records, page.truncated, page.why) == (
        [], True, "the log directory cannot be read: No such file or directory",
    )  # fmt: skip
    assert newest(tmp_path) == LogPage(records=[])


def test_a_rotation_between_listing_and_opening_neither_hides_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_regular = logchain.open_regular
    for moment in ("before", "after"):
        write(tmp_path, "api-0.jsonl", [line(1, "one"), line(2, "two")])

        def rotating(path: Path, moment: str = moment) -> int:
            monkeypatch.setattr(logchain, "open_regular", open_regular)
            fd = open_regular(path) if moment == "after" else -1
            path.rename(tmp_path / "api-0.20260131T120002000000.jsonl")
            write(tmp_path, "api-0.jsonl", [line(3, "three")])
            return fd if fd >= 0 else open_regular(path)

        monkeypatch.setattr(logchain, "open_regular", rotating)
        assert said(newest(tmp_path)) == (["three", "two", "one"] if moment == "before" else ["two", "one"])


# bounds


def many(log_dir: Path, slots: int, count: int, message: str = "m") -> None:
    for slot in range(slots):
        write(log_dir, f"api-{slot}.jsonl", (line(step, message, slot=slot) for step in range(count)))


def test_where_it_stops_it_says_why_and_is_complete_down_to_there(tmp_path: Path) -> None:
    many(tmp_path, 4, 4000)
    write(tmp_path, "worker-0.jsonl", [line(step, f"needle {step}", role="worker") for step in range(0, 4000, 100)])
    page = newest(tmp_path, text="needle", max_bytes=1_000_000)
    assert page.truncated
    assert page.why == "1 MB were searched"
    assert 1_000_000 <= page.bytes_read < 1_200_000
    expected = [f"needle {step}" for step in range(3900, -1, -100) if at(step) > page.complete_to]
    assert said(page) == expected
    assert 5 < len(expected) < 40
    page = newest(tmp_path, text="nothing", max_seconds=0)
    assert (page.records, page.why) == ([], "1 MB were searched")


def test_slots_that_ended_long_ago_cost_nothing(tmp_path: Path) -> None:
    many(tmp_path, 10, 300)
    for slot in range(1, 10):
        os.utime(tmp_path / f"api-{slot}.jsonl", (1, 1))
    page = newest(tmp_path, limit=200)
    assert {record.slot for record in page.records} == {0}
    assert page.bytes_read < 2 * 65_536
    assert page.files == 10


def test_the_limit_is_kept_within_its_own(tmp_path: Path) -> None:
    many(tmp_path, 2, 1500)
    assert [len(newest(tmp_path, limit=limit).records) for limit in (-1, 0, 1, 50, 10**9)] == [1, 1, 1, 50, logs.MAX_LIMIT]
    page = newest(tmp_path, limit=50)
    assert (page.truncated, page.why, page.complete_to) == (True, "the newest 50 are shown", page.records[-1].time)


def test_no_more_slots_than_allowed_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logchain, "CHAINS", 3)
    many(tmp_path, 5, 2)
    for slot in range(5):
        os.utime(tmp_path / f"api-{slot}.jsonl", (slot, slot))
    page = newest(tmp_path)
    assert {record.slot for record in page.records} == {2, 3, 4}
    assert page.truncated
    assert "process slots" in page.why


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    many(tmp_path, 3, 3000)
    before = len(list(Path("/dev/fd").iterdir()))
    for arguments in ({}, {"limit": 1}, {"text": "nothing"}, {"max_seconds": 0}, {"max_bytes": 0}):
        newest(tmp_path, **arguments)  # pyright: ignore[reportArgumentType]
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_much_is_searched_quickly_and_the_newest_are_there_at_once(tmp_path: Path) -> None:
    block = b"".join(line(step, f"sent to someone{step}@example.com by relay:587 in attempt 1: 250 Ok") for step in range(6000))
    for number in range(50):
        write(tmp_path, f"api-0.2026013112{number:04}000000.jsonl".replace("2026013112", "20260131T12"), [block])
    write(tmp_path, "api-0.jsonl", [block])
    start = time.perf_counter()
    assert len(newest(tmp_path).records) == 200
    first = time.perf_counter() - start
    start = time.perf_counter()
    page = newest(tmp_path, text="not to be found", max_seconds=8)
    search = time.perf_counter() - start
    assert page.bytes_read > 40_000_000
    assert not page.truncated
    assert first < 0.2
    assert search / page.bytes_read < 10 / 1e9


WRITER = """
import sys
from pathlib import Path
from loguru import logger
from tasks import log, logfile
logfile.LogFile.__init__.__kwdefaults__.update(rotate_bytes=100_000)
log.setup(sys.argv[2], Path(sys.argv[1]), stderr=False)
for number in range(8000):
    logger.info("{}", number)
"""


def test_readers_of_files_being_written_and_rotated_see_whole_lines_in_order(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), role], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        for role in ("api", "worker", "worker")
    ]
    looks = 0
    while any(writer.poll() is None for writer in writers):
        page = newest(tmp_path, limit=1000)
        assert page.bad == 0
        for slot in {(record.role, record.slot) for record in page.records}:
            numbers = [int(text) for text in (r.message for r in page.records if (r.role, r.slot) == slot)]
            assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
        looks += bool(page.records)
    assert looks > 5
    assert [writer.returncode for writer in writers] == [0, 0, 0]
