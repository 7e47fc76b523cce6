"""The stories that people ask about: one stack each, one trouble each, and what must come of it.

Each returns a verdict like every other case; what a story demands beyond that is blamed as «wrong». This module is the
stories.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.certificates import make_certificate
from tests.processes import until
from tests.prove.audit import Auditor, drain
from tests.prove.lane import Lane
from tests.prove.reconcile import Verdict
from tests.prove.report import Result
from tests.relay import Delay

USER = "us", "the-right-password"
GRACE_SECONDS = 10
FLOW_SECONDS = 30.0
"""Within this time of a repair all mail that waited has gone."""


async def expired_certificate(result: Result, _: bool) -> Verdict:
    """The relay's certificate has expired; later it is renewed. Mail waits, nothing goes in clear, the next probe finds out."""
    old, new = make_certificate("expired"), make_certificate("valid")
    async with Lane("certificate", relay={"tls": old}, smtp_url="smtp://127.0.0.1:{port}?ca={folder}/ca.pem") as lane:
        (lane.folder / "ca.pem").write_bytes(old.ca.read_bytes() + new.ca.read_bytes())
        verdict = await _hold(lane, 20)
        lane.witness._tls = new
        return await _flow(lane, verdict, result, FLOW_SECONDS)


async def starttls_stripped(result: Result, _: bool) -> Verdict:
    """Somebody on the way takes STARTTLS out of EHLO. Neither the password nor mail leaves in clear."""
    tls = make_certificate("valid")
    url = f"smtp://{':'.join(USER)}@127.0.0.1:{{port}}?ca={tls.ca}"
    async with Lane("stripped", relay={"tls": tls, "users": dict([USER])}, smtp_url=url) as lane:
        lane.witness.offers_tls = False
        await lane.link.cut()
        verdict = await _hold(lane, 20)
        if "AUTH" in _clear_text(lane):
            verdict.blame("wrong", "AUTH went out without TLS")
        lane.witness.offers_tls = True
        return await _flow(lane, verdict, result, FLOW_SECONDS)


async def wrong_password(result: Result, _: bool) -> Verdict:
    """The password is wrong; the operator sets the right one and restarts the workers. No lock-out, all mail flows at once."""
    tls = make_certificate("valid")
    url = f"smtp://us:{{password}}@127.0.0.1:{{port}}?ca={tls.ca}"
    relay = {"tls": tls, "users": dict([USER])}
    async with Lane("password", relay=relay, smtp_url=url, password="the-wrong-password", SMTP_CONNECTIONS="3") as lane:
        verdict = await _hold(lane, 20)
        tries = sum(said.stage == "AUTH" for said in lane.witness.said)
        await asyncio.sleep(8)
        if (now := sum(said.stage == "AUTH" for said in lane.witness.said)) > tries or tries > 6:
            verdict.blame("wrong", f"the wrong password was tried {now} times, {tries} at first")
        lane.fill["password"] = USER[1]
        for slot in lane.slots[1:]:
            lane.kill(slot, signal.SIGTERM)
            await lane.restart(slot)
        result.note = f"tried {tries} times with the wrong password; "
        return await _flow(lane, verdict, result, FLOW_SECONDS)


async def three_days_away(result: Result, short: bool) -> Verdict:
    """The relay is down for three days, and for six, longer than MAX_AGE: simulated by making the held records older by that
    (accepted, born, held_at, place). Nothing fails; then everything flows, on a number of connections that grows."""
    count = 200 if short else 600
    async with Lane("away", SMTP_CONNECTIONS="10", RETRY_DELAYS="1m") as lane:
        await lane.link.stop()
        lane.witness.replies["DOT"] = Delay(0.05)
        await lane.clients.load(count, random.Random(3), seconds=1, recipients=1)
        await until(lambda: _all_held(lane, count), seconds=40, what=f"{count} held")
        ids = [promise.email for promise in lane.clients.promises]
        await lane.records.shift(ids[::2], 3)
        await lane.records.shift(ids[1::2], 6)
        await asyncio.sleep(6)
        verdict = await Auditor(lane).standing_only()
        lane.witness.connected.clear()
        await lane.link.start()
        verdict = await _flow(lane, verdict, result, FLOW_SECONDS)
        first = lane.witness.connected[0]
        by_second = [sum(int(at - first) == n for at in lane.witness.connected) for n in range(4)]
        result.note += f"; new connections by second {by_second}, {lane.witness.most_open} at most"
        if by_second[0] > 6 or lane.witness.most_open > 20:
            verdict.blame("wrong", f"a storm of connections: {by_second}, {lane.witness.most_open} open")
        return verdict


async def killed_under_load(result: Result, _: bool) -> Verdict:
    """kill -9 of the only worker with its hands full; the next one starts at once. Its mail moves again within 60 s."""
    async with Lane("killed", workers=1, SMTP_CONNECTIONS="10", RETRY_DELAYS="500ms") as lane:
        lane.witness.replies["DOT"] = Delay(0.4)
        await lane.clients.load(150, random.Random(5), seconds=1)
        await until(lambda: len(lane.witness.copies) > 10, what="some copies")
        in_hand = set(await lane.records.leased())
        began = time.monotonic()
        lane.kill("worker-0")
        await lane.restart("worker-0", 0)

        async def moved() -> bool:
            return not in_hand & set(await lane.records.in_state("sending", "queued"))

        await until(moved, seconds=90, what="the dead worker's mail moves")
        took = time.monotonic() - began
        await drain(lane, 60)
        verdict = await Auditor(lane).verdict()
        result.note = f"{len(in_hand)} emails in its hands had moved on {took:.1f} s after the kill"
        if took > 60 or not in_hand:
            verdict.blame("wrong", result.note)
        return verdict


async def terminated_under_load(result: Result, _: bool) -> Verdict:
    """SIGTERM of a worker with its hands full: it ends within the grace, with 0, and nothing is sent twice."""
    async with Lane("terminated", SMTP_CONNECTIONS="5", WORKER_GRACE=f"{GRACE_SECONDS}s") as lane:
        lane.witness.replies["DOT"] = Delay(0.5)
        load = asyncio.create_task(lane.clients.load(150, random.Random(7), seconds=2))
        await until(lambda: len(lane.witness.copies) > 10, what="some copies")
        process = lane.processes["worker-0"]
        began = time.monotonic()
        code = await process.stop(signal.SIGTERM, seconds=GRACE_SECONDS + 5)
        took = time.monotonic() - began
        await load
        await drain(lane, 60)
        verdict = await Auditor(lane).verdict()
        result.note = f"exit {code} after {took:.1f} s of {GRACE_SECONDS} s grace, {verdict.excused} second copies"
        if code or took > GRACE_SECONDS + 1 or verdict.excused or verdict.flagged:
            verdict.blame("wrong", f"{result.note}, {verdict.flagged} flagged")
        return verdict


async def big_and_slow(result: Result, short: bool) -> Verdict:
    """A large email to a relay that reads slowly and thinks long after the dot goes through, once."""
    size, rate, think = (2_000_000, 200_000, 12) if short else (20_000_000, 100_000, 70)
    async with Lane("slow", relay={"read_rate": rate}) as lane:
        lane.witness.replies["DOT"] = Delay(think)
        began = time.monotonic()
        await lane.clients.post(size=size)
        await drain(lane, size / rate * 1.6 + think + 30)
        verdict = await Auditor(lane).verdict()
        result.note = f"{size / 1e6:g} MB at {rate // 1000} kB/s, dot after {think} s: {time.monotonic() - began:.0f} s"
        if verdict.handed != 1 or verdict.flagged:
            verdict.blame("wrong", f"{verdict.handed} copies, {verdict.flagged} flagged")
        return verdict


async def damaged_queue(result: Result, _: bool, dishonest: str = "") -> Verdict:
    """Redis has lost places, triggers and held entries of mail that waits (a damaged disk). The sweeper puts them back."""
    async with Lane("damaged", dishonest=dishonest, RETRY_DELAYS="500ms") as lane:
        await lane.link.stop()
        await lane.clients.load(60, random.Random(9), seconds=1, recipients=1)
        await until(lambda: _all_held(lane, 60), seconds=30, what="60 held")
        ids = [promise.email for promise in lane.clients.promises]
        await lane.records.damage(ids[::3])
        began = time.monotonic()
        await lane.link.start()
        took = await drain(lane, 55)
        result.note = f"20 of 60 damaged; flowed {time.monotonic() - began:.0f} s later" if took is not None else "stuck"
        return await Auditor(lane).verdict()


Story = Callable[[Result, bool], Awaitable[Verdict]]
STORIES: dict[str, Story] = {
    story.__name__.replace("_", "-"): story
    for story in (
        big_and_slow, expired_certificate, starttls_stripped, wrong_password, three_days_away, killed_under_load,
        terminated_under_load, damaged_queue,
    )
}  # fmt: skip


async def run_story(name: str, short: bool) -> Result:
    """One story, with whatever goes wrong in it."""
    began = time.monotonic()
    result = Result(kind="scenario", name=name)
    try:
        result.verdict = await STORIES[name](result, short)
    except Exception as error:
        result.broken = f"{type(error).__name__}: {error}"
    result.seconds = time.monotonic() - began
    return result


async def _hold(lane: Lane, count: int) -> Verdict:
    """Puts mail while the relay cannot be used: all of it is held, none fails, none goes out."""
    await lane.clients.load(count, random.Random(1), seconds=0.5, recipients=1)
    await until(lambda: _all_held(lane, count), seconds=40, what=f"{count} held")
    verdict = await Auditor(lane).standing_only()
    if lane.witness.copies or "MAIL" in _clear_text(lane):
        verdict.blame("wrong", "mail went out all the same")
    return verdict


async def _all_held(lane: Lane, count: int) -> bool:
    return await lane.records.held() == count


def _clear_text(lane: Lane) -> str:
    """The verbs that stand on the wire for everyone to read."""
    lane.link.flush()
    lines: list[Any] = (lane.folder / "wire.log").read_text("utf-8").split("\n")
    return " ".join(line.split("b'", 1)[-1][:4] for line in lines if " > b'" in line)


async def _flow(lane: Lane, verdict: Verdict, result: Result, seconds: float) -> Verdict:
    """After the repair: everything flows within so many seconds. ``verdict`` is what was found before."""
    began = time.monotonic()
    took = await drain(lane, seconds + 30)
    after = await Auditor(lane).verdict()
    after.said = verdict.said + after.said
    for name in Verdict.NUMBERS:
        setattr(after, name, getattr(after, name) + getattr(verdict, name))
    result.note += f"all flowed {time.monotonic() - began:.0f} s after the repair"
    if took is None or took > seconds:
        after.blame("stuck", result.note)
    return after
