"""A value that must not be shown.

This module is the wrapper that keeps secrets out of logs, errors and reprs.
"""


class Secret:
    """Holds a secret text. ``str`` and ``repr`` give ``***``; only ``reveal`` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the one place that needs it, never for a message."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)
