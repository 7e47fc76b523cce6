"""What the doctor finds, each thing against the real part: a Valkey, a relay, a name server."""

import argparse
import time
from collections import namedtuple
from pathlib import Path

import pytest

from service import doctor as doctor_module
from service import domains
from service.clients import Client, Keyring
from service.domains import look_up
from service.finding import Finding
from tasks.beat import Beat, tell
from tasks.queue import Queue
from tasks.settings import read
from tasks.store import Group, connect, disconnect
from tests.letters import put
from tests.names import NameServer, Zone
from tests.processes import free_port, running_valkey
from tests.relay import Close, ScriptedRelay, make_certificate

SPF = ['"google-site=1"', '"v=spf1 include:relay.example" " ~all"']
GOOD: dict[str, list[str]] = {"MX": ["10 mx.shop.example."], "TXT": SPF}
DMARC: dict[str, list[str]] = {"TXT": ['"v=DMARC1; p=none"']}


@pytest.fixture(autouse=True)
def _no_real_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> None:
        raise OSError("no name server is set up here")

    monkeypatch.setattr(doctor_module, "system_resolver", nobody)


async def findings(
    capsys: pytest.CaptureFixture[str], group: Group, tmp_path: Path, *asked: str, **environment: str
) -> tuple[int, dict[str, str]]:
    """The exit code, and what was said by what it is about."""
    settings = read({"LOG_DIR": str(tmp_path), "REDIS_URL": "redis://there", **environment})
    code = await doctor_module.doctor(settings, group, argparse.Namespace(domains=list(asked)))
    said: dict[str, str] = {}
    what = ""
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith("  "):
            what = line[7:].partition(": ")[0]
            said[what] = line[:7].strip() + " " + line[7:].partition(": ")[2]
        else:
            said[what] += line.strip()
    return code, said


def a_beat(name: str = "w") -> Beat:
    now = round(time.time() * 1000)
    return Beat(name=name, host="here", pid=7, started=now, at=now, in_hand=0, slots=1, carried=0, connections=0, memory=0)


async def test_where_all_is_well_it_says_so_and_ends_with_0(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with ScriptedRelay() as relay:
        with running_valkey() as valkey:
            client = connect(valkey.url)
            group = Group(client)
            await tell(group, a_beat())
            code, said = await findings(capsys, group, tmp_path, SMTP_URL=f"smtp+plain://127.0.0.1:{relay.port}")
            await group.close()
            await disconnect(client)
        assert relay.emails == []
        assert [line.split()[0] for line in relay.log] == ["EHLO", "QUIT"]
    assert code == 0
    server = next(what for what in said if what.startswith("valkey "))
    assert said[server].startswith("ok writes to disk before it answers, never evicts; ")
    assert said[f"relay 127.0.0.1:{relay.port}"] == "ok no TLS, no login, takes 30 MB"
    assert said["clock"] == "ok this machine and Redis agree"
    assert said["workers"] == "ok process 7 on here"
    assert said["logs"].startswith("ok ")
    assert "data" not in said
    assert said["domains"].startswith("note none is known yet")


async def test_without_redis_the_rest_is_still_looked_at(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}")
    group = Group(client)
    code, said = await findings(capsys, group, tmp_path, "shop.example")
    await group.close()
    await disconnect(client)
    assert code == 1
    assert said["Redis"] == "WRONG Redis is not reachable (ConnectionError)→ Start it, or correct `REDIS_URL`."
    assert said["relays"].startswith("note `SMTP_URL` is not set")
    assert said["domains"] == "note no name server is set up here"
    assert {"clock", "workers"}.isdisjoint(said)


async def test_a_redis_that_loses_mail_or_is_not_the_same_time_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(said: dict[str, str]) -> str:
        return next(text for what, text in said.items() if what.startswith("valkey "))

    code, said = await findings(capsys, group, tmp_path)
    assert server(said) == (
        "note Redis keeps nothing on disk: a restart loses what waits→ Set `appendonly yes` and `appendfsync always`."
    )
    assert code == 1
    assert said["workers"].startswith("WRONG none has been heard of")
    await group.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        _, said = await findings(capsys, group, tmp_path)
        assert server(said).startswith("WRONG it may throw waiting mail away (`maxmemory-policy allkeys-lru`)")
        _, said = await findings(capsys, group, tmp_path, REDIS_ALLOW_EVICTION="yes")
        assert server(said).startswith("note Redis may evict keys")
    finally:
        await group.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    real = time.time
    monkeypatch.setattr(doctor_module.time, "time", lambda: real() + 90)
    _, said = await findings(capsys, group, tmp_path)
    assert said["clock"].startswith("note this machine is 90.0 s ahead of Redis")
    monkeypatch.setattr(doctor_module.time, "time", lambda: real() - 90)
    _, said = await findings(capsys, group, tmp_path)
    assert said["clock"].startswith("note this machine is 90.0 s behind Redis")


@pytest.mark.parametrize(("free", "mark"), [(2 * 10**9, "ok"), (5 * 10**8, "note"), (10**7, "WRONG")])
async def test_a_full_disk_is_seen_coming(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch, free: int, mark: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda _: usage(10**12, 0, free))
    _, said = await findings(capsys, group, tmp_path / "not" / "made")
    assert said["logs"].split()[0] == mark
    assert str(tmp_path) in said["logs"]


async def test_each_relay_is_met_and_each_trouble_has_its_cure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group
) -> None:
    certificate = make_certificate()
    async with (
        ScriptedRelay(tls=certificate, users={"shop": "right"}, extensions=("SIZE 1000000",)) as strict,
        ScriptedRelay() as broken,
    ):
        broken.replies["banner"] = Close()
        dead = free_port()
        urls = [
            f"smtp://shop:right@127.0.0.1:{strict.port}?ca={certificate.ca}",
            f"smtp://shop:wrong@localhost:{strict.port}?verify=no",
            f"smtp+plain://127.0.0.1:{broken.port}", f"smtps://127.0.0.1:{dead}",
        ]  # fmt: skip
        code, said = await findings(capsys, group, tmp_path, SMTP_URL=",".join(urls))
    assert code == 1
    assert said[f"relay 127.0.0.1:{strict.port}"] == (
        "note it takes 1.0 MB at most, here 25 MB are accepted: what is larger will fail→ Set `MAX_MESSAGE_BYTES=1000000`."
    )
    refused = said[f"relay localhost:{strict.port}"]
    assert refused.startswith("WRONG the relay refuses our user name or password (535")
    assert refused.endswith("→ Put the right ones into `SMTP_URL` and restart the worker.")
    assert said[f"relay 127.0.0.1:{broken.port}"].startswith("WRONG the relay does not speak to us")
    assert said[f"relay 127.0.0.1:{dead}"].startswith("WRONG there is no connection to the relay")
    assert "right" not in refused.replace("the right ones", "")


async def test_a_wrong_smtp_url_is_a_finding_without_its_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group
) -> None:
    code, said = await findings(capsys, group, tmp_path, SMTP_URL="smpt://shop:secret@relay.example")
    assert code == 1
    assert said["relays"].startswith("WRONG ")
    assert "secret" not in str(said)


async def test_a_certificate_that_ends_soon_is_said_before_it_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate()
    async with ScriptedRelay(tls=certificate) as relay:
        url = f"smtp://127.0.0.1:{relay.port}?ca={certificate.ca}"
        monkeypatch.setattr(doctor_module, "RENEW_DAYS", 100_000)
        _, said = await findings(capsys, group, tmp_path, SMTP_URL=url)
        assert said[f"relay 127.0.0.1:{relay.port}"].startswith("note its certificate ends in ")
        monkeypatch.setattr(doctor_module, "RENEW_DAYS", 0)
        _, said = await findings(capsys, group, tmp_path, SMTP_URL=url)
        assert said[f"relay 127.0.0.1:{relay.port}"] == "ok TLSv1.3, no login, takes 30 MB"


async def test_the_domains_are_those_of_clients_of_recent_mail_and_those_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, group: Group, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Keyring(group, {}).add(Client(name="a", senders=["*", "*@a.example", "me@b.example"]))
    await put(queue, sender="x@c.example")
    async with NameServer({"a.example": GOOD, "_dmarc.a.example": DMARC}) as names:
        monkeypatch.setattr(doctor_module, "system_resolver", names.resolver)
        keys = "k:0123456789abcdef:*@d.example"
        code, said = await findings(capsys, group, tmp_path, "bücher.example", "a.example", "no domain", API_KEYS=keys)
    asked = [what.removeprefix("domain ") for what in said if what.startswith("domain ")]
    assert asked == ["xn--bcher-kva.example", "a.example", "d.example", "b.example", "c.example"]
    assert said["domain a.example"] == "ok answers can arrive; SPF and DMARC are there"
    assert said["domain b.example"].startswith("WRONG it does not exist")
    assert code == 1


@pytest.mark.parametrize(
    ("zone", "mark", "words"),
    [
        ({"s.example": GOOD, "_dmarc.s.example": DMARC}, "ok", "answers can arrive"),
        ({"s.example": {"A": ["192.0.2.1"], "TXT": SPF}, "_dmarc.s.example": DMARC}, "ok", "answers"),
        ({"s.example": {"AAAA": ["2001:db8::1"], "TXT": SPF}, "_dmarc.s.example": DMARC}, "ok", "answers"),
        ({}, "wrong", "does not exist"),
        ({"s.example": {"TXT": SPF}}, "wrong", "no MX and no address"),
        ({"s.example": {**GOOD, "MX": ["0 ."]}}, "wrong", "takes no mail"),
        ({"s.example": {**GOOD, "TXT": ['"v=spf10"']}, "_dmarc.s.example": DMARC}, "note", "no SPF"),
        ({"s.example": {**GOOD, "TXT": ['"v=spf1 -all"', '"V=SPF1 ~all"']}, "_dmarc.s.example": DMARC}, "wrong", "2 SPF"),
        ({"s.example": {**GOOD, "TXT": ['"v=spf1 mx +all"']}, "_dmarc.s.example": DMARC}, "note", "lets everybody"),
        ({"s.example": GOOD}, "note", "no DMARC"),
        ({"s.example": GOOD, "_dmarc.s.example": {"TXT": ['"v=spf1"']}}, "note", "no DMARC"),
    ],
)  # fmt: skip
async def test_what_the_dns_says_of_a_domain(zone: Zone, mark: str, words: str) -> None:
    async with NameServer(zone) as names:
        [found] = await look_up("s.example", names.resolver())
    assert (found.mark, found.what) == (mark, "domain s.example")
    assert words in found.text
    assert bool(found.cure) == (mark != "ok")


async def test_a_policy_above_the_domain_counts_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with NameServer({"mail.shop.example": GOOD, "_dmarc.shop.example": DMARC}) as names:
        assert [one.mark for one in await look_up("mail.shop.example", names.resolver())] == ["ok"]
        assert ("_dmarc.example", "TXT") not in names.asked
    monkeypatch.setattr(domains, "SECONDS", 0.2)
    async with NameServer({"s.example": GOOD}, mute=frozenset({"s.example"})) as names:
        [found] = await look_up("s.example", names.resolver())
        assert found.text == "the DNS does not answer (LifetimeTimeout)"


def test_a_finding_is_one_line_and_a_second_with_the_cure() -> None:
    assert Finding("ok", "clock", "right").lines() == "ok     clock: right"
    assert Finding("wrong", "clock", "stopped", "Wind it.").lines() == "WRONG  clock: stopped\n       → Wind it."
