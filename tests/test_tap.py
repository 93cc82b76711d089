"""`twistd mailftp` as a process: the quickstart, faults, signals, reload, exit statuses."""

from __future__ import annotations

import ftplib
import io
import json
import os
import poplib
import pwd
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailftp.setup.folder import PORTS
from tests.ports import free_port
from tests.serving import CHEAP, Serving, mailftp, settings_text

PASSWORD = "one two three"


class Processes(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = self.folder / "mailftp.toml"

    def serve(self, *arguments: str, **more: Any) -> Serving:
        serving = Serving("mailftp", *arguments, folder=self.folder, **more)
        self.addCleanup(lambda: serving.stop(signal.SIGKILL) if serving.process.poll() is None else None)
        return serving

    def add(self, name: str) -> None:
        """An account, with PASSWORD, by the command."""
        arguments = ("account", "add", name, "--config", str(self.config), "--password-file", "-")
        added = mailftp(*arguments, given=f"{PASSWORD}\n")
        self.assertEqual((added.returncode, added.stderr), (0, ""))

    def reload(self) -> None:
        done = mailftp("reload", "--config", str(self.config))
        self.assertEqual(done.returncode, 0, done.stderr)


class Starting(Processes):
    def test_bad_settings(self) -> None:
        """One line a fault on standard error, exit status 1, and nothing listens."""
        self.config.write_text("hostnam = 'x'\nworkers = -1\n")
        serving = self.serve("--config", str(self.config))
        self.assertEqual(serving.process.wait(60), 1)
        serving.stop()
        self.assertEqual(
            [line.partition(":")[0] for line in serving.written.splitlines()], ["hostnam", "workers"]
        )
        self.assertFalse((self.folder / "data").exists())

    def test_no_such_file(self) -> None:
        """A file that is not there is a line and exit status 1."""
        serving = self.serve("--config", "nowhere.toml")
        self.assertEqual(serving.process.wait(60), 1)
        serving.stop()
        self.assertEqual(len(serving.written.splitlines()), 1)

    def test_port_in_use(self) -> None:
        """A port that cannot be had ends the start with a line that names the key."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.config.write_text(f'[listen]\nsmtp = ["tcp:{port}:interface=127.0.0.1"]\n')
            serving = self.serve()
            self.assertEqual(serving.process.wait(60), 1)
            serving.stop()
        self.assertRegex(serving.written, rf"(?m)^listen\.smtp: .*{port}.*in use")
        self.assertNotIn("Traceback", serving.written)

    def test_second_server(self) -> None:
        """Two servers on one data folder: the second says who has it, and the first serves on."""
        self.config.write_text(settings_text())
        first = self.serve()
        ports = first.ports()
        second = self.serve()
        self.assertEqual(second.process.wait(60), 1)
        second.stop()
        self.assertIn(str(first.process.pid), second.written)
        self.assertNotIn("Traceback", second.written)
        smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30).quit()

    def test_newer_store(self) -> None:
        """A store that cannot be opened ends the server, with a line and exit status 1."""
        self.config.write_text(settings_text())
        (self.folder / "data").mkdir()
        (self.folder / "data" / "mail.sqlite").write_bytes(b"this is no database" * 100)
        serving = self.serve()
        self.assertEqual(serving.process.wait(60), 1)
        serving.stop()
        self.assertRegex(serving.written, r"(?m)^cannot start: .*mail\.sqlite")

    def test_stop(self) -> None:
        """SIGTERM: everybody is told, the socket is gone, the log says so."""
        self.config.write_text(settings_text())
        serving = self.serve()
        client = smtplib.SMTP("127.0.0.1", serving.ports()["smtp"], timeout=30)
        serving.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.getreply()[0], 421)
        self.assertEqual(serving.stop(), -signal.SIGTERM)
        self.assertIn("server stopped", serving.written)
        self.assertFalse((self.folder / "data" / "control").exists())

    def test_killed(self) -> None:
        """What kill -9 leaves behind is in nobody's way."""
        self.config.write_text(settings_text())
        first = self.serve()
        first.ports()
        first.stop(signal.SIGKILL)
        self.assertTrue((self.folder / "data" / "control").exists())
        second = self.serve()
        second.ports()
        self.assertEqual(mailftp("account", "list", "--config", str(self.config)).returncode, 0)

    def test_accounts_while_running(self) -> None:
        """The commands work on a running server, which knows the account at once."""
        self.config.write_text(settings_text())
        ports = self.serve().ports()
        self.add("bob")
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30) as client:
            client.login("bob@example.test", PASSWORD)


class Quickstart(Processes):
    def test_quickstart(self) -> None:
        """Without a file: a folder, a table with passwords that work, and at the second start none."""
        if any(_taken(port) for port in PORTS.values()):
            self.skipTest("the quickstart's ports are in use on this machine")
        first = self.serve()
        passwords = dict(re.findall(r"(?m)^  (\w+@example\.test) +(\S+)$", first.written)) or {
            match[1]: match[2]
            for match in [
                first.wait_for(rf"(?m)^  ({name}@example\.test) +(\S+)$") for name in ("alice", "bob")
            ]
        }
        first.ports()
        self.assertEqual(sorted(passwords), ["alice@example.test", "bob@example.test"])
        context = ssl.create_default_context(cafile=str(self.folder / "mailftp-data/tls/ca.pem"))
        with smtplib.SMTP("localhost", PORTS["submission"], timeout=30) as client:
            client.starttls(context=context)
            client.login("alice@example.test", passwords["alice@example.test"])
        commands = re.findall(r"(?m)^  ((?:printf .*\| )?curl .*)$", first.written)
        self.assertEqual(len(commands), 5)
        if shutil.which("curl") is not None:
            self.try_commands(commands)
        first.stop()
        second = self.serve()
        second.ports()
        for password in passwords.values():
            self.assertNotIn(password, second.written)
        self.assertIn("alice@example.test", second.written)

    def try_commands(self, commands: list[str]) -> None:
        """What is printed to be pasted works."""
        outputs = [
            subprocess.run(command, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=60)
            for command in commands
        ]
        for command, done in zip(commands, outputs, strict=True):
            self.assertEqual(done.returncode, 0, f"{command}\n{done.stderr}")
        self.assertIn("It works.", outputs[1].stdout)
        self.assertIn("It works.", outputs[2].stdout)
        self.assertEqual(outputs[4].stdout, "It works.\n")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Reloading(Processes):
    def test_listeners(self) -> None:
        """A listener that stayed keeps its connections and port, a new one opens, a removed one closes, and
        who is inside of that one stays."""
        self.config.write_text(settings_text(services=("smtp", "submission")))
        serving = self.serve()
        ports = serving.ports()
        stays = smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30)
        removed = smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30)
        free = free_port()
        self.config.write_text(
            'hostname = "new.example.test"\n'
            f'[listen]\nsmtp = ["tcp:0:interface=127.0.0.1", "tcp:{free}:interface=127.0.0.1"]\n'
        )
        self.reload()
        self.assertEqual(stays.noop()[0], 250)
        self.assertEqual(removed.noop()[0], 250)
        fresh = smtplib.SMTP(timeout=30)
        self.assertIn(b"new.example.test", fresh.connect("127.0.0.1", ports["smtp"])[1])
        self.assertEqual(smtplib.SMTP("127.0.0.1", free, timeout=30).noop()[0], 250)
        with self.assertRaises(ConnectionRefusedError):
            smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30)
        serving.process.send_signal(signal.SIGTERM)
        for client in (stays, removed, fresh):
            self.assertEqual(client.getreply()[0], 421)

    def test_faults(self) -> None:
        """With a fault the server keeps what it has, and the command says every one."""
        self.config.write_text(settings_text())
        ports = self.serve().ports()
        self.config.write_text("hostnam = 'x'\nworkers = -1\n")
        done = mailftp("reload", "--config", str(self.config))
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 2))
        smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30).quit()

    def test_port_in_use(self) -> None:
        """A new listener that cannot be had is a refusal; nothing has changed."""
        self.config.write_text(settings_text())
        ports = self.serve().ports()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.config.write_text(f'[listen]\npop3 = ["tcp:{port}:interface=127.0.0.1"]\n')
            done = mailftp("reload", "--config", str(self.config))
        self.assertEqual(done.returncode, 1)
        self.assertIn("listen.pop3", done.stderr)
        smtplib.SMTP("127.0.0.1", ports["smtp"], timeout=30).quit()

    def test_fixed_keys(self) -> None:
        """What cannot change while it runs is said."""
        self.config.write_text(settings_text())
        self.serve().ports()
        self.config.write_text(settings_text(more='[store]\nurl = "sqlite:other.sqlite"\n'))
        done = mailftp("reload", "--config", str(self.config))
        self.assertEqual(done.returncode, 0)
        self.assertIn("store", done.stderr)
        self.assertFalse((self.folder / "data" / "other.sqlite").exists())

    def test_hang_up(self) -> None:
        """SIGHUP does the same, new certificates and the log's form included."""
        made = mailftp("init", str(self.folder / "a"), "--hostname", "a.test", "--domain", "a.test")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.config = self.folder / "a" / "mailftp.toml"
        listen = re.sub(r"tcp:[0-9]+:", "tcp:0:", self.config.read_text())
        self.config.write_text(listen)
        serving = self.serve("--config", str(self.config))
        port = serving.ports()["submissions"]
        before = self.certificate(port)
        shutil.rmtree(self.folder / "a" / "tls")
        mailftp("init", str(self.folder / "b"), "--hostname", "b.test", "--domain", "b.test")
        shutil.copytree(self.folder / "b" / "tls", self.folder / "a" / "tls")
        self.config.write_text(listen.replace('format = "text"', 'format = "json"'))
        serving.process.send_signal(signal.SIGHUP)
        serving.wait_for(r'"event": "reloaded"')
        after = self.certificate(port)
        self.assertNotEqual(before, after)

    def certificate(self, port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=30)


class Logging(Processes):
    def test_forged(self) -> None:
        """Whatever a client sends, each line of a JSON log is one event of ours, Twisted's included."""
        self.config.write_text(settings_text(more='[log]\nformat = "json"\nlevel = "debug"\n'))
        serving = self.serve(twistd=("--logfile", str(self.folder / "log")))
        deadline = time.monotonic() + 60
        log = self.folder / "log"
        while not (log.exists() and '"started"' in log.read_text()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        (started,) = [entry for entry in self.events(log) if entry["event"] == "started"]
        port = int(started["listening"].split(",")[0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(
                b'EHLO a\x1b[2J\x00"\xe2\x80\xa8{"event": "forged"}\r\n'
                b'MAIL FROM:<a@a.test>\r\nRCPT TO:<"x\\\n{\\"event\\": 1}"@example.test>\r\n\r\r\nQUIT\r\n'
            )
            while client.recv(4096):
                pass
        serving.stop()
        events = self.events(log)
        self.assertNotIn("forged", {entry["event"] for entry in events})
        self.assertTrue(all({"time", "level", "context", "event"} <= entry.keys() for entry in events))

    def events(self, log: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text().splitlines()]

    def test_reopened(self) -> None:
        """A reload opens the log file anew: logrotate moves it away and says so."""
        self.config.write_text(settings_text())
        log = self.folder / "log"
        self.serve(twistd=("--logfile", str(log)))
        deadline = time.monotonic() + 60
        while not (log.exists() and "server started" in log.read_text()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        log.rename(self.folder / "log.1")
        self.reload()
        self.assertIn("reloaded", log.read_text())


class Checkers(Processes):
    def test_auth(self) -> None:
        """`--auth` takes the place of the store's passwords: its users log in to accounts of that name."""
        self.config.write_text(settings_text())
        self.add("bob")
        users = self.folder / "users"
        users.write_text("bob:another password\n")
        ports = self.serve("--config", str(self.config), "--auth", f"file:{users}").ports()
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30) as client:
            client.login("bob", "another password")
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30) as client:
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("bob", PASSWORD)


class Privileges(Processes):
    def test_dropped(self) -> None:
        """Root binds a port below 1024 and then runs as somebody else, who owns everything that is kept, and
        still does after root used the commands."""
        if os.geteuid() != 0:
            self.skipTest("only root can bind a port below 1024 and become somebody else")
        nobody = pwd.getpwnam("nobody")
        port = next((port for port in range(1023, 900, -1) if not _taken(port)), None)
        if port is None:
            self.skipTest("no port below 1024 is free")
        # trial's own folder may be below one that nobody else can enter.
        top = Path(tempfile.mkdtemp(prefix="mailftp-"))
        self.addCleanup(shutil.rmtree, top)
        top.chmod(0o755)
        folder = top / "server"
        made = mailftp("init", str(folder), "--hostname", "mx.a.test", "--domain", "a.test")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.config = config = folder / "mailftp.toml"
        text = re.sub(r"tcp:[0-9]+:", "tcp:0:", config.read_text())
        text = re.sub(r"argon2 .*", CHEAP, text)
        config.write_text(re.sub(r"(?m)^(smtp .*)tcp:0:", rf"\g<1>tcp:{port}:", text))
        self.add("alice")
        serving = self.serve("--config", str(config), twistd=("--uid", "nobody"))
        self.assertIn(port, serving.ports().values())
        status = Path(f"/proc/{serving.process.pid}/status").read_text()
        uids = re.search(r"(?m)^Uid:\s+(.*)$", status)
        assert uids is not None
        self.assertEqual({int(uid) for uid in uids[1].split()}, {nobody.pw_uid})
        self.add("bob")
        ports = serving.ports()
        with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=30) as client:
            client.login("alice@a.test", PASSWORD)
            client.sendmail("alice@a.test", ["bob@a.test"], b"Subject: hello\r\n\r\nIt works.\r\n")
        pop3 = poplib.POP3("127.0.0.1", ports["pop3"], timeout=30)
        pop3.user("bob")
        pop3.pass_(PASSWORD)
        self.assertEqual(pop3.stat()[0], 1)
        pop3.quit()
        ftp = ftplib.FTP(timeout=30)
        ftp.connect("127.0.0.1", ports["ftp"])
        ftp.login("bob", PASSWORD)
        ftp.storbinary("STOR letter", io.BytesIO(b"hello"))
        ftp.quit()
        # The key has to be read again by whom it runs as.
        done = mailftp("reload", "--config", str(config))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        serving.stop()
        added = mailftp(
            "account",
            "add",
            "carol",
            "--config",
            str(config),
            "--password-file",
            "-",
            given="one two three\n",
        )
        self.assertEqual(added.returncode, 0, added.stderr)
        owners = {path.lstat().st_uid for path in (folder / "data").rglob("*")}
        self.assertEqual(owners, {nobody.pw_uid})
