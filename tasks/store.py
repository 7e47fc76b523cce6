"""Redis: the connection, the scripts, and the group commit.

A round trip costs redis-py 150-250 µs of CPU, whatever it carries, and an AOF that is written `always` costs one fsync a
round. So calls do not go out one by one: what comes while a write is under way shares the next one (``Group``), at most
``BATCH`` a time, and calls of one script its run (``calls``). Further connections are used when many calls wait, since Redis
reads 16 kB per client and turn, or when the write under way takes long.

This module is the only one that speaks to Redis at the level of connections.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import msgspec
import redis.exceptions
from arq.connections import ArqRedis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from tasks.calls import Call, command_of, framed, hand_out, pack, script_call
from tasks.errors import StoreUnavailable
from tasks.script import Script, encode_job

_T = TypeVar("_T")

BATCH = 32
"""Calls in one write."""

CONNECTIONS = 4
"""Connections of a group, each with one write under way."""

CROWD = 16
"""So many waiting calls go out on another connection; fewer wait for the answers to the write under way."""

SLOW_SECONDS = 0.01
"""A write under way for longer keeps nobody waiting who could have a connection of its own."""

JOINED = 256 * 1024
"""Bytes up to which a write is put together in memory."""

TROUBLE = (RedisError, OSError, asyncio.TimeoutError)
"""What a Redis that is away, slow, full or read-only makes redis-py raise. Its texts may quote a message: log types only."""

_OPTIONS: dict[str, Any] = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 15,
}


def connect(url: str) -> ArqRedis:
    """A client that connects when first used. ``redis+sentinel://h1:p1,h2:p2/name`` asks sentinels for the primary."""
    if "+sentinel://" in url:
        client: Any = _by_sentinel(url)
    else:
        options = dict(_OPTIONS)
        if url.startswith("unix://"):
            del options["socket_keepalive"]
        client = cast(Any, ArqRedis).from_url(url, **options)
    client.job_serializer = encode_job
    client.job_deserializer = msgspec.msgpack.decode
    return cast(ArqRedis, client)


async def disconnect(client: ArqRedis) -> None:
    """Closes a client's connections, those to sentinels included, which redis-py leaves open."""
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    await client.aclose()
    for sentinel in manager.sentinels if manager is not None else ():
        await sentinel.aclose()


def _by_sentinel(url: str) -> Any:
    parts = urlsplit(url)
    hosts: list[tuple[str, int]] = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = place.rpartition(":")
        hosts.append((host or place, int(port) if host else 26379))
    name, _, database = parts.path.strip("/").partition("/")
    options = {**_OPTIONS, "socket_timeout": 2.0, "db": int(database or 0), "ssl": url.startswith("rediss")}
    if "@" in parts.netloc:
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        options |= {"username": unquote(user) or None, "password": unquote(password)}
    sentinel = Sentinel(hosts, socket_timeout=1.0, socket_connect_timeout=1.0)
    return cast(Any, sentinel).master_for(name or "mymaster", redis_class=cast(Any, ArqRedis), **options)


class Group:
    """Sends script calls and commands, many in one write. Safe for any number of callers in one event loop, the first's.

    A call that is not answered (``StoreUnavailable``) may have been carried out: every script here may be repeated. Calls
    of one caller that wait for each other keep their order; calls made at once may overtake one another.
    """

    def __init__(self, client: ArqRedis, *, timeout: float = 5.0, replicas: int = 0, connections: int = CONNECTIONS) -> None:
        self._pool = cast(Any, client).connection_pool
        self._timeout = timeout
        self._replicas = replicas
        self._free: deque[AbstractConnection | None] = deque([None] * connections)
        self._calls: deque[Call] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        self._writing = 0
        self._wrote = 0.0
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, script: Script, *args: str | bytes | int | float) -> Any:
        """The script's answer. Raises ``StoreUnavailable``; a cancelled caller leaves the others untouched."""
        return await self._ask(script_call(script, args, self._future()))

    async def command(self, *words: str | bytes | int | float) -> Any:
        """The answer to one plain command."""
        return await self._ask(Call(pack(words), None, 0, self._future()))

    async def close(self) -> None:
        """Waits for what is under way and gives the connections back; later calls are refused."""
        self._is_closed = True
        await asyncio.gather(*self._writers, return_exceptions=True)
        while self._free:
            connection = self._free.popleft()
            if connection is not None:
                await connection.disconnect()
                await self._release(connection)

    def _future(self) -> asyncio.Future[Any]:
        loop = self._loop = self._loop or asyncio.get_running_loop()  # to ask for it each time costs a system call
        return loop.create_future()

    def _ask(self, call: Call) -> Awaitable[Any]:
        """Puts a call into the next write."""
        if self._is_closed:
            call.future.set_exception(StoreUnavailable("this process is stopping"))
            return call.future
        self._calls.append(call)
        is_crowd = len(self._calls) >= CROWD
        if self._writing == 0 or is_crowd or call.future.get_loop().time() - self._wrote > SLOW_SECONDS:
            self._start()
        return call.future

    def _start(self) -> None:
        """Begins to write on another connection, if there is one."""
        if self._free:
            self._writing += 1
            writer = asyncio.create_task(self._write(self._free.popleft()))
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)

    async def _write(self, connection: AbstractConnection | None) -> None:
        """Writes batches until no call waits, then puts its connection back."""
        batch: list[Call] = []
        loop = asyncio.get_running_loop()
        try:
            while self._calls:
                batch = [self._calls.popleft() for _ in range(min(BATCH, len(self._calls)))]
                batch = [call for call in batch if not call.future.cancelled()]
                self._wrote = loop.time()
                async with asyncio.timeout(self._timeout):
                    if connection is not None:
                        try:
                            await self._round(connection, batch)
                            continue
                        except (redis.exceptions.ConnectionError, ConnectionError):  # gone while idle: once more, anew
                            connection = await self._drop(connection)
                            batch = [call for call in batch if not call.future.done()]
                    connection = await self._connect()
                    await self._round(connection, batch)
        except Exception as error:  # noqa: BLE001 (uvloop raises RuntimeError on a dead transport; nobody may wait for ever)
            waiting = [*batch, *self._calls]
            self._calls.clear()
            _fail(waiting, error)
            connection = await self._drop(connection)
        finally:
            self._free.append(connection)
            self._writing -= 1
            if self._calls and self._writing == 0:  # they came while a broken connection was taken down
                self._start()

    async def _connect(self) -> AbstractConnection:
        """A connection without a limit of its own: that is asyncio.wait_for, a task for every write; the group has one.
        Nor does it note the time of every answer for health checks: a dead connection costs the group's limit either way."""
        connection = cast(AbstractConnection, await self._pool.get_connection())
        connection.socket_timeout = None
        connection.health_check_interval = 0
        return connection

    async def _drop(self, connection: AbstractConnection | None) -> None:
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._release(connection)

    async def _release(self, connection: AbstractConnection) -> None:
        connection.socket_timeout = _OPTIONS["socket_timeout"]
        connection.health_check_interval = _OPTIONS["health_check_interval"]
        await self._pool.release(connection)

    async def _round(self, connection: AbstractConnection, batch: list[Call]) -> None:
        if not batch:
            return
        frames = framed(batch)
        commands = [command_of(frame) for frame in frames]
        if self._replicas:
            commands.append([pack(("WAIT", self._replicas, int(self._timeout * 800)))])
        answers = await self._exchange(connection, commands)
        missing = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            scripts = {call.script.sha: call.script.source for n in missing for call in frames[n] if call.script is not None}
            await self._exchange(connection, [[pack(("SCRIPT", "LOAD", text))] for text in scripts.values()])
            again = await self._exchange(connection, [commands[n] for n in missing] + commands[len(frames) :])
            for n, answer in zip(missing, again, strict=False):
                answers[n] = answer
            answers[len(frames) :] = again[len(missing) :]
        if self._replicas and not (isinstance(answers[-1], int) and answers[-1] >= self._replicas):
            raise TimeoutError
        hand_out(frames, answers, unavailable)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            raise ConnectionError("this Redis is a replica now")

    async def _exchange(self, connection: AbstractConnection, commands: list[list[bytes]]) -> list[Any]:
        pieces = [piece for command in commands for piece in command]
        await connection.send_packed_command(pieces if sum(map(len, pieces)) > JOINED else b"".join(pieces))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers


def _fail(batch: list[Call], error: BaseException) -> None:
    for call in batch:
        if not call.future.done():
            call.future.set_exception(unavailable(error))


_WORDS = {
    "OOM": "Redis is full (maxmemory)",
    "MISCONF": "Redis cannot write to its disk",
    "READONLY": "this Redis is a replica and takes no writes",
    "LOADING": "Redis is still loading its data",
    "NOAUTH": "Redis wants a password, or another one than ours",
    "NOREPLICAS": "Redis has too few replicas",
}
_CODES = {OutOfMemoryError: "OOM", ReadOnlyError: "READONLY", BusyLoadingError: "LOADING", AuthenticationError: "NOAUTH"}
"""redis-py takes the first word off these."""


def unavailable(error: BaseException) -> StoreUnavailable:
    """Redis' trouble in our words: never its own text, which may quote a whole command."""
    first = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else ""
    first = next((code for kind, code in _CODES.items() if isinstance(error, kind)), first)
    if isinstance(error, asyncio.TimeoutError):
        return StoreUnavailable("Redis does not answer in time")
    if first in _WORDS:
        return StoreUnavailable(_WORDS[first], code=first)
    return StoreUnavailable(f"Redis is not reachable ({type(error).__name__})")


async def forever(call: Callable[[], Awaitable[_T]], *, pause: float = 0.2) -> _T:
    """Repeats ``call`` until Redis takes it, waiting ``pause`` seconds (growing to 2) in between."""
    while True:
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 1.5)


__all__ = ["TROUBLE", "ArqRedis", "Group", "connect", "disconnect", "forever", "unavailable"]
