"""A real Postfix of one's own, from Debian's packages, on loopback: STARTTLS, passwords, and a mailbox on disk.

Everything it reads and writes lies in a new folder under /tmp; the machine's own Postfix, if there is one, is not touched. It
hands nothing on. This module is Postfix as a relay for tests; it needs root, as Postfix does.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from tests.certificates import make_certificate
from tests.processes import free_port, missing

USER = "shop"
PASSWORD = "a pass/word: with @ and %"
DOMAIN = "dest.example"
_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = relay.test
cyrus_sasl_config_path = {folder}/etc/sasl
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {certificate}
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{clear_port} inet n - n - - smtpd
 -o syslog_name=postfix/clear -o smtpd_tls_security_level=none -o smtpd_tls_auth_only=no
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/etc/sasl/passwords
mech_list: PLAIN LOGIN
"""


class Postfix:
    """``port`` offers STARTTLS, and AUTH within it; ``clear_port`` has AUTH but no TLS, as behind a box that strips it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.clear_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has logged."""
        path = self.folder / "log" / "mail.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def mails(self) -> list[bytes]:
        """The mailbox."""
        return [path.read_bytes() for path in (self.folder / "mail" / "box" / "new").glob("*")]

    def start(self) -> None:
        """Writes its files, starts it, and waits until both ports answer."""
        nobody, postfix = pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        self.folder.chmod(0o755)
        for name, owner in {
            "etc": 0,
            "etc/sasl": 0,
            "queue": 0,
            "log": 0,
            "data": postfix.pw_uid,
            "mail": nobody.pw_uid,
        }.items():
            (self.folder / name).mkdir()
            os.chown(self.folder / name, owner, -1)
        values = {
            "folder": self.folder, "domain": DOMAIN, "uid": nobody.pw_uid, "gid": nobody.pw_gid, "port": self.port,
            "clear_port": self.clear_port, "certificate": make_certificate().server,
        }  # fmt: skip
        for path, text in {"etc/main.cf": _MAIN, "etc/master.cf": _MASTER, "etc/sasl/smtpd.conf": _SASL}.items():
            (self.folder / path).write_text(text.format(**values))
        passwords = self.folder / "etc" / "sasl" / "passwords"
        subprocess.run(
            [program("saslpasswd2"), "-p", "-c", "-f", str(passwords), "-u", "relay.test", USER],
            input=PASSWORD.encode(), check=True, capture_output=True,
        )  # fmt: skip
        os.chown(passwords, postfix.pw_uid, postfix.pw_gid)
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [program("postfix"), "-c", str(self.folder / "etc"), "start-fg"],
                env={"PATH": _PATH}, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        for port in (self.port, self.clear_port):
            self._wait_for(port)

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + 8
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
                if sock.recv(64).startswith(b"220 "):
                    sock.sendall(b"QUIT\r\n")
                    return
            time.sleep(0.02)
        raise AssertionError(f"Postfix does not start: {(self.folder / 'output').read_text()}{self.log}")

    def stop(self) -> None:
        """Ends it with all of its processes: the master leads a group of its own, apart from the script that started it."""
        if self.process is None:
            return
        with contextlib.suppress(OSError, ValueError, ProcessLookupError):
            master = int((self.folder / "queue" / "pid" / "master.pid").read_text("ascii"))
            os.kill(master, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            os.killpg(master, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def program(name: str) -> str:
    """Where a program of a Debian package is; skips the test where it is missing."""
    packages = {"postfix": "postfix", "saslpasswd2": "sasl2-bin"}
    found = shutil.which(name, path=_PATH)
    return found or missing(f"the Debian package {packages[name]} is not installed")


@contextlib.contextmanager
def running_postfix() -> Generator[Postfix, None, None]:
    """A Postfix in a new folder, gone afterwards. Skips the test where this machine cannot run one."""
    program("postfix")
    program("saslpasswd2")
    if not list(Path("/usr/lib").glob("*/sasl2/libplain.so*")):
        missing("the Debian package libsasl2-modules is not installed")
    if os.geteuid() != 0:
        missing("Postfix is started by root alone")
    folder = Path(tempfile.mkdtemp(prefix="ems-postfix-"))
    postfix = Postfix(folder)
    try:
        postfix.start()
        yield postfix
    finally:
        postfix.stop()
        shutil.rmtree(folder, ignore_errors=True)
