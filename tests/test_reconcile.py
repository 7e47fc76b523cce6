"""The accounts of the fault harness: what is even, and what must be blamed."""

from typing import Any

import pytest

from tests.prove.dishonest import EDITS, sabotaged
from tests.prove.points import SHORT, every_point
from tests.prove.reconcile import Handed, Promise, Standing, Verdict, reconcile
from tests.prove.resp import Names, Stream, pack

TO = "r1.0@dest.example"
PROMISE = Promise(1, "a", (TO,))


def handed(at: float = 1, **changes: Any) -> Handed:
    return Handed(**{"email": "a", "recipients": (TO,), "sha256": "x", "at": at, **changes})


def standing(state: str = "sent", **changes: Any) -> Standing:
    return Standing(**{"state": state, "recipients": {TO: state}, "sha256": "x", **changes})


def blamed(verdict: Verdict) -> dict[str, int]:
    return {name: number for name in Verdict.NUMBERS if (number := getattr(verdict, name))}


LOST = "its answer was lost"
CASES: list[tuple[str, list[Handed], Standing | None, dict[str, int]]] = [
    ("sent once", [handed()], standing(), {}),
    ("neither here nor there", [], None, {"lost": 1}),
    ("delivered, its record long gone", [handed()], None, {}),
    ("called sent, and not at the relay", [], standing(), {"lost": 1}),
    ("twice for no reason", [handed(), handed(2)], standing(flagged=True), {"copies": 1}),
    ("twice for a reason, flagged", [handed(excused=LOST, lost=True), handed(2)], standing(flagged=True), {}),
    ("twice for a reason, the late one's", [handed(), handed(2, excused="was frozen")], standing(flagged=True), {}),
    ("twice for a reason, not flagged", [handed(excused="died"), handed(2)], standing(), {"unflagged": 1}),
    ("three times for one reason", [handed(excused=LOST), handed(2), handed(3)], standing(flagged=True), {"copies": 1}),
    ("twice, with other bytes", [handed(excused=LOST), handed(2, sha256="y")], standing(flagged=True), {"copies": 1}),
    ("its answer lost, not flagged", [handed(excused=LOST, lost=True)], standing("uncertain"), {"unflagged": 1}),
    ("uncertain for good, flagged", [handed(excused=LOST, lost=True)], standing("uncertain", flagged=True), {}),
    ("still waiting", [], standing("deferred", planned=True, why="busy"), {"stuck": 1}),
    ("uncertain, and to go again", [], standing("uncertain", planned=True, why="lost"), {"stuck": 1}),
    ("held without a reason", [], standing("held"), {"stuck": 1}),
    ("failed though nobody refused it", [], standing("failed", why="not within MAX_AGE"), {"wrong": 1}),
    ("for somebody else", [handed()], standing(recipients={"x@y.example": "waiting"}), {"wrong": 1}),
]


@pytest.mark.parametrize(("_what", "copies", "stands", "wrong"), CASES, ids=[case[0] for case in CASES])
def test_each_email_must_come_out_even(
    _what: str, copies: list[Handed], stands: Standing | None, wrong: dict[str, int]
) -> None:
    verdict = reconcile([PROMISE], copies, {} if stands is None else {"a": stands})
    assert blamed(verdict) == wrong
    assert verdict.is_good is not bool(wrong)


def test_a_refusal_by_recipient_or_sender_explains_a_failure() -> None:
    for about in (TO, "s1@shop.example"):
        assert reconcile([PROMISE], [], {"a": standing("failed")}, refused=[about]).is_good


def test_each_recipient_is_counted_for_itself() -> None:
    other = "r1.1@dest.example"
    promise = Promise(1, "a", (TO, other))
    stands = standing("sent", recipients={TO: "sent", other: "sent"})
    one_each = [handed(), handed(2, recipients=(other,))]
    assert reconcile([promise], one_each, {"a": stands}).is_good
    assert blamed(reconcile([promise], [*one_each, handed(3, recipients=(other,))], {"a": stands})) == {
        "copies": 1,
        "unflagged": 1,
    }


def test_what_nobody_was_promised_is_a_stranger() -> None:
    assert blamed(reconcile([], [handed()], {})) == {"wrong": 1}


def test_order_is_asked_within_a_lane_of_those_that_nothing_disturbed() -> None:
    promises = [Promise(n, name, (TO,)) for n, name in enumerate("abc")]
    copies = [handed(1, email="b"), handed(2, email="a"), handed(3, email="c")]
    stands = {name: standing(accepted=n) for n, name in enumerate("abc")}
    assert blamed(reconcile(promises, copies, stands, ordered=True)) == {"order": 1}
    assert reconcile(promises, copies, stands).is_good
    stands["a"] = standing(accepted=0, undisturbed=False)
    assert reconcile(promises, copies, stands, ordered=True).is_good
    stands["a"] = standing(accepted=0, lane="low")
    assert reconcile(promises, copies, stands, ordered=True).is_good


def test_calls_are_known_by_their_scripts_and_keys() -> None:
    names = Names()
    names.learn("mark", "abc")
    words = [b"EVALSHA", b"abc", b"0", b"2", b"an-id", b"token", b"2", b"another", b"token"]
    assert names.of(words) == ("mark", words)
    assert names.of(words).emails == ["an-id", "another"]
    assert names.of([b"GET", b"ems:content:an-id"]) == ("content", [b"GET", b"ems:content:an-id"])
    assert names.of([b"BLPOP", b"ems:wake", b"0.5"]).name == "wait"
    assert names.of([b"PING"]).name == "ping"


def test_a_stream_is_taken_apart_wherever_it_is_cut() -> None:
    commands = [[b"GET", b"a"], [b"SET", b"a", b"\r\n$5\r\n" * 3]]
    data = b"".join(map(pack, commands))
    for cut in range(len(data)):
        stream = Stream()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) == commands


def test_every_safeguard_that_can_be_taken_out_is_found_in_its_script() -> None:
    for what, edits in EDITS.items():
        for script in {edit[0] for edit in edits}:
            assert sabotaged(what, script)[0]


def test_the_short_form_names_points_that_exist() -> None:
    assert {str(point) for point in every_point()} >= SHORT
