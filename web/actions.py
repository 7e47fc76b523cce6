"""What an operator does: to one email, to many, to a relay, to the queue.

Everything goes through the levers, as ``by="operator"``, which the email's history keeps; every action answers with what it
did. What cannot be taken back, and whatever concerns all that a filter finds, asks once, by a page of its own, without script.

This module is the pages' POST routes.
"""

import asyncio
from collections import Counter
from typing import Any, Final

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tasks.figures import STATES
from tasks.ledger import Ledger
from tasks.levers import Levers, Said
from tasks.record import State
from web.deeds import ASKED, VERBS, Verb, note, possible, question, where
from web.emails import holds
from web.frame import Frame, Operator
from web.history import ID
from web.notes import Notes
from web.pulse import Pulse

BY: Final = "operator"
BOUND: Final = 1000
"""The most that one action is done to."""
LOOKED_AT: Final = 20_000
"""The most that one action looks through for a text."""
AT_ONCE: Final = 50

Asked = Request[Any, Any, Any]


class Choice(msgspec.Struct, frozen=True):
    """What the list's form asks for: ``ids`` where they were ticked, else all of ``state`` that hold ``text``."""

    verb: Verb
    ids: list[str]
    state: State | None
    text: str
    sure: bool

    @property
    def is_all(self) -> bool:
        return not self.ids


class Actions:
    """The actions and their answers."""

    def __init__(self, frame: Frame, notes: Notes, ledger: Ledger, levers: Levers, pulse: Pulse) -> None:
        self._frame = frame
        self._notes = notes
        self._ledger = ledger
        self._levers = levers
        self._pulse = pulse

    def routes(self) -> list[HTTPRouteHandler]:
        """``POST /status/emails/<id>``, ``/status/emails``, ``/status/queue`` and ``/status/relay``."""

        @post("/status/emails/{email_id:str}")
        async def one(request: Asked, operator: NamedDependency[Operator], email_id: FromPath[str]) -> Response[Any]:
            return await self._one(operator, email_id, read_choice(await _fields(request)))

        @post("/status/emails")
        async def many(request: Asked, operator: NamedDependency[Operator]) -> Response[Any]:
            return await self._many(operator, read_choice(await _fields(request)))

        @post("/status/queue")
        async def queue(request: Asked, operator: NamedDependency[Operator]) -> Response[Any]:
            fields = await _fields(request)
            verb = fields.get("do", [""])[0]
            if verb not in {"pause", "resume"}:
                raise HTTPException(status_code=400)
            said = await (self._levers.pause(BY) if verb == "pause" else self._levers.resume(BY))
            self._pulse.forget()
            return await self._notes.send(operator.session, note(verb, [said]), "/status")

        @post("/status/relay")
        async def relay(request: Asked, operator: NamedDependency[Operator]) -> Response[Any]:
            name = (await _fields(request)).get("relay", [""])[0]
            if name not in {known.name for known in (await self._pulse.figures()).relays}:
                raise NotFoundException("No worker uses this relay any more.")
            said = await self._levers.probe(name, BY)
            self._pulse.forget()
            return await self._notes.send(operator.session, note("probe", [said]), "/status")

        return [one, many, queue, relay]

    async def _one(self, operator: Operator, email_id: str, choice: Choice) -> Response[Any]:
        if not ID.match(email_id) or await self._ledger.record(email_id) is None:
            raise NotFoundException("There is no email with this id any more.")
        if choice.verb in ASKED and not choice.sure:
            return self._ask(operator, choice, 1, f"/status/emails/{email_id}")
        said = await self._do(choice.verb, email_id)
        self._pulse.forget()
        return await self._notes.send(operator.session, note(choice.verb, [said]), f"/status/emails/{email_id}")

    async def _many(self, operator: Operator, choice: Choice) -> Response[Any]:
        ids, more = (choice.ids, False) if choice.ids else await self._found(choice)
        if ids and not choice.sure and (choice.verb in ASKED or choice.is_all):
            return self._ask(operator, choice, len(ids), "/status/emails", more=more)
        said: Counter[str] = Counter()
        for start in range(0, len(ids), AT_ONCE):
            said.update(await asyncio.gather(*(self._do(choice.verb, id_) for id_ in ids[start : start + AT_ONCE])))
        self._pulse.forget()
        words = note(choice.verb, said, more=more)
        return await self._notes.send(operator.session, words, "/status", "emails", state=choice.state or "", q=choice.text)

    async def _found(self, choice: Choice) -> tuple[list[str], bool]:
        """The ids of all that the filter finds and ``verb`` can be done to, and whether there are more than the bound."""
        ids: list[str] = []
        for state in where(choice.verb, choice.state):
            before: int | None = None
            for _ in range(LOOKED_AT // BOUND):
                page = await self._ledger.page(state, limit=BOUND, before=before)
                ids += [
                    record.letter.id
                    for record in page.records
                    if holds(record, choice.text.lower()) and choice.verb in possible(record)
                ]
                before = page.before
                if before is None or len(ids) > BOUND:
                    break
        return ids[:BOUND], len(ids) > BOUND

    async def _do(self, verb: Verb, id_: str) -> Said:
        lever = {
            "retry": self._levers.retry,
            "hold": self._levers.hold,
            "release": self._levers.release,
            "cancel": self._levers.cancel,
        }[verb]
        return await lever(id_, BY)

    def _ask(self, operator: Operator, choice: Choice, number: int, action: str, *, more: bool = False) -> Response[Any]:
        return self._frame.page(
            "sure.html",
            path="/status/emails",
            operator=operator,
            choice=choice,
            question=question(choice.verb, number),
            number=number,
            more=more,
            action=action,
        )


def read_choice(fields: dict[str, list[str]]) -> Choice:
    """What a form asks for. Raises HTTPException 400 for what no form of ours asks."""

    def one(name: str) -> str:
        return fields.get(name, [""])[0]

    verb, state = one("do"), one("state")
    ids = [id_ for id_ in fields.get("id", []) if ID.match(id_)][:BOUND]
    is_all = one("which") == "all"
    if verb not in VERBS or (is_all and not state and not one("q").strip()):
        raise HTTPException(status_code=400)
    if one("which") == "ticked" and not ids:
        raise HTTPException("No email was ticked. Go back and tick those that you mean.", status_code=422)
    return Choice(
        verb=verb,
        ids=[] if is_all else ids,
        state=state if state in STATES else None,
        text=one("q").strip()[:200],
        sure=one("sure") == "yes",
    )


async def _fields(request: Asked) -> dict[str, list[str]]:
    form = await request.form()
    return {name: [value for value in form.getall(name) if isinstance(value, str)] or [""] for name in form}
