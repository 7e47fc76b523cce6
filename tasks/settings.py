"""The settings of a process: read once from the environment, validated, shown without secrets.

Each variable has one line in ``TABLE``: its name, how it is read, its default as it would be written, and what it means. A
variable ``NAME`` may also come as ``NAME_FILE``, the path of a file that holds it (container secrets). All wrong values are
reported together.

This module is the only one that reads ``os.environ``.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import msgspec

from tasks.errors import SettingsInvalid
from tasks.rate import Rate, parse_rate
from tasks.secret import Secret

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)\Z")
_SIZE = re.compile(r"([0-9]{1,12})(kB|MB|GB|B)?\Z")
_LONGEST = 36_500 * 86_400
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {None: 1, "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
_NEXT_URL = re.compile(r"(?<=,)(?=\s*[A-Za-z+]{1,16}://)")
_QUERY_PASSWORD = re.compile(r"(?<=[?&]password=)[^&#]+")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


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


def _some_seconds(text: str) -> float:
    found = seconds(text)
    if found < 1:
        raise ValueError("must be at least 1s")
    return found


def _delays(text: str) -> tuple[float, ...]:
    delays = tuple(seconds(part.strip()) for part in text.split(","))
    if not all(delay > 0 for delay in delays):
        raise ValueError("must be durations above zero, as 1m,2m,5m")
    return delays


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high:,}")
        return int(text)

    return read


def _yes(text: str) -> bool:
    if text.lower() in {"1", "yes", "true", "on"}:
        return True
    if text.lower() in {"0", "no", "false", "off"}:
        return False
    raise ValueError("must be yes or no")


def _level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ValueError(f"must be one of {', '.join(_LEVELS)}")
    return text.upper()


def _redis_url(text: str) -> Secret:
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


def _recipient_limit(text: str) -> Rate | None:
    return None if text == "0" else parse_rate(text)


def _public_url(text: str) -> str:
    if not re.match(r"https?://[^\s/?#]+\Z", text.rstrip("/")):
        raise ValueError("must be like https://mail.example.com, with no path")
    return text.rstrip("/")


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(part if part == "*" else _host(part) for part in filter(None, map(str.strip, text.lower().split(","))))


def _host(text: str) -> str:
    if not re.match(r"[A-Za-z0-9.:_-]{1,253}\Z", text):
        raise ValueError("must be a host name or an address")
    return text


def _timeouts(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        stage, separator, value = part.partition("=")
        if not separator or stage not in TIMEOUT_STAGES:
            raise ValueError(f"must be like connect=30s,dot=10m; the stages are {', '.join(TIMEOUT_STAGES)}")
        found[stage] = seconds(value)
        if found[stage] <= 0:
            raise ValueError("durations must be above zero")
    return found


def _without_passwords(text: str) -> str:
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


TIMEOUT_STAGES = ("connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot", "quit")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What ``TABLE`` says, by name in lower case. Durations are seconds, sizes bytes; no value means the feature is off."""

    redis_url: Secret | None
    redis_wait_replicas: int
    redis_allow_eviction: bool
    smtp_url: Secret | None
    smtp_connections: int
    smtp_hello: str | None
    smtp_timeouts: dict[str, float]
    smtp_utf8: bool
    http_host: str
    http_port: int
    public_url: str | None
    allowed_hosts: tuple[str, ...]
    admin_password: Secret | None
    api_keys: Secret | None
    data_dir: Path
    log_dir: Path | None
    log_level: str
    max_message_bytes: int
    max_request_bytes: int
    max_recipients: int
    queue_limit: int
    recipient_limit: Rate | None
    max_age: float
    retry_delays: tuple[float, ...]
    retain_content: float
    retain_records: float
    worker_concurrency: int
    worker_grace: float
    mailbox_limit: int
    mailbox_age: float
    mailbox_port: int

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.log_dir or self.data_dir / "log"

    @property
    def redis(self) -> Secret:
        """Where Redis is: ``REDIS_URL``, else the embedded Valkey of ``DATA_DIR`` while it runs, else the usual port."""
        if self.redis_url is not None:
            return self.redis_url
        socket = embedded_socket(self.data_dir)
        return Secret(f"unix://{socket}" if socket.exists() else "redis://127.0.0.1:6379/0")

    @property
    def address(self) -> str:
        """The address under which people reach the HTTP side."""
        host = "127.0.0.1" if self.http_host in {"0.0.0.0", "::"} else self.http_host  # noqa: S104 (compared, not bound)
        return self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.http_port}"


class Variable(msgspec.Struct, frozen=True):
    """One line of the table. ``default`` is the text one would write into the environment; None: no value."""

    name: str
    read: Callable[[str], Any]
    default: str | None
    meaning: str

    @property
    def field(self) -> str:
        """The name in ``Settings``."""
        return self.name.lower()


TABLE: tuple[Variable, ...] = (
    Variable(
        "SMTP_URL", Secret, None,
        "the relay, or several separated by commas, in order of preference: `smtps://user:pass@host:465` (TLS), "
        "`smtp://user:pass@host:587` (STARTTLS required), `smtp+plain://host:25` (no TLS). `?ca=FILE`, `?verify=no`, "
        "`?allow_plain_auth=1`, `?rate=14/s`, `?senders=*@a.example` (only their mail, and all of it). Percent-encode special "
        "characters. Without it `up` keeps mail in the mailbox",
    ),
    Variable("API_KEYS", Secret, None, "clients as `name:key`, `name:key:*@a.example\\|*@b.example` (allowed senders), "
             "`name:key::capture` (mode), `name:key:::100/m` (rate), separated by commas; more with `email-service key add`"),
    Variable("ADMIN_PASSWORD", Secret, None, "the operator's password; without it the pages are closed"),
    Variable("REDIS_URL", _redis_url, None, "Redis or Valkey: `redis://host:6379/0`, `rediss://`, `unix://`, "
             "`redis+sentinel://host1:26379,host2:26379/name`. `up` starts its own where this is not set; the other commands "
             "then use that one if it runs, else `redis://127.0.0.1:6379/0`"),
    Variable("REDIS_WAIT_REPLICAS", _whole(0, 10), "0", "each 202 waits until so many replicas hold the email"),
    Variable("REDIS_ALLOW_EVICTION", _yes, "no", "start even where Redis may evict keys (it can lose mail)"),
    Variable("HTTP_HOST", _host, "127.0.0.1", "address to listen on"),
    Variable("HTTP_PORT", _whole(1, 65535), "8014", "port to listen on"),
    Variable("PUBLIC_URL", _public_url, None, "the address that people use, where it differs, as `https://mail.example.com`"),
    Variable("ALLOWED_HOSTS", _hosts, "", "further names by which browsers reach the pages, separated by commas; `localhost`, "
             "`HTTP_HOST`, the host of `PUBLIC_URL` and addresses always are, `*` is any name"),
    Variable("DATA_DIR", Path, "var", "folder of the embedded Valkey, its credentials and the logs"),
    Variable("LOG_DIR", Path, None, "folder of the log files; `DATA_DIR/log` where not set"),
    Variable("LOG_LEVEL", _level, "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`"),
    Variable("MAX_MESSAGE_BYTES", octets, "25MB", "the largest message, as it goes to the relay"),
    Variable("MAX_REQUEST_BYTES", octets, "40MB", "the largest request body"),
    Variable("MAX_RECIPIENTS", _whole(1, 1000), "50", "recipients of one email"),
    Variable("QUEUE_LIMIT", _whole(1, 10**9), "1000000", "waiting emails; beyond it a POST gets 503"),
    Variable("RECIPIENT_LIMIT", _recipient_limit, "0", "what one recipient may get from one client, as `20/h`; beyond it a "
             "POST gets 429. Set it where strangers choose the recipient, as in a sign-up form; `0` is no limit"),
    Variable("MAX_AGE", _some_seconds, "5d", "an email not delivered after this long fails with the relay's last reply"),
    Variable("RETRY_DELAYS", _delays, "1m,2m,5m,10m,20m,30m,1h,1h,2h,2h,4h", "waits after a «later»; the last one repeats"),
    Variable("RETAIN_CONTENT", seconds, "0", "how long the content of a sent email is kept"),
    Variable("RETAIN_RECORDS", _some_seconds, "30d", "how long the record of a finished email is kept"),
    Variable("SMTP_CONNECTIONS", _whole(1, 1000), "10", "connections of one worker; 1 keeps exact order at the relay"),
    Variable("SMTP_HELLO", _host, None, "the name in EHLO; the host's own where not set"),
    Variable("SMTP_TIMEOUTS", _timeouts, "", "overrides by stage, as `connect=30s,dot=10m`"),
    Variable("SMTP_UTF8", _yes, "no", "accept addresses with a non-ASCII local part (needs a relay with SMTPUTF8)"),
    Variable("WORKER_CONCURRENCY", _whole(1, 10000), "50", "emails one worker has in hand at a time"),
    Variable("WORKER_GRACE", seconds, "30s", "how long a stopping worker finishes what is under way"),
    Variable("MAILBOX_LIMIT", _whole(1, 1000000), "1000", "emails the mailbox keeps, the newest"),
    Variable("MAILBOX_AGE", seconds, "7d", "how long the mailbox keeps an email"),
    Variable("MAILBOX_PORT", _whole(1, 65535), "8025", "loopback SMTP port of the mailbox that `up` starts without SMTP_URL"),
)  # fmt: skip


def embedded_socket(data_dir: Path) -> Path:
    """The socket of the embedded Valkey. Sockets' names are short (108 bytes): a deep folder gets one under /tmp."""
    path = data_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= 100:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ems-{os.getuid()}-{digest}" / "valkey.sock"


def read(
    environ: Mapping[str, str] | None = None,
    *,
    required: Sequence[str] = (),
    checks: Mapping[str, Callable[[str], object]] | None = None,
) -> Settings:
    """The settings in ``environ`` (default: the process's own). Raises ``SettingsInvalid`` with every problem at once.

    Each process says what it cannot do without (``required``) and how it reads what only it uses (``checks``: a function of
    the text that raises ``ValueError`` or ``SettingsInvalid``). Empty variables count as not set.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in TABLE:
        name = variable.name
        try:
            text = _raw(name, environ)
            text = variable.default if text is None else text
            values[variable.field] = None if text is None else variable.read(text)
            if text is None and name in required:
                raise ValueError(f"must be set: {variable.meaning.partition(';')[0].partition('. ')[0]}")
            if text is not None and checks is not None and name in checks:
                checks[name](text)
        except SettingsInvalid as error:
            problems += [f"{name}: {problem}" for problem in error.problems]
        except (ValueError, OSError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsInvalid(problems)
    return Settings(**values)


def _raw(name: str, environ: Mapping[str, str]) -> str | None:
    value, path = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if value is not None and path is not None:
        raise ValueError(f"is set, and {name}_FILE too: keep one of them")
    if path is None:
        return value
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file that {name}_FILE names cannot be read ({type(error).__name__}: {path})") from None


def shown(settings: Settings) -> list[str]:
    """One line a setting, as it would be written, secrets as ``***`` (URLs keep all but their password)."""
    lines: list[str] = []
    for variable in TABLE:
        value = getattr(settings, variable.field)
        if isinstance(value, Secret):
            value = _without_passwords(value.reveal()) if variable.name.endswith("_URL") else "***"
        elif variable.name == "LOG_DIR":
            value = settings.logs
        else:
            value = _as_written(value)
        lines.append(f"{variable.name}={'' if value is None else value}")
    return lines


def changed(settings: Settings) -> str:
    """One line for the log of a start: what is not at its default, secrets as ``***``."""
    usual = shown(read({}))
    lines = [line for line, at_default in zip(shown(settings), usual, strict=True) if line != at_default]
    return "; ".join(lines) or "none"


def _as_written(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _duration(value)
    if isinstance(value, tuple):
        parts = cast(tuple[object, ...], value)
        return ",".join(str(_as_written(part)) for part in parts)
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


def dotenv(path: Path) -> dict[str, str]:
    """The variables of a ``.env`` file: ``NAME=value`` a line, quotes around a value dropped, ``#`` lines skipped."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and name and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found


def environment() -> dict[str, str]:
    """A copy of this process's environment, for children that are started with changes to it."""
    return dict(os.environ)
