"""The operator's session: who is signed in, and whether a POST comes from our own page.

A session is a random id, signed and dated (itsdangerous) with a secret that all processes share through Redis. Nothing else is
stored, so a session ends by itself after ``LIFETIME_SECONDS``, when the operator signs out (its id is remembered until then),
when the password changes (it goes into the key), or when the secret is deleted in Redis.

A POST is believed when it carries the session's CSRF token, which only our own pages hold, and comes from our own origin.

This module is the pages' gate; it knows Redis and nothing of HTML.
"""

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import quote, urlsplit

from itsdangerous import BadSignature, TimestampSigner

from tasks import keys
from tasks.secret import Secret
from tasks.store import Group

LIFETIME_SECONDS: Final = 12 * 3600
LINK_SECONDS: Final = 3600
NOTE_SECONDS: Final = 60
_PORTS: Final = {"http": 80, "https": 443}


class Sessions:
    """The sessions of all operators. ``password`` is None where none is set: then only a one-time link opens one.

    Every method that is awaited raises ``StoreUnavailable`` where Redis is away.
    """

    def __init__(self, group: Group, password: Secret | None) -> None:
        self._group = group
        self._password = password

    @property
    def has_password(self) -> bool:
        """Whether one can sign in by password at all."""
        return bool(self._password)

    def is_password(self, given: str) -> bool:
        """Compared in constant time; False where none is set."""
        real = self._password.reveal() if self._password else ""
        same = hmac.compare_digest(_digest(given), _digest(real))
        return same and bool(real)

    async def open(self) -> str:
        """A new session, as the cookie's value."""
        return (await self._signer()).sign(secrets.token_hex(16)).decode()

    async def read(self, cookie: str | None) -> str | None:
        """The session's id, or None where ``cookie`` is no session of ours, too old, or signed out."""
        if not cookie or len(cookie) > 200 or not cookie.isascii():
            return None
        signer = await self._signer()
        try:
            session = signer.unsign(cookie, max_age=LIFETIME_SECONDS).decode()
        except BadSignature:  # covers one that is too old
            return None
        ended = await self._group.command("EXISTS", keys.SIGNED_OUT + _hash(session))
        return None if ended else session

    async def close(self, session: str) -> None:
        """Ends a session in every process, whoever else may hold its cookie."""
        await self._group.command("SET", keys.SIGNED_OUT + _hash(session), "1", "EX", LIFETIME_SECONDS)

    async def token(self, session: str) -> str:
        """The session's CSRF token, for the forms of its pages."""
        return hmac.new(await self._key(), b"csrf " + session.encode(), "sha256").hexdigest()

    async def is_token(self, session: str, given: str) -> bool:
        """Whether ``given`` is the session's CSRF token."""
        return hmac.compare_digest(_digest(await self.token(session)), _digest(given))

    async def sign(self, session: str, text: str) -> str:
        """``text`` for an address, so that only this session's own pages believe it, and only for ``NOTE_SECONDS``."""
        return TimestampSigner(await self._key(), salt=f"note {session}", digest_method=hashlib.sha256).sign(text).decode()

    async def signed(self, session: str, given: str) -> str | None:
        """The text that ``sign`` was given, or None where this session was not."""
        if len(given) > 500 or not given.isascii():
            return None
        signer = TimestampSigner(await self._key(), salt=f"note {session}", digest_method=hashlib.sha256)
        try:
            return signer.unsign(given, max_age=NOTE_SECONDS).decode()
        except BadSignature:
            return None

    async def use_link(self, token: str) -> bool:
        """Whether ``token`` is that of an unused one-time link; it is used up by asking."""
        return await self._group.command("GETDEL", keys.SIGN_IN + _hash(token)) is not None

    async def _signer(self) -> TimestampSigner:
        return TimestampSigner(await self._key(), salt="operator", digest_method=hashlib.sha256)

    async def _key(self) -> bytes:
        secret = await self._group.command("GET", keys.SESSION_SECRET)
        if secret is None:
            await self._group.command("SET", keys.SESSION_SECRET, secrets.token_hex(32), "NX")
            secret = await self._group.command("GET", keys.SESSION_SECRET)
        password = self._password.reveal() if self._password else ""
        return hmac.new(secret, password.encode("utf-8", "replace"), "sha256").digest()


async def make_sign_in_link(group: Group, address: str) -> str:
    """A link that signs in once, within the hour, without the password. ``address`` is the service's, with its scheme.

    Only the token's SHA-256 is kept. Raises ``StoreUnavailable``.
    """
    token = secrets.token_urlsafe(32)
    await group.command("SET", keys.SIGN_IN + _hash(token), "1", "EX", LINK_SECONDS)
    return f"{address.rstrip('/')}/sign-in?token={quote(token)}"


def is_own_origin(origin: str | None, host: str, public_url: str | None) -> bool:
    """Whether a POST's ``Origin`` is this service's: ``PUBLIC_URL``'s, or that of the host asked for, by either scheme.

    No Origin at all is no browser's POST, and passes: what a program wants here it must prove by token or password.
    """
    if origin is None:
        return True
    found = _place(origin)
    return found is not None and found in (_place(public_url or ""), _place(f"{urlsplit(origin).scheme}://{host}"))


def local_path(wanted: str) -> str:
    """``wanted`` where it is a path of this service, else the status page: no link can lead elsewhere after signing in."""
    if not wanted.startswith("/") or wanted.startswith(("//", "/sign-")) or "\\" in wanted or not wanted.isprintable():
        return "/status"
    return wanted if len(wanted) <= 2000 and wanted.isascii() else "/status"


def _place(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _hash(text: str) -> str:
    return _digest(text).hex()
