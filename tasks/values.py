"""What a setting's text means, and how a value is written again. Every reader raises ``ValueError`` with the rule.

This module is the values of settings; what settings there are, ``settings`` says.
"""

import re
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote, urlsplit

from tasks.rate import Rate, parse_rate
from tasks.secret import Secret

TIMEOUT_STAGES = ("connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "quit")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)\Z")
_SIZE = re.compile(r"([0-9]{1,12})(kB|MB|GB|B)?\Z")
_LONGEST = 36_500 * 86_400
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {None: 1, "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_NEXT_URL = re.compile(r"(?<=,)(?=\s*[A-Za-z+]{1,16}://)")
_QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&#]+")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def seconds(text: str) -> float:
    """A duration such as ``30s``, ``5m``, ``4h``, ``5d`` or ``250ms``, in seconds. A bare ``0`` is allowed."""
    if text == "0":
        return 0.0
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("must be a duration such as 30s, 5m, 4h or 5d")
    found = float(match[1]) * _SECONDS[match[2]]
    if found > _LONGEST:
        raise ValueError("must be at most 36500d")
    return found


def octets(text: str) -> int:
    """A size such as ``25MB``, ``512kB`` or a plain number of bytes (decimal units)."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError("must be a size such as 25MB, 512kB or a number of bytes")
    return int(match[1]) * _BYTES[match[2]]


def some_seconds(text: str) -> float:
    """A duration of at least a second."""
    found = seconds(text)
    if found < 1:
        raise ValueError("must be at least 1s")
    return found


def delays(text: str) -> tuple[float, ...]:
    """Durations above zero, separated by commas."""
    found = tuple(seconds(part.strip()) for part in text.split(","))
    if not all(delay > 0 for delay in found):
        raise ValueError("must be durations above zero, as 1m,2m,5m")
    return found


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high:,}")
        return int(text)

    return read


def yes_or_no(text: str) -> bool:
    """A switch."""
    if text.lower() in {"1", "yes", "true", "on"}:
        return True
    if text.lower() in {"0", "no", "false", "off"}:
        return False
    raise ValueError("must be yes or no")


def log_level(text: str) -> str:
    """One of the four levels."""
    if text.upper() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return text.upper()


def redis_url(text: str) -> Secret:
    """Where Redis is; it may hold a password."""
    if not re.match(r"(redis|rediss|unix|redis\+sentinel|rediss\+sentinel)://", text):
        raise ValueError("must start with redis://, rediss://, unix:// or redis+sentinel://")
    if not _is_redis_address(text):
        raise ValueError("must be like redis://user:password@host:6379/0; percent-encode / ? # in a password (%2F %3F %23)")
    return Secret(text)


def _is_redis_address(text: str) -> bool:
    try:
        where = urlsplit(text)
        places = where.netloc.rpartition("@")[2].split(",")
        is_right = all(place.count(":") < 2 or "[" in place for place in places)
        is_right &= all(urlsplit(f"//{place}").port != 0 for place in places)
    except ValueError:
        return False
    if text.startswith("unix:"):
        return is_right and len(where.path) > 1
    if "+sentinel" not in where.scheme:
        return is_right and len(places) == 1 and re.fullmatch(r"/?[0-9]{0,4}", where.path) is not None
    return is_right


def recipient_limit(text: str) -> Rate | None:
    """A rate, or ``0`` for none."""
    return None if text == "0" else parse_rate(text)


def public_url(text: str) -> str:
    """A web address without a path."""
    if not re.match(r"https?://[^\s/?#]+\Z", text.rstrip("/")):
        raise ValueError("must be like https://mail.example.com, with no path")
    return text.rstrip("/")


def hosts(text: str) -> tuple[str, ...]:
    """Host names separated by commas, or ``*``."""
    return tuple(part if part == "*" else host(part) for part in filter(None, map(str.strip, text.lower().split(","))))


def host(text: str) -> str:
    """A host name or an address."""
    if not re.match(r"[A-Za-z0-9.:_-]{1,253}\Z", text):
        raise ValueError("must be a host name or an address")
    return text


def timeouts(text: str) -> dict[str, float]:
    """Durations by stage."""
    found: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        stage, separator, value = part.partition("=")
        if not separator or stage not in TIMEOUT_STAGES:
            raise ValueError(f"must be like connect=30s,dot=10m; the stages are {', '.join(TIMEOUT_STAGES)}")
        found[stage] = seconds(value)
        if found[stage] <= 0:
            raise ValueError("durations must be above zero")
    return found


def without_passwords(text: str) -> str:
    """URLs with ``***`` where a password stands."""
    return "".join(_hide_password(url) for url in _NEXT_URL.split(text))


def _hide_password(url: str) -> str:
    head, at, rest = url.rpartition("@")
    scheme, _, login = head.partition("://")
    user = f"{login.partition(':')[0]}:" if ":" in login else ""
    return _QUERY_PASSWORD.sub("***", f"{scheme}://{user}***@{rest}" if at else url)


def passwords(text: str) -> set[str]:
    """The passwords in URLs, as they are written and as they are meant."""
    found: set[str] = set()
    for url in _NEXT_URL.split(text):
        found.add(url.rpartition("@")[0].partition("://")[2].partition(":")[2])
        found.update(_QUERY_PASSWORD.findall(url))
    return {form for password in found if password for form in (password, unquote(password))}


def as_written(value: object) -> object:
    """A value as one would write it into the environment."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _duration(value)
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        return ",".join(str(as_written(part)) for part in parts)
    if isinstance(value, dict):
        pairs = cast(dict[str, float], value)
        return ",".join(f"{stage}={_duration(part)}" for stage, part in pairs.items())
    return value


def _duration(value: float) -> str:
    """Seconds in the largest unit that gives a whole number."""
    for unit in ("d", "h", "m", "s"):
        if value and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    return f"{value * 1000:.0f}ms" if value else "0"
