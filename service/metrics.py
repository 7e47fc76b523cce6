"""The figures as Prometheus reads them (text format 0.0.4).

Names follow its conventions: base units, ``_total`` for what only grows. Everything comes from Redis, so that any process gives
the same answer and one of them is enough to scrape. Labels are few and bounded: states, lanes, reasons and relays.

This module is pure: from figures to text.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tasks.figures import Figures, Minute
from tasks.record import WAITING
from web.verdict import Verdict

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
BUCKETS: Final = tuple(digit * 10**power for power in range(8) for digit in (1, 2, 5) if digit * 10**power <= 50_000_000)
"""The upper bounds of the histogram in ms: those that times are counted by."""

Sample = tuple[Mapping[str, str], float]


def render(figures: Figures, verdict: Verdict, version: str) -> str:
    """Every figure. ``verdict`` is the one on ``figures``."""
    return "".join([
        *_always(version, redis_up=1, flows=verdict.flows),
        *_queue(figures),
        *_counters(figures.totals),
        *_times(figures.totals, list(figures.lanes)),
        *_relays(figures),
        *_workers(figures),
        *_redis(figures),
    ])  # fmt: skip


def render_away(version: str) -> str:
    """What can be said without Redis: that it is away."""
    return "".join(_always(version, redis_up=0, flows=False))


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _gauge(name: str, text: str, value: float) -> str:
    return _family(name, "gauge", text, [({}, value)])


def _always(version: str, *, redis_up: int, flows: bool) -> list[str]:
    return [
        _family("email_service_info", "gauge", "The version of the service.", [({"version": version}, 1)]),
        _gauge("email_redis_up", "Whether Redis answers.", redis_up),
        _gauge("email_flows", "Whether new mail is taken and mail that is due leaves (/health/mail says why not).", int(flows)),
    ]


def _queue(figures: Figures) -> list[str]:
    waiting = [({"state": state}, figures.states[state]) for state in WAITING]
    oldest = (figures.now - figures.oldest) / 1000 if figures.oldest is not None else 0
    in_lanes = [({"lane": lane}, number) for lane, number in figures.lanes.items()]
    overdue = {lane: (figures.now - since) / 1000 for lane, since in figures.due.items()}
    return [
        _family("email_queue_emails", "gauge", "Emails without a final state, by state.", waiting),
        _family("email_lane_emails", "gauge", "Emails in a lane, due or not.", in_lanes),
        _family(
            "email_lane_overdue_seconds", "gauge", "For how long the first email of a lane could have gone already.",
            [({"lane": lane}, overdue.get(lane, 0)) for lane in figures.lanes],
        ),
        _family("email_held_emails", "gauge", "Emails held, by reason.", [({"reason": k}, n) for k, n in figures.held.items()]),
        _gauge("email_oldest_waiting_seconds", "Age of the oldest email that waits to go now; 0 without any.", oldest),
        _gauge("email_queue_limit_emails", "The most that may wait (QUEUE_LIMIT).", figures.limit),
        _gauge("email_queue_paused", "Whether an operator has paused the queue.", int(figures.paused)),
        _gauge("email_known_emails", "Emails of which there is a record, in any state.", figures.known),
    ]  # fmt: skip


def _counters(totals: Minute) -> list[str]:
    return [
        _family("email_accepted_total", "counter", "Emails accepted.", [({}, totals.accepted)]),
        _family("email_sent_total", "counter", "Recipients for whom a relay took an email.", [({}, totals.sent)]),
        _family("email_failed_total", "counter", "Recipients for whom an email failed.", [({}, totals.failed)]),
        _family("email_deferred_total", "counter", "Times that a recipient was put off.", [({}, totals.deferred)]),
    ]


def _times(totals: Minute, lanes: list[str]) -> list[str]:
    name = "email_time_to_relay_seconds"
    lines = [
        f"# HELP {name} From acceptance to the relay's 250, of emails that went in their first attempt.",
        f"# TYPE {name} histogram",
    ]
    for lane in lanes:
        found = totals.buckets.get(lane, {})
        seen = 0
        for bound in BUCKETS:
            seen += found.get(bound, 0)
            lines.append(f"{name}_bucket{_labels({'lane': lane, 'le': _number(bound / 1000)})} {seen}")
        every = sum(found.values())
        lines.append(f"{name}_bucket{_labels({'lane': lane, 'le': '+Inf'})} {every}")
        lines.append(f"{name}_sum{_labels({'lane': lane})} {_number(totals.took.get(lane, 0) / 1000)}")
        lines.append(f"{name}_count{_labels({'lane': lane})} {every}")
    return ["\n".join(lines) + "\n"]


def _relays(figures: Figures) -> list[str]:
    named = [({"relay": relay.shown or relay.name}, relay) for relay in figures.relays]
    since = [(labels, relay.since / 1000) for labels, relay in named if relay.since]
    return [
        _family("email_relay_up", "gauge", "Whether mail is handed to a relay.", [(k, int(r.state == "up")) for k, r in named]),
        _family(
            "email_relay_alarm", "gauge", "Whether a relay is closed until a person acts (password, certificate, settings).",
            [(labels, int(relay.state == "down" and relay.alarm)) for labels, relay in named],
        ),
        _family("email_relay_state_changed_timestamp_seconds", "gauge", "When a relay's state last changed.", since),
    ]  # fmt: skip


def _workers(figures: Figures) -> list[str]:
    workers = figures.workers
    return [
        _gauge("email_workers", "Workers that are there.", len(workers)),
        _gauge("email_worker_slots", "Emails that all workers may have in hand.", sum(w.slots for w in workers)),
        _gauge("email_worker_busy_slots", "Emails that all workers have in hand.", sum(w.in_hand for w in workers)),
        _gauge("email_worker_connections", "Connections of all workers to relays.", sum(w.connections for w in workers)),
        _gauge("email_worker_resident_memory_bytes", "Memory of all workers.", sum(w.memory for w in workers)),
    ]


def _redis(figures: Figures) -> list[str]:
    redis = figures.redis
    kept = [({"mode": mode}, int(redis.durability == mode)) for mode in ("always", "everysec", "no", "none")]
    return [
        _gauge("email_redis_memory_bytes", "Memory that Redis uses.", redis.memory),
        _gauge("email_redis_memory_max_bytes", "Memory that Redis may use; 0: no limit.", redis.memory_max),
        _gauge("email_redis_latency_seconds", "How long Redis took for one question.", redis.latency / 1000),
        _gauge("email_redis_replicas", "Replicas of Redis.", redis.replicas),
        _family("email_redis_durability", "gauge", "How Redis keeps writes (only always loses nothing).", kept),
    ]


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
