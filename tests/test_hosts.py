"""By which names the pages may be reached: a name that another site could have given this address is none of them."""

import httpx
import pytest
from litestar import Litestar, get

from service.edge import Edge
from service.hosts import known_hosts, name_of
from tasks.settings import read

SETTINGS = {"HTTP_HOST": "mail.lan", "PUBLIC_URL": "https://Mail.Example.com:8443", "ALLOWED_HOSTS": "one.example, Two.example"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8014", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.0.0.1:8014", "[::1]",
        "[::1]:8014", "192.168.1.7:8014", "[fe80::1%25eth0]:80", "mail.lan", "mail.example.com", "mail.example.com:8443",
        "one.example", "two.example:80", "TWO.EXAMPLE.",
    ],
)  # fmt: skip
def test_known_names_and_addresses_are_answered(host: str) -> None:
    assert known_hosts(read(SETTINGS)).is_known(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8014", "localhost.evil.example", "127.0.0.1.evil.example",
        "mail.example.com.evil.example",
        "notlocalhost", "localhost@evil.example", "evil.example#localhost", "", ":8014", "[evil.example]", "[::1", "[", "a b",
        "127.0.0.1, evil.example", "2130706433.evil.example", "one.example..", "\xff", "x" * 10_000,
    ],
)  # fmt: skip
def test_any_other_name_is_not(host: str) -> None:
    if host == "[::1":
        assert name_of(host) == "::1"  # no browser writes so; and an address is an address
        return
    assert not known_hosts(read(SETTINGS)).is_known(host.encode("latin-1"))


def test_a_star_is_any_name() -> None:
    assert known_hosts(read({"ALLOWED_HOSTS": "*"})).is_known(b"evil.example")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 421), ("/status", 421), ("/sign-in", 421), ("/logs", 421), ("/docs", 421), ("/openapi.json", 421),
        ("/nothing", 421), ("/mailbox", 421), ("/mailbox/x", 421), ("//status", 421), ("/healthy", 421),
        ("/emailsx", 421), ("/Health/live", 421),
        ("/health/live", 200), ("/health/ready", 404), ("/metrics", 404), ("/emails/x", 404), ("/send-email/", 404),
        ("/mailbox/next", 404),
    ],
)  # fmt: skip
async def test_only_programs_may_use_any_name(path: str, status: int) -> None:
    @get("/health/live")
    async def live() -> str:
        return "ok"

    app = Edge(Litestar([live], logging_config=None, openapi_config=None), hosts=known_hosts(read({})))
    transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
    async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as http:
        answer = await http.get(path)
        assert answer.status_code == status
        if status == 421:
            assert answer.json()["name"] == "misdirected_request"
            assert "ALLOWED_HOSTS" in answer.json()["message"]
        assert (await http.get(path, headers={"host": "localhost:8014"})).status_code != 421
