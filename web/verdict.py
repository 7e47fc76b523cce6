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

from tasks.ledger import Figures
from tasks.queue import RelayHealth
from web.meaning import meaning
from web.phrases import clock, count, span

Level = Literal["ok", "degraded", "down"]

OLD_MS: Final = 10 * 60_000
"""A due email that has waited longer deserves a word."""
LATE: Final = 20
"""Deferred emails from which on they deserve a word."""

_HELD: Final = {
    "operator": ("held by an operator", "Release them on their pages when they may go."),
    "damaged": ("held because their stored bytes are not those accepted", "Look at Redis' disk; ask the client to send again."),
    "crashes": ("held because the worker died with them in hand", "The worker's log has the reason."),
    "internal": ("held because of an error in this service", "The worker's log has the traceback."),
}


class Verdict(msgspec.Struct, frozen=True):
    """``sentence`` is the finding, ``advice`` what to do (backquotes mark code); ``flows``: mail that is due leaves.

    ``hints`` are things worth mending that harm no mail now.
    """

    level: Level
    sentence: str
    advice: str = ""
    flows: bool = True
    hints: tuple[str, ...] = ()


def judge(figures: Figures) -> Verdict:
    """The verdict on these figures: the first finding below that applies."""
    hints = tuple(_hints(figures))
    for find in _FINDINGS:
        found = find(figures)
        if found is not None:
            return msgspec.structs.replace(found, hints=hints)
    return Verdict("ok", _healthy(figures), hints=hints)


def store_away(why: str) -> Verdict:
    """The verdict where Redis does not answer, so that there are no figures."""
    return Verdict(
        "down",
        f"Down: {why}",
        "Nothing is accepted and nothing is sent until it is back; what was accepted is in Redis. Check that it runs and that "
        "`REDIS_URL` names it.",
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
        return Verdict("degraded", f"{finding}; mail takes the other relay", f"{_said(worst)}{what}")
    advice = f"{_said(worst)}{_next(worst, figures.now)}{what}"
    return Verdict("degraded", f"{finding}; {_kept(figures)}", advice, flows=False)


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
    return Verdict("degraded", f"Paused by an operator; {_kept(figures)}", "Resume the queue when mail may leave.", flows=False)


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


def _old(figures: Figures) -> Verdict | None:
    # The oldest of all that wait is known, not the oldest that is due: so this speaks only where all that waits is due.
    due = figures.states["queued"] + figures.states["sending"]
    if not due or figures.states["scheduled"] or figures.states["deferred"] or figures.states["held"] or figures.oldest is None:
        return None
    age = figures.now - figures.oldest
    if age < OLD_MS:
        return None
    return Verdict(
        "degraded",
        f"Degraded: the queue is slow; {count(due, 'email')} due, the oldest for {span(age)}",
        "More workers help, or a larger `SMTP_CONNECTIONS` where the relay allows it.",
    )


_FINDINGS: Final[tuple[Callable[[Figures], Verdict | None], ...]] = (_no_worker, _relays, _paused, _held, _backlog, _old)


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


def _hints(figures: Figures) -> list[str]:
    redis = figures.redis
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
    if redis.memory_max and redis.memory > redis.memory_max * 0.85:
        hints.append("Redis has used more than 85 % of its memory; when it is full, new mail is refused.")
    return hints
