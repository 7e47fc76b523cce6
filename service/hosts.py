"""By which names browsers may reach the pages.

A foreign page can give its own name this machine's address and so become, for the browser, the same site as ours (DNS
rebinding); what it cannot change is the name, which stands in ``Host``. So the pages answer only to names that are known:
those of this machine, those of the settings, and bare addresses, since there is no name in them to give away.

Programs are no browsers: routes with a key, health checks and figures answer to any name.

This module is the list of names.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from tasks.settings import Settings

OPEN_PATHS: Final = ("/health", "/metrics", "/mailbox/next")
"""What any name may ask for, each with all that lies below it, beside the client routes."""


class Hosts:
    """The known names; ``*`` among them is any name."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def is_known(self, host: bytes) -> bool:
        """Whether ``host``, as in the header, with or without a port, is a known name or an address."""
        name = name_of(host.decode("latin-1"))
        if name in self._names or "*" in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return False
        return True


def known_hosts(settings: Settings) -> Hosts:
    """``localhost``, ``HTTP_HOST``, the host of ``PUBLIC_URL``, and ``ALLOWED_HOSTS``."""
    public = urlsplit(settings.public_url or "").hostname or ""
    return Hosts(frozenset({"localhost", settings.http_host.lower(), public, *settings.allowed_hosts} - {""}))


def name_of(host: str) -> str:
    """A ``Host`` without its port, brackets and last dot, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")
