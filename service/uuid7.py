"""UUID version 7 (RFC 9562 5.7): 48 bits of Unix milliseconds, then random bits, so that ids sort roughly by time.

The order of the queue does not rest on ids: Redis gives the scores. This module is here until the standard library of every
supported Python has one.
"""

import os

_IDS = 256
_drawn = bytearray()
"""Random bytes for the next ids: a system call for each would cost as much as the rest. Never shared with a forked child."""
os.register_at_fork(after_in_child=_drawn.clear)


def uuid7(at_ms: int) -> str:
    """A new id in its canonical form, lower case with hyphens."""
    if len(_drawn) < 10:
        _drawn.extend(os.urandom(10 * _IDS))
    drawn = int.from_bytes(_drawn[-10:], "big")
    del _drawn[-10:]
    bits = (at_ms & (2**48 - 1)) << 80 | 0x7 << 76 | (drawn >> 68) << 64 | 0b10 << 62 | drawn & (2**62 - 1)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
