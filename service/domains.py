"""What the DNS says of a domain that mail is sent from: can it be answered, and have receivers reason to trust it.

::

    MX, A, AAAA     bounces and answers arrive; without any, relays refuse the sender      (RFC 5321 5.1, RFC 7505)
    TXT             one SPF record that does not allow everybody                           (RFC 7208)
    _dmarc TXT      a DMARC policy, at the domain or above it                              (RFC 7489)

DKIM cannot be looked up: only whoever signs, the relay, knows the name of its record.

This module is that look-up and its judgement; it knows nothing of mail that was sent.
"""

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from service.finding import Finding

SECONDS = 5.0
"""For each answer."""

Resolver = dns.asyncresolver.Resolver
_NOTHING = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


def system_resolver() -> Resolver:
    """As this machine is set up. Raises ``OSError`` where it is not."""
    try:
        return Resolver()
    except dns.exception.DNSException as error:
        raise OSError(f"no name server is set up here ({error})") from None


async def look_up(domain: str, resolver: Resolver) -> list[Finding]:
    """What there is to say of a domain, A-labels. A DNS that does not answer is a finding too."""
    what = f"domain {domain}"
    try:
        found = [finding for finding in (await _mail(what, domain, resolver),) if finding is not None]
        if found and found[0].mark == "wrong":
            return found
        found += await _spf(what, domain, resolver)
        found += await _dmarc(what, domain, resolver)
    except dns.exception.DNSException as error:
        cure = "Try again; if it stays so, look at this machine's name servers."
        return [Finding("note", what, f"the DNS does not answer ({type(error).__name__})", cure)]
    return found or [Finding("ok", what, "answers can arrive; SPF and DMARC are there")]


async def _mail(what: str, domain: str, resolver: Resolver) -> Finding | None:
    try:
        answer = await resolver.resolve(f"{domain}.", "MX", lifetime=SECONDS)
    except dns.resolver.NXDOMAIN:
        return Finding("wrong", what, "it does not exist: relays refuse its senders", "Register it, or send from another.")
    except dns.resolver.NoAnswer:
        if await _is_there(domain, "A", resolver) or await _is_there(domain, "AAAA", resolver):
            return None
        text = "it has no MX and no address: bounces and answers cannot arrive, and relays refuse its senders"
        return Finding("wrong", what, text, f"Publish an MX record: {domain}. MX 10 <your mail server>.")
    if all(isinstance(record, MX) and record.exchange.to_text() == "." for record in answer):
        return Finding("wrong", what, "its MX says that it takes no mail (RFC 7505): relays refuse its senders",
                       "Publish an MX record that names a mail server, or send from another domain.")  # fmt: skip
    return None


async def _is_there(domain: str, kind: str, resolver: Resolver) -> bool:
    try:
        await resolver.resolve(f"{domain}.", kind, lifetime=SECONDS)
    except _NOTHING:
        return False
    return True


async def _spf(what: str, domain: str, resolver: Resolver) -> list[Finding]:
    records = [text for text in await _texts(domain, resolver) if text.lower().split(" ")[0] == "v=spf1"]
    if not records:
        cure = f'Publish what your relay asks for, as {domain}. TXT "v=spf1 include:<your relay\'s domain> ~all".'
        return [Finding("note", what, "there is no SPF record: receivers cannot tell who may send for it", cure)]
    if len(records) > 1:
        text = f"there are {len(records)} SPF records, which receivers take for an error (RFC 7208, section 4.5)"
        return [Finding("wrong", what, text, "Put all of it into one record.")]
    if {"all", "+all"} & set(records[0].lower().split()):
        cure = "End the record in ~all or -all."
        return [Finding("note", what, "its SPF record lets everybody send for it (+all)", cure)]
    return []


async def _dmarc(what: str, domain: str, resolver: Resolver) -> list[Finding]:
    labels = domain.split(".")
    for start in range(max(1, len(labels) - 1)):
        name = ".".join(["_dmarc", *labels[start:]])
        if any(text.lower().replace(" ", "").startswith("v=dmarc1") for text in await _texts(name, resolver)):
            return []
    cure = f'Publish at least _dmarc.{domain}. TXT "v=DMARC1; p=none".'
    return [Finding("note", what, "there is no DMARC record: large receivers refuse bulk mail without one", cure)]


async def _texts(name: str, resolver: Resolver) -> list[str]:
    try:
        answer = await resolver.resolve(f"{name}.", "TXT", lifetime=SECONDS)
    except _NOTHING:
        return []
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer if isinstance(record, TXT)]
