"""Taking a TCP port to listen on, and saying who has it where it is taken.

Linux tells it in two steps: `/proc/net/tcp` and `tcp6` name the inode of the listening socket, and a link in some
`/proc/<pid>/fd` names that inode. Elsewhere, and for another user's process, the answer is None.

This module is sockets and /proc, and needs only the standard library.
"""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKLOG = 1024
"""How many connections the system may keep waiting until they are accepted."""
_LISTENING = "0A"  # TCP_LISTEN in include/net/tcp_states.h
_WORDS = 3  # «python email-service up» says enough; what follows may be a password


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens on a port: its id, and the first words of its command line."""

    pid: int
    command: str


class CannotListen(OSError):
    """The address cannot be listened on: no such address here, no permission, or the port is taken."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {host} port {port}: {reason}")
        self.host = host
        self.port = port


class PortTaken(CannotListen):
    """Another process listens on the port; the message names it where the system tells (Linux)."""

    def __init__(self, host: str, port: int, setting: str = "HTTP_PORT") -> None:
        self.holder = holder_of(port)
        by = "a process that cannot be seen from here"
        if self.holder:
            by = f"process {self.holder.pid} ({self.holder.command})"
        super().__init__(host, port, f"the port is taken by {by}. Stop it, or choose another port with {setting}.")


def listen(host: str, port: int, setting: str = "HTTP_PORT") -> list[socket.socket]:
    """Listen on every address of a host name; port 0 means any free one. From here on the port is ours.

    `setting` is the variable that chooses the port, for the message of one that is taken.
    Raises PortTaken, or CannotListen with the system's reason. The sockets are the caller's to close.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(host, port, f"{error.strerror}.") from error
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_listen_on(family, address))
        except OSError as error:
            failure = error
            if error.errno == errno.EADDRINUSE:
                break
    if failure and (failure.errno == errno.EADDRINUSE or not sockets):
        for sock in sockets:
            sock.close()
        if failure.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, setting) from failure
        raise CannotListen(host, port, f"{failure.strerror}.") from failure
    return sockets


def _listen_on(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def holder_of(port: int, proc: Path = Path("/proc")) -> Holder | None:
    """The process that listens on a TCP port of this machine (1-65535), or None where that cannot be read.

    It looks at every process once, which takes milliseconds. It never raises: it serves an error message.
    """
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(proc / "net" / table, port)}
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for pid in _pids(proc):
        if _has_link(proc / str(pid) / "fd", links):
            return Holder(pid, _command(proc / str(pid)))
    return None


def _listeners(table: Path, port: int) -> list[str]:
    """The inodes of the sockets in one table that listen on the port. Columns: proc_net_tcp in the kernel's docs."""
    try:
        lines = table.read_text("ascii").splitlines()[1:]
    except (OSError, ValueError):
        return []
    ending = f":{port:04X}"
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if len(row) > 9 and row[3] == _LISTENING and row[1].endswith(ending)]


def _pids(proc: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())  # noqa: PTH208 - names are wanted
    except OSError:
        return []


def _has_link(directory: Path, links: set[str]) -> bool:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - names are wanted
    except OSError:
        return False  # ended meanwhile, or another user's
    return any(_link(directory / name) in links for name in names)


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - the text itself is wanted: «socket:[1234]» is no path
    except OSError:
        return None


def _command(process: Path) -> str:
    """The first words of a command line, up to the first option that is not Python's `-m`, printable and short."""
    try:
        words = process.joinpath("cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        words = []
    told: list[str] = []
    for word in words[:_WORDS]:
        if not word or (word.startswith("-") and word != "-m"):
            break
        told.append(word.rsplit("/", 1)[-1])
    text = " ".join(told) or "a command that cannot be read"
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:80]
