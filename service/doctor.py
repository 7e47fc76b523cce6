"""``email-service doctor``: looks at everything that mail needs, and says of each thing what to do.

::

    Redis     is there, new enough, loses nothing, has room        clock     the same here as there
    disk      data and logs have room                              workers   somebody sends
    relays    each is met as a worker meets it, nothing is sent    domains   DNS of those that mail is sent from

Which domains: those of the clients' allowed senders, those of the newest emails, and those asked for. It changes nothing.
This module is the examination; what a reply of a relay means is in ``web.meaning``.
"""

import argparse
import asyncio
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path

from service.clients import Keyring, parse_api_keys
from service.domains import look_up, system_resolver
from service.finding import Finding
from tasks import parts
from tasks.beat import beats
from tasks.errors import SettingsInvalid, StoreUnavailable
from tasks.figures import RedisHealth
from tasks.host import wire_host
from tasks.ledger import Ledger
from tasks.queue import Queue
from tasks.relay import Relay
from tasks.safety import eviction_problem
from tasks.settings import Settings
from tasks.smtp import RelayTrouble, Session, Timeouts
from tasks.store import Group
from web.meaning import meaning
from web.phrases import size
from web.verdict import redis_hints

RELAY_SECONDS = 30.0
"""The longest that meeting one relay may take."""
DOMAINS = 20
"""The most that are looked up."""
LITTLE, NONE = 1_000_000_000, 100_000_000
"""Free bytes of a disk below which there is a word of warning, and below which it is wrong."""
APART_MS = 1000
RENEW_DAYS = 14


async def doctor(settings: Settings, group: Group, args: argparse.Namespace) -> int:
    """Prints every finding as it comes; 1 where one of them is wrong."""
    queue = Queue(group, retain_records=settings.retain_records)
    ledger = Ledger(group, queue)
    steps: list[Awaitable[list[Finding]]] = [
        _redis(ledger, settings),
        _clock(queue),
        _disk(settings),
        _workers(group),
        _relays(settings),
        _domains(settings, group, ledger, args.domains),
    ]
    is_good = True
    for step in asyncio.as_completed(steps):
        for finding in await step:
            print(finding.lines(), flush=True)
            is_good = is_good and finding.mark != "wrong"
    return 0 if is_good else 1


async def _redis(ledger: Ledger, settings: Settings) -> list[Finding]:
    try:
        health = await ledger.redis()
    except StoreUnavailable as trouble:
        cure = "Start it, or correct `REDIS_URL`." if settings.redis_url is not None else "Start everything with `make run`."
        return [Finding("wrong", "Redis", str(trouble), cure)]
    what = f"{health.server} {health.version}"
    found = [Finding("note", what, *_parted(hint)) for hint in redis_hints(health)]
    if _is_old(health):
        found.insert(0, Finding("wrong", what, "it is too old: its scripts lack flags", "Use Redis 7 or newer, or Valkey."))
    if eviction_problem(health) and not settings.redis_allow_eviction:
        text = f"it may throw waiting mail away (`maxmemory-policy {health.policy}`); the API does not start on it"
        found = [Finding("wrong", what, text, "Set `maxmemory-policy noeviction`.")]
    room = f"{size(health.memory)} of {size(health.memory_max)} used" if health.memory_max else f"{size(health.memory)} used"
    return found or [Finding("ok", what, f"writes to disk before it answers, never evicts; {room}")]


def _is_old(health: RedisHealth) -> bool:
    first = health.version.partition(".")[0]
    return first.isdecimal() and int(first) < 7


def _parted(hint: str) -> tuple[str, str]:
    """A hint of the status page: what is, and what to do."""
    text, _, cure = hint.partition(". ")
    return text.removesuffix("."), cure


async def _clock(queue: Queue) -> list[Finding]:
    try:
        before = time.time()
        there = await queue.now()
        apart = round((before + time.time()) / 2 * 1000) - there
    except StoreUnavailable:
        return []
    if abs(apart) < APART_MS:
        return [Finding("ok", "clock", "this machine and Redis agree")]
    text = (
        f"this machine is {abs(apart) / 1000:.1f} s {'ahead of' if apart > 0 else 'behind'} Redis: `send_at` and Date are off"
    )
    return [Finding("note", "clock", text, "Let both follow a time server (`timedatectl set-ntp true`).")]


async def _disk(settings: Settings) -> list[Finding]:
    folders = {"logs": settings.logs}
    if settings.redis_url is None:
        folders["data"] = settings.data_dir
    return [await asyncio.to_thread(_folder, name, path.resolve()) for name, path in folders.items()]


def _folder(name: str, path: Path) -> Finding:
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    variable = "LOG_DIR" if name == "logs" else "DATA_DIR"
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("wrong", name, f"{there} cannot be written", f"Give it to this user, or set `{variable}` to another.")
    free = shutil.disk_usage(there).free
    if free >= LITTLE:
        return Finding("ok", name, f"{size(free)} free in {there}")
    cure = f"Make room, or set `{variable}` to another disk."
    return Finding("wrong" if free < NONE else "note", name, f"only {size(free)} free in {there}", cure)


async def _workers(group: Group) -> list[Finding]:
    try:
        alive, _ = await beats(group, round(time.time() * 1000))
    except StoreUnavailable:
        return []
    if not alive:
        text = "none has been heard of for 15 s: mail is accepted, and waits"
        return [Finding("wrong", "workers", text, "Start one: `email-service worker`.")]
    return [Finding("ok", "workers", ", ".join(f"process {beat.pid} on {beat.host}" for beat in alive[:10]))]


async def _relays(settings: Settings) -> list[Finding]:
    try:
        relays = parts.relays(settings)
    except (SettingsInvalid, ValueError) as error:
        problems = error.problems if isinstance(error, SettingsInvalid) else [str(error)]
        return [Finding("wrong", "relays", problem) for problem in problems]
    if not relays:
        text = "`SMTP_URL` is not set: `email-service up` keeps mail in its mailbox, and a worker alone does not start"
        return [Finding("note", "relays", text, "Set it to your relay, as smtp://user:password@host:587.")]
    found = await asyncio.gather(*(_relay(relay, settings) for relay in relays))
    return [finding for findings in found for finding in findings]


async def _relay(relay: Relay, settings: Settings) -> list[Finding]:
    what = f"relay {relay.name}"
    try:
        async with asyncio.timeout(RELAY_SECONDS):
            hello = settings.smtp_hello or socket.getfqdn()
            session = await Session.open(relay, Timeouts(**settings.smtp_timeouts), hello)
            await session.quit()
    except TimeoutError:
        return [Finding("wrong", what, f"it was not ready within {RELAY_SECONDS:g} s", "Check host and port in `SMTP_URL`.")]
    except RelayTrouble as trouble:
        found = meaning(trouble.outcome.stage, trouble.outcome.reply)
        text = f"{found.text} ({trouble.outcome.said})"
        return [Finding("wrong", what, text, found.what or "It may come right by itself: try again in a minute.")]
    return [*_notes(what, relay, session, settings.max_message_bytes)] or [Finding("ok", what, _met(relay, session))]


def _met(relay: Relay, session: Session) -> str:
    limit = size(session.size_limit) if session.size_limit else "any size"
    return f"{session.tls or 'no TLS'}, {'signed in' if relay.user is not None else 'no login'}, takes {limit}"


def _notes(what: str, relay: Relay, session: Session, largest: int) -> Iterable[Finding]:
    if session.tls is None and not relay.is_loopback:
        yield Finding("note", what, "mail goes there in clear text", "Use smtp:// (STARTTLS) or smtps:// in `SMTP_URL`.")
    if session.tls is not None and not relay.verify:
        text = "its certificate is not verified: anybody in between can read the mail and the password"
        yield Finding("note", what, text, "Take `?verify=no` out of `SMTP_URL`; for a private CA use `?ca=FILE`.")
    if session.certificate_ends is not None and (days := (session.certificate_ends - time.time()) / 86_400) < RENEW_DAYS:
        text = f"its certificate ends in {days:.0f} days; no mail goes there after that"
        yield Finding("note", what, text, "Whoever runs the relay must renew it.")
    if 0 < session.size_limit < largest:
        text = f"it takes {size(session.size_limit)} at most, here {size(largest)} are accepted: what is larger will fail"
        yield Finding("note", what, text, f"Set `MAX_MESSAGE_BYTES={session.size_limit}`.")


async def _domains(settings: Settings, group: Group, ledger: Ledger, asked: Sequence[str]) -> list[Finding]:
    try:
        senders = await _senders(settings, group, ledger)
    except StoreUnavailable:
        senders = []
    domains = list(dict.fromkeys([*map(_wire, asked), *(_wire(sender.rpartition("@")[2]) for sender in senders)]))
    domains = [domain for domain in domains if domain][:DOMAINS]
    if not domains:
        text = "none is known yet: no client has allowed senders, and no email was sent"
        return [Finding("note", "domains", text, "Name those that you send from: `email-service doctor shop.example`.")]
    try:
        resolver = system_resolver()
    except OSError as error:
        return [Finding("note", "domains", str(error))]
    found = await asyncio.gather(*(look_up(domain, resolver) for domain in domains))
    return [finding for findings in found for finding in findings]


async def _senders(settings: Settings, group: Group, ledger: Ledger) -> list[str]:
    clients = list(parse_api_keys(settings.api_keys.reveal()).values()) if settings.api_keys is not None else []
    clients += [stored.client for stored in await Keyring(group, {}).all()]
    newest = await ledger.page(limit=50)
    patterns = [pattern for client in clients for pattern in client.senders if pattern != "*"]
    return [*patterns, *(record.letter.sender for record in newest.records)]


def _wire(domain: str) -> str:
    """The domain in A-labels; empty for what is none."""
    try:
        return wire_host(domain, 0, len(domain))
    except ValueError:
        return ""
