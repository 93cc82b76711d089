"""OpenSMTPD and Exim, unpacked and not installed: Debian lets only one mail transport agent be installed at
a time.

`.ci/run` unpacks their packages into venv/share/peers and makes the users that are compiled into them. Each
takes mail for anybody at `port` of 127.0.0.1 but for nobody@..., under STARTTLS, and sends all of it to one
host."""

from __future__ import annotations

import os
import pwd
import shutil
import smtplib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tests import certificates
from tests.interop.running import PATIENCE, ROOT, environment, run
from tests.ports import free_ports

UNPACKED = ROOT / "venv" / "share" / "peers"


def unpacked(path: str, package: str, *users: str) -> Path:
    """The program, or the test is skipped."""
    if os.geteuid() != 0:
        raise SkipTest(f"needs root: {package} changes its user")
    program = UNPACKED / path
    missing = [user for user in users if not _exists(user)]
    if not program.exists() or missing:
        raise SkipTest(f"needs {package}: .ci/run unpacks it into {UNPACKED} and makes its users")
    return program


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


class Relay:
    """A program that runs in the foreground until the test is over."""

    def __init__(self, case: Any) -> None:
        # Its own users must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="mailftp-relay-", dir="/tmp"))
        case.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        (self.port,) = free_ports(1)
        self.tls = certificates.settings(self.folder / "tls")
        self.output = self.folder / "output"
        self.output.touch()
        self._case = case

    def begin(self, *command: str | Path) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
                # Its children are ended with it.
                start_new_session=True,
            )
        self._case.addCleanup(self._end)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                smtplib.SMTP("127.0.0.1", self.port, "probe.test", timeout=PATIENCE).quit()
                return
            except (OSError, smtplib.SMTPException):
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError(f"it does not listen:\n{self.output.read_text()}") from None
                time.sleep(0.05)

    def _end(self) -> None:
        # It has nothing to keep.
        try:
            os.killpg(self._process.pid, 9)
        except ProcessLookupError:
            pass
        self._process.wait(PATIENCE)


class Exim(Relay):
    """With PIPELINING, CHUNKING, 8BITMIME, DSN and SMTPUTF8."""

    def __init__(self, case: Any, target: int) -> None:
        program = unpacked("usr/sbin/exim4", "exim4-daemon-light", "Debian-exim")
        super().__init__(case)
        spool, log = self.folder / "spool", self.folder / "log"
        for folder in (spool, log):
            folder.mkdir()
            shutil.chown(folder, "Debian-exim", "Debian-exim")
        shutil.chown(self.tls.key, "Debian-exim")
        config = self.folder / "exim.conf"
        config.write_text(
            f"spool_directory = {spool}\nlog_file_path = {log}/%slog\npid_file_path = {self.folder}/pid\n"
            f"exim_path = {program}\ndeliver_drop_privilege = true\n"
            "exim_user = Debian-exim\nexim_group = Debian-exim\nkeep_environment =\n"
            f"daemon_smtp_ports = {self.port}\nlocal_interfaces = 127.0.0.1\nprimary_hostname = mx.b.test\n"
            f"tls_advertise_hosts = *\ntls_certificate = {self.tls.certificate}\n"
            f"tls_privatekey = {self.tls.key}\n"
            "chunking_advertise_hosts = *\ndsn_advertise_hosts = *\nsmtputf8_advertise_hosts = *\n"
            "acl_smtp_rcpt = rcpt\nacl_smtp_data = taken\nqueue_run_max = 5\n"
            "message_size_limit = 50M\nsyslog_timestamp = false\ndns_dnssec_ok = 0\n"
            "host_lookup =\nrfc1413_query_timeout = 0s\n"
            "begin acl\n"
            "rcpt:\n  deny local_parts = nobody\n       message = 5.1.1 nobody here\n  accept\n"
            "taken:\n  accept\n"
            "begin routers\n"
            f"on:\n  driver = manualroute\n  route_list = * 127.0.0.1::{target}\n"
            "  self = send\n  transport = out\n"
            "begin transports\n"
            "out:\n  driver = smtp\n  allow_localhost\n  hosts_try_chunking =\n"
            "  message_linelength_limit = 2000\nbegin retry\n* * F,1h,5s\n"
        )
        config.chmod(0o644)
        self.begin(program, "-bdf", "-q10s", "-C", config)


#: Where OpenSMTPD keeps its queue and its socket is compiled into it: a mount of its own hides it from
#: others.
_APART = 'mount -t tmpfs -o mode=711 none /var/spool/smtpd && mount -t tmpfs none /run && exec "$@"'


class OpenSMTPD(Relay):
    """With PIPELINING, 8BITMIME and DSN, without SMTPUTF8 and CHUNKING."""

    def __init__(self, case: Any, target: int) -> None:
        program = unpacked("usr/sbin/smtpd", "opensmtpd", "opensmtpd", "opensmtpq")
        super().__init__(case)
        # It knows no keys of elliptic curves.
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        made = run(
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=mx.b.test",
            ),
            *("-keyout", key, "-out", certificate),
        )
        assert made.returncode == 0, made.stderr.decode()
        config = self.folder / "smtpd.conf"
        config.write_text(
            f'pki far cert "{certificate}"\npki far key "{key}"\n'
            f"listen on 127.0.0.1 port {self.port} tls pki far hostname mx.b.test\n"
            "smtp max-message-size 50M\n"
            f'action "on" relay host "smtp://127.0.0.1:{target}"\n'
            'match from any for rcpt-to "nobody@b.test" reject\n'
            'match from any for any action "on"\n'
        )
        config.chmod(0o600)
        key.chmod(0o600)
        apart = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
        before = ("unshare", "-m", "sh", "-c", _APART, "sh") if apart else ()
        self.begin(*before, program, "-dF", "-f", config)
