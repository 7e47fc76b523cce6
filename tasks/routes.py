"""Which relays an email may go to, by its sender.

A relay of ``SMTP_URL`` with ``?senders=*@a.example|*@b.example`` takes the mail of those senders alone; relays without it take
the rest. Several relays with the same senders are one route, in order of preference. Workers write the routes into Redis, and
the API reads them there, so that mail for a relay that is down waits apart from all other mail.

This module is routes as data and the choice among them.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from tasks.address import matches
from tasks.relay import Relay

MAIN = "main"


class Route(msgspec.Struct, frozen=True):
    """``senders`` are patterns, none for the main route; ``relays`` are names, best first."""

    name: str
    senders: list[str]
    relays: list[str]


def routes_of(relays: Sequence[Relay]) -> list[Route]:
    """The routes that ``relays`` make; the main one always exists, last."""
    found: dict[tuple[str, ...], list[str]] = {}
    for relay in relays:
        found.setdefault(relay.senders, []).append(relay.name)
    main = found.pop((), [])
    routes = [Route(_name(senders), list(senders), names) for senders, names in found.items()]
    return [*routes, Route(MAIN, [], main)]


def choose(routes: Sequence[Route], sender: str) -> str:
    """The name of the route for ``sender``, an envelope address."""
    for route in routes:
        if any(matches(sender, pattern) for pattern in route.senders):
            return route.name
    return MAIN


def _name(senders: tuple[str, ...]) -> str:
    return hashlib.sha256("|".join(senders).encode()).hexdigest()[:8]
