"""What a worker process can say of itself at a moment.

This module is the look at the process; what becomes of the words is ``beat``'s business.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tasks.beat import Beat
from tasks.claim import Claim
from tasks.postman import Postman


def beat(started: float, claims: Mapping[str, Claim], slots: int, postman: Postman, *, stock: bool = False) -> Beat:
    """This process's beat. ``claims`` are the emails in its hands."""
    return Beat(
        name=worker_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=round(started * 1000),
        at=round(time.time() * 1000),
        in_hand=len(claims),
        slots=slots,
        carried=postman.carried,
        connections=postman.connections,
        memory=_memory(),
        relays=postman.relays,
        links=postman.links,
        stock=stock,
        since=min((claim.now for claim in claims.values()), default=None),
    )


def worker_name() -> str:
    """This process among the workers."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _memory() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
