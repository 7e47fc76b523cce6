"""The settings of a process: read once from the environment, validated, shown without secrets.

Each variable has one line in ``TABLE``: its name, how it is read, its default as it would be written, and what it means. A
variable ``NAME`` may also come as ``NAME_FILE``, the path of a file that holds it (container secrets). All wrong values are
reported together.

This module is the only one that reads ``os.environ``.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tasks.errors import SettingsInvalid
from tasks.rate import Rate
from tasks.secret import Secret
from tasks.values import (
    as_written,
    delays,
    host,
    hosts,
    log_level,
    octets,
    public_url,
    recipient_limit,
    redis_url,
    seconds,
    some_seconds,
    timeouts,
    whole,
    without_passwords,
    yes_or_no,
)


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
    Variable("REDIS_URL", redis_url, None, "Redis or Valkey: `redis://host:6379/0`, `rediss://`, `unix://`, "
             "`redis+sentinel://host1:26379,host2:26379/name`. `up` starts its own where this is not set; the other commands "
             "then use that one if it runs, else `redis://127.0.0.1:6379/0`"),
    Variable("REDIS_WAIT_REPLICAS", whole(0, 10), "0", "each 202 waits until so many replicas hold the email"),
    Variable("REDIS_ALLOW_EVICTION", yes_or_no, "no", "start even where Redis may evict keys (it can lose mail)"),
    Variable("HTTP_HOST", host, "127.0.0.1", "address to listen on"),
    Variable("HTTP_PORT", whole(1, 65535), "8014", "port to listen on"),
    Variable("PUBLIC_URL", public_url, None, "the address that people use, where it differs, as `https://mail.example.com`"),
    Variable("ALLOWED_HOSTS", hosts, "", "further names by which browsers reach the pages, separated by commas; `localhost`, "
             "`HTTP_HOST`, the host of `PUBLIC_URL` and addresses always are, `*` is any name"),
    Variable("DATA_DIR", Path, "var", "folder of the embedded Valkey, its credentials and the logs"),
    Variable("LOG_DIR", Path, None, "folder of the log files; `DATA_DIR/log` where not set"),
    Variable("LOG_LEVEL", log_level, "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`"),
    Variable("MAX_MESSAGE_BYTES", octets, "25MB", "the largest message, as it goes to the relay"),
    Variable("MAX_REQUEST_BYTES", octets, "40MB", "the largest request body"),
    Variable("MAX_RECIPIENTS", whole(1, 1000), "50", "recipients of one email"),
    Variable("QUEUE_LIMIT", whole(1, 10**9), "1000000", "waiting emails; beyond it a POST gets 503"),
    Variable("RECIPIENT_LIMIT", recipient_limit, "0", "what one recipient may get from one client, as `20/h`; beyond it a "
             "POST gets 429. Set it where strangers choose the recipient, as in a sign-up form; `0` is no limit"),
    Variable("MAX_AGE", some_seconds, "5d", "an email not delivered after this long fails with the relay's last reply"),
    Variable("RETRY_DELAYS", delays, "1m,2m,5m,10m,20m,30m,1h,1h,2h,2h,4h", "waits after a «later»; the last one repeats"),
    Variable("RETAIN_CONTENT", seconds, "0", "how long the content of a sent email is kept"),
    Variable("RETAIN_RECORDS", some_seconds, "30d", "how long the record of a finished email is kept"),
    Variable("SMTP_CONNECTIONS", whole(1, 1000), "10", "connections of one worker; 1 keeps exact order at the relay"),
    Variable("SMTP_HELLO", host, None, "the name in EHLO; the host's own where not set"),
    Variable("SMTP_TIMEOUTS", timeouts, "", "overrides by stage, as `connect=30s,dot=10m`"),
    Variable("SMTP_UTF8", yes_or_no, "no", "accept addresses with a non-ASCII local part (needs a relay with SMTPUTF8)"),
    Variable("WORKER_CONCURRENCY", whole(1, 10000), "50", "emails one worker has in hand at a time"),
    Variable("WORKER_GRACE", seconds, "30s", "how long a stopping worker finishes what is under way"),
    Variable("MAILBOX_LIMIT", whole(1, 1000000), "1000", "emails the mailbox keeps, the newest"),
    Variable("MAILBOX_AGE", seconds, "7d", "how long the mailbox keeps an email"),
    Variable("MAILBOX_PORT", whole(1, 65535), "8025", "loopback SMTP port of the mailbox that `up` starts without SMTP_URL"),
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
    found: dict[str, Any] = {}
    for variable in TABLE:
        name = variable.name
        try:
            text = _raw(name, environ)
            text = variable.default if text is None else text
            found[variable.field] = None if text is None else variable.read(text)
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
    return Settings(**found)


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
            value = without_passwords(value.reveal()) if variable.name.endswith("_URL") else "***"
        elif variable.name == "LOG_DIR":
            value = settings.logs
        else:
            value = as_written(value)
        lines.append(f"{variable.name}={'' if value is None else value}")
    return lines


def changed(settings: Settings) -> str:
    """One line for the log of a start: what is not at its default, secrets as ``***``."""
    usual = shown(read({}))
    lines = [line for line, at_default in zip(shown(settings), usual, strict=True) if line != at_default]
    return " | ".join(lines) or "none"  # what hides secrets takes what is stuck to them, too


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
