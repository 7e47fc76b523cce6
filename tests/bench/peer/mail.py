"""The Celery side: one task, one connection a mail.

This module is the peer's worker: ``celery -A mail worker -c 4``.
"""

import os
import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from celery import Celery

app = Celery("mail", broker=os.environ["BROKER_URL"])
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True


@app.task(
    name="send_email",
    autoretry_for=(smtplib.SMTPException, OSError),
    retry_backoff=True,
    retry_backoff_max=600,
    retry_jitter=True,
    max_retries=10,
)
def send_email(email_to: str, email_from: str, subject: str, text: str | None, html: str | None) -> None:
    """Builds the message and hands it to the relay."""
    message = EmailMessage()
    message["From"] = email_from
    message["To"] = email_to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="peer.example")
    message.set_content(text or "")
    if html:
        message.add_alternative(html, subtype="html")
    with smtplib.SMTP(os.environ["RELAY_HOST"], int(os.environ["RELAY_PORT"]), timeout=30) as smtp:
        smtp.send_message(message)
