"""``email-service send``: a test email, put like any client's and followed until it has arrived or failed.

This module is that command; it goes the way of every email, only past HTTP.
"""

import argparse
import asyncio
import sys
import time

from service.accept import Acceptance
from service.clients import Client
from tasks.checked import Limits
from tasks.email import Content, Email
from tasks.errors import EmailInvalid
from tasks.ledger import Ledger
from tasks.queue import Queue
from tasks.record import FINAL, Event, Record
from tasks.settings import Settings
from tasks.store import Group
from web.reason import obstacle, reason

CLIENT = "command-line"
TEXT = "This is a test email. If you can read it, email works.\n"
EVERY = 0.1
_GOOD = ("sent", "captured")


async def send(settings: Settings, group: Group, args: argparse.Namespace) -> int:
    """Prints the id on stdout, what happens on stderr; 0 once every recipient has it, 2 for an email that is none.

    1 where it failed or ``--wait`` was not long enough; it goes on by itself then. Raises ``StoreUnavailable``.
    """
    queue = Queue(group, retain_records=settings.retain_records, limit=settings.queue_limit)
    acceptance = Acceptance(queue, Limits(settings.max_message_bytes, settings.max_recipients, settings.smtp_utf8))
    acceptance.routes = await queue.routes()
    content = Content(text=args.text if args.text is not None or args.html is not None else TEXT, html=args.html)
    email = Email(email_to=args.to, email_from=args.sender, subject=args.subject, message=content)
    try:
        put = await acceptance.accept(email, Client(name=CLIENT))
    except EmailInvalid as error:
        for wrong in error.errors:
            print(f"email-service: {wrong.field}: {wrong.message}", file=sys.stderr)
        return 2
    print(put.id, flush=True)
    return await _follow(Ledger(group, queue), put.id, args.wait) if args.wait > 0 else 0


async def _follow(ledger: Ledger, id_: str, seconds: float) -> int:
    began, told = time.monotonic(), 0
    while True:
        record = await ledger.record(id_)
        if record is None:
            print("email-service: its record is gone", file=sys.stderr)
            return 1
        events = await ledger.events(record)
        for event in events[told:]:
            print(f"{(event.at - events[0].at) / 1000:8.3f} s  {_said(event)}", file=sys.stderr)
        told = len(events)
        if record.state in FINAL or time.monotonic() - began > seconds:
            return await _end(ledger, record)
        await asyncio.sleep(EVERY)


def _said(event: Event) -> str:
    reply = f"{event.reply.code} {event.reply.text}".strip() if event.reply is not None else ""
    words = [event.what, f"for {event.to}" if event.to else "", f"by {event.relay}" if event.relay else "", event.text or reply]
    return " ".join(word for word in words if word)


async def _end(ledger: Ledger, record: Record) -> int:
    if record.state in _GOOD:
        return 0
    figures = await ledger.figures()
    why = reason(record, figures.now)
    print(f"{record.state}: {why}", file=sys.stderr)
    if hindrance := obstacle(record, figures):
        print(hindrance, file=sys.stderr)
    return 1
