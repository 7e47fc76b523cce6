"""The gate before a relay's connections."""

import asyncio

import pytest

from tasks.gate import Gate


async def enter(gate: Gate, order: list[int], number: int) -> None:
    await gate.enter()
    order.append(number)


async def test_it_is_first_come_first_served_up_to_its_size() -> None:
    gate, order = Gate(2), list[int]()
    tasks = [asyncio.create_task(enter(gate, order, number)) for number in range(5)]
    await asyncio.sleep(0)
    assert order == [0, 1]
    gate.leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == [0, 1, 2]
    tasks[3].cancel()
    gate.leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == [0, 1, 2, 4]
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_turn_given_to_somebody_who_left_goes_to_the_next() -> None:
    gate, order = Gate(1), list[int]()
    await gate.enter()
    first = asyncio.create_task(enter(gate, order, 1))
    second = asyncio.create_task(enter(gate, order, 2))
    await asyncio.sleep(0)
    gate.leave()  # the turn is the first's now
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert order == [2]


async def test_after_an_outage_it_ramps_up_by_doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.gate.RAMP_SECONDS", 0.05)
    gate = Gate(10)
    gate.ramp()
    seen = [gate.limit]
    while gate.limit < 10:
        await asyncio.sleep(0.01)
        if gate.limit != seen[-1]:
            seen.append(gate.limit)
    assert seen == [1, 2, 4, 8, 10]


async def test_shrunk_it_lets_fewer_through_but_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.gate.SHRUNK_SECONDS", 0.02)
    gate = Gate(4)
    gate.shrink(0)
    assert gate.limit == 1
    gate.shrink(3)
    assert gate.limit == 1
    await asyncio.sleep(0.05)
    assert gate.limit > 1
