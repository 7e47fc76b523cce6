"""What `doctor` found, one thing each, as a person reads it on a terminal.

This module is the shape of a finding and its lines.
"""

from typing import Literal

import msgspec

Mark = Literal["ok", "note", "wrong"]
_WORDS: dict[Mark, str] = {"ok": "ok", "note": "note", "wrong": "WRONG"}
_MARGIN = " " * 7


class Finding(msgspec.Struct, frozen=True):
    """``note``: mail flows, but something could be better. ``wrong``: it does not, or will be lost. ``cure`` is a sentence."""

    mark: Mark
    what: str
    text: str
    cure: str = ""

    def lines(self) -> str:
        """One line, and a second one with what to do."""
        first = f"{_WORDS[self.mark]:<{len(_MARGIN)}}{self.what}: {self.text}"
        return f"{first}\n{_MARGIN}→ {self.cure}" if self.cure else first
