"""The group commit against a real Valkey: shared writes, lost scripts, dead connections, and what callers hear of it."""

import asyncio
import contextlib
import hashlib
import itertools
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from redis._parsers.base import BaseParser

from tasks import keys, store
from tasks.errors import StoreUnavailable
from tasks.script import Script, encode_job
from tasks.store import BATCH, Group, connect, forever, unavailable
from tests.processes import Valkey, free_port, running_valkey


@contextlib.asynccontextmanager
async def grouped(url: str, **options: Any) -> AsyncGenerator[Group, None]:
    """A group of its own at ``url``."""
    client = connect(url)
    group = Group(client, **options)
    try:
        yield group
    finally:
        await group.close()
        await client.aclose()


class TrackedGroup(Group):
    """Remembers how many calls each write carried."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rounds: list[int] = []

    async def _round(self, connection: Any, batch: list[Any]) -> None:
        self.rounds.append(len(batch))
        await super()._round(connection, batch)


def a_script(group: Group, body: str) -> Script:
    """A script of the test's own."""
    del group
    script = Script("beat")
    script.source = body
    script.sha = hashlib.sha1(body.encode()).hexdigest()
    return script


async def client_ids(group: Group, but: Group) -> list[str]:
    """The ids of the clients that are connected, but for that of ``but``."""
    own = str(await but.command("CLIENT", "ID"))
    listed = (await but.command("CLIENT", "LIST", "TYPE", "normal")).decode()
    del group
    found = [line.split()[0].removeprefix("id=") for line in listed.splitlines()]
    return [one for one in found if one != own]


# batches


async def test_what_comes_during_a_write_shares_the_next_one(valkey: str) -> None:
    client = connect(valkey)
    group = TrackedGroup(client, connections=1)
    answers = await asyncio.gather(*(group.command("ECHO", str(n)) for n in range(100)))
    assert answers == [str(n).encode() for n in range(100)]
    assert group.rounds == [32, 32, 32, 4]
    await group.close()
    await client.aclose()


async def test_one_write_never_carries_more_than_a_batch(valkey: str) -> None:
    client = connect(valkey)
    group = TrackedGroup(client)
    await asyncio.gather(*(group.command("PING") for _ in range(1000)))
    assert sum(group.rounds) == 1000
    assert max(group.rounds) <= BATCH
    await group.close()
    await client.aclose()


async def test_each_caller_gets_its_own_answer_or_error(group: Group) -> None:
    answers = await asyncio.gather(
        group.command("SET", "k", "1"),
        group.command("INCR", "k"),
        group.command("HGET", "k", "f"),
        group.command("NO-SUCH-COMMAND"),
        group.command("GET", "k"),
        return_exceptions=True,
    )
    assert isinstance(answers[2], StoreUnavailable)
    assert isinstance(answers[3], StoreUnavailable)
    assert [answers[n] for n in (0, 1, 4)] == [b"OK", 2, b"2"]


async def test_calls_that_wait_for_each_other_keep_their_order(group: Group) -> None:
    async def count(name: str) -> list[int]:
        return [await group.command("INCR", name) for _ in range(50)]

    for found in await asyncio.gather(*(count(f"n{n}") for n in range(8))):
        assert found == list(range(1, 51))


async def test_bytes_and_numbers_arrive_as_they_are(group: Group) -> None:
    raw = bytes(range(256)) * 4000
    await group.command("SET", "raw", raw)
    assert await group.command("GET", "raw") == raw
    await group.command("SET", "text", "grüße\r\n$5")
    assert await group.command("GET", "text") == "grüße\r\n$5".encode()
    assert await group.command("INCRBY", "n", 2**53) == 2**53


# scripts


async def test_an_unknown_script_is_loaded_for_all_that_need_it_and_for_nobody_else(group: Group) -> None:
    one, two = a_script(group, "return {1, ARGV[1]}"), a_script(group, "return redis.call('INCR', 'count')")
    answers = await asyncio.gather(
        group.command("SET", "k", "v"), *(group.run(one, n) for n in range(10)), group.command("GET", "k"), group.run(two)
    )
    assert answers == [b"OK", *([1, str(n).encode()] for n in range(10)), b"v", 1]
    await group.command("SCRIPT", "FLUSH")
    assert await asyncio.gather(group.run(two), group.run(two)) == [2, 3]


def test_every_script_is_its_file_after_the_prelude_with_the_names_of_its_keys() -> None:
    for path in (Path(store.__file__).parent / "lua").glob("*.lua"):
        if path.stem == "prelude":
            continue
        script = Script(path.stem)
        assert script.source.endswith(path.read_text("utf-8"))
        assert len(script.source.partition("-- Goes before")[0].splitlines()) < 60
        for name in keys.FOR_SCRIPTS:
            assert hasattr(keys, name)


async def test_every_script_compiles(group: Group) -> None:
    for path in (Path(store.__file__).parent / "lua").glob("*.lua"):
        if path.stem != "prelude":
            script = Script(path.stem)
            assert await group.command("SCRIPT", "LOAD", script.source) == script.sha.encode()


def test_a_job_is_data_and_never_pickle() -> None:
    assert (
        encode_job({"t": None, "f": "send", "a": ["x"], "k": {}, "et": 1})
        == b"\x85\xa1t\xc0\xa1f\xa4send\xa1a\x91\xa1x\xa1k\x80\xa2et\x01"
    )


# trouble


async def test_a_connection_that_was_killed_heals_unnoticed(group: Group, valkey: str) -> None:
    async with grouped(valkey) as other:
        for n in range(20):
            await asyncio.gather(*(group.command("SET", f"k{m}", n) for m in range(10)))
            for id_ in await client_ids(group, other):
                await other.command("CLIENT", "KILL", "ID", id_)
        assert await group.command("GET", "k9") == b"19"


async def test_connections_killed_under_load_lose_no_answer(group: Group, valkey: str) -> None:
    """Each call is answered, with its answer or StoreUnavailable; what was answered is there."""
    done = False

    async def kill() -> None:
        async with grouped(valkey) as other:
            while not done:
                for id_ in await client_ids(group, other):
                    with contextlib.suppress(StoreUnavailable):
                        await other.command("CLIENT", "KILL", "ID", id_)
                await asyncio.sleep(0.01)

    killer = asyncio.create_task(kill())
    taken: set[str] = set()

    async def add(n: int) -> None:
        await forever(lambda: group.command("SADD", "set", n), pause=0.01)
        taken.add(str(n))

    for start in range(0, 2000, 100):
        await asyncio.gather(*(add(n) for n in range(start, start + 100)))
    done = True
    await killer
    assert {one.decode() for one in await group.command("SMEMBERS", "set")} == taken
    assert len(taken) == 2000


async def test_a_redis_that_does_not_listen_is_said_at_once() -> None:
    async with grouped(f"redis://127.0.0.1:{free_port()}") as group:
        answers = await asyncio.gather(*(group.command("PING") for _ in range(200)), return_exceptions=True)
        assert {str(answer) for answer in answers} == {"Redis is not reachable (ConnectionError)"}


async def test_a_redis_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with grouped(f"redis://127.0.0.1:{port}", timeout=0.2) as group:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            await group.command("PING")
        assert str(caught.value) in {"Redis does not answer in time", "Redis is not reachable (TimeoutError)"}
        assert 0.15 < time.monotonic() - began < 1
    server.close()


async def test_a_frozen_redis_is_waited_for_no_longer_than_the_timeout_and_found_again(group: Group, valkey: str) -> None:
    async with grouped(valkey, timeout=0.2) as impatient:
        await impatient.command("SET", "k", "1")
        await group.command("CLIENT", "PAUSE", 500, "ALL")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer in time"):
            await impatient.command("GET", "k")
        assert time.monotonic() - began < 0.4
        assert await forever(lambda: impatient.command("GET", "k"), pause=0.05) == b"1"


async def test_a_restarted_redis_is_found_again() -> None:
    with running_valkey(appendfsync="no") as own:
        async with grouped(own.url) as group:
            await group.command("SET", "k", "1")
            own.stop(9)
            with pytest.raises(StoreUnavailable, match=r"^Redis is not reachable \(ConnectionError\)\Z"):
                await group.command("GET", "k")
            own.start()
            assert await forever(lambda: group.command("GET", "k"), pause=0.01) == b"1"


async def test_a_cancelled_caller_leaves_the_others_untouched(group: Group) -> None:
    for moment in range(0, 30, 3):
        tasks = [asyncio.create_task(group.run(a_script(group, "return ARGV[1]"), str(n))) for n in range(40)]
        for _ in range(moment):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        assert await asyncio.gather(*tasks[1::2]) == [str(n).encode() for n in range(1, 40, 2)]
        await asyncio.gather(*tasks[::2], return_exceptions=True)


async def test_a_caller_that_cannot_be_encoded_hears_so_alone(group: Group) -> None:
    answers = await asyncio.wait_for(
        asyncio.gather(
            group.command("SET", "a", "1"),
            group.command("SET", "b", "\ud800"),
            group.command("GET", "a"),
            return_exceptions=True,
        ),
        timeout=2,
    )
    assert (answers[0], answers[2]) == (b"OK", b"1")
    assert isinstance(answers[1], UnicodeEncodeError)
    assert await group.command("GET", "a") == b"1"


async def test_an_error_that_nobody_foresaw_still_answers_every_caller(group: Group, valkey: str) -> None:
    """uvloop raises RuntimeError on a closed transport; a caller must not wait for ever because of it."""
    del group

    class Odd(Group):
        async def _exchange(self, connection: Any, commands: list[Any]) -> list[Any]:
            raise RuntimeError("unable to perform operation on a closed handler")

    client = connect(valkey)
    odd = Odd(client, connections=1)
    answers = await asyncio.wait_for(asyncio.gather(*(odd.command("PING") for _ in range(80)), return_exceptions=True), 2)
    assert {str(answer) for answer in answers} == {"Redis is not reachable (RuntimeError)"}
    await odd.close()
    await client.aclose()


async def test_an_error_never_quotes_what_was_sent(group: Group) -> None:
    secret = "the-body-of-an-email"
    texts: list[str] = []
    for words in (
        ("NO-SUCH", secret), ("HGET", secret), ("SET", "k", "1", secret), ("EVAL", f"return {secret}({secret}", "0"),
        ("EVAL", f"return redis.error_reply('{secret}')", "0"), ("CONFIG", "SET", secret, secret),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable) as caught:
            await group.command(*words)
        assert caught.value.__cause__ is None
        texts.append(repr(caught.value) + str(caught.value.__context__))
    assert secret not in "".join(texts)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "Redis is full (maxmemory)"),
        ("MISCONF Redis is configured to save RDB snapshots, but", "Redis cannot write to its disk"),
        ("READONLY You can't write against a read only replica.", "this Redis is a replica and takes no writes"),
        ("LOADING Redis is loading the dataset in memory", "Redis is still loading its data"),
        ("NOAUTH Authentication required.", "Redis wants a password, or another one than ours"),
        ("WRONGPASS invalid username-password pair", "Redis wants a password, or another one than ours"),
        ("NOREPLICAS Not enough good replicas to write.", "Redis has too few replicas"),
        ("ERR unknown command 'x', with args beginning with: 'secret'", "Redis is not reachable (ResponseError)"),
    ],
)
def test_what_redis_refuses_is_said_in_our_words(said: str, words: str) -> None:
    assert str(unavailable(BaseParser.parse_error(said))) == words


async def test_a_full_redis_is_said_so_and_keeps_what_it_has(group: Group) -> None:
    await group.command("SET", "before", "1")
    await group.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match=r"full \(maxmemory\)"):
            await group.command("SET", "k", "v")
        assert await group.command("GET", "before") == b"1"
    finally:
        await group.command("CONFIG", "SET", "maxmemory", "0")
    assert await group.command("SET", "k", "v") == b"OK"


async def test_a_replica_refuses_and_the_connection_is_made_anew(group: Group, valkey: str) -> None:
    """After a fail-over behind one name, only a new connection finds the new primary."""
    await group.command("SET", "k", "1")
    before = str(await group.command("CLIENT", "ID"))
    async with grouped(valkey) as other:
        await other.command("REPLICAOF", "127.0.0.1", free_port())
        try:
            with pytest.raises(StoreUnavailable, match="is a replica and takes no writes"):
                await group.command("SET", "k", "2")
        finally:
            await other.command("REPLICAOF", "NO", "ONE")
    assert await group.command("SET", "k", "3") == b"OK"
    assert str(await group.command("CLIENT", "ID")) != before


async def test_what_a_replica_refused_is_not_carried_out_after_its_caller_was_told_so(valkey: str, group: Group) -> None:
    client = connect(valkey)
    own = TrackedGroup(client, connections=1)
    await own.command("SET", "k", "1")
    await group.command("REPLICAOF", "127.0.0.1", free_port())
    try:
        with pytest.raises(StoreUnavailable):
            await own.command("SET", "k", "2")
        await own.close()
    finally:
        await group.command("REPLICAOF", "NO", "ONE")
    assert own.rounds == [1, 1, 0]
    await client.aclose()


async def test_without_its_replicas_nothing_counts_as_stored(valkey: str, group: Group) -> None:
    """The write is there all the same: that is why every script may be repeated."""
    async with grouped(valkey, replicas=1, timeout=0.3) as strict:
        with pytest.raises(StoreUnavailable, match="does not answer in time"):
            await strict.command("SET", "k", "v")
    assert await group.command("GET", "k") == b"v"


async def test_with_its_replicas_an_answer_comes_as_usual(group: Group, valkey: str) -> None:
    with running_valkey(persistent=False) as replica:
        async with grouped(replica.url) as there:
            await _attach(replica, there, valkey)
            async with grouped(valkey, replicas=1, timeout=2) as strict:
                script = a_script(strict, "return redis.call('SET', 'k', ARGV[1])")
                assert await forever(lambda: strict.run(script, "v")) == b"OK"  # also after NOSCRIPT
                assert await asyncio.gather(*(strict.command("GET", "k") for _ in range(40))) == [b"v"] * 40
            assert await there.command("GET", "k") == b"v"
            await there.command("REPLICAOF", "NO", "ONE")
    assert await group.command("GET", "k") == b"v"


async def _attach(replica: Valkey, there: Group, valkey: str) -> None:
    """Makes ``replica`` follow the Valkey at ``valkey``, whose port it needs for that."""
    del replica
    async with grouped(valkey) as primary:
        port = free_port()
        await primary.command("CONFIG", "SET", "port", port)
        await primary.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        await there.command("REPLICAOF", "127.0.0.1", port)


async def test_closing_waits_for_what_is_under_way(valkey: str, group: Group) -> None:
    del group
    client = connect(valkey)
    own = Group(client)
    calls = [asyncio.create_task(own.command("ECHO", str(n))) for n in range(50)]
    await asyncio.sleep(0)
    await own.close()
    assert await asyncio.gather(*calls) == [str(n).encode() for n in range(50)]
    await client.aclose()


async def test_forever_waits_a_little_longer_each_time_and_gives_the_answer() -> None:
    times: list[float] = []

    async def call() -> str:
        times.append(time.monotonic())
        if len(times) < 4:
            raise StoreUnavailable("away")
        return "there"

    assert await forever(call, pause=0.02) == "there"
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert waits == sorted(waits)
    assert 0.02 <= waits[0] < 0.03 <= waits[1]


async def test_forever_passes_on_every_other_error() -> None:
    async def call() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await forever(call)


# addresses


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://h:7000/3", {"host": "h", "port": 7000, "db": 3}),
        ("redis://:p%40ss@h", {"host": "h", "password": "p@ss"}),
        ("redis://u:p@h", {"username": "u", "password": "p"}),
        ("unix:///run/v.sock?db=2", {"path": "/run/v.sock", "db": 2}),
    ],
)
def test_an_address_says_where_and_who(url: str, options: dict[str, Any]) -> None:
    found = connect(url).connection_pool.connection_kwargs
    assert options.items() <= found.items()
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (5.0, 2.0)


@pytest.mark.parametrize(
    ("url", "hosts", "name", "options"),
    [
        ("redis+sentinel://a:1,b:2/mail", [("a", 1), ("b", 2)], "mail", {"db": 0}),
        ("redis+sentinel://a,b:2/mail/4", [("a", 26379), ("b", 2)], "mail", {"db": 4}),
        ("redis+sentinel://u:p%40@a:1", [("a", 1)], "mymaster", {"username": "u", "password": "p@"}),
        ("redis+sentinel://:p@a:1/m", [("a", 1)], "m", {"username": None, "password": "p"}),
    ],
)
def test_sentinels_are_asked_for_the_primary(
    url: str, hosts: list[tuple[str, int]], name: str, options: dict[str, Any]
) -> None:
    pool: Any = connect(url).connection_pool
    asked = [
        (one.connection_pool.connection_kwargs["host"], one.connection_pool.connection_kwargs["port"])
        for one in pool.sentinel_manager.sentinels
    ]
    assert (asked, pool.service_name) == (hosts, name)
    assert options.items() <= pool.connection_kwargs.items()


async def test_an_answer_that_is_no_redis_is_trouble_and_no_crash() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, family=socket.AF_INET)
    async with grouped(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=1) as group:
        with pytest.raises(StoreUnavailable, match="not reachable"):
            await group.command("PING")
    server.close()
