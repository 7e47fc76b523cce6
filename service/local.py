"""What `up` keeps in ``DATA_DIR`` so that a laptop needs no settings: a client ``local``, an operator's password, a lock.

This module is the local installation's files; all are for the owner alone (mode 0600).
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Generator
from pathlib import Path

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """Made on the first start and kept, so that they can be printed again."""

    client_key: str
    admin_password: str


class AlreadyRunning(RuntimeError):
    """Another ``up`` works in the same folder."""


def credentials(data_dir: Path) -> Credentials:
    """Those of ``data_dir``, made where there are none. Raises ``OSError`` where the folder cannot be written."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data_dir / "credentials.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    made = Credentials(f"ems_{secrets.token_hex(6)}_{secrets.token_hex(32)}", secrets.token_urlsafe(15))
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(made)))
    draft.replace(path)
    return made


@contextlib.contextmanager
def only_one(data_dir: Path) -> Generator[None, None, None]:
    """Holds the folder's lock. Raises ``AlreadyRunning`` with the process that has it."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "?"
            raise AlreadyRunning(f"{data_dir} is in use by another `email-service up` (process {pid})") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
