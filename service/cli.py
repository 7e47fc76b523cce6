"""The command ``email-service``.

This module parses the command line and starts the one part that it names; the long-running parts are imported only when asked
for.
"""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from service.clients import Keyring, check_client
from tasks import log, parts
from tasks.beat import beats
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.settings import Settings, read
from tasks.store import Group, disconnect

Command = Callable[[Settings, Group, argparse.Namespace], Awaitable[int]]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command. Exits with 2 for a wrong command line or wrong settings, 1 where the command found trouble."""
    args = _parser().parse_args(argv)
    if args.command == "up":
        from service.up import main as run
    elif args.command == "api":
        from service.__main__ import main as run
    elif args.command == "worker":
        if args.check:
            raise SystemExit(_with_settings(_check_worker, args))
        from tasks.__main__ import main as run
    elif args.command == "send":
        from service.trial import send

        raise SystemExit(_with_settings(send, args))
    elif args.command == "doctor":
        from service.doctor import doctor

        raise SystemExit(_with_settings(doctor, args))
    else:
        raise SystemExit(_with_settings(_COMMANDS[args.action], args))
    run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="email-service", description="Takes emails over HTTP and gets them to the relay.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="everything in one: Valkey, API, worker, and a mailbox where no relay is set")
    commands.add_parser("api", help="only the HTTP process")
    worker = commands.add_parser("worker", help="only a worker")
    worker.add_argument("--check", action="store_true", help="exit with 0 if a worker of this host is alive, else with 1")
    key = commands.add_parser("key", help="client keys").add_subparsers(dest="action", required=True, metavar="ACTION")
    add = key.add_parser("add", help="make a key; it is shown once")
    add.add_argument("name", help="the client's name")
    add.add_argument(
        "--sender", action="append", default=[], metavar="PATTERN", help="allowed sender, as *@shop.example; may be repeated"
    )
    add.add_argument("--mode", default="live", help="live, capture, or redirect:ADDRESS")
    add.add_argument("--rate", default="", help="how often it may ask, as 100/m; as often as it likes where not given")
    key.add_parser("list", help="all keys, without their secrets")
    revoke = key.add_parser("revoke", help="take a key away; it stops working everywhere within 5 seconds")
    revoke.add_argument("id", help="the key's id: its 12 characters after ems_")
    send = commands.add_parser("send", help="put a test email and follow it to its end")
    send.add_argument("to", nargs="+", help="who gets it")
    send.add_argument("--from", dest="sender", required=True, metavar="ADDRESS", help="who it is from")
    send.add_argument("--subject", default="A test email")
    send.add_argument("--text", help="the plain text")
    send.add_argument("--html")
    send.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="how long it is followed (30); 0: not at all")
    doctor = commands.add_parser("doctor", help="look at everything that mail needs, and say what to do")
    doctor.add_argument("domains", nargs="*", help="domains you send from, beside those of clients and of recent mail")
    return parser


def _with_settings(command: Command, args: argparse.Namespace) -> int:
    """Runs an async command with a connection to Redis; its exit code."""

    async def run() -> int:
        client = parts.connect(settings)
        group = Group(client)
        try:
            return await command(settings, group, args)
        finally:
            await group.close()
            await disconnect(client)

    log.say_nothing()
    try:
        settings = read()
        return asyncio.run(run())
    except SettingsInvalid as error:
        print("\n".join(f"email-service: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"email-service: {error}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        print(f"email-service: {error}", file=sys.stderr)
        return 1


async def _add_key(_: Settings, group: Group, args: argparse.Namespace) -> int:
    client = check_client(args.name, args.sender, args.mode, args.rate)
    print(await Keyring(group, {}).add(client))
    print(f"The key of {client.name}: keep it now, it is not shown again.", file=sys.stderr)
    return 0


async def _list_keys(_: Settings, group: Group, args: argparse.Namespace) -> int:
    del args
    for key in await Keyring(group, {}).all():
        made = datetime.fromtimestamp(key.made / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        client = key.client
        senders = " ".join(client.senders) or "any sender"
        print(f"{key.id}  {made}  {client.name}  {client.mode}  {client.rate or 'any rate'}  {senders}")
    return 0


async def _revoke_key(_: Settings, group: Group, args: argparse.Namespace) -> int:
    id_ = args.id.removeprefix("ems_")[:12]  # also where somebody gives the whole key, which is not repeated then
    if await Keyring(group, {}).revoke(id_):
        print(f"Key {id_} is revoked; it stops working everywhere within 5 seconds.")
        return 0
    print(f"email-service: there is no key {id_!a}", file=sys.stderr)
    return 1


async def _check_worker(settings: Settings, group: Group, args: argparse.Namespace) -> int:
    del settings, args
    alive, _ = await beats(group, round(time.time() * 1000))
    host = socket.gethostname()
    if any(beat.host == host for beat in alive):
        return 0
    print(f"email-service: no worker of {host} has been heard of for 15 s", file=sys.stderr)
    return 1


_COMMANDS: dict[str, Command] = {"add": _add_key, "list": _list_keys, "revoke": _revoke_key}
