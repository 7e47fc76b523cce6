"""What a relay's reply means in plain words, and who must act.

The most exact row wins: stage with code, then the enhanced code (RFC 3463) as a whole, then its last two numbers, then the
code, then the code's first digit. Where there was no reply, the stage at which the conversation broke decides.

=========== =====================================================================
nobody      it comes right by itself, or it is done
you         the person who runs this service: password, certificate, settings
client      the project that sent the email: its sender address or its content
recipient   the address, or whoever runs its mailbox
relay       whoever runs the relay
=========== =====================================================================

This module is a table and its reading; it is pure.
"""

from typing import Final, Literal

import msgspec

from tasks.outcome import Reply, Stage

Who = Literal["nobody", "you", "client", "recipient", "relay"]


class Meaning(msgspec.Struct, frozen=True):
    """``text`` is a clause without a full stop; ``acts`` says who must do something, ``what`` is that as a sentence."""

    text: str
    who: Who = "nobody"
    what: str = ""


_PASSWORD: Final = Meaning(
    "the relay refuses our user name or password", "you", "Put the right ones into `SMTP_URL` and restart the worker."
)
_LOGIN: Final = Meaning("the relay wants a login first", "you", "Put user and password into `SMTP_URL` and restart the worker.")
_LATER: Final = Meaning("the relay has a passing difficulty; the email is tried again by itself")
_LIMITS: Final = Meaning("the relay asks for a slower pace; the email is tried again by itself")
_GREY: Final = Meaning("the receiving side asks to be tried again later (greylisting); that happens by itself")
_NO_ADDRESS: Final = Meaning("the address does not exist", "client", "The client should correct it or stop using it.")
_NO_DOMAIN: Final = Meaning("the address's domain takes no mail", "client", "The client should correct it or stop using it.")
_FULL: Final = Meaning("the recipient's mailbox is full", "recipient", "Only its owner can make room.")
_TOO_LARGE: Final = Meaning("the email is too large for the relay", "client", "The client should send less, or links.")
_SENDER: Final = Meaning(
    "the relay does not accept this sender address",
    "client",
    "The client must use one that the relay has verified.",
)
_POLICY: Final = Meaning(
    "the receiving side refuses the email by its policy (spam, reputation, missing SPF, DKIM or DMARC)", "you",
    "Look at what the reply says, and at the DNS records of the sender's domain.",
)  # fmt: skip
_RELAYING: Final = Meaning(
    "the relay does not take mail from us for this address", "you",
    "It may want a login: check user and password in `SMTP_URL`.",
)  # fmt: skip
_CONTENT: Final = Meaning("the relay refuses the content of the email", "client", "The reply may say what of it.")
_SYNTAX: Final = Meaning("the relay did not understand us", "relay", "Check that `SMTP_URL` names an SMTP relay.")
_CLOSING: Final = Meaning("the relay ended the conversation; the email is tried again by itself")
_TLS: Final = Meaning(
    "the link to the relay cannot be encrypted safely", "you",
    "Check host, port and certificate; for a private CA add `?ca=FILE` to `SMTP_URL`.",
)  # fmt: skip

_AT_STAGE: Final[dict[tuple[Stage, int], Meaning]] = {
    ("auth", 454): Meaning("the relay cannot check our password just now; this comes right by itself"),
    ("auth", 432): Meaning("the relay wants the password changed", "you", "Change it there and in `SMTP_URL`."),
    ("auth", 534): Meaning(
        "the relay wants another way to sign in", "you", "Many providers want an app password or an API key here."
    ),
    ("auth", 535): _PASSWORD,
    ("data", 354): Meaning("the relay is ready for the message"),
    ("rcpt", 550): _NO_ADDRESS,
    ("rcpt", 551): _NO_ADDRESS,
    ("rcpt", 553): _NO_ADDRESS,
    ("rcpt", 554): _POLICY,
    ("rcpt", 452): Meaning("the relay takes fewer recipients at a time; the rest follows by itself"),
    ("rcpt", 450): _GREY,
    ("mail", 550): _SENDER,
    ("mail", 553): _SENDER,
    ("mail", 552): _TOO_LARGE,
    ("dot", 550): _POLICY,
    ("dot", 552): _TOO_LARGE,
    ("dot", 554): _CONTENT,
}
_ENHANCED: Final[dict[str, Meaning]] = {
    "4.7.1": _GREY,
    "4.7.0": _LIMITS,
    "4.4.5": _LIMITS,
    "4.2.2": Meaning(
        "the recipient's mailbox is full; the email is tried again by itself", "recipient", "Only its owner can make room."
    ),
    "4.3.1": Meaning("the relay's disk is full; the email is tried again by itself", "relay", "Its owner must make room."),
    "4.5.3": Meaning("the relay takes fewer recipients at a time; the rest follows by itself"),
    "5.7.8": _PASSWORD,
    "5.7.9": _PASSWORD,
    "5.7.0": _LOGIN,
    "5.7.57": _LOGIN,
}
_SUBJECT: Final[dict[str, Meaning]] = {
    "1.0": _NO_ADDRESS,
    "1.1": _NO_ADDRESS,
    "1.2": _NO_DOMAIN,
    "1.3": Meaning("the relay cannot read the address", "client", "The client must correct it."),
    "1.6": Meaning("the mailbox has moved away", "client", "The client should ask for the new one."),
    "1.7": _SENDER,
    "1.8": _SENDER,
    "1.10": _NO_DOMAIN,
    "2.1": Meaning("the mailbox is switched off", "recipient", "The client should stop sending to it."),
    "2.2": _FULL,
    "2.3": _TOO_LARGE,
    "3.4": _TOO_LARGE,
    "4.4": _NO_DOMAIN,
    "4.6": Meaning("the relays pass the mail round in a circle", "relay", "Whoever runs the relay must mend that."),
    "5.1": _SYNTAX,
    "5.2": _SYNTAX,
    "6.0": _CONTENT,
    "6.7": Meaning("the relay takes no addresses with letters beyond ASCII", "client", "The client must use another address."),
    "7.1": _POLICY,
    "7.20": _POLICY,
    "7.23": _POLICY,
    "7.25": _POLICY,
    "7.26": _POLICY,
    "7.27": _POLICY,
    "7.60": _SENDER,
}
_CODES: Final[dict[int, Meaning]] = {
    421: _CLOSING,
    450: _LATER,
    451: _LATER,
    452: Meaning("the relay is short of room; the email is tried again by itself"),
    500: _SYNTAX,
    501: _SYNTAX,
    502: _SYNTAX,
    503: _SYNTAX,
    530: _LOGIN,
    535: _PASSWORD,
    538: _TLS,
    552: _TOO_LARGE,
}
_FIRST: Final[dict[int, Meaning]] = {
    2: Meaning("the relay agrees"),
    3: Meaning("the relay is ready for more"),
    4: _LATER,
    5: Meaning("the relay refuses for good", "you", "The reply may say why."),
}
_BROKEN: Final[dict[Stage, Meaning]] = {
    "connect": Meaning(
        "there is no connection to the relay", "you", "If it stays so: check host and port in `SMTP_URL`, and the firewall."
    ),
    "greeting": Meaning("the relay does not speak to us", "you", "Check that `SMTP_URL` has the right port and kind of TLS."),
    "ehlo": Meaning("the relay does not speak to us", "you", "Check that `SMTP_URL` has the right port and kind of TLS."),
    "starttls": _TLS,
    "auth": Meaning("we cannot sign in at the relay", "you", "Check user, password and TLS in `SMTP_URL`."),
    "mark": Meaning("stopped before the end was sent: the email was cancelled or another worker has it"),
    "dot": Meaning("the relay's last answer was lost: it may have the email"),
}
_CUT: Final = Meaning("the conversation broke before anything was handed over; the email is tried again by itself")
_TAKEN: Final = Meaning("the relay has taken the email")


def meaning(stage: Stage | None, reply: Reply | None) -> Meaning:
    """What ``reply`` at ``stage`` says in plain words; without a reply, what its absence at that stage means."""
    if reply is None:
        return _BROKEN.get(stage, _CUT) if stage is not None else _CUT
    if 200 <= reply.code < 300 and stage == "dot":
        return _TAKEN
    return _of_reply(stage, reply)


def _of_reply(stage: Stage | None, reply: Reply) -> Meaning:
    enhanced = reply.enhanced or ""
    if reply.code < 400:
        enhanced = ""
    if not enhanced and stage is not None and (stage, reply.code) in _AT_STAGE:
        return _AT_STAGE[(stage, reply.code)]
    if stage == "rcpt" and enhanced == "5.7.1" and "relay" in reply.text.lower():
        return _RELAYING
    if enhanced in _ENHANCED:
        return _ENHANCED[enhanced]
    if reply.code >= 500 and enhanced[2:] in _SUBJECT:
        return _SUBJECT[enhanced[2:]]
    if stage is not None and (stage, reply.code) in _AT_STAGE:
        return _AT_STAGE[(stage, reply.code)]
    return _CODES.get(reply.code) or _FIRST.get(reply.code // 100) or _SYNTAX
