"""Clients and their keys: who is calling, and what may they send.

A key made here is ``ems_<12 hex: its id>_<64 hex: 256 random bits>``, shown once; Redis keeps its SHA-256. Keys of the
environment (``API_KEYS``) may look as they like. A key found in Redis is believed for ``BELIEVE_SECONDS``, so that a
revocation holds everywhere soon after.

This module is the clients: parsing, making, finding and revoking keys. It knows nothing of HTTP.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict

import msgspec

from tasks import keys
from tasks.address import check_pattern, matches, parse
from tasks.errors import SettingsInvalid
from tasks.rate import Rate, parse_rate
from tasks.store import Group

BELIEVE_SECONDS = 2.0
REMEMBERED_KEYS = 10_000
_KEY = re.compile(r"ems_([0-9a-f]{12})_[0-9a-f]{64}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A web project. ``senders`` are patterns such as ``*@shop.example`` (none: any sender); ``mode`` is ``live``,
    ``capture`` or ``redirect:addr``; ``rate`` is how often it may ask (None: as often as it likes)."""

    name: str
    senders: list[str] = []
    mode: str = "live"
    rate: Rate | None = None

    def may_send_as(self, addr: str) -> bool:
        """Whether ``addr``, an envelope address, is one of this client's senders."""
        return not self.senders or any(matches(addr, pattern) for pattern in self.senders)


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as Redis keeps it. ``made`` in ms since 1970."""

    id: str
    client: Client
    sha256: str
    made: int


def digest(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def check_client(name: str, senders: list[str], mode: str, rate: str = "") -> Client:
    """A client with every part checked; raises ``ValueError`` with the rule that is broken."""
    if not _NAME.match(name):
        raise ValueError("a client's name is 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first")
    for pattern in senders:
        check_pattern(pattern)
    if mode.startswith("redirect:"):
        mode = f"redirect:{parse(mode.removeprefix('redirect:')).addr}"
    elif mode not in {"live", "capture"}:
        raise ValueError("a mode is live, capture or redirect:address")
    return Client(name=name, senders=senders, mode=mode, rate=parse_rate(rate) if rate else None)


def parse_api_keys(text: str) -> dict[str, Client]:
    """``API_KEYS``, as SHA-256 → client. Raises ``SettingsInvalid``, one line an entry that is wrong, without its key."""
    found: dict[str, Client] = {}
    problems: list[str] = []
    for number, entry in enumerate((part.strip() for part in text.split(",")), 1):
        if not entry:
            continue
        name, _, rest = entry.partition(":")
        key, _, rest = rest.partition(":")
        senders, _, rest = rest.partition(":")
        mode, rate = _mode_and_rate(rest)
        try:
            if len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError("a key is at least 16 printable ASCII characters, without spaces, colons or commas")
            client = check_client(name, [part for part in senders.split("|") if part], mode or "live", rate)
            if digest(key) in found:
                raise ValueError("this key stands twice")
            found[digest(key)] = client
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
    if problems:
        raise SettingsInvalid(problems)
    return found


def _mode_and_rate(text: str) -> tuple[str, str]:
    """The last two fields of an entry; ``redirect:addr`` has a colon of its own."""
    mode, _, rate = text.rpartition(":")
    return (text, "") if mode in {"", "redirect"} and not text.startswith(":") else (mode, rate)


class Keyring:
    """All keys: those of the environment and those in Redis."""

    def __init__(self, group: Group, fixed: dict[str, Client]) -> None:
        self._group = group
        self._fixed = fixed
        self._believed: OrderedDict[str, tuple[float, Client | None]] = OrderedDict()

    async def find(self, key: str) -> Client | None:
        """The client that ``key`` belongs to, or None. Raises ``StoreUnavailable`` where only Redis could tell."""
        sha256 = digest(key)
        found: Client | None = None
        for known, client in self._fixed.items():
            if hmac.compare_digest(known, sha256):
                found = client
        if found is not None:
            return found
        match = _KEY.match(key)
        return await self._stored(match[1], sha256) if match else None

    async def _stored(self, id_: str, sha256: str) -> Client | None:
        now = time.monotonic()
        until, client = self._believed.get(sha256, (0.0, None))
        if until > now:
            return client
        raw = await self._group.command("HGET", keys.KEYS, id_)
        stored = msgspec.json.decode(raw, type=StoredKey) if raw is not None else None
        client = stored.client if stored is not None and hmac.compare_digest(stored.sha256, sha256) else None
        self._believed[sha256] = (now + BELIEVE_SECONDS, client)
        self._believed.move_to_end(sha256)
        if len(self._believed) > REMEMBERED_KEYS:
            self._believed.popitem(last=False)
        return client

    async def add(self, client: Client) -> str:
        """Makes a key; this is the only time that anybody sees it."""
        id_, secret = secrets.token_hex(6), secrets.token_hex(32)
        key = f"ems_{id_}_{secret}"
        stored = StoredKey(id=id_, client=client, sha256=digest(key), made=round(time.time() * 1000))
        await self._group.command("HSET", keys.KEYS, id_, msgspec.json.encode(stored))
        return key

    async def all(self) -> list[StoredKey]:
        """Every key in Redis, oldest first."""
        flat = await self._group.command("HGETALL", keys.KEYS)
        found = [msgspec.json.decode(flat[n], type=StoredKey) for n in range(1, len(flat), 2)]
        return sorted(found, key=lambda stored: stored.made)

    async def revoke(self, id_: str) -> bool:
        """Takes a key away, by its id; False where there was none. It stops working everywhere within 5 seconds."""
        return bool(await self._group.command("HDEL", keys.KEYS, id_))


def bearer(header: str | None) -> str | None:
    """The key of an ``Authorization: Bearer …`` header, whatever the case of its scheme; None where there is none."""
    if header is None:
        return None
    scheme, _, key = header.strip().partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
