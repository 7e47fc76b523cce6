"""What a worker does beside its emails."""

import asyncio

import pytest

from tasks import parts, stock, worker
from tasks.beat import Beat
from tasks.settings import read
from tasks.store import Group
from tests.processes import until


async def test_an_error_in_a_beat_does_not_end_the_beats(valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them every attempt that is longer than its lease would be taken away and sent again."""
    told: list[Beat] = []

    async def tell(_: Group, beat: Beat) -> None:
        told.append(beat)
        if len(told) <= 2:
            raise KeyError("not foreseen")

    for module in (worker, stock):
        monkeypatch.setattr(module, "tell", tell)
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    settings = read({"REDIS_URL": valkey, "SMTP_URL": "smtp+plain://127.0.0.1:1"})
    built = parts.build(settings, parts.connect(settings))
    mail_worker = worker.MailWorker(built)
    beats = [asyncio.create_task(mail_worker._beats()), asyncio.create_task(stock._beats(built, {}, 0))]
    try:
        await until(lambda: len(told) > 4, what="further beats")
        assert not any(task.done() for task in beats)
    finally:
        for task in beats:
            task.cancel()
        await asyncio.gather(*beats, return_exceptions=True)
        await mail_worker.close()
