"""Everything that can go wrong here by name.

::

    EmailServiceError
    ├── SettingsInvalid      the environment holds wrong values: every one is listed
    ├── EmailInvalid         the request is no email we can send: field and rule, one entry each
    ├── RecipientFlooded     this recipient has got as much mail of this client as RECIPIENT_LIMIT allows: later again
    ├── StoreUnavailable     Redis does not answer, is read-only or full: try again
    │   └── QueueFull        as above, because the queue has reached its ceiling
    └── RelayTrouble         the relay or our access to it, never the email: mail waits

This module is the one place that names our exceptions.
"""

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One wrong field of a request. ``field`` is a path such as ``message.html`` or ``email_to[2]``."""

    field: str
    message: str


class EmailServiceError(Exception):
    """Root of the tree."""


class SettingsInvalid(EmailServiceError):
    """``problems`` holds one line for each wrong value, naming the variable, the rule and the cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class EmailInvalid(EmailServiceError):
    """The email cannot be sent as it was asked for; ``errors`` names each field and the rule it breaks."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class RecipientFlooded(EmailServiceError):
    """``recipient`` may get the next email in ``retry_after`` seconds; nothing of this one was stored."""

    def __init__(self, recipient: str, retry_after: int) -> None:
        super().__init__(f"{recipient} has got as many emails as RECIPIENT_LIMIT allows")
        self.recipient = recipient
        self.retry_after = retry_after


class StoreUnavailable(EmailServiceError):
    """Redis did not take or give what was asked. ``retry_after`` is in seconds; ``code`` is Redis' own word for its trouble,
    such as OOM or READONLY, where it said one."""

    def __init__(self, message: str, retry_after: int = 5, *, code: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.code = code


class QueueFull(StoreUnavailable):
    """The queue has reached ``QUEUE_LIMIT``, or Redis its share of memory."""
