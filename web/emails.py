"""The list of emails: a page by an index, narrowed by a text within bounds.

This module is the choice of the emails that the status page shows.
"""

from typing import Final

import msgspec

from tasks.ledger import Ledger
from tasks.record import Record, State

PAGE: Final = 30
SEARCHED: Final = 500
"""Emails that one look for a text goes through."""


class Found(msgspec.Struct, frozen=True):
    """Emails for the list. ``before`` continues it; ``searched`` is how many were looked through for a text."""

    records: list[Record]
    before: int | None
    searched: int = 0


async def find(ledger: Ledger, state: State | None, text: str, before: int | None) -> Found:
    """A page of emails; with ``text`` those among the next ``SEARCHED`` whose addresses, client, subject or id hold it."""
    if not text:
        page = await ledger.page(state, limit=PAGE, before=before)
        return Found(page.records, page.before)
    looked = await ledger.page(state, limit=SEARCHED, before=before)
    found = [record for record in looked.records if holds(record, text.lower())]
    if len(found) > PAGE:
        return Found(found[:PAGE], found[PAGE - 1].accepted_us, len(looked.records))
    return Found(found, looked.before, len(looked.records))


def holds(record: Record, text: str) -> bool:
    """Whether an email's id, client, subject or an address of it holds ``text``, which is in lower case."""
    letter = record.letter
    texts = (letter.id, letter.client, letter.subject, letter.sender, letter.message_id, *(d.to for d in record.deliveries))
    return any(text in each.lower() for each in texts)
