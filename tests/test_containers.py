"""The container files: the settings that keep mail and secrets safe, and that what they name exists."""

import contextlib
import http.server
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from service.up import valkey_binary
from tests.processes import KEY, Process, an_email, free_port, until
from tests.relay import ScriptedRelay, make_certificate

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker")


def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions: the word and the rest, with continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def health_check() -> list[str]:
    command: list[str] = yaml.safe_load(last("HEALTHCHECK").split("CMD", 1)[1])
    return command


# compose.yml


def test_there_are_three_services_and_the_commands_of_ours_are_the_cli_s() -> None:
    assert set(SERVICES) == {"redis", "api", "worker"}
    assert [SERVICES[name]["command"] for name in OURS] == [["api"], ["worker"]]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(mount.split(":")[0] in COMPOSE["volumes"] for mount in service["volumes"]), "no directory of the host"
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_checked_and_has_time_to_end(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) >= 30


def test_the_store_keeps_every_accepted_email() -> None:
    arguments = SERVICES["redis"]["command"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--maxmemory-policy"] == "noeviction"
    assert all(isinstance(argument, str) for argument in arguments), "YAML makes a truth value of an unquoted yes"
    assert SERVICES["redis"]["volumes"] == ["store:/data"]


def test_the_store_is_reached_by_our_services_alone() -> None:
    assert "ports" not in SERVICES["redis"]
    assert SERVICES["redis"]["networks"] == ["store"]
    assert COMPOSE["networks"]["store"]["internal"] is True


@pytest.mark.parametrize("name", OURS)
def test_our_services_wait_for_the_store(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "redis" in SERVICES[name]["environment"]["REDIS_URL"]


def test_the_api_is_published_on_this_machine_only() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:8014:8014"]
    assert SERVICES["api"]["environment"]["HTTP_HOST"] == "0.0.0.0"
    assert "ports" not in SERVICES["worker"]


@pytest.mark.parametrize("name", OURS)
def test_settings_have_names_of_settings_and_plain_values(name: str) -> None:
    for key, value in SERVICES[name]["environment"].items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", key), key
        assert isinstance(value, str), f"{key}: YAML reads this as {type(value).__name__}"


@pytest.mark.parametrize("name", OURS)
def test_secrets_come_by_file_and_only_where_they_are_needed(name: str) -> None:
    environment: dict[str, str] = SERVICES[name]["environment"]
    by_file = {key: value for key, value in environment.items() if value.startswith("/run/secrets/")}
    assert by_file
    assert all(key.endswith("_FILE") for key in by_file)
    assert {value.removeprefix("/run/secrets/") for value in by_file.values()} == set(SERVICES[name]["secrets"])
    assert not {"SMTP_URL", "API_KEYS", "ADMIN_PASSWORD"} & set(environment)
    assert "@" not in environment["REDIS_URL"]


def test_secret_files_stay_out_of_git_and_of_the_image() -> None:
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    ignored = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    assert next(line for line in ignored if line and not line.startswith("#")) == "*"
    assert not [line for line in ignored if "secret" in line and line.startswith("!")]


# Containerfile


def test_the_image_runs_without_root_as_the_cli() -> None:
    assert last("USER") == "1000:1000"
    assert last("ENTRYPOINT") == '["email-service"]'
    assert last("CMD") == '["up"]'
    assert last("EXPOSE") == "8014"
    assert last("VOLUME") == "/data"


def test_every_package_is_installed_by_its_hash() -> None:
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    for rest in installs:
        for command in rest.split("&&"):
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-build-isolation --editable ." in command, command
                assert "--no-deps" in command
    assert (ROOT / "requirements.txt").read_text("utf-8").count("--hash=sha256:") > 30


def test_what_the_image_is_made_of_exists_and_reaches_the_build() -> None:
    ignored = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    names = {name.removeprefix("./") for names in copied for name in names}
    assert {"service", "tasks", "web", "requirements.txt"} <= names
    for name in names:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored
    assert names == {line[1:] for line in ignored if line.startswith("!")}


def test_docker_ignores_what_podman_ignores() -> None:
    assert (ROOT / ".dockerignore").read_bytes() == (ROOT / ".containerignore").read_bytes()


def test_data_and_logs_of_the_image_lie_in_its_volume() -> None:
    settings = dict(part.split("=", 1) for part in shlex.split(last("ENV")))
    assert settings["DATA_DIR"] == "/data"
    assert settings["LOG_DIR"] == "/data/log"
    for name in OURS:
        assert SERVICES[name]["environment"]["DATA_DIR"] == "/data"
        assert SERVICES[name]["environment"]["LOG_DIR"] == "/data/log"
        assert "data:/data" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("where", ["image", "compose"])
def test_the_health_check_of_the_api_tells_alive_from_not(where: str, status: int) -> None:
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    asked: list[str] = []
    command = health_check() if where == "image" else SERVICES["api"]["healthcheck"]["test"][1:]
    assert command[:2] == ["python3", "-c"]
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        code = command[2].replace("8014", str(server.server_port))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=8, check=False, env={})
        thread.join()
    assert (done.returncode == 0) == (status == 200)
    assert asked == ["/health/live"]


# What compose.yml starts, as processes


@pytest.fixture(scope="module")
def store() -> Generator[int, None, None]:
    """The port of a store that runs as the redis service's command says."""
    port = free_port()
    folder = tempfile.mkdtemp(prefix="ems-store-")
    here = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--logfile", f"{folder}/log"]
    process = subprocess.Popen([valkey_binary(), *here, *SERVICES["redis"]["command"]])
    yield port
    process.kill()
    process.wait()
    shutil.rmtree(folder)


def mapped(name: str, folder: Path, store_port: int, http_port: int) -> dict[str, str]:
    """What compose.yml and the image give a service of ours, with the hosts and paths of this machine."""
    image = dict(part.split("=", 1) for part in shlex.split(last("ENV")))
    given = {**image, **SERVICES[name]["environment"]}
    given["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given["HTTP_PORT"] = str(http_port)
    places = {"redis:6379": f"127.0.0.1:{store_port}", "/data": f"{folder}/data", "/run/secrets": f"{folder}/secrets"}
    for theirs, ours in places.items():
        given = {key: value.replace(theirs, ours) if key != "PATH" else value for key, value in given.items()}
    return given


@pytest.mark.slow
@pytest.mark.timeout(40)
async def test_the_store_runs_with_the_commands_options(store: int) -> None:
    with contextlib.closing(redis.Redis(port=store, decode_responses=True)) as client:
        await until(lambda: answers(client), what="the store")
        options = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
        assert client.config_get(*options) == options
        assert client.config_get("maxmemory") == {"maxmemory": str(2**30)}
        assert client.info("persistence")["aof_enabled"] == 1


def answers(client: "redis.Redis") -> bool:
    with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError):
        return bool(client.ping())
    return False


@pytest.mark.slow
@pytest.mark.timeout(40)
async def test_an_email_goes_through_the_services_with_their_settings_and_secrets(store: int, tmp_path: Path) -> None:
    certificate = make_certificate()
    port = free_port()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "data").mkdir()
    async with ScriptedRelay(tls=certificate, users={"user": "smtp-secret-5c"}) as relay:
        secrets = {
            "smtp_url": f"smtp://user:smtp-secret-5c@localhost:{relay.port}?ca={certificate.ca}",
            "api_keys": f"shop:{KEY}:*@shop.example",
            "admin_password": "admin-secret-77",
        }
        assert set(secrets) == set(COMPOSE["secrets"])
        for name, secret in secrets.items():
            (tmp_path / "secrets" / name).write_text(secret + "\n")
        entrypoint: list[str] = yaml.safe_load(last("ENTRYPOINT"))
        environments = {name: mapped(name, tmp_path, store, port) for name in OURS}
        processes = {
            name: Process([*entrypoint, *SERVICES[name]["command"]], environments[name], tmp_path / f"{name}.out")
            for name in OURS
        }
        for process in processes.values():
            process.start()
        try:
            await send_one(f"http://127.0.0.1:{port}", relay)
            checks = {
                "api": SERVICES["api"]["healthcheck"]["test"][1:],
                "worker": SERVICES["worker"]["healthcheck"]["test"][1:],
            }
            for name, command in checks.items():
                assert is_healthy(command, environments[name]), name
            for name, process in processes.items():
                assert await process.stop(signal.SIGTERM) == 0, process.text()
                assert not is_healthy(checks[name], environments[name]), name
        finally:
            for process in processes.values():
                await process.stop(signal.SIGKILL)
        said = "".join(path.read_text() for path in (tmp_path / "data" / "log").glob("*.jsonl"))
        assert {path.name for path in (tmp_path / "data" / "log").glob("*.jsonl")} == {"api-0.jsonl", "worker-0.jsonl"}
        assert not [word for word in (KEY, "smtp-secret-5c", "admin-secret-77") if word in said]


async def send_one(url: str, relay: ScriptedRelay) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:

        async def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get("/health/ready")).status_code == 200
            return False

        await until(is_ready, what="the API")
        answer = await client.post("/send-email/", json=an_email(3))
        assert answer.status_code == 202, answer.text
        await until(lambda: relay.emails, what="the email at the relay")
        id_ = answer.json()["result"]

        async def is_sent() -> bool:
            return (await client.get(f"/emails/{id_}")).json()["state"] == "sent"

        await until(is_sent, what="sent")
    [taken] = relay.emails
    assert (taken.sender, taken.recipients) == ("shop@shop.example", ["ada@dest.example"])
    assert b"Subject: Receipt 3\r\n" in taken.message


def is_healthy(command: list[str], environment: dict[str, str]) -> bool:
    """What a service's own health check says."""
    words = [word.replace("8014", environment["HTTP_PORT"]) for word in command]
    return subprocess.run(words, env=environment, capture_output=True, timeout=8, check=False).returncode == 0
