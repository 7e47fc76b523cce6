"""What is pinned in foreign libraries because their public face is not enough: an update must look at it anew."""

import asyncio

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol


def test_aiosmtplib_is_the_version_whose_private_name_is_used() -> None:
    assert aiosmtplib.__version__ == "5.1.3"


async def test_aiosmtplib_keeps_what_follows_a_reply_in_its_buffer() -> None:
    """``tasks.smtp`` looks there for a second reply in the same segment; nothing public shows it."""
    protocol = SMTPProtocol()
    protocol.connection_made(asyncio.Transport())
    protocol.data_received(b"354 go\r\n250 early\r\n")
    assert await protocol.read_response(timeout=1) == (354, "go")
    assert protocol._buffer == b"250 early\r\n"  # pyright: ignore[reportPrivateUsage]
