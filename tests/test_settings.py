"""Settings: every wrong value has its line, all of them at once, and no line shows a secret."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clients import parse_api_keys
from tasks import parts
from tasks.errors import SettingsInvalid
from tasks.relay import parse_relays
from tasks.settings import TABLE, Settings, dotenv, embedded_socket, read, shown
from tasks.values import octets, passwords, seconds

SMTP = "smtp://us%40er:p%40ssword@relay.example:587"
NAMES = [variable.name for variable in TABLE]


def problems(environ: dict[str, str], **options: Any) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        read(environ, **options)
    return caught.value.problems


def test_nothing_needs_to_be_set() -> None:
    found = read({})
    assert (found.http_host, found.http_port, found.max_message_bytes, found.max_age) == (
        "127.0.0.1",
        8014,
        25_000_000,
        432_000,
    )
    assert found.retry_delays == (60, 120, 300, 600, 1200, 1800, 3600, 3600, 7200, 7200, 14400)
    assert (found.smtp_url, found.redis_url, found.api_keys, found.admin_password) == (None, None, None, None)


def test_every_field_has_its_line_in_the_table_and_a_meaning() -> None:
    assert {variable.field for variable in TABLE} == set(Settings.__struct_fields__)
    assert len(set(NAMES)) == len(NAMES)
    for variable in TABLE:
        assert variable.name.isupper()
        assert len(variable.meaning) > 10
        if variable.default is not None:
            variable.read(variable.default)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("REDIS_URL", "localhost:6379", "must start with redis://, rediss://, unix:// or redis+sentinel://"),
        ("REDIS_URL", "http://h", "must start with redis://"),
        ("REDIS_URL", "redis://h:port", "must be like redis://user:password@host:6379/0"),
        ("REDIS_URL", "redis://h:99999", "must be like redis://"),
        ("REDIS_URL", "redis://h:0", "must be like redis://"),
        ("REDIS_URL", "redis://[::1", "must be like redis://"),
        ("REDIS_URL", "redis://a:1,b:2/0", "must be like redis://"),
        ("REDIS_URL", "redis://::1:6379", "must be like redis://"),
        ("REDIS_URL", "redis://:pa/ss@h", "percent-encode / ? # in a password"),
        ("REDIS_URL", "redis://h/mail", "must be like redis://"),
        ("REDIS_URL", "unix://", "must be like redis://"),
        ("REDIS_URL", "unix://[x", "must be like redis://"),
        ("REDIS_URL", "redis+sentinel://h:x/m", "must be like redis://"),
        ("REDIS_WAIT_REPLICAS", "11", "must be a whole number from 0 to 10"),
        ("REDIS_WAIT_REPLICAS", "-1", "must be a whole number from 0 to 10"),
        ("REDIS_ALLOW_EVICTION", "maybe", "must be yes or no"),
        ("HTTP_HOST", "http://0.0.0.0", "must be a host name or an address"),
        ("HTTP_HOST", "a b", "must be a host name or an address"),
        ("HTTP_PORT", "0", "must be a whole number from 1 to 65,535"),
        ("HTTP_PORT", "65536", "must be a whole number from 1 to 65,535"),
        ("HTTP_PORT", "80.0", "must be a whole number from 1 to 65,535"),
        ("HTTP_PORT", "٨٠", "must be a whole number from 1 to 65,535"),
        ("HTTP_PORT", "80\n", "must be a whole number from 1 to 65,535"),
        ("PUBLIC_URL", "mail.example.com", "must be like https://mail.example.com, with no path"),
        ("PUBLIC_URL", "https://mail.example.com/mail", "must be like https://mail.example.com, with no path"),
        ("PUBLIC_URL", "https://mail.example.com?x", "must be like https://mail.example.com, with no path"),
        ("LOG_LEVEL", "LOUD", "must be one of "),
        ("MAX_MESSAGE_BYTES", "25 MB", "must be a size such as 25MB, 512kB or a number of bytes"),
        ("MAX_REQUEST_BYTES", "1.5MB", "must be a size such as 25MB"),
        ("MAX_REQUEST_BYTES", "9" * 13, "must be a size such as 25MB"),
        ("MAX_RECIPIENTS", "0", "must be a whole number from 1 to 1,000"),
        ("ALLOWED_HOSTS", "a.example,b c", "must be a host name or an address"),
        ("RECIPIENT_LIMIT", "20 an hour", "a rate is a whole number above 0 and a unit"),
        ("QUEUE_LIMIT", "0", "must be a whole number from 1 to 1,000,000,000"),
        ("QUEUE_LIMIT", "1_000", "must be a whole number from 1 to 1,000,000,000"),
        ("MAX_AGE", "5", "must be a duration such as 30s, 5m, 4h or 5d"),
        ("MAX_AGE", "0", "must be at least 1s"),
        ("MAX_AGE", "5d ", "must be a duration"),
        ("MAX_AGE", "-5d", "must be a duration"),
        ("MAX_AGE", "36501d", "must be at most 36500d"),
        ("RETRY_DELAYS", "1m,,5m", "must be a duration"),
        ("RETRY_DELAYS", "1m,0s", "must be durations above zero, as 1m,2m,5m"),
        ("RETAIN_CONTENT", "always", "must be a duration"),
        ("RETAIN_RECORDS", "0", "must be at least 1s"),
        ("SMTP_CONNECTIONS", "1001", "must be a whole number from 1 to 1,000"),
        ("SMTP_HELLO", "my host", "must be a host name or an address"),
        ("SMTP_HELLO", "host\r\nRSET", "must be a host name or an address"),
        ("SMTP_TIMEOUTS", "dot", "must be like connect=30s,dot=10m; the stages are connect, greeting"),
        ("SMTP_TIMEOUTS", "dots=1m", "must be like connect=30s,dot=10m"),
        ("SMTP_TIMEOUTS", "dot=0", "durations must be above zero"),
        ("SMTP_TIMEOUTS", "dot=soon", "must be a duration"),
        ("SMTP_UTF8", "ja", "must be yes or no"),
        ("WORKER_CONCURRENCY", "10001", "must be a whole number from 1 to 10,000"),
        ("WORKER_GRACE", "half a minute", "must be a duration"),
        ("MAILBOX_LIMIT", "", ""),
        ("MAILBOX_LIMIT", "0", "must be a whole number from 1 to 1,000,000"),
        ("MAILBOX_AGE", "7", "must be a duration"),
        ("MAILBOX_PORT", "smtp", "must be a whole number from 1 to 65,535"),
    ],
)  # fmt: skip
def test_a_wrong_value_has_one_line_with_its_name_and_the_rule(name: str, value: str, line: str) -> None:
    if not value:
        assert read({name: value}) == read({})  # empty is not set
        return
    [found] = problems({name: value})
    assert found.startswith(f"{name}: ")
    assert line in found
    assert "\n" not in found


def test_every_variable_that_can_be_wrong_was_tried() -> None:
    """So that a new one is not forgotten above: these take any text, or are read by the process that uses them."""
    marks = test_a_wrong_value_has_one_line_with_its_name_and_the_rule.pytestmark
    tried = {case[0] for case in marks[0].args[1]}
    assert set(NAMES) - tried == {"SMTP_URL", "API_KEYS", "ADMIN_PASSWORD", "DATA_DIR", "LOG_DIR"}


def test_all_wrong_values_are_said_at_once_in_the_tables_order() -> None:
    found = problems({"MAX_AGE": "x", "HTTP_PORT": "y", "LOG_LEVEL": "z", "SMTP_UTF8": "no"})
    assert [line.partition(":")[0] for line in found] == ["HTTP_PORT", "LOG_LEVEL", "MAX_AGE"]


@pytest.mark.parametrize("name", NAMES)
def test_each_variable_may_come_in_a_file(name: str, tmp_path: Path) -> None:
    variable = next(one for one in TABLE if one.name == name)
    text = variable.default or {"REDIS_URL": "redis://h:1/2", "PUBLIC_URL": "https://m.example", "SMTP_TIMEOUTS": "dot=1m"}.get(
        name, "some-text"
    )
    path = tmp_path / "secret"
    path.write_text(f"{text}\n", encoding="utf-8")  # an editor's last newline does not belong to it
    assert read({f"{name}_FILE": str(path)}) == read({name: text})


def test_a_variable_and_its_file_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("from the file")
    [line] = problems({"ADMIN_PASSWORD": "from the environment", "ADMIN_PASSWORD_FILE": str(path)})
    assert line == "ADMIN_PASSWORD: is set, and ADMIN_PASSWORD_FILE too: keep one of them"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path, kind in (
        (tmp_path / "none", "FileNotFoundError"),
        (tmp_path, "IsADirectoryError"),
        (tmp_path / "binary", "UnicodeDecodeError"),
    ):
        [line] = problems({"SMTP_URL_FILE": str(path)})
        assert line == f"SMTP_URL: the file that SMTP_URL_FILE names cannot be read ({kind}: {path})"


def test_a_wrong_value_in_a_file_is_said_like_any_other_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("the-secret-itself")
    [line] = problems({"REDIS_URL_FILE": str(path)})
    assert "the-secret-itself" not in line


def test_an_empty_variable_or_file_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    assert read({"ADMIN_PASSWORD": "", "HTTP_PORT": ""}) == read({"ADMIN_PASSWORD_FILE": str(tmp_path / "empty")}) == read({})


def test_a_process_says_what_it_cannot_do_without() -> None:
    [line] = problems({}, required=["SMTP_URL"])
    assert line.startswith("SMTP_URL: must be set: the relay, or several separated by commas")
    assert problems({"SMTP_URL": ""}, required=["SMTP_URL"]) == [line]


def test_what_only_one_process_uses_is_checked_by_it_alone() -> None:
    wrong = {"SMTP_URL": "relay.example", "API_KEYS": "shop"}
    read(wrong)
    found = problems(wrong, checks={"SMTP_URL": parse_relays, "API_KEYS": parse_api_keys})
    assert [line.partition(":")[0] for line in found] == ["SMTP_URL", "API_KEYS"]
    read({}, checks={"SMTP_URL": parse_relays})


def test_every_wrong_client_has_its_line() -> None:
    found = problems({"API_KEYS": "a:short,b:0123456789abcdef,!:0123456789abcde2"}, checks={"API_KEYS": parse_api_keys})
    assert [line.rpartition(": ")[0] for line in found] == ["API_KEYS: entry 1", "API_KEYS: entry 3"]


# units


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("250ms", 0.25), ("30s", 30), ("1.5m", 90), ("4h", 14400), ("5d", 432000), ("0s", 0), ("36500d", 36500 * 86400)],
)
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "5",
        "5 s",
        "5S",
        "5min",
        "1d12h",
        "-1s",
        "+1s",
        "1e3s",
        ".5s",
        "5.s",
        "inf",
        "nan",
        "٥s",
        "5s\n",
        "9" * 400 + "d",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("1", 1), ("12B", 12), ("512kB", 512_000), ("25MB", 25_000_000), ("1GB", 10**9)]
)
def test_sizes_are_decimal_bytes(text: str, value: int) -> None:
    assert octets(text) == value


@pytest.mark.parametrize("text", ["", "kB", "1KB", "1kb", "1 MB", "1.5MB", "-1", "1MiB", "0x10", "1\n", "9" * 5000])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        octets(text)


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for variable in TABLE:
        try:
            variable.read(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("1", True), ("On", True), ("TRUE", True), ("no", False), ("0", False)]
)
def test_yes_and_no_are_read_in_their_usual_forms(text: str, value: bool) -> None:
    assert read({"SMTP_UTF8": text}).smtp_utf8 is value


def test_values_mean_what_they_say() -> None:
    found = read({
        "SMTP_TIMEOUTS": "connect=5s, dot=20m,", "RETRY_DELAYS": "1s, 2m", "PUBLIC_URL": "https://m.example:8443/",
        "LOG_LEVEL": "debug", "REDIS_URL": "rediss://:p@h:6380/1?ssl_cert_reqs=required",
    })  # fmt: skip
    assert found.smtp_timeouts == {"connect": 5, "dot": 1200}
    assert found.retry_delays == (1, 120)
    assert (found.public_url, found.address, found.log_level) == ("https://m.example:8443", "https://m.example:8443", "DEBUG")
    for url in (
        "redis://h",
        "redis://h/",
        "redis://[::1]:6379/0",
        "unix:///run/v.sock?db=1",
        "redis+sentinel://a:1,b:2/mail/0",
    ):
        assert read({"REDIS_URL": url}).redis.reveal() == url


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8014"),
        ("0.0.0.0", "http://127.0.0.1:8014"),
        ("::", "http://127.0.0.1:8014"),
        ("::1", "http://[::1]:8014"),
    ],
)
def test_the_address_is_one_that_people_can_open(host: str, address: str) -> None:
    assert read({"HTTP_HOST": host}).address == address


def test_without_an_address_redis_is_the_embedded_one_while_it_runs(tmp_path: Path) -> None:
    found = read({"DATA_DIR": str(tmp_path)})
    assert found.redis.reveal() == "redis://127.0.0.1:6379/0"
    embedded_socket(tmp_path).parent.mkdir(exist_ok=True)
    embedded_socket(tmp_path).touch()
    assert found.redis.reveal() == f"unix://{embedded_socket(tmp_path)}"


def test_a_deep_folder_gets_a_short_socket(tmp_path: Path) -> None:
    assert len(str(embedded_socket(tmp_path / ("x" * 90)))) <= 100
    assert embedded_socket(tmp_path / ("x" * 90)) != embedded_socket(tmp_path / ("y" * 90))


# secrets

SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ADMIN_PASSWORD", SECRET),
        ("API_KEYS", f"shop:{SECRET}-0123456789:*@a.example:capture,b:{SECRET}-abcdefghij"),
        ("SMTP_URL", f"smtp://user:{SECRET}@relay.example"),
        ("SMTP_URL", f"smtp://us%40er:{SECRET}@a.example,smtps://v:{SECRET}@b.example:465?ca=/x"),
        ("SMTP_URL", f"smtp://user:{SECRET},more@relay.example, smtps://v:{SECRET}@b.example"),
        ("SMTP_URL", f"smtp://us,er:{SECRET}@relay.example"),
        ("SMTP_URL", f"smtp://user:a@{SECRET}@relay.example"),
        ("SMTP_URL", f"smtp://user:a:{SECRET}@relay.example"),
        ("SMTP_URL", f"smtp://user:a b {SECRET}@relay.example"),
        ("SMTP_URL", f"smtp://{SECRET}@relay.example"),
        ("REDIS_URL", f"redis://:{SECRET}@h:6379/0"),
        ("REDIS_URL", f"redis://u:{SECRET}@h"),
        ("REDIS_URL", f"redis+sentinel://u:{SECRET}@h1:1,h2:2/mail"),
        ("REDIS_URL", f"rediss://h/0?password={SECRET}&username=u"),
        ("REDIS_URL", f"unix:///run/v.sock?db=1&password={SECRET}"),
    ],
)
def test_secrets_are_never_shown(name: str, text: str) -> None:
    found = read({name: text})
    everything = "\n".join([*shown(found), repr(found), str(found), f"{found}", repr(found.redis), repr(TABLE)])
    assert SECRET not in everything
    assert any(line.startswith(f"{name}=") and "***" in line for line in shown(found))
    hidden = [secret.reveal() for secret in parts.secrets(found)]
    assert text in hidden
    if ":" in text.partition("@")[0].partition("://")[2] or "password=" in text or name == "API_KEYS":
        assert any(SECRET in one and one != text for one in hidden)


def test_what_is_no_secret_is_shown_as_it_would_be_written() -> None:
    environ = {
        "SMTP_URL": SMTP, "REDIS_URL": "redis://h:6379/0", "SMTP_TIMEOUTS": "connect=5s,dot=20m", "RETRY_DELAYS": "1m,2m",
        "DATA_DIR": "/data",
    }  # fmt: skip
    lines = dict(line.split("=", 1) for line in shown(read(environ)))
    assert list(lines) == NAMES
    assert lines["SMTP_URL"] == "smtp://us%40er:***@relay.example:587"
    assert lines["REDIS_URL"] == "redis://h:6379/0"
    assert lines["SMTP_TIMEOUTS"] == "connect=5s,dot=20m"
    assert (lines["RETRY_DELAYS"], lines["DATA_DIR"], lines["PUBLIC_URL"]) == ("1m,2m", "/data", "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SMTP, {"p%40ssword", "p@ssword"}),
        ("smtp+plain://localhost:25", set()),
        ("smtp://u:one,two@a,smtps://v:three@b", {"one,two", "three"}),
        ("redis://h?password=x%2Fy", {"x%2Fy", "x/y"}),
    ],
)
def test_passwords_are_found_as_written_and_as_meant(text: str, found: set[str]) -> None:
    assert passwords(text) == found


@given(st.text(st.characters(exclude_characters="@\r\n", exclude_categories=("Cs",)), min_size=6, max_size=30))
def test_whatever_stands_before_the_at_is_hidden(password: str) -> None:
    marked = f"<<{password}>>"
    found = read({"SMTP_URL": f"smtp://user:{marked}@relay.example"})
    if ",smtp://" not in password:
        assert marked not in "\n".join(shown(found))


# .env


def test_a_dotenv_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a comment\n\nSMTP_URL=smtp://u:p=x#y@h\nexport HTTP_PORT = 80\nA='quo ted'\nB=\"q\"\nC=\n=x\nno line\nD=it's\n",
        encoding="utf-8",
    )
    assert dotenv(path) == {"SMTP_URL": "smtp://u:p=x#y@h", "HTTP_PORT": "80", "A": "quo ted", "B": "q", "C": "", "D": "it's"}


def test_no_dotenv_file_is_no_setting(tmp_path: Path) -> None:
    assert dotenv(tmp_path / ".env") == {}
