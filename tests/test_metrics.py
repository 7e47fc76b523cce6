"""The figures as Prometheus reads them, the dashboard that shows them, and the health of the mail."""

import json
import re
from pathlib import Path

import httpx
import msgspec
import pytest
from litestar import Litestar

from service.metrics import BUCKETS, render, render_away
from service.monitor import monitor_routes
from tasks import keys, store
from tasks.beat import tell
from tasks.claim import Settlement
from tasks.figures import Figures, Minute
from tasks.ledger import Ledger
from tasks.outcome import Outcome, Reply
from tasks.queue import Queue, bucket
from tasks.record import Delivery
from tasks.store import Group
from tests.letters import claim_one, put
from tests.test_pages import beat, failed
from tests.test_verdict import NOW, REFUSED, figures
from web.pulse import Pulse
from web.verdict import judge

DASHBOARD = Path(__file__).parent.parent / "deploy" / "grafana.json"
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\S+)\Z')


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels. Checks the format on the way."""
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = _SAMPLE.match(line)
            assert match, line
            assert re.sub(r"_(bucket|sum|count)$", "", match[1]) in kinds or match[1] in kinds, line
            assert line.rpartition(" ")[0] not in found
            found[line.rpartition(" ")[0]] = float(match[3])
    for name, kind in kinds.items():
        assert (kind == "counter") == name.endswith("_total")
        assert name.startswith("email_")
    return found


def shown(made: Figures) -> dict[str, float]:
    return samples(render(made, judge(made), "1.2.3"))


def test_a_day_with_trouble_is_told_in_numbers() -> None:
    totals = Minute(
        at=0, accepted=1_000_000_007, sent=5, failed=2, deferred=1, took={"high": 1234},
        buckets={"high": {10: 1, 2000: 1}, "low": {10**8: 4}},
    )  # fmt: skip
    found = shown(
        figures(
            {"queued": 3, "held": 2},
            held={"operator": 2},
            oldest=NOW - 90_500,
            due={"high": NOW - 1500},
            relays=[REFUSED],
            totals=totals,
            known=10,
        )
    )
    for name, value in {
        "email_flows": 0, "email_redis_up": 1, 'email_service_info{version="1.2.3"}': 1,
        'email_queue_emails{state="queued"}': 3, 'email_held_emails{reason="operator"}': 2,
        "email_oldest_waiting_seconds": 90.5, 'email_lane_overdue_seconds{lane="high"}': 1.5,
        'email_lane_overdue_seconds{lane="low"}': 0, "email_sent_total": 5, "email_failed_total": 2, "email_known_emails": 10,
        'email_relay_up{relay="smtp.example.com:587"}': 0, 'email_relay_alarm{relay="smtp.example.com:587"}': 1,
        "email_workers": 1, "email_worker_resident_memory_bytes": 60_000_000, 'email_redis_durability{mode="always"}': 1,
        'email_time_to_relay_seconds_bucket{lane="high",le="0.01"}': 1,
        'email_time_to_relay_seconds_bucket{lane="high",le="1"}': 1,
        'email_time_to_relay_seconds_bucket{lane="high",le="2"}': 2,
        'email_time_to_relay_seconds_bucket{lane="high",le="+Inf"}': 2,
        'email_time_to_relay_seconds_sum{lane="high"}': 1.234, 'email_time_to_relay_seconds_count{lane="high"}': 2,
        'email_time_to_relay_seconds_bucket{lane="low",le="50000"}': 0,
        'email_time_to_relay_seconds_bucket{lane="low",le="+Inf"}': 4,
        'email_time_to_relay_seconds_count{lane="normal"}': 0,
    }.items():  # fmt: skip
        assert found[name] == value, name
    assert "email_accepted_total 1000000007" in render(figures(totals=totals), judge(figures()), "1")


def test_every_time_has_its_bucket_and_hostile_names_stay_one_label() -> None:
    assert {bucket(ms) for ms in (0, 1, 3, 999, 86_400_000 // 2)} <= set(BUCKETS)
    sly = msgspec.structs.replace(REFUSED, shown='a"} 1\nemail_sent_total 9\\')
    found = shown(figures(relays=[sly]))
    assert found[r'email_relay_up{relay="a\"} 1\nemail_sent_total 9\\"}'] == 0
    assert found["email_sent_total"] == 0


def test_without_redis_it_says_that_alone() -> None:
    assert samples(render_away("1")) == {'email_service_info{version="1"}': 1, "email_redis_up": 0, "email_flows": 0}


def test_the_dashboard_shows_every_figure_and_no_other() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    text = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bemail_[a-z_]+", text)}
    given = set(re.findall(r"^# TYPE (\S+)", render(figures(), judge(figures()), "1"), re.MULTILINE))
    assert used == given
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert "://" not in DASHBOARD.read_text("utf-8")


async def test_totals_only_grow_and_every_process_tells_the_same(group: Group, queue: Queue) -> None:
    await failed(queue)
    made = await put(queue, "a@b.example", lane="high")
    claim = await claim_one(queue)
    assert claim.id == made.id
    await queue.settle(
        claim, Settlement(state="sent", deliveries=[Delivery("a@b.example", "sent", 1)], sent=1, took=17)
    )  # fmt: skip
    for _ in range(2):
        one, two = [shown(await Ledger(group, Queue(group, retain_records=1)).figures()) for _ in range(2)]
        for found in (one, two):
            found.pop("email_redis_latency_seconds")
            found.pop("email_redis_memory_bytes")
        assert one == two
        assert (one["email_accepted_total"], one["email_sent_total"], one["email_failed_total"]) == (2, 1, 1)
        assert one['email_time_to_relay_seconds_sum{lane="high"}'] == 0.017
        for key in await group.command("KEYS", "ems:[mq]*:*"):  # what is kept by minute expires
            await group.command("DEL", key)
    assert await group.command("TTL", keys.TOTALS) == -1


async def test_mail_that_waits_for_the_moment_it_asked_for_is_not_the_oldest_that_waits(group: Group, queue: Queue) -> None:
    now = await queue.now()
    await put(queue, send_at=now + 86_400_000)
    ledger = Ledger(group, queue)
    assert (await ledger.figures()).oldest is None
    made = await put(queue)
    first = (await ledger.figures()).oldest
    assert first is not None
    assert 0 <= first - now < 2000
    claim = await claim_one(queue)
    assert claim.id == made.id
    await put(queue)
    assert (await ledger.figures()).oldest == first, "also while it is sent"


@pytest.fixture
def app(group: Group, queue: Queue) -> httpx.AsyncClient:
    made = Litestar([monitor_routes(Pulse(Ledger(group, queue), 0), "1.2.3")], logging_config=None, openapi_config=None)
    return httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://x")  # type: ignore[arg-type]


async def test_the_health_of_the_mail_is_the_verdict(app: httpx.AsyncClient, group: Group, queue: Queue) -> None:
    none = await app.get("/health/mail")
    assert (none.status_code, none.json()["status"], none.json()["flows"]) == (503, "down", False)
    assert none.json()["message"].startswith("Down: no worker is running")
    assert none.json()["advice"] == "Start one: `email-service worker`"
    await tell(group, beat(await queue.now(), "r:25"))
    good = await app.get("/health/mail")
    assert (good.status_code, good.json()["status"], good.json()["message"]) == (200, "ok", "Healthy: nothing is waiting")
    await queue.relay_down("r:25", Outcome("hold", "auth", Reply(535, "5.7.8 no", "5.7.8"), alarm=True))
    bad = await app.get("/health/mail")
    assert (bad.status_code, bad.json()["status"]) == (503, "degraded")
    metrics = await app.get("/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(metrics.text)['email_relay_up{relay="r:25"}'] == 0
    await app.aclose()


async def test_both_answer_without_redis(tmp_path: Path) -> None:
    client = store.connect(f"unix://{tmp_path / 'nobody'}")
    group = Group(client, timeout=1)
    pulse = Pulse(Ledger(group, Queue(group, retain_records=1)))
    made = Litestar([monitor_routes(pulse, "1")], logging_config=None, openapi_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://x") as app:  # type: ignore[arg-type]
        answer = await app.get("/health/mail")
        assert (answer.status_code, answer.json()["status"]) == (503, "down")
        assert samples((await app.get("/metrics")).text)["email_redis_up"] == 0
    await group.close()
    await client.aclose()
