"""UUID version 7 (RFC 9562 5.7): 48 bits of Unix milliseconds, then random bits, so that ids sort roughly by time.

The order of the queue does not rest on ids: Redis gives the scores. This module is here until the standard library of every
supported Python has one.
"""

import os


def uuid7(at_ms: int) -> str:
    """A new id in its canonical form, lower case with hyphens."""
    drawn = int.from_bytes(os.urandom(10), "big")
    bits = (at_ms & (2**48 - 1)) << 80 | 0x7 << 76 | (drawn >> 68) << 64 | 0b10 << 62 | drawn & (2**62 - 1)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
