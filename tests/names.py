"""A scripted name server on loopback.

::

    async with NameServer({"shop.example": {"MX": ["10 mx.shop.example."], "TXT": ['"v=spf1 -all"']}}) as names:
        resolver = names.resolver()

What is not in the zone does not exist; a name in ``mute`` is not answered at all. This module is the DNS of tests.
"""

import asyncio
from typing import Any, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dns.asyncresolver import Resolver

Zone = dict[str, dict[str, list[str]]]


class NameServer(asyncio.DatagramProtocol):
    """Answers from ``zone``: name, type, values as in a zone file."""

    def __init__(self, zone: Zone, mute: frozenset[str] = frozenset()) -> None:
        self.zone = zone
        self.mute = mute
        self.asked: list[tuple[str, str]] = []
        self._transport: Any = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    def resolver(self) -> Resolver:
        """One that asks here, and only here."""
        resolver = Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self._transport.get_extra_info("sockname")[1]
        return resolver

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """One question."""
        query = dns.message.from_wire(data)
        [question] = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
        self.asked.append((name, kind))
        if name in self.mute:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name not in self.zone and not any(other.endswith(f".{name}") for other in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif values := self.zone.get(name, {}).get(kind):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        self._transport.sendto(answer.to_wire(), addr)
