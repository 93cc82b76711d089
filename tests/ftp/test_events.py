"""What applications, the transfer log and operators hear of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import fail
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailftp.files.home import IHome
from mailftp.ftp.events import Event, FileWatcher, IFileWatcher, Watchers, What
from mailftp.ftp.transfer_log import TransferLog, as_json, xferlog
from mailftp.wire.peer import Peer
from tests.files.inline import Inline
from tests.ftp.memory import MemoryCase


class Listener(FileWatcher):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def _hear(self, event: Event) -> object:
        self.heard.append(event)
        return None

    login = logout = uploaded = downloaded = failed = _hear
    renamed = copied = deleted = folder_made = folder_removed = _hear


class Events(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.listener = Listener()
        self.factory.watchers = Watchers([self.listener])

    def heard(self) -> list[tuple[Any, ...]]:
        found = [(each.what.value, each.path, each.to) for each in self.listener.heard]
        self.listener.heard.clear()
        return found

    def upload(self, command: str, octets: bytes = b"octets") -> None:
        data = self.passive()
        self.say(command)
        data.send(octets)
        data.end()
        self.answers()

    def test_each(self) -> None:
        """A call for each, when it has happened, with whose it is."""
        self.log_in()
        self.assertEqual(self.heard(), [("login", (), None)])
        self.upload("STOR f")
        (event,) = self.listener.heard
        self.assertEqual((event.account, event.octets, event.service), ("alice@example.test", 6, "ftp"))
        self.assertEqual(event.context, self.client.protocol.context)
        self.assertTrue(IHome.providedBy(event.home))
        self.assertEqual(self.heard(), [("uploaded", ("f",), None)])
        self.say("MKD d", "RNFR f", "RNTO d/g", "SITE CPFR d/g", "SITE CPTO h", "DELE h", "RMD none")
        self.assertEqual(
            self.heard(),
            [
                ("folder_made", ("d",), None),
                ("renamed", ("f",), ("d", "g")),
                ("copied", ("d", "g"), ("h",)),
                ("deleted", ("h",), None),
            ],
        )
        data = self.passive()
        self.client.send(b"RETR d/g\r\n")
        self.assertEqual(data.received(), b"octets")
        self.answers()
        self.passive()
        self.say("LIST", "RMDA d", "QUIT")
        self.client.drop() if not self.client.closed else None
        self.assertEqual(
            self.heard(),
            [("downloaded", ("d", "g"), None), ("folder_removed", ("d",), None), ("logout", (), None)],
        )

    def test_only_what_is_whole(self) -> None:
        """An upload that was cut is no upload; a client that is gone is still named."""
        self.log_in()
        self.heard()
        data = self.passive()
        self.say("STOR f")
        data.send(b"half")
        data.drop()
        self.answers()
        self.assertEqual(self.heard(), [("failed", ("f",), None)])
        data = self.passive()
        self.say("STOR g")
        data.send(b"half")
        self.client.drop()
        data.pump()
        self.answers()
        told = {each.what: each.account for each in self.listener.heard}
        self.assertEqual(told, dict.fromkeys((What.LOGOUT, What.FAILED), "alice@example.test"))

    def test_refused(self) -> None:
        """What was refused has not happened."""
        self.log_in()
        self.heard()
        self.say(
            "DELE none", "RNFR none", "RNTO x", "MKD /", "RMDA none", "SITE CPFR none", "PASV", "RETR none"
        )
        self.assertEqual([each for each in self.heard() if each[0] != "failed"], [])

    def test_faults_of_theirs(self) -> None:
        """A watcher that fails is logged; the session and the other watchers hear nothing of it."""

        class Broken(FileWatcher):
            def login(self, event: Event) -> object:
                raise ValueError("mine")

            def uploaded(self, event: Event) -> object:
                return fail(ValueError("later"))

        self.factory.watchers = Watchers([Broken(), self.listener])
        self.log_in()
        self.upload("STOR f")
        self.assertEqual([what for what, _, _ in self.heard()], ["login", "uploaded"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_counters(self) -> None:
        """Each is counted, and the octets."""
        self.log_in()
        self.upload("STOR f")
        self.upload("STOR f")
        counted = self.factory.watchers.counters.as_json()
        self.assertEqual((counted["uploaded"], counted["uploaded_octets"], counted["login"]), (2, 12, 1))

    def test_who_and_kick(self) -> None:
        """A session tells what it does; kicked, it hears 421, and its upload can be continued."""
        self.log_in("ALLO 10")
        data = self.passive()
        self.say("STOR f")
        data.send(b"12345")
        self.clock.advance(2)
        session = self.client.protocol
        found = session.describe()
        self.assertEqual(
            {name: found[name] for name in ("account", "path", "octets", "size", "percent", "command")},
            {
                "account": "alice@example.test",
                "path": "/f",
                "octets": 5,
                "size": 10,
                "percent": 50.0,
                "command": "STOR",
            },
        )
        self.assertIn(found["rate"], (2, 3))
        session.kick()
        self.assertEqual(self.codes(self.answers()), ["421"])
        data.pump()
        self.assertTrue(self.client.closed and data.closed)
        self.client = self.connect()
        self.log_in()
        self.assertEqual(self.say("SIZE f"), ["213 5"])

    def test_before_login(self) -> None:
        """A session that has not logged in is shown too, without a name."""
        self.say("FEAT")
        found = self.client.protocol.describe()
        self.assertEqual((found["account"], found["command"], "path" in found), ("", "FEAT", False))
        json.dumps(found)


class Logs(SynchronousTestCase):
    def event(self, what: What, **more: Any) -> Event:
        fields = {"path": ("d", "two words\n\x1b[31m\udcff"), "octets": 1234, "seconds": 2.4} | more
        return Event(what, "alice@a.test", Peer.of("192.0.2.7", 4000), "ftp", "ftp-1", object(), **fields)  # type: ignore[arg-type]

    def test_xferlog(self) -> None:
        """The fields of xferlog(5), in one line, none of which can be forged."""
        for what, direction, complete, more in (
            (What.UPLOADED, "i", "c", {}),
            (What.DOWNLOADED, "o", "c", {}),
            (What.FAILED, "o", "i", {"direction": "down"}),
            (What.DELETED, "d", "c", {}),
        ):
            line = xferlog(self.event(what, **more), 1_700_000_000.0)
            self.assertRegex(
                line,
                rf"\ATue Nov 14 22:13:20 2023 2 192\.0\.2\.7 1234 /d/two_words___?\[31m. b _ {direction} r "
                rf"alice@a\.test ftp 0 \* {complete}\n\Z",
            )
            self.assertEqual(len(line.split()), 18)

    def test_json(self) -> None:
        """One object a line, whatever is in a name."""
        line = as_json(self.event(What.FAILED, direction="up", reason="Aborted"), 1_700_000_000.0)
        self.assertEqual(line.count("\n"), 1)
        found = json.loads(line)
        self.assertEqual((found["event"], found["reason"], found["octets"]), ("failed", "Aborted", 1234))

    def test_file(self) -> None:
        """Lines are appended, also when the file was moved away; a disk that takes none is told of once."""
        file, runner = Path(self.mktemp()), Inline()
        log = TransferLog(file, "xferlog", runner)
        verifyObject(IFileWatcher, log)
        log.uploaded(self.event(What.UPLOADED))
        file.rename(f"{file}.1")
        log.downloaded(self.event(What.DOWNLOADED))
        log.login(self.event(What.LOGIN))
        runner.held = True
        for _ in range(3):
            log.deleted(self.event(What.DELETED))
        done = log.finish()
        self.assertNoResult(done)
        while runner.waiting:
            runner.release()
        self.successResultOf(done)
        self.assertEqual(len(Path(f"{file}.1").read_text().splitlines()), 1)
        self.assertEqual(len(file.read_text().splitlines()), 4)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        broken = TransferLog(file / "not a folder", "json", Inline())
        broken.uploaded(self.event(What.UPLOADED))
        self.assertEqual([event.get("mailftp_event") for event in events], ["transfer log not written"])

    def test_watchers_are_plugins(self) -> None:
        """The base class is what an application begins with."""
        verifyObject(IFileWatcher, FileWatcher())
        self.assertEqual({each.value for each in What}, set(IFileWatcher.names()))
