"""Clients as they should be: an email that was not answered with a 202 is sent again with its Idempotency-Key.

This module is the side that was promised something.
"""

import asyncio
import random
import time
from typing import Any

import httpx

from tests.processes import KEY, an_email
from tests.prove.reconcile import Promise

GIVE_UP_SECONDS = 90.0


class NeverAccepted(Exception):
    """A client got no 202 for too long, or an answer that makes no sense."""


class Clients:
    """The clients of one lane. ``promises`` grows with each 202."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=6, limits=httpx.Limits(max_connections=40)
        )
        self.promises: list[Promise] = []
        self.repeats = 0
        self._next = 0

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    @property
    def next_number(self) -> int:
        """The number that the next email gets."""
        return self._next + 1

    def number(self) -> int:
        """A number that no other email of this lane has."""
        self._next += 1
        return self._next

    async def post(self, number: int | None = None, *, recipients: int = 1, size: int = 0, **changes: Any) -> Promise:
        """Sends one email until it is accepted. ``size``: so many bytes more in its text. Raises NeverAccepted."""
        number = self.number() if number is None else number
        to = [f"r{number}.{n}@dest.example" for n in range(recipients)]
        email = an_email(number, email_to=to, email_from=f"s{number}@shop.example", **changes)
        if size:
            email["message"] = {"text": ("0123456789" * 7 + "\n") * (size // 71 + 1)}
        end = time.monotonic() + GIVE_UP_SECONDS
        headers = {"idempotency-key": f"number {number}"}
        said: object = None
        while time.monotonic() < end:
            try:
                answer = await self._http.post("/send-email/", json=email, headers=headers)
                said = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code == 202:
                    promise = Promise(number, answer.json()["result"], tuple(to))
                    self.promises.append(promise)
                    return promise
                if answer.status_code != 503:
                    break
            except httpx.HTTPError as error:
                said = type(error).__name__
            self.repeats += 1
            await asyncio.sleep(0.2)
        raise NeverAccepted(f"email {number}: {said}")

    async def load(self, count: int, dice: random.Random, *, seconds: float, side_by_side: int = 6, **changes: Any) -> None:
        """``count`` emails within about ``seconds``: some for several, some urgent, some that rather end uncertain."""
        plans = [(self.number(), _plan(dice)) for _ in range(count)]
        plans.reverse()
        pause = seconds * side_by_side / count

        async def one_client() -> None:
            while plans:
                number, plan = plans.pop()
                await self.post(number, **{**plan, **changes})
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(side_by_side):
                group.create_task(one_client())


def _plan(dice: random.Random) -> dict[str, Any]:
    plan: dict[str, Any] = {"recipients": 1 if dice.random() < 0.9 else dice.randint(2, 4)}
    if dice.random() < 0.15:
        plan["priority"] = dice.choice(["high", "low"])
    if dice.random() < 0.2:
        plan["on_uncertain"] = "hold"
    if dice.random() < 0.05:
        plan["size"] = dice.choice([20_000, 300_000])
    return plan
