"""What Redis holds of the emails, read straight from it, and time made to pass for those that wait long.

This module is the harness's own view of the records.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from tasks import keys
from tasks.record import Delivery, Event, Letter
from tasks.store import connect
from tests.prove.reconcile import Standing

_letter = msgspec.json.Decoder(Letter).decode
_deliveries = msgspec.json.Decoder(list[Delivery]).decode
_event = msgspec.json.Decoder(Event).decode
_DISTURBED = frozenset({"deferred", "uncertain"})

HASTEN_AFTER_MS = 4000

_HASTEN = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local moved = 0
for _, state in ipairs({'uncertain', 'deferred'}) do
  for _, id in ipairs(redis.call('ZRANGE', ARGV[1] .. state, 0, 499)) do
    local f = redis.call('HMGET', ARGV[2] .. id, 'next', 'lane', 'attempt')
    local seen = 'prove:seen:' .. id .. ':' .. state .. (f[3] or '')
    redis.call('SET', seen, string.format('%.0f', now), 'NX', 'EX', 600)
    if f[1] and tonumber(f[1]) > now + 2000 and now - redis.call('GET', seen) > tonumber(ARGV[4]) then
      local lane = f[2] == 'normal' and ARGV[3] or ARGV[3] .. ':' .. f[2]
      redis.call('HSET', ARGV[2] .. id, 'next', string.format('%.0f', now), 'place', string.format('%.3f', now))
      redis.call('ZADD', lane, 'XX', string.format('%.3f', now), id)
      moved = moved + 1
    end
  end
end
return moved
"""

_SHIFT = """
local by, moved = tonumber(ARGV[1]), 0
local function earlier(key, field, n)
  local value = redis.call('HGET', key, field)
  if value then redis.call('HSET', key, field, string.format(n, tonumber(value) - by * (field == 'accepted' and 1000 or 1))) end
end
for n = 5, #ARGV do
  local id, key = ARGV[n], ARGV[2] .. ARGV[n]
  for _, field in ipairs({'born', 'held_at', 'accepted'}) do earlier(key, field, '%.0f') end
  earlier(key, 'place', '%.3f')
  local f = redis.call('HMGET', key, 'accepted', 'place', 'held_for', 'state')
  for _, set in ipairs({'ems:open', 'ems:emails', ARGV[3] .. f[4]}) do redis.call('ZADD', set, 'XX', f[1], id) end
  if f[3] == 'relay' then redis.call('ZADD', ARGV[4] .. 'relay:main', 'XX', f[2], id) end
  moved = moved + 1
end
return moved
"""


class Records:
    """Reads the Redis at ``url``, not through any door."""

    def __init__(self, url: str) -> None:
        self._client = cast(Any, connect(url))

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    async def standings(self, ids: Sequence[str]) -> dict[str, Standing]:
        """How each email stands; those that are unknown are left out."""
        found: dict[str, Standing] = {}
        for start in range(0, len(ids), 200):
            page = ids[start : start + 200]
            pipe = self._client.pipeline(transaction=False)
            for id_ in page:
                pipe.hgetall(keys.EMAIL + id_)
                pipe.lrange(keys.EVENTS + id_, 0, -1)
                for lane in keys.LANES.values():
                    pipe.zscore(lane, id_)
            answers = await pipe.execute()
            for n, id_ in enumerate(page):
                fields, events, *scores = answers[5 * n : 5 * n + 5]
                if fields:
                    found[id_] = _standing({name.decode(): value for name, value in fields.items()}, events, scores)
        return found

    async def open(self) -> int:
        """How many emails have a next step: those without a final state, but for uncertain ones that stay so."""
        return int(await self._client.zcard(keys.OPEN))

    async def accepted(self) -> int:
        """How many emails there are at all."""
        return int(await self._client.zcard(keys.EMAILS))

    async def workers(self) -> int:
        """How many workers have beaten lately."""
        return len(await self._client.keys(keys.WORKER + "*"))

    async def held(self) -> int:
        """How many are held."""
        return int(await self._client.zcard(keys.STATE + "held"))

    async def hasten(self) -> int:
        """Makes the time pass that deferred and uncertain emails wait for; how many were moved.

        Only of those that have waited so for a few seconds: an answer that comes late must find them where they are.
        """
        return int(await self._client.eval(_HASTEN, 0, keys.STATE, keys.EMAIL, keys.LANES["normal"], HASTEN_AFTER_MS))

    async def shift(self, ids: Sequence[str], days: float) -> int:
        """Makes emails so many days older, as if they had waited all that time where they are."""
        words = (round(days * 86_400_000), keys.EMAIL, keys.STATE, keys.HELD)
        return int(await self._client.eval(_SHIFT, 0, *words, *ids))

    async def leased(self) -> list[str]:
        """The emails that are in some worker's hands."""
        return [key.decode().removeprefix(keys.LEASE) for key in await self._client.keys(keys.LEASE + "*")]

    async def in_state(self, *states: str) -> list[str]:
        """The emails in these states."""
        return [id_.decode() for state in states for id_ in await self._client.zrange(keys.STATE + state, 0, -1)]

    async def damage(self, ids: Sequence[str]) -> None:
        """Loses the places and triggers of emails, wherever they wait."""
        sets = [key.decode() for key in await self._client.keys(keys.HELD + "*")]
        for id_ in ids:
            await self._client.delete(keys.JOB + id_)
            for key in (*keys.LANES.values(), *sets):
                await self._client.zrem(key, id_)

    async def forget_accepted(self, name: str) -> None:
        """As if this relay had never taken anything."""
        await self._client.hdel(keys.RELAY + name, "accepted")


def _standing(fields: dict[str, bytes], events: list[bytes], scores: list[float | None]) -> Standing:
    deliveries = _deliveries(fields["deliveries"])
    state, why = fields["state"].decode(), fields.get("why", b"").decode()
    held_for = fields.get("held_for", b"").decode()
    return Standing(
        state=state,
        recipients={delivery.to: delivery.state for delivery in deliveries},
        sha256=_letter(fields["letter"]).sha256,
        flagged=any(delivery.uncertain > 0 for delivery in deliveries),
        why=why or held_for,
        planned=any(score is not None for score in scores) or held_for == "relay",
        undisturbed=not any(_event(event).what in _DISTURBED for event in events),
        lane=fields["lane"].decode(),
        accepted=int(fields["accepted"]),
    )
