"""Values that must not be shown.

This module is what keeps secrets and the contents of emails out of logs, errors and reprs.
"""


def name_alone(self: object) -> str:
    """The ``__repr__`` of structs that hold what people write to each other: the class's name, nothing of the content."""
    return f"{type(self).__name__}(…)"


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
