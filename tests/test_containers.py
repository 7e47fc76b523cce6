"""The container files: the settings that keep mail and secrets safe, and that what they name exists."""

import http.server
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

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
