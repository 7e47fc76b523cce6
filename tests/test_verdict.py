"""The verdict: one sentence for each kind of day, the worst thing first."""

from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from tasks.beat import Beat
from tasks.errors import StoreUnavailable
from tasks.figures import STATES, Figures, Minute, RedisHealth
from tasks.outcome import Reply
from tasks.queue import RelayHealth
from tasks.store import unavailable
from web.phrases import code
from web.verdict import judge, store_away

NOW = 1_795_573_000_000  # 25 November 2026, 02:16:40 UTC
MINUTE = 60_000

REDIS = RedisHealth(
    server="valkey", version="9.1.2", memory=10, memory_max=100, durability="always", policy="noeviction",
    latency=0.2, replicas=0,
)  # fmt: skip
WORKER = Beat(
    name="mail-1:7", host="mail-1", pid=7, started=NOW - MINUTE, at=NOW, in_hand=0, slots=50, carried=9, connections=1,
    memory=60_000_000, relays=["smtp.example.com:587"],
)  # fmt: skip
UP = RelayHealth("smtp.example.com:587", shown="smtp.example.com:587")
REFUSED = msgspec.structs.replace(
    UP, state="down", since=NOW - 14 * MINUTE, stage="auth", said="535 5.7.8 authentication failed",
    reply=Reply(535, "5.7.8 authentication failed", "5.7.8"), alarm=True, probe_at=NOW + 14_000,
)  # fmt: skip
SILENT = msgspec.structs.replace(
    UP, name="b:25", shown="b:25", state="down", since=NOW, stage="connect", said="no answer within 30 s"
)


def figures(states: dict[str, int] | None = None, **changes: Any) -> Figures:
    made = Figures(
        now=NOW, states=dict.fromkeys(STATES, 0) | (states or {}), lanes={"high": 0, "normal": 0, "low": 0}, held={},
        oldest=None, paused=False, workers=[WORKER], gone=[], relays=[UP], minutes=[Minute(at=NOW)], redis=REDIS,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


PUT_RIGHT = "Put the right ones into `SMTP_URL` and restart the worker."
MORE = "More workers help, or more `SMTP_CONNECTIONS` where the relay allows it."
PATIENCE = (
    "Nothing fails by it: an attempt ends by itself (`SMTP_TIMEOUTS`) and is made again. If it stays so, ask whoever runs the "
    "relay; more `SMTP_CONNECTIONS` let other mail pass meanwhile."
)
DAYS = [
    ("ok", True, "Healthy: nothing is waiting", "", figures()),
    ("ok", True, "Healthy: 1 email leaving", "", figures({"queued": 1})),
    ("ok", True, "Healthy: 1,204 emails leaving", "", figures({"queued": 1200, "sending": 4})),
    ("ok", True, "Healthy: 3 emails scheduled", "", figures({"scheduled": 3})),
    ("ok", True, "Healthy: 1 email leaving, 2 emails to be tried again", "", figures({"queued": 1, "deferred": 2})),
    ("down", False, "Down: no worker is running; nothing is waiting", "Start one: `email-service worker`", figures(workers=[])),
    (
        "down", False, "Down: no worker is running since 02:06 UTC (the last was mail-1:7); 41 emails wait, none is lost",
        "Start one: `email-service worker`", figures({"queued": 41}, workers=[], gone=[("mail-1:7", NOW - 10 * MINUTE)]),
    ),
    (
        "degraded", False,
        "Degraded: relay smtp.example.com:587 refuses our user name or password since 02:02 UTC; 41 emails wait, none is lost",
        f"It says `535 5.7.8 authentication failed`. Tried again in 14 s. {PUT_RIGHT}",
        figures({"held": 40, "queued": 1}, held={"relay": 40}, relays=[REFUSED]),
    ),
    (
        "degraded", True,
        "Degraded: relay smtp.example.com:587 refuses our user name or password since 02:02 UTC; mail takes the other relay",
        f"It says `535 5.7.8 authentication failed`. {PUT_RIGHT}",
        figures(relays=[REFUSED, UP]),
    ),
    (
        "degraded", False, "Degraded: relay b:25: no answer within 30 s, since 02:16 UTC; nothing is waiting",
        "If it stays so: check host and port in `SMTP_URL`, and the firewall.", figures(relays=[SILENT]),
    ),
    (
        "degraded", False, "Paused by an operator; 1 email waits, none is lost",
        "New mail is taken and waits. Resume the queue when it may leave.",
        figures({"queued": 1}, paused=True),
    ),
    (
        "degraded", True, "Degraded: 2 emails held because the worker died with them in hand; none is lost",
        "The worker's log has the reason.", figures({"held": 2}, held={"crashes": 2}),
    ),
    (
        "degraded", True, "Degraded: 50 emails put off by the relay; each is tried again by itself",
        "Open one of them to see the reply and what it means.", figures({"deferred": 50}),
    ),
    ("ok", True, "Healthy: 50 emails to be tried again", "", figures({"deferred": 50}, minutes=[Minute(at=NOW, accepted=501)])),
    (
        "degraded", True, "Degraded: the queue is slow; 9 emails due, the oldest in the normal lane for 3 min", MORE,
        figures({"queued": 9, "scheduled": 4}, due={"high": NOW - 59_000, "normal": NOW - 3 * MINUTE}),
    ),
    (
        "degraded", True, "Degraded: the queue is slow; 1 email due, the oldest in the high lane for 1 min", MORE,
        figures({"queued": 1}, due={"high": NOW - MINUTE}),
    ),
    ("ok", True, "Healthy: 9 emails leaving", "", figures({"queued": 9}, due={"low": NOW - 59 * MINUTE})),
    (
        "degraded", True,
        "Degraded: relay smtp.example.com:587 is slow: an attempt has been running for 40 s; 1 email waits, none is lost",
        PATIENCE, figures({"sending": 1}, workers=[msgspec.structs.replace(WORKER, since=NOW - 40_000)]),
    ),
    ("ok", True, "Healthy: 1 email leaving", "", figures({"sending": 1}, workers=[msgspec.structs.replace(WORKER, since=NOW)])),
    (
        "degraded", True, "Degraded: a relay is slow: half of the last emails took longer than 10 s; nothing is waiting",
        PATIENCE, figures(relays=[UP, UP], recent=Minute(at=0, buckets={"normal": {20_000: 3, 50: 2}})),
    ),
    (
        "down", False, "Down: Redis is full (80 B of 100 B): no new mail is taken; 2 emails wait, none is lost",
        "Clients get 503 and send again later. Raise Redis' `maxmemory`, or lower `RETAIN_RECORDS` and `MAILBOX_LIMIT`.",
        figures({"queued": 2}, redis=msgspec.structs.replace(REDIS, memory=80)),
    ),
    (
        "down", False, "Down: the queue is full, no new mail is taken; 9 emails wait, none is lost",
        "9 may wait (`QUEUE_LIMIT`). Find out below why they do, or raise the limit.", figures({"deferred": 9}, limit=9),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("level", "flows", "sentence", "advice", "day"), DAYS, ids=[day[2][:50] for day in DAYS])
def test_each_day_has_its_sentence(level: str, flows: bool, sentence: str, advice: str, day: Figures) -> None:
    verdict = judge(day)
    assert (verdict.level, verdict.flows, verdict.sentence, verdict.advice) == (level, flows, sentence, advice)
    assert verdict.colour == (level if flows else "down")


def test_the_worst_comes_first() -> None:
    everything = figures(
        {"held": 2, "deferred": 99, "queued": 1},
        held={"operator": 1, "crashes": 1}, paused=True, relays=[REFUSED], workers=[], due={"high": NOW - 99 * MINUTE},
    )  # fmt: skip
    order = [judge(everything).sentence]
    for mended in ({"workers": [WORKER]}, {"relays": [UP]}, {"paused": False}, {"held": {}}, {"due": {}}):
        everything = msgspec.structs.replace(everything, **mended)
        order.append(judge(everything).sentence)
    assert [sentence.split()[1] for sentence in order] == ["no", "relay", "by", "1", "the", "99"]


def test_an_alarm_goes_before_a_relay_that_is_only_silent() -> None:
    assert "smtp.example.com:587" in judge(figures(relays=[SILENT, REFUSED])).sentence


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"durability": "none"}, "Redis keeps nothing on disk"),
        ({"durability": "everysec"}, "may lose the last second"),
        ({"durability": ""}, "it does not say"),
        ({"policy": "allkeys-lru"}, "may evict keys and lose mail (`allkeys-lru`)"),
        ({"memory": 70}, "has used 70% of its memory"),
    ],
)
def test_what_may_lose_mail_one_day_is_a_hint_and_no_alarm(change: dict[str, Any], hint: str) -> None:
    verdict = judge(figures(redis=msgspec.structs.replace(REDIS, **change)))
    assert verdict.level == "ok"
    [only] = verdict.hints
    assert hint in only
    assert judge(figures()).hints == ()


def test_redis_away_is_down_and_says_what_to_look_at() -> None:
    verdict = store_away(StoreUnavailable("Redis does not answer in time"))
    assert (verdict.level, verdict.flows) == ("down", False)
    assert verdict.sentence == "Down: Redis does not answer in time"
    assert "`REDIS_URL`" in verdict.advice


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("OOM", "Raise Redis' `maxmemory`"), ("MISCONF", "disk, and at its log"), ("READONLY", "name the primary"),
        ("LOADING", "by itself"), ("NOAUTH", "Put the right one into `REDIS_URL`"), ("NOREPLICAS", "Start those"),
    ],
)  # fmt: skip
def test_whatever_keeps_redis_from_working_has_advice_of_its_own(word: str, what: str) -> None:
    verdict = store_away(unavailable(ResponseError(f"{word} so it says")))
    assert what in verdict.advice
    assert "Check that it runs" not in verdict.advice


def test_a_relays_words_cannot_end_the_code_they_are_shown_in() -> None:
    sly = msgspec.structs.replace(REFUSED, said="535 `x` <b>", reply=Reply(535, "`x` <b>"))
    assert "It says `535 'x' <b>`." in judge(figures(relays=[sly])).advice


def test_a_relays_longest_words_are_still_shown_as_code() -> None:
    long = msgspec.structs.replace(REFUSED, said=f"535 {'no ' * 200}")
    shown = code(judge(figures(relays=[long])).advice)
    assert f"<code>535 {'no ' * 200}</code>" in shown
    assert "`" not in shown
