"""What an operator can do, when, and in which words it is asked and answered.

======= ===================================== =====================================================
retry   it waits, or ended without being sent now, or again to those who have not got it
hold    it waits                              kept back until it is released
release it is held                            back to its old place
cancel  it waits                              never sent; asks once
======= ===================================== =====================================================

An answer travels in the address of the page that shows it (``notes``) as words such as ``cancel done=12 too_late=1 more``; it
becomes a sentence here. This module is pure.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

from tasks.levers import Said, is_final
from tasks.record import WAITING, Record, State
from web.phrases import count, number

Verb = Literal["retry", "hold", "release", "cancel"]
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
ASKED: Final = frozenset({"cancel"})
"""What is asked once more before it is done, since nothing brings it back."""

STATES: Final[dict[Verb, tuple[State, ...]]] = {
    "retry": ("deferred", "uncertain", "failed", "expired", "partly_sent"),
    "hold": ("scheduled", "queued", "deferred", "uncertain"),
    "release": ("held",),
    "cancel": WAITING,
}
"""Where each makes sense for many emails at once, whatever their state."""

_ONE: Final[dict[Verb, dict[Said, str]]] = {
    "retry": {
        "done": "It goes again, at once.",
        "already": "It is on its way already.",
        "sent": "The relay has it already.",
        "empty": "Its content is not kept any more: only the client can send it again.",
    },
    "hold": {
        "done": "It is held, and waits until you release it.",
        "already": "It was held already.",
        "sent": "It has ended already: there is nothing to hold.",
    },
    "release": {"done": "It is released, to its old place.", "already": "It is not held."},
    "cancel": {
        "done": "It is cancelled and will not be sent.",
        "already": "It was cancelled already.",
        "sent": "It has ended already: there is nothing to cancel.",
        "too_late": "Too late: the relay may have it already.",
    },
}
_EACH: Final[dict[Said, str]] = {
    "gone": "There is no such email any more.",
    "busy": "An attempt runs just now. Try again in a moment.",
}
_MANY: Final[dict[Verb, str]] = {"retry": "go again", "hold": "held", "release": "released", "cancel": "cancelled"}
_REST: Final[dict[Said, str]] = {
    "already": "{} so before",
    "sent": "{} had ended",
    "empty": "{} without content, which only their clients can send again",
    "busy": "{} just being sent",
    "too_late": "{} too late, the relay may have them",
    "gone": "{} gone",
}
_OTHER: Final[dict[str, str]] = {
    "probe done": "The relay is tried now; what it says stands here in a moment.",
    "probe already": "The relay takes mail: there is nothing to try.",
    "pause done": "The queue is paused. What is being sent is finished, nothing new begins.",
    "pause already": "The queue was paused already.",
    "resume done": "The queue goes on.",
    "resume already": "The queue was not paused.",
}
_COUNT: Final = re.compile(r"([a-z_]{1,10})=([0-9]{1,9})")


def possible(record: Record) -> list[Verb]:
    """What can be done to an email as it stands."""
    if record.state == "held":
        return ["release", "cancel"]
    if record.state == "sending":
        return ["cancel"]
    if record.state == "queued":
        return ["hold", "cancel"]
    if record.state in WAITING and not is_final(record):
        return ["retry", "hold", "cancel"]
    if record.state in {"sent", "captured"} or not record.content_kept:
        return []
    return ["retry"]


def verbs(state: State | None) -> list[Verb]:
    """What can be done to emails of one state, or of some state."""
    return [verb for verb in VERBS if state is None or state in STATES[verb] or (verb == "retry" and state == "scheduled")]


def where(verb: Verb, state: State | None) -> tuple[State, ...]:
    """The states in which to look for emails that ``verb`` is meant for."""
    return STATES[verb] if state is None else (state,)


def label(verb: Verb, record: Record | None = None) -> str:
    """The words on a button."""
    if verb != "retry":
        return verb.capitalize()
    return "Send again" if record is not None and (record.state not in WAITING or is_final(record)) else "Try now"


def question(verb: Verb, number_: int) -> str:
    """What is asked before ``verb`` is done to so many emails."""
    emails = count(number_, "email")
    return {
        "retry": f"Try {emails} now?",
        "hold": f"Hold {emails}?",
        "release": f"Release {emails}?",
        "cancel": f"Cancel {emails}? They cannot be brought back.",
    }[verb]


def note(verb: str, said: Mapping[str, int] | Iterable[str], *, more: bool = False) -> str:
    """An answer as words for an address."""
    words = [f"{word}={number_}" for word, number_ in said.items()] if isinstance(said, Mapping) else list(said)
    return " ".join([verb, *words, *(["more"] if more else [])])


def told(text: str) -> str:
    """A note as a sentence; empty for one that is none of ours."""
    if text in _OTHER:
        return _OTHER[text]
    verb, *words = text.split(" ")
    counts = {match[1]: int(match[2]) for word in words if (match := _COUNT.fullmatch(word))}
    if verb == "delete":
        return f"{count(counts.get('done', 0), 'email')} deleted from the mailbox."
    if verb not in VERBS:
        return ""
    if len(words) == 1 and not counts:
        return _ONE[verb].get(words[0]) or _EACH.get(words[0], "")  # type: ignore[call-overload]
    return _told_many(verb, counts, "more" in words)


def _told_many(verb: Verb, counts: Mapping[str, int], more: bool) -> str:
    if not counts:
        return "There was no email to do this to."
    done = counts.get("done", 0)
    parts = [f"{count(done, 'email')} {'goes again' if verb == 'retry' and done == 1 else _MANY[verb]}"]
    parts += [words.format(number(counts[said])) for said, words in _REST.items() if counts.get(said)]
    return f"{', '.join(parts)}.{' There are more: do it again for the rest.' if more else ''}"
