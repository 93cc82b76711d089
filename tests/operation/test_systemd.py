"""sd_notify, what the service manager hears; socket activation; the unit."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import smtplib
import socket
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.operation.systemd import SystemdNotifier
from tests.serving import ROOT, Serving, mailftp


class Notify(SynchronousTestCase):
    def setUp(self) -> None:
        # The path of a Unix socket has 107 octets at most: trial's folders are longer.
        self.name = f"@mailftp-test-{os.getpid()}-{id(self)}"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(self.manager.close)
        self.manager.bind("\0" + self.name[1:])
        self.clock = Clock()

    def heard(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return said

    def test_life(self) -> None:
        """Ready, reloading, ready again, stopping."""
        notifier = SystemdNotifier({"NOTIFY_SOCKET": self.name}, self.clock)
        notifier.ready()
        notifier.reloading()
        notifier.ready()
        notifier.stopping()
        first = [message.partition("\n")[0] for message in self.heard()]
        self.assertEqual(first, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"])

    def test_reload_has_a_clock(self) -> None:
        """Type=notify-reload wants MONOTONIC_USEC beside RELOADING=1."""
        SystemdNotifier({"NOTIFY_SOCKET": self.name}, self.clock).reloading()
        self.assertRegex(self.heard()[0], r"\ARELOADING=1\nMONOTONIC_USEC=[0-9]+\Z")

    def test_watchdog(self) -> None:
        """The watchdog is fed twice in its time, until the server stops."""
        notifier = SystemdNotifier({"NOTIFY_SOCKET": self.name, "WATCHDOG_USEC": "10000000"}, self.clock)
        notifier.ready()
        self.heard()
        self.clock.advance(4.9)
        self.assertEqual(self.heard(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.heard(), ["WATCHDOG=1"])
        notifier.stopping()
        self.heard()
        self.clock.advance(60)
        self.assertEqual(self.heard(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_watchdog_of_another(self) -> None:
        """A watchdog for another process is not fed."""
        environment = {"NOTIFY_SOCKET": self.name, "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}
        SystemdNotifier(environment, self.clock).ready()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_status_is_one_line(self) -> None:
        """A status cannot smuggle in another message."""
        SystemdNotifier({"NOTIFY_SOCKET": self.name}, self.clock).status("a\nREADY=1")
        self.assertEqual(self.heard(), ["STATUS=a READY=1"])

    def test_nobody_listens(self) -> None:
        """Without a service manager, and with one that is gone, nothing fails."""
        SystemdNotifier({}, self.clock).ready()
        SystemdNotifier({"NOTIFY_SOCKET": "/nowhere/at/all"}, self.clock).ready()
        self.assertEqual(self.heard(), [])


class Managed(SynchronousTestCase):
    """The server as systemd starts it."""

    def test_life(self) -> None:
        """A socket that is inherited is served; the manager hears when it serves, reloads and stops."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        config = folder / "mailftp.toml"
        config.write_text('[listen]\nsmtp = ["systemd:domain=INET:index=0"]\n')
        short = tempfile.mkdtemp(prefix="mailftp-")
        self.addCleanup(os.rmdir, short)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(60)
        manager.bind(f"{short}/notify")
        self.addCleanup(os.unlink, f"{short}/notify")
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            number = listening.fileno()
            # sd_listen_fds(3): descriptors from 3 on, and the number of the process that they are for.
            prelude = (
                f"import os; os.dup2({number}, 3); "
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='smtp'); "
            )
            serving = Serving(
                "mailftp",
                folder=folder,
                prelude=prelude,
                inherit=[number],
                NOTIFY_SOCKET=f"{short}/notify",
            )
        self.addCleanup(lambda: serving.stop(signal.SIGKILL) if serving.process.poll() is None else None)
        self.assertEqual(manager.recv(4096).decode().splitlines()[0], "READY=1")
        client = smtplib.SMTP("127.0.0.1", port, timeout=30)
        self.addCleanup(client.close)
        self.assertEqual(client.noop()[0], 250)
        done = mailftp("reload", "--config", str(config))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(client.noop()[0], 250)
        heard = [manager.recv(4096).decode().splitlines()[0] for _ in range(2)]
        self.assertEqual(heard, ["RELOADING=1", "READY=1"])
        serving.process.send_signal(signal.SIGTERM)
        self.assertEqual(manager.recv(4096).decode(), "STOPPING=1")
        serving.stop()

    def test_nothing_inherited(self) -> None:
        """A socket that systemd did not give is a line and exit status 1."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        (folder / "mailftp.toml").write_text('[listen]\nsmtp = ["systemd:domain=INET:index=0"]\n')
        serving = Serving("mailftp", folder=folder)
        self.assertEqual(serving.process.wait(60), 1)
        serving.stop()
        self.assertRegex(serving.written, r"\Alisten\.smtp: .*no such socket.*\n\Z")

    def test_unit(self) -> None:
        """The unit that is shipped starts twistd in the foreground, and asks for what the server can do."""
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment]
        unit.read(ROOT / "systemd" / "mailftp.service")
        service = unit["Service"]
        self.assertEqual(service["Type"], "notify-reload")
        words = shlex.split(service["ExecStart"])
        self.assertLess(words.index("--nodaemon"), words.index("mailftp"))
        self.assertEqual(service["AmbientCapabilities"], "CAP_NET_BIND_SERVICE")
        self.assertTrue(words[-1].startswith(service["ReadWritePaths"]))
