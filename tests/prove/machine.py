"""What the harness asks of the machine: ports that stay free, whose a connection is, and that no process is left behind.

This module is the only one that reads /proc.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
from pathlib import Path

MORTAL = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
"""Processes started with this die with the harness, however it dies."""

_ports = itertools.count(random.randrange(15_000, 25_000))


def quiet_port() -> int:
    """A free port that no outgoing connection gets by chance, so that the API finds it free at each of its starts."""
    for port in itertools.islice(_ports, 1000):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def has_port(pid: int, port: int) -> bool:
    """Whether a process has a TCP socket with this local port."""
    wanted = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
        if (fields := line.split())[1].endswith(f":{port:04X}")
    }
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(file.readlink())[8:-1] in wanted:
                    return True
    return False


def end_children() -> list[str]:
    """Kills whatever this process has started and not ended; their command lines."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
                os.kill(int(folder.name), signal.SIGKILL)
    return found
