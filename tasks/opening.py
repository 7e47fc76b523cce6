"""From nothing to a session: TCP, the greeting, EHLO, STARTTLS, AUTH, each with its own limit, each once.

This module is how a relay is met; with ``smtp``, which has the session then, it is the only one that knows aiosmtplib.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Final, NoReturn, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from tasks.classify import classify, classify_fault, parse_reply
from tasks.errors import EmailServiceError
from tasks.outcome import Fault, Outcome, Stage
from tasks.relay import Relay
from tasks.transaction import Timeouts
from tasks.wire import dial, find_fault

ERRORS: Final = (aiosmtplib.SMTPException, OSError)
"""What aiosmtplib and the network raise."""


class RelayTrouble(EmailServiceError):
    """The relay, or our access to it, is not as it should be. ``outcome`` is of kind hold: no email is to blame."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.stage}: {outcome.said}")
        self.outcome = outcome


async def open_client(relay: Relay, timeouts: Timeouts, local_hostname: str) -> aiosmtplib.SMTP:
    """Connects, greets, makes the link secure and signs in, each once; never falls back to clear text.

    Raises RelayTrouble for whatever goes wrong; nothing of the connection is left then.
    """
    client = aiosmtplib.SMTP(hostname=relay.host, local_hostname=local_hostname, start_tls=False)
    try:
        await _connect(client, relay, timeouts)
        await _greet(client, timeouts)
        if relay.tls == "starttls":
            await _start_tls(client, relay, timeouts)
            await _greet(client, timeouts)
        if relay.user is not None and relay.password is not None:
            await _sign_in(client, relay, relay.user, relay.password.reveal(), timeouts)
        if not client.is_connected:
            _fail("ehlo", Fault("closed", "the relay closed the connection"))
        return client
    except BaseException:
        _drop(client)
        raise


def surplus_of(protocol: SMTPProtocol) -> bytes:
    """What came behind the reply that was read last. aiosmtplib shows it nowhere else; test_guards pins the name."""
    return bytes(protocol._buffer)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _connect(client: aiosmtplib.SMTP, relay: Relay, timeouts: Timeouts) -> None:
    """TCP, TLS where it is implicit, and the greeting, each with its own limit."""
    implicit = relay.tls == "implicit"
    context = _tls_context(relay, "connect") if implicit else None
    async with _stage("connect", timeouts.connect):
        sock = await dial(relay.host, relay.port, timeouts.connect)
    try:  # the client owns the socket from here on
        async with asyncio.timeout(timeouts.greeting):
            await client.connect(sock=sock, use_tls=implicit, tls_context=context, timeout=None)
    except ERRORS as error:
        greeted = not implicit or _has_reply(error) or isinstance(error.__cause__, aiosmtplib.SMTPException)
        raise _trouble("greeting" if greeted else "connect", error, timeouts.greeting) from None
    _check_surplus(client, "greeting")


async def _greet(client: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
    async with _stage("ehlo", timeouts.ehlo):
        await client.ehlo(timeout=None)
    _check_surplus(client, "ehlo")


async def _start_tls(client: aiosmtplib.SMTP, relay: Relay, timeouts: Timeouts) -> None:
    """RFC 3207. What the relay said before TLS is forgotten, and what came behind its 220 is thrown away by aiosmtplib."""
    if not client.supports_extension("starttls"):
        _fail("starttls", Fault("no_starttls", "the relay does not offer STARTTLS; clear text is never used instead"))
    context = _tls_context(relay, "starttls")
    async with _stage("starttls", timeouts.starttls):
        await client.starttls(tls_context=context, timeout=None)


async def _sign_in(client: aiosmtplib.SMTP, relay: Relay, user: str, password: str, timeouts: Timeouts) -> None:
    """One mechanism, once: a second try with the same password only brings the account nearer to its lock-out."""
    if not relay.may_send_password:
        _fail("auth", Fault("plain_auth", "the password would leave in clear text"))
    verbs = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    order = ["plain", "login", "cram-md5"] if relay.tls != "plain" else ["cram-md5", "plain", "login"]
    method = next((name for name in order if name in client.server_auth_methods), None)
    if method is None:
        _fail("auth", Fault("no_auth", "the relay offers no AUTH that is known here (PLAIN, LOGIN, CRAM-MD5)"))
    async with _stage("auth", timeouts.auth, hide=_login_forms(user, password)):
        await verbs[method](user, password, timeout=None)
    _check_surplus(client, "auth")


def _login_forms(user: str, password: str) -> list[str]:
    """How a password may stand in a reply that quotes our command."""
    forms = [f"\0{user}\0{password}", password]
    return [base64.b64encode(form.encode()).decode() for form in forms] + [password]


@contextlib.asynccontextmanager
async def _stage(stage: Stage, limit: float, hide: Iterable[str] = ()) -> AsyncGenerator[None]:
    """Gives what is inside ``limit`` seconds, and turns what goes wrong into RelayTrouble without ``hide`` in its text."""
    try:
        async with asyncio.timeout(limit):
            yield
    except ERRORS as error:
        raise _trouble(stage, error, limit, hide) from None


def _trouble(stage: Stage, error: Exception, limit: float, hide: Iterable[str] = ()) -> RelayTrouble:
    if not isinstance(error, aiosmtplib.SMTPResponseException) or not _has_reply(error):
        return RelayTrouble(classify_fault(stage, find_fault(error, limit)))
    text = error.message
    for secret in hide:
        text = text.replace(secret, "***")
    return RelayTrouble(classify(stage, parse_reply(error.code, text)))


def _has_reply(error: Exception) -> bool:
    """aiosmtplib reports a reply that it cannot read as one with the code -1."""
    return isinstance(error, aiosmtplib.SMTPResponseException) and error.code >= 0


def _fail(stage: Stage, fault: Fault) -> NoReturn:
    raise RelayTrouble(classify_fault(stage, fault))


def _check_surplus(client: aiosmtplib.SMTP, stage: Stage) -> None:
    if client.protocol is not None and surplus_of(client.protocol):
        _fail(stage, Fault("surplus", "the relay sent more than one reply to one command"))


def _tls_context(relay: Relay, stage: Stage) -> ssl.SSLContext:
    try:
        return relay.tls_context()
    except OSError:
        _fail(stage, Fault("certificate", f"the CA file {relay.ca} cannot be read"))


def _drop(client: aiosmtplib.SMTP) -> None:
    if client.transport is not None:
        cast(asyncio.Transport, client.transport).abort()
    client.close()
