"""From the bytes of a request's body to an email.

This module is where JSON becomes the request's model, whichever way the request takes through Litestar.
"""

from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException

from tasks.email import Email

STEP = 256 * 1024
"""Bytes of a body that are looked at in one step; smaller bodies need no look."""
MOST_QUOTES = 250_000
"""Quotes of strings in a body. An email within all its limits has a tenth of them; millions stop the process for seconds before
any limit is asked."""

_decode = msgspec.json.Decoder(Email).decode


def read_email(body: bytes | bytearray) -> Email:
    """The email in ``body``.

    Raises what Litestar does: ValidationException for JSON of the wrong shape, ClientException for what is no JSON; and
    UnicodeDecodeError and RecursionError.
    """
    if len(body) > STEP:
        _check_quotes(body)
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        _check_json(body)
        message, _, place = str(error).partition(" - at `")
        extra = [{"key": place.removesuffix("`") or "data", "message": message}]
        raise ValidationException(extra=extra) from error
    except msgspec.DecodeError as error:
        raise ClientException(str(error)) from error


def _check_quotes(body: bytes | bytearray) -> None:
    """Raises for more strings than any email has; those within a string are written with a backslash."""
    quotes = 0
    for start in range(0, len(body), STEP):
        found = body.count(b'"', start, start + STEP)
        if found:
            quotes += found - body.count(b'\\"', start, start + STEP)
        if quotes > MOST_QUOTES:
            message = f"holds more than {MOST_QUOTES // 2:,} strings: no email has so many headers, recipients and files"
            raise ValidationException(extra=[{"key": "data", "message": message}])


def _check_json(body: bytes | bytearray) -> None:
    """Raises for what is no JSON at all, also behind the field that was found wrong first; keeps nothing of it."""
    body.decode()
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise ClientException(str(error)) from error


class SendRequest(Request[Any, Any, Any]):
    """A request whose body becomes an email at once.

    Litestar makes lists and dictionaries of it first, whatever they are: of 40 MB of ``[],[],`` a gigabyte, in seconds.
    """

    async def json(self) -> Email:
        """The email, once."""
        return read_email(await self.body())
