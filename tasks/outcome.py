"""What a relay said, and what that means for one recipient.

========== =======================================================================================
ok         the relay has taken the email for this recipient
defer      not now: this recipient again later, an attempt is used up
fail       never: final for this recipient
hold       the relay's or our settings' fault: all mail for that relay waits, no attempt is used up
uncertain  the final dot was sent and the answer lost: the relay may have the email
========== =======================================================================================

This module is the words between the SMTP conversation and the record.
"""

from typing import Literal

import msgspec

Kind = Literal["ok", "defer", "fail", "hold", "uncertain"]
Stage = Literal["connect", "greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "mark", "dot", "idle"]


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relay's reply. ``text`` is cleaned and at most 512 characters; ``enhanced`` as in RFC 3463."""

    code: int
    text: str = ""
    enhanced: str | None = None
    queue_id: str | None = None


class Fault(msgspec.Struct, frozen=True):
    """Why there is no usable reply. ``what`` is for programs, ``text`` one short sentence for people."""

    what: Literal[
        "dns", "refused", "unreachable", "timeout", "closed", "tls", "certificate", "no_starttls", "no_auth",
        "plain_auth", "too_large", "smtputf8", "surplus", "malformed", "mark_refused", "paused",
    ]  # fmt: skip
    text: str


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one recipient's part of an attempt came to.

    ``alarm``: a person must act (password, certificate, settings). ``not_before``: seconds before the next attempt makes
    sense, whatever the schedule says. ``at_once``: the relay took as many recipients as it takes at a time; the rest may
    follow without waiting. ``throttled``: the relay asks for a lower pace.
    """

    kind: Kind
    stage: Stage
    reply: Reply | None = None
    fault: Fault | None = None
    alarm: bool = False
    not_before: int = 0
    at_once: bool = False
    throttled: bool = False

    @property
    def said(self) -> str:
        """The reply as one line, or the fault's sentence."""
        if self.reply is not None:
            return f"{self.reply.code} {self.reply.text}".strip()
        return self.fault.text if self.fault is not None else self.kind
