"""The accounts: what clients were promised, what the relay has, what Redis says. Each email must come out even.

========== =========================================================================================================
lost       accepted, and neither at the relay nor waiting or ended with a reason; or called sent, and not there
copies     a second copy of an email for the same recipient without an excuse, or with other bytes
unflagged  a second copy, or an answer that was lost, and the email does not say so
stuck      not at its end, though the faults ended long ago; or waiting without a reason or a next moment
order      overtaken in its lane by a later one, though neither was ever deferred
wrong      refused for good though no relay said so, or sent though nobody asked for it
========== =========================================================================================================

A copy is excused where its answer was lost (by the relay or on the wire), or where its worker died or was frozen between
the mark and the outcome. There may be one copy more than excuses, and no more. This module is pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

FINAL = frozenset({"sent", "partly_sent", "captured", "failed", "expired", "cancelled"})


class Promise(msgspec.Struct, frozen=True):
    """What a client was told: its own number for the email, the id of the 202, and whom it is for."""

    number: int
    email: str
    recipients: tuple[str, ...]


class Handed(msgspec.Struct, frozen=True):
    """One copy at the relay. ``excused``: why a further one may follow, empty where none may. ``lost``: the answer was lost."""

    email: str
    recipients: tuple[str, ...]
    sha256: str
    at: float
    excused: str = ""
    lost: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What Redis says of an email. ``recipients`` maps addresses to states; ``planned``: it waits in its lane, or aside for
    a reason that ends by itself; ``undisturbed``: never deferred, uncertain or given back."""

    state: str
    recipients: Mapping[str, str]
    sha256: str
    flagged: bool = False
    why: str = ""
    planned: bool = False
    undisturbed: bool = True
    lane: str = "normal"
    accepted: int = 0


class Verdict(msgspec.Struct):
    """Counts, and a sentence for each thing that is wrong."""

    emails: int = 0
    handed: int = 0
    excused: int = 0
    flagged: int = 0
    lost: int = 0
    copies: int = 0
    unflagged: int = 0
    stuck: int = 0
    order: int = 0
    wrong: int = 0
    said: list[str] = []

    NUMBERS = ("lost", "copies", "unflagged", "stuck", "order", "wrong")

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.said

    def blame(self, what: str, text: str) -> None:
        """One thing that is wrong."""
        setattr(self, what, getattr(self, what) + 1)
        self.said.append(f"{what}: {text}")

    def add(self, other: "Verdict") -> None:
        """Sums up."""
        for name in ("emails", "handed", "excused", "flagged", *self.NUMBERS):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.said += other.said


def reconcile(
    promises: Iterable[Promise],
    handed: Iterable[Handed],
    standings: Mapping[str, Standing],
    *,
    refused: Iterable[str] = (),
    ordered: bool = False,
) -> Verdict:
    """``refused`` are the addresses (sender or recipient) about which the relay ever said a 5xx; ``ordered``: one worker with
    one connection, so that order can be asked for."""
    verdict = Verdict()
    said_no = set(refused)
    copies: dict[str, list[Handed]] = defaultdict(list)
    for copy in sorted(handed, key=lambda copy: copy.at):
        copies[copy.email].append(copy)
        verdict.handed += 1
    known: set[str] = set()
    for promise in promises:
        verdict.emails += 1
        known.add(promise.email)
        standing = standings.get(promise.email)
        if standing is None:
            there = {to for copy in copies[promise.email] for to in copy.recipients}
            if set(promise.recipients) - there:
                verdict.blame("lost", f"{promise.email} ({promise.number}) is neither at the relay nor in Redis")
            continue
        verdict.flagged += standing.flagged
        _check_recipients(verdict, promise, standing, copies[promise.email], said_no)
        _check_end(verdict, promise, standing)
        _check_copies(verdict, promise, standing, copies[promise.email])
    for email in copies:
        if email not in known:
            verdict.blame("wrong", f"{email} is at the relay, and no client knows it")
    if ordered:
        _check_order(verdict, copies, standings)
    return verdict


def _check_recipients(
    verdict: Verdict, promise: Promise, standing: Standing, copies: Sequence[Handed], said_no: set[str]
) -> None:
    there = {to for copy in copies for to in copy.recipients}
    if set(standing.recipients) != set(promise.recipients):
        verdict.blame("wrong", f"{promise.email} is for {sorted(standing.recipients)}, not {sorted(promise.recipients)}")
    for to, state in standing.recipients.items():
        if state == "sent" and to not in there:
            verdict.blame("lost", f"{promise.email} ({promise.number}) is called sent to {to}, and the relay has not got it")
        if state in {"failed", "expired", "cancelled"} and not said_no & {to, f"s{promise.number}@shop.example"}:
            verdict.blame(
                "wrong", f"{promise.email} ({promise.number}) {state} for {to}, and no relay refused it: {standing.why}"
            )


def _check_end(verdict: Verdict, promise: Promise, standing: Standing) -> None:
    if standing.state in FINAL or (standing.state == "uncertain" and not standing.planned):
        return
    how = "waits" if standing.planned and standing.why else "waits without a reason or a next moment"
    verdict.blame("stuck", f"{promise.email} ({promise.number}) {how}: {standing.state}, {standing.why or 'no reason'}")


def _check_copies(verdict: Verdict, promise: Promise, standing: Standing, copies: Sequence[Handed]) -> None:
    name = f"{promise.email} ({promise.number})"
    if any(copy.sha256 != standing.sha256 for copy in copies):
        verdict.blame("copies", f"{name}: the relay has other bytes than were accepted")
    is_twice = False
    for to in promise.recipients:
        own = [copy for copy in copies if to in copy.recipients]
        excuses = sum(bool(copy.excused) for copy in own)
        is_twice = is_twice or len(own) > 1
        verdict.excused += max(0, len(own) - 1)
        if len(own) - 1 > excuses:
            verdict.blame("copies", f"{name}: {len(own)} copies for {to}, {excuses} excused")
    if not standing.flagged and (is_twice or any(copy.lost for copy in copies)):
        verdict.blame("unflagged", f"{name}: {'two copies' if is_twice else 'its answer was lost'}, and it does not say so")


def _check_order(verdict: Verdict, copies: Mapping[str, Sequence[Handed]], standings: Mapping[str, Standing]) -> None:
    lanes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for email, standing in standings.items():
        if standing.undisturbed and copies.get(email):
            lanes[standing.lane].append((standing.accepted, email))
    for lane, emails in lanes.items():
        before, last = float("-inf"), ""
        for _, email in sorted(emails):
            at = copies[email][0].at
            if at < before:
                verdict.blame("order", f"{email} overtook {last} in the lane {lane}")
            before, last = max(before, at), email if at >= before else last
