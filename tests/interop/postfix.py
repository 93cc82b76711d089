"""Postfix in an instance of its own that sends all its mail to one host."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import SkipTest

from tests.interop.running import PATIENCE, environment, program
from tests.ports import free_ports

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
showq unix n - n - - showq
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """It takes mail from anybody on loopback, at `port`."""

    def __init__(self, case: Any, target: int) -> None:
        """All of it goes to the port `target` of 127.0.0.1."""
        if os.geteuid() != 0:
            raise SkipTest("needs root: Postfix changes its user")
        self._postfix = program("postfix", "postfix")
        # Its sockets need a short path, and its own user must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="mailftp-postfix-", dir="/tmp"))
        case.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        self.conf = self.folder / "conf"
        self.log = self.folder / "mail.log"
        (self.port,) = free_ports(1)
        for name in ("conf", "queue", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        daemons = Path("/usr/lib/postfix/sbin")
        (self.conf / "main.cf").write_text(
            "compatibility_level = 3.6\n"
            f"queue_directory = {self.folder}/queue\ndata_directory = {self.folder}/data\n"
            f"command_directory = /usr/sbin\ndaemon_directory = {daemons}\n"
            "mail_owner = postfix\nsetgid_group = postdrop\n"
            "inet_interfaces = loopback-only\ninet_protocols = ipv4\nmyhostname = mail.peer.test\n"
            "mydestination =\nmynetworks = 127.0.0.0/8\nalias_maps =\nalias_database =\n"
            "local_recipient_maps =\n"
            f"relayhost = [127.0.0.1]:{target}\nsmtp_tls_security_level = may\nsmtp_tls_loglevel = 1\n"
            "smtputf8_enable = yes\nmessage_size_limit = 104857600\nnotify_classes =\n"
            f"maillog_file = {self.log}\nmaillog_file_prefixes = {self.folder}\n"
            "smtpd_recipient_restrictions = permit_mynetworks, reject\nmaximal_backoff_time = 1000s\n"
        )
        (self.conf / "master.cf").write_text(_MASTER.format(port=self.port))
        case.addCleanup(self._command, "stop", check=False)
        self._command("start")

    def _command(self, word: str, check: bool = True) -> None:
        done = subprocess.run(
            [self._postfix, "-c", self.conf, word],
            capture_output=True,
            timeout=PATIENCE,
            env=environment() | {"PATH": f"/usr/sbin:/sbin:{os.environ.get('PATH', '')}"},
        )
        if check and done.returncode != 0:
            raise AssertionError((done.stdout + done.stderr).decode())
