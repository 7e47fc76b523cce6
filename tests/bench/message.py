"""The email that everything is measured with: 580 bytes of text and 1,000 bytes of HTML, some letters beyond ASCII.

This module is the load's content, in each form that a system takes it.
"""

import base64
import json
from typing import Any

from tasks.checked import Limits
from tasks.compose import Composed, compose
from tasks.email import Content, Email

TO, FROM = "ada@dest.example.com", "shop@shop.example.com"
SUBJECT = "Your order № 17 is on its way"
LIMITS = Limits(25_000_000, 50)


def _filled(first: str, line: str, last: str, size: int) -> str:
    """``first``, as many of ``line`` as fit, and ``last``: ``size`` bytes in all."""
    room = size - len(first.encode()) - len(last.encode())
    lines = line * (room // len(line.encode()))
    return first + lines + "." * (room - len(lines.encode())) + last


TEXT = _filled("Hello Zoë,\n\n", "Thank you for your order. It has left our house and costs 17.00 €.\n", "\nYour shop\n", 580)
HTML = _filled(
    '<!doctype html>\n<html lang="en"><body style="font-family: sans-serif">\n<h1>Hello Zoë,</h1>\n',
    "<p>Thank you for your order. It has <b>left our house</b> and costs 17.00 €.</p>\n",
    "<p>Your shop</p>\n</body></html>\n",
    1000,
)


def request(subject: str = SUBJECT, **more: Any) -> bytes:
    """The JSON body that both systems take; ``more`` only ours."""
    message = {"text": TEXT, "html": HTML}
    return json.dumps({"email_to": TO, "email_from": FROM, "subject": subject, "message": message, **more}).encode()


def large_request(size: int) -> bytes:
    """The same with an attachment of ``size`` bytes."""
    content = base64.b64encode(bytes(range(256)) * (size // 256)).decode()
    return request(attachments=[{"filename": "large.bin", "content": content}])


def composed(id_: str) -> Composed:
    """The message as our API makes it."""
    email = Email(email_to=TO, email_from=FROM, subject=SUBJECT, message=Content(TEXT, HTML))
    return compose(email, id=id_, at_ms=1_800_000_000_000, limits=LIMITS)
