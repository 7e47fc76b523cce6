"""How the service is doing, in one sentence, the worst thing first.

======== ==================================================================================================
down     nothing is accepted, or nobody is there to send
degraded mail waits for something that a person should know of; none is lost
ok       mail flows
======== ==================================================================================================

This module is pure: from figures to words.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from tasks.errors import StoreUnavailable
from tasks.figures import Figures, RedisHealth
from tasks.queue import RelayHealth
from tasks.safety import FULL_SHARE
from web.meaning import meaning
from web.percentiles import times
from web.phrases import clock, count, number, size, span

Level = Literal["ok", "degraded", "down"]

OLD_MS: Final = {"high": 60_000, "normal": 120_000, "low": 3_600_000}
"""An email of a lane that has been due for longer deserves a word."""
SLOW_MS: Final = 10_000
"""So does an attempt that runs longer, and a lane whose emails usually take longer."""
NEARLY: Final = 0.6
"""The part of Redis' memory from which on it deserves one, too."""
LATE: Final = 20
"""Deferred emails from which on they deserve a word."""

_HELD: Final = {
    "operator": ("held by an operator", "Release them on their pages when they may go."),
    "damaged": ("held because their stored bytes are not those accepted", "Look at Redis' disk; ask the client to send again."),
    "crashes": ("held because the worker died with them in hand", "The worker's log has the reason."),
    "internal": ("held because of an error in this service", "The worker's log has the traceback."),
}
_MORE_ROOM: Final = "Raise Redis' `maxmemory`, or lower `RETAIN_RECORDS` and `MAILBOX_LIMIT`."
_AWAY: Final = {
    "OOM": _MORE_ROOM,
    "MISCONF": "Look at the room on Redis' disk, and at its log.",
    "READONLY": "Let `REDIS_URL` name the primary.",
    "LOADING": "This comes right by itself.",
    "NOAUTH": "Put the right one into `REDIS_URL` and restart.",
    "NOREPLICAS": "Start those that are missing.",
}
"""What to do about each of Redis' own words for its trouble."""


class Verdict(msgspec.Struct, frozen=True):
    """``sentence`` is the finding, ``advice`` what to do (backquotes mark code); ``flows``: new mail is taken and mail that is
    due leaves.

    ``hints`` are things worth mending that harm no mail now; ``lever`` is what the operator can do about it right here: try
    the relay ``relay`` (``probe``), or let the queue go on (``resume``).
    """

    level: Level
    sentence: str
    advice: str = ""
    flows: bool = True
    hints: tuple[str, ...] = ()
    lever: Literal["", "probe", "resume"] = ""
    relay: str = ""

    @property
    def colour(self) -> Level:
        """That of ``level``, but that of ``down`` wherever mail does not flow: one glance tells."""
        return self.level if self.flows else "down"


def judge(figures: Figures) -> Verdict:
    """The verdict on these figures: the first finding below that applies."""
    hints = tuple(redis_hints(figures.redis))
    for find in _FINDINGS:
        found = find(figures)
        if found is not None:
            return msgspec.structs.replace(found, hints=hints)
    return Verdict("ok", _healthy(figures), hints=hints)


def store_away(trouble: StoreUnavailable) -> Verdict:
    """The verdict where Redis does not do what it is asked."""
    what = _AWAY.get(trouble.code, "Check that it runs and that `REDIS_URL` names it.")
    return Verdict(
        "down",
        f"Down: {trouble}",
        f"Nothing is accepted and nothing is sent until it is back; what was accepted is in Redis. {what}",
        flows=False,
    )


def _no_worker(figures: Figures) -> Verdict | None:
    if figures.workers:
        return None
    last = max(figures.gone, key=lambda worker: worker[1], default=None)
    since = f" since {clock(last[1], figures.now)} (the last was {last[0]})" if last else ""
    return Verdict(
        "down", f"Down: no worker is running{since}; {_kept(figures)}", "Start one: `email-service worker`", flows=False
    )


def _relays(figures: Figures) -> Verdict | None:
    out = [relay for relay in figures.relays if relay.state == "down"]
    if not out:
        return None
    worst = next((relay for relay in out if relay.alarm), out[0])
    finding = f"Degraded: {_trouble(worst)} since {clock(worst.since, figures.now)}"
    what = meaning(worst.stage, worst.reply).what
    if len(out) < len(figures.relays):
        advice = f"{_said(worst)}{what}"
        return Verdict("degraded", f"{finding}; mail takes the other relay", advice, lever="probe", relay=worst.name)
    advice = f"{_said(worst)}{_next(worst, figures.now)}{what}"
    return Verdict("degraded", f"{finding}; {_kept(figures)}", advice, flows=False, lever="probe", relay=worst.name)


def _trouble(relay: RelayHealth) -> str:
    """``relay smtp.example.com refuses our password``, or ``relay smtp.example.com: no answer within 60 s``."""
    name = f"relay {relay.shown or relay.name}"
    words = relay.said if relay.reply is None and relay.said else meaning(relay.stage, relay.reply).text
    return f"{name} {words[10:]}" if words.startswith("the relay ") else f"{name}: {words},"


def _said(relay: RelayHealth) -> str:
    return f"It says `{relay.said.replace('`', chr(39))}`. " if relay.reply is not None else ""


def _next(relay: RelayHealth, now: int) -> str:
    if relay.probe_at is None:
        return ""
    return f"Tried again {'now' if relay.probe_at - now < 1000 else f'in {span(relay.probe_at - now)}'}. "


def _paused(figures: Figures) -> Verdict | None:
    if not figures.paused:
        return None
    advice = "New mail is taken and waits. Resume the queue when it may leave."
    return Verdict("degraded", f"Paused by an operator; {_kept(figures)}", advice, flows=False, lever="resume")


def _held(figures: Figures) -> Verdict | None:
    for reason, (words, what) in _HELD.items():
        if number := figures.held.get(reason, 0):
            return Verdict("degraded", f"Degraded: {count(number, 'email')} {words}; none is lost", what)
    return None


def _backlog(figures: Figures) -> Verdict | None:
    deferred = figures.states["deferred"]
    accepted = sum(minute.accepted for minute in figures.minutes)
    if deferred < LATE or deferred * 10 < accepted:
        return None
    return Verdict(
        "degraded",
        f"Degraded: {count(deferred, 'email')} put off by the relay; each is tried again by itself",
        "Open one of them to see the reply and what it means.",
    )


def _full(figures: Figures) -> Verdict | None:
    redis = figures.redis
    if redis.memory_max and redis.memory >= redis.memory_max * FULL_SHARE:
        return Verdict(
            "down",
            f"Down: Redis is full ({size(redis.memory)} of {size(redis.memory_max)}): no new mail is taken; {_kept(figures)}",
            f"Clients get 503 and send again later. {_MORE_ROOM}",
            flows=False,
        )
    if figures.waiting >= figures.limit:
        return Verdict(
            "down",
            f"Down: the queue is full, no new mail is taken; {_kept(figures)}",
            f"{number(figures.limit)} may wait (`QUEUE_LIMIT`). Find out below why they do, or raise the limit.",
            flows=False,
        )
    return None


def _slow(figures: Figures) -> Verdict | None:
    longest = max((figures.now - worker.since for worker in figures.workers if worker.since is not None), default=0)
    usual = times(figures.recent).p50 or 0
    due = figures.states["queued"]
    if longest >= SLOW_MS:
        finding = f"an attempt has been running for {span(longest)}"
    elif usual > SLOW_MS and due < LATE:
        finding = f"half of the last emails took longer than {span(SLOW_MS)}"
    else:
        return None
    names = [relay.shown or relay.name for relay in figures.relays]
    name = f"relay {names[0]}" if len(names) == 1 else "a relay"
    return Verdict(
        "degraded",
        f"Degraded: {name} is slow: {finding}; {_kept(figures)}",
        "Nothing fails by it: an attempt ends by itself (`SMTP_TIMEOUTS`) and is made again. If it stays so, ask whoever runs "
        "the relay; more `SMTP_CONNECTIONS` let other mail pass meanwhile.",
    )


def _old(figures: Figures) -> Verdict | None:
    for lane, since in figures.due.items():
        age = figures.now - since
        if age < OLD_MS[lane]:
            continue
        due = figures.states["queued"] + figures.states["sending"]
        return Verdict(
            "degraded",
            f"Degraded: the queue is slow; {count(due, 'email')} due, the oldest in the {lane} lane for {span(age)}",
            "More workers help, or more `SMTP_CONNECTIONS` where the relay allows it.",
        )
    return None


_FINDINGS: Final[tuple[Callable[[Figures], Verdict | None], ...]] = (
    _no_worker, _full, _relays, _paused, _held, _slow, _old, _backlog,
)  # fmt: skip


def _kept(figures: Figures) -> str:
    if not figures.waiting:
        return "nothing is waiting"
    return f"{count(figures.waiting, 'email')} {'waits' if figures.waiting == 1 else 'wait'}, none is lost"


def _healthy(figures: Figures) -> str:
    states = figures.states
    leaving = states["queued"] + states["sending"]
    later = figures.waiting - leaving
    words = [f"{count(leaving, 'email')} leaving"] if leaving else []
    if states["scheduled"]:
        words.append(f"{count(states['scheduled'], 'email')} scheduled")
    if later > states["scheduled"]:
        words.append(f"{count(later - states['scheduled'], 'email')} to be tried again")
    return f"Healthy: {', '.join(words) or 'nothing is waiting'}"


def redis_hints(redis: RedisHealth) -> list[str]:
    """What of Redis' own settings may lose mail one day, and what to set instead; a sentence or two each."""
    hints: list[str] = []
    if redis.durability == "none":
        hints.append("Redis keeps nothing on disk: a restart loses what waits. Set `appendonly yes` and `appendfsync always`.")
    elif redis.durability == "everysec":
        hints.append("Redis writes to disk once a second: a crash may lose the last second. Set `appendfsync always`.")
    elif redis.durability != "always":
        hints.append(
            f"How Redis keeps writes: {redis.durability or 'it does not say'}. Only `appendfsync always` loses nothing."
        )
    if redis.policy not in ("noeviction", ""):
        hints.append(f"Redis may evict keys and lose mail (`{redis.policy}`). Set `maxmemory-policy noeviction`.")
    if redis.memory_max and FULL_SHARE > redis.memory / redis.memory_max > NEARLY:
        hints.append(f"Redis has used {redis.memory / redis.memory_max:.0%} of its memory; from 80 % on no new mail is taken.")
    return hints
