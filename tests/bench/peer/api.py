"""The HTTP side: a key, a model, a task.

This module is the peer's API: ``uvicorn api:app``.
"""

import os
import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from mail import send_email as send_email_task
from pydantic import BaseModel, EmailStr

app = FastAPI()


class Content(BaseModel):
    """The two forms of a body."""

    text: str | None = None
    html: str | None = None


class Email(BaseModel):
    """What is asked for."""

    email_to: EmailStr
    email_from: EmailStr
    subject: str
    message: Content


def check_key(x_api_key: Annotated[str, Header()]) -> None:
    """Lets the one key pass."""
    if not secrets.compare_digest(x_api_key, os.environ["API_KEY"]):
        raise HTTPException(status_code=403, detail="wrong key")


@app.post("/send-email/", status_code=202, dependencies=[Depends(check_key)])
def send_email(email: Email) -> dict[str, str]:
    """Queues the email. Not ``async``: ``delay`` waits for Redis."""
    task = send_email_task.delay(email.email_to, email.email_from, email.subject, email.message.text, email.message.html)
    return {"result": task.id}
