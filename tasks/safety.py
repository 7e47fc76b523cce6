"""Whether a Redis' own settings may lose mail, and from when on it counts as full.

This module is that judgement, for every process that starts on it.
"""

from tasks.figures import RedisHealth

FULL_SHARE = 0.8
"""Beyond this part of Redis' memory no new mail is taken, so that what is accepted can be finished."""


def eviction_problem(health: RedisHealth) -> str:
    """Why this Redis may throw waiting mail away, or nothing. A policy it will not tell counts as right; the page says so."""
    if health.policy in {"noeviction", ""}:
        return ""
    return (
        f"REDIS_URL: this Redis has maxmemory-policy {health.policy} and may throw away waiting mail; "
        "set it to noeviction (or REDIS_ALLOW_EVICTION=yes to take the risk)"
    )
