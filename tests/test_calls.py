"""Many calls in one command: what is put together, and that each call fares as it would alone."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tasks import keys
from tasks.calls import LARGE, Call, command_of, framed, hand_out, pack, script_call
from tasks.claim import Put, Settlement
from tasks.errors import QueueFull, RecipientFlooded, StoreUnavailable
from tasks.ledger import Ledger
from tasks.queue import Queue
from tasks.rate import Rate
from tasks.record import Delivery
from tasks.script import MANY, Script
from tasks.store import Group
from tests.letters import a_letter, claim, claim_one, put
from tests.prove.resp import Stream

MARK, BEAT = Script("mark"), Script("beat")
SENT = Settlement(state="sent", deliveries=[Delivery(to="ada@dest.example", state="sent", attempts=1)], sent=1, took=3)


def called(script: Script, *args: Any) -> Call:
    """A call that nobody has made yet; to be made within a loop."""
    return script_call(script, args, asyncio.get_running_loop().create_future())


async def runs(group: Group, script: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[int, Any]:
    """How often Redis ran a script of ours during ``work``, and what that gave."""
    assert script in MANY
    await group.command("SCRIPT", "LOAD", Script(script).source)
    await group.command("CONFIG", "RESETSTAT")
    found = await work()
    stats: bytes = await group.command("INFO", "commandstats")
    return int(stats.partition(b"cmdstat_evalsha:calls=")[2].partition(b",")[0] or 0), found


def gathered(*calls: Coroutine[Any, Any, Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    """All at once; errors among the answers."""

    async def work() -> list[Any]:
        return await asyncio.gather(*calls, return_exceptions=True)

    return work


# frames


async def test_calls_of_a_script_for_many_become_one_command_in_their_order() -> None:
    calls = [called(MARK, f"id{n}", "token", n, 15000) for n in range(12)]
    other = [called(BEAT, "a"), called(BEAT, "b")]
    frames = framed([calls[0], other[0], *calls[1:5], other[1], *calls[5:]])
    assert [len(frame) for frame in frames] == [12, 1, 1]
    [words] = Stream().feed(b"".join(command_of(frames[0])))
    expected: list[bytes] = [b"EVALSHA", MARK.sha.encode(), b"0"]
    for n in range(12):
        expected += [b"4", b"id%d" % n, b"token", b"%d" % n, b"15000"]
    assert words == expected


@pytest.mark.parametrize("count", [1, 4, 5, 6, 7, 94, 95, 96, 97, 996, 1200])
async def test_a_call_reads_the_same_alone_and_among_others_however_many_words_it_has(count: int) -> None:
    one = called(MARK, *("w" * (n % 3) for n in range(count)))
    [alone] = Stream().feed(b"".join(command_of([one])))
    [both] = Stream().feed(b"".join(command_of([one, one])))
    assert alone == one_words(alone, count)
    assert both == [*alone, *alone[3:]]


def one_words(words: list[bytes], count: int) -> list[bytes]:
    """What one call of so many words must look like."""
    assert len(words) == 4 + count
    return [b"EVALSHA", MARK.sha.encode(), b"0", b"%d" % count, *(b"w" * (n % 3) for n in range(count))]


async def test_a_large_call_stands_alone() -> None:
    small, large = called(MARK, "a"), called(MARK, "b" * LARGE)
    assert [len(frame) for frame in framed([small, large, small])] == [2, 1]


@pytest.mark.parametrize("script", [MARK, BEAT])
async def test_a_large_word_is_not_copied_and_arrives_as_it_is(script: Script) -> None:
    large = bytes(range(256)) * (LARGE // 256 + 1)
    args = ("grüße", 17, large, 0.5, large, b"last")
    pieces = command_of([called(script, *args)])
    assert sum(piece is large for piece in pieces) == 2
    count = [b"6"] if script is MARK else []
    [words] = Stream().feed(b"".join(pieces))
    assert words == [b"EVALSHA", script.sha.encode(), b"0", *count, "grüße".encode(), b"17", large, b"0.5", large, b"last"]
    with pytest.raises(UnicodeEncodeError):
        called(script, large, "\ud800")


async def test_an_error_of_a_whole_command_is_every_callers_and_one_within_is_its_own_callers() -> None:
    loop = asyncio.get_running_loop()
    calls = [called(MARK, str(n)) for n in range(4)]
    plain = Call(pack(("GET", "k")), None, 0, loop.create_future())
    gone = called(MARK, "gone")
    gone.future.cancel()
    frames = [[calls[0], calls[1]], [calls[2], gone, calls[3]], [plain]]
    answers = [ResponseError("OOM x"), [b"ok", b"ok", ResponseError("ERR y")], [b"a", b"list"]]
    hand_out(frames, answers, lambda error: StoreUnavailable(str(error)))
    found = await asyncio.gather(*(call.future for call in [*calls, plain]), return_exceptions=True)
    assert list(map(str, found)) == ["OOM x", "OOM x", "b'ok'", "ERR y", "[b'a', b'list']"]


# the scripts


async def test_puts_in_one_write_are_one_run_and_keep_their_order(queue: Queue, group: Group, ledger: Ledger) -> None:
    lanes = [("high", "normal", "low")[n % 3] for n in range(30)]
    count, answers = await runs(group, "accept", gathered(*(put(queue, lane=lane) for lane in lanes)))  # pyright: ignore[reportArgumentType]
    assert count == 1
    assert [answer.what for answer in answers] == ["put"] * 30
    scores = [answer.accepted for answer in answers]
    assert scores == sorted(set(scores))
    found = (await claim(queue)).claims
    best_first = sorted(range(30), key=lambda n: (n % 3, n))
    assert [one.id for one in found] == [answers[n].id for n in best_first]
    figures = await ledger.figures()
    assert (figures.totals.accepted, figures.waiting, figures.states["sending"]) == (30, 30, 30)
    assert await group.command("LLEN", keys.WAKE) == 1  # one token an email, and the claim took those it needs not


async def test_in_one_write_too_the_same_key_is_one_email_and_another_body_a_conflict(queue: Queue, ledger: Ledger) -> None:
    def keyed(digest: str, client: str = "shop") -> Coroutine[Any, Any, Put]:
        letter = a_letter(client=client)
        return queue.put(letter, ["a@b.example"], b"x", "normal", idempotency=("k", digest))

    first, same, other, foreign = await asyncio.gather(keyed("h1"), keyed("h1"), keyed("h2"), keyed("h2", "b"))
    assert [answer.what for answer in (first, same, other, foreign)] == ["put", "replayed", "conflict", "put"]
    assert (same.id, other.id) == (first.id, first.id)
    assert await ledger.count() == 2
    assert (await queue.replayed("shop", ("k", "h1")), await queue.replayed("b", ("k", "h2"))) == (first.id, foreign.id)


async def test_in_one_write_too_the_same_id_is_one_email(queue: Queue, ledger: Ledger) -> None:
    letter = a_letter()
    first, again = await asyncio.gather(*(queue.put(letter, ["a@b.example"], b"x", "normal") for _ in range(2)))
    assert (first.what, again.what, again.accepted) == ("put", "stored", first.accepted)
    assert (await ledger.count(), len((await claim(queue)).claims)) == (1, 1)


async def test_a_queue_that_fills_up_within_a_write_takes_what_still_fits(group: Group, ledger: Ledger) -> None:
    small = Queue(group, retain_records=60, limit=3)
    await put(small)
    count, answers = await runs(group, "accept", gathered(*(put(small) for _ in range(5))))
    assert count == 1
    assert [type(answer) for answer in answers] == [Put, Put, QueueFull, QueueFull, QueueFull]
    assert await ledger.count() == 3


async def test_a_recipients_limit_holds_within_a_write_and_what_it_refuses_counts_for_nobody(group: Group) -> None:
    strict = Queue(group, retain_records=60, recipient_limit=Rate(2, 3600))
    calls = [put(strict, "a@b.example"), put(strict, "c@b.example", "a@b.example"), put(strict, "c@b.example", "a@b.example"),
             put(strict, "c@b.example"), put(strict, "c@b.example"), put(strict, "d@b.example")]  # fmt: skip
    count, answers = await runs(group, "accept", gathered(*calls))
    assert count == 1
    assert [type(answer) for answer in answers] == [Put, Put, RecipientFlooded, Put, RecipientFlooded, Put]
    assert (answers[2].recipient, answers[4].recipient) == ("a@b.example", "c@b.example")
    for addr in ("a", "c"):
        with pytest.raises(RecipientFlooded):
            await put(strict, f"{addr}@b.example")


async def test_a_damaged_record_spoils_no_other_call_of_its_write(queue: Queue, group: Group, ledger: Ledger) -> None:
    broken = a_letter()
    await group.command("SET", keys.EMAIL + broken.id, "no hash")
    calls = [put(queue), queue.put(broken, ["a@b.example"], b"x", "normal"), put(queue)]
    count, answers = await runs(group, "accept", gathered(*calls))
    assert count == 1
    assert [type(answer) for answer in answers] == [Put, StoreUnavailable, Put]
    assert [one.id for one in (await claim(queue)).claims] == [answers[0].id, answers[2].id]
    assert await ledger.count() == 2


async def test_outcomes_and_marks_of_one_write_are_each_judged_alone(queue: Queue, group: Group, ledger: Ledger) -> None:
    await asyncio.gather(*(put(queue) for _ in range(6)))
    claims = (await claim(queue)).claims
    await group.command("SET", keys.LEASE + claims[1].id, "another")
    await group.command("DEL", keys.EMAIL + claims[2].id)
    await group.command("SET", keys.EMAIL + claims[3].id, "no hash")
    count, marked = await runs(group, "mark", gathered(*map(queue.mark, claims)))
    assert count == 1
    assert [str(answer) for answer in marked[:3]] == ["ok", "lease", "state"]
    assert isinstance(marked[3], StoreUnavailable)
    assert marked[4:] == ["ok", "ok"]
    later = Settlement(state="deferred", deliveries=SENT.deliveries, deferred=1, delay=0.0)
    whats = [SENT, SENT, SENT, SENT, SENT, later]
    count, settled = await runs(group, "settle", gathered(*map(queue.settle, claims, whats)))
    assert count == 1
    assert settled[:3] == [("ok", None), ("old", None), ("gone", None)]
    assert isinstance(settled[3], StoreUnavailable)
    assert (settled[4], settled[5][0]) == (("ok", None), "ok")
    figures = await ledger.figures()
    assert (figures.totals.sent, figures.states["sent"], figures.states["deferred"]) == (2, 2, 1)
    assert (figures.recent.buckets, figures.recent.took) == ({"normal": {5: 2}}, {"normal": 6})
    assert (await claim_one(queue)).id == claims[5].id


async def test_an_outcome_that_comes_twice_in_a_write_counts_once(queue: Queue, ledger: Ledger) -> None:
    await put(queue)
    claimed = await claim_one(queue)
    first, again = await asyncio.gather(queue.settle(claimed, SENT), queue.settle(claimed, SENT))
    assert (first, again) == (("ok", None), ("sent", None))
    record = await ledger.record(claimed.id)
    assert record is not None
    figures = await ledger.figures()
    assert (figures.totals.sent, figures.waiting, record.state) == (1, 0, "sent")


@pytest.mark.parametrize(
    "rate", [Rate(7, 1), Rate(24, 1), Rate(9, 60), Rate(28, 60), Rate(13, 3600), Rate(26, 3600), Rate(31, 86_400)]
)
async def test_a_recipient_gets_all_that_is_allowed_in_one_write_and_no_more(group: Group, rate: Rate) -> None:
    strict = Queue(group, retain_records=60, recipient_limit=rate)
    _, answers = await runs(group, "accept", gathered(*(put(strict, "a@b.example") for _ in range(rate.count + 1))))
    assert [type(answer) for answer in answers] == [Put] * rate.count + [RecipientFlooded]


async def test_a_damaged_score_spoils_no_other_outcome_of_its_write(queue: Queue, group: Group, ledger: Ledger) -> None:
    await asyncio.gather(*(put(queue) for _ in range(4)))
    claims = (await claim(queue)).claims
    await group.command("HSET", keys.EMAIL + claims[1].id, "accepted", "no number")
    _, settled = await runs(group, "settle", gathered(*(queue.settle(one, SENT) for one in claims)))
    assert isinstance(settled[1], StoreUnavailable)
    assert [settled[n] for n in (0, 2, 3)] == [("ok", None)] * 3
    figures = await ledger.figures()
    assert (figures.totals.sent, figures.states["sent"]) == (3, 3)


async def test_what_was_taken_before_a_damaged_record_is_taken_properly(queue: Queue, group: Group, ledger: Ledger) -> None:
    ids = [(await put(queue)).id for _ in range(3)]
    await group.command("SET", keys.EMAIL + ids[2], "no hash")
    with pytest.raises(StoreUnavailable):
        await claim(queue)
    assert await group.command("ZRANGE", keys.CLAIMED, 0, -1) == [one.encode() for one in ids[:2]]
    assert (await ledger.count("sending"), await ledger.count("queued")) == (2, 1)
