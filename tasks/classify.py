"""What a reply, or the lack of one, means for a recipient.

Rule 0: the reply's first digit decides unless a row below says otherwise; what is no reply to the question means defer.
Rule 1: the enhanced code (RFC 3463) refines and never turns a 4xx into fail. Rule 2: always per recipient.

========================  =====================================================  =========================================
stage                     reply or fault                                         outcome
========================  =====================================================  =========================================
connect, greeting, ehlo   anything but 220, 250                                  hold
starttls, certificate     not offered, refused, broken                           hold, alarm
auth                      4xx · 5xx, no mechanism                                hold · hold, alarm
mail                      530 535 538 · 500 502 503                              hold, alarm · hold
rcpt                      530, or 5.7.x while nothing was ever accepted          hold, alarm
rcpt                      452 4.5.3, 552 5.5.3, bare 552 after an accepted one   defer, at once (RFC 5321 4.5.3.1.10)
data                      554 5.5.1                                              defer: the relay contradicts its own 250
mail, rcpt, data, dot     other 4xx, 421 · other 5xx                             defer · fail
dot                       2xx · lost or unreadable                               ok · uncertain
any                       size, SMTPUTF8                                         fail
========================  =====================================================  =========================================

An unreadable answer to the dot is uncertain, not deferred: it may have been a yes, and then a second copy must be flagged.

This module is pure: it reads replies and decides, and speaks to nobody.
"""

import re
from typing import Final

from tasks.outcome import Fault, Outcome, Reply, Stage

TEXT_LIMIT: Final = 512
"""Characters of a reply that are kept."""
GREYLIST_WAIT: Final = 300
"""Seconds before a greylisted recipient is worth another attempt."""

_EXPECTED: Final[dict[Stage, int]] = {"greeting": 220, "ehlo": 250, "starttls": 220, "auth": 235}
"""Stages of opening a session, with the one reply that goes on."""
_LOGIN: Final = frozenset({530, 535, 538})
_PROTOCOL: Final = frozenset({500, 502, 503})
_ALARMS: Final = frozenset({"tls", "certificate", "no_starttls", "no_auth", "plain_auth"})
_FINAL: Final = frozenset({"too_large", "smtputf8"})

_ENHANCED: Final = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})(?![\d.])|.{0,200}?\(?#([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_GREYLIST: Final = re.compile(r"gr[ae]y.?list", re.IGNORECASE)
_THROTTLE: Final = re.compile(r"too many|too fast|\brates?\b|rate.?limit|throttl|slow down", re.IGNORECASE)
_RELAYING: Final = re.compile(
    r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not permitted|not allowed|prohibited)"
    r"|(?:unable|not allowed|not permitted) to relay|authentication (?:is )?required|rcpthosts",
    re.IGNORECASE,
)
_QUEUE_IDS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bqueued (?:mail )?(?:for delivery )?(?:on \S{1,255} )?(?:as|with id|id)[ :=]+[<(]?([\w.@+=/-]{1,128})",  # Postfix
        r"\bid=[<(]?([\w.@+=/-]{1,128})",  # Exim
        r"\[InternalId=(\d{1,30})",  # Exchange
        r"\bqueued \(([\w.@-]{1,128})\)",  # Haraka
        r"\bOK\s+\d{9,11}\s+(\S{8,128}) - gsmtp",  # Gmail
        r"\bok \d{9,11} qp (\d{1,20})",  # qmail
        r"([\w.-]{6,128}):? Message accepted for delivery",  # Sendmail, OpenSMTPD
        r"^(?:2\.\d\.\d )?ok:? ([0-9a-f]{8,}(?:-[0-9a-f]+)*)$",  # Amazon SES
    )
)


def parse_reply(code: int, text: str, *, queue_id: bool = False) -> Reply:
    """A reply as it is kept. ``text`` may hold several lines and undecodable bytes; ``queue_id``: look for one in it."""
    match = _ENHANCED.match(text)
    enhanced = (match[1] or match[2]) if match else None
    cleaned = clean_text(text, enhanced)
    return Reply(code, cleaned, enhanced, _find_queue_id(cleaned) if queue_id else None)


def clean_text(text: str, enhanced: str | None = None) -> str:
    """One printable line of at most 512 characters; what cannot be shown is escaped, a line's repeated code dropped."""
    if len(text) <= TEXT_LIMIT and text.isprintable():
        return text.strip()
    lines = [line.strip() for line in text[: TEXT_LIMIT * 4].splitlines()]
    if enhanced:
        lines = lines[:1] + [line.removeprefix(enhanced).lstrip() for line in lines[1:]]
    line = " ".join(filter(None, lines))
    line = "".join(char if char.isprintable() else _escape(char) for char in line)
    return line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"


def _escape(char: str) -> str:
    point = ord(char)
    if 0xDC80 <= point <= 0xDCFF:  # a byte that was no UTF-8, carried as a surrogate
        return f"\\x{point - 0xDC00:02x}"
    if char.isspace():
        return " "
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _find_queue_id(text: str) -> str | None:
    for pattern in _QUEUE_IDS:
        match = pattern.search(text)
        if match:
            return match[1].rstrip(".")
    return None


def classify(stage: Stage, reply: Reply, *, any_accepted: bool = False, relay_accepted: bool = False) -> Outcome:
    """What ``reply`` at ``stage`` means; ``ok`` before the dot only says that the conversation goes on.

    ``any_accepted``: a recipient of this transaction was accepted before. ``relay_accepted``: the relay has accepted an
    email since its settings changed.
    """
    code = reply.code
    if stage in _EXPECTED:
        return _opening(stage, reply)
    if code == 354 and stage == "data":
        return Outcome("ok", stage, reply)
    if 200 <= code < 300 and stage != "data":
        return Outcome("ok", stage, reply)
    if 400 <= code < 500:
        return _later(stage, reply, any_accepted)
    if 500 <= code < 600:
        return _refused(stage, reply, any_accepted, relay_accepted)
    return Outcome("uncertain" if stage == "dot" else "defer", stage, reply)


def classify_fault(stage: Stage, fault: Fault, *, dot_sent: bool = False) -> Outcome:
    """What a fault at ``stage`` means. Once the dot is out and no answer was read, nothing is certain."""
    if dot_sent:
        return Outcome("uncertain", stage, fault=fault)
    if stage == "connect" or stage in _EXPECTED:
        return Outcome("hold", stage, fault=fault, alarm=fault.what in _ALARMS)
    return Outcome("fail" if fault.what in _FINAL else "defer", stage, fault=fault)


def _opening(stage: Stage, reply: Reply) -> Outcome:
    if reply.code == _EXPECTED[stage]:
        return Outcome("ok", stage, reply)
    alarm = stage == "starttls" or (stage == "auth" and reply.code >= 500)
    return Outcome("hold", stage, reply, alarm=alarm, throttled=_is_throttling(reply))


def _later(stage: Stage, reply: Reply, any_accepted: bool) -> Outcome:
    if stage == "rcpt" and any_accepted and _is_too_many_recipients(reply):
        return Outcome("defer", stage, reply, at_once=True)
    greylisted = reply.code != 421 and (reply.enhanced == "4.7.1" or bool(_GREYLIST.search(reply.text)))
    return Outcome("defer", stage, reply, not_before=GREYLIST_WAIT if greylisted else 0, throttled=_is_throttling(reply))


def _refused(stage: Stage, reply: Reply, any_accepted: bool, relay_accepted: bool) -> Outcome:
    if stage == "mail" and reply.code in _LOGIN | _PROTOCOL:
        return Outcome("hold", stage, reply, alarm=reply.code in _LOGIN)
    if stage == "rcpt":
        if reply.code == 530 or (not relay_accepted and _is_denied(reply)):
            return Outcome("hold", stage, reply, alarm=True)
        if any_accepted and _is_too_many_recipients(reply):
            return Outcome("defer", stage, reply, at_once=True)
    if stage == "data" and reply.code == 554 and reply.enhanced == "5.5.1":
        return Outcome("defer", stage, reply)
    return Outcome("fail", stage, reply)


def _is_too_many_recipients(reply: Reply) -> bool:
    if reply.code == 452:
        return reply.enhanced in ("4.5.3", "5.5.3") or (reply.enhanced is None and "too many" in reply.text.lower())
    return reply.code == 552 and reply.enhanced in (None, "5.5.3", "4.5.3")


def _is_denied(reply: Reply) -> bool:
    return (reply.enhanced or "").startswith("5.7.") or bool(_RELAYING.search(reply.text))


def _is_throttling(reply: Reply) -> bool:
    return 400 <= reply.code < 500 and bool(_THROTTLE.search(reply.text))
