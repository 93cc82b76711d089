"""An application's own policy is asked before every operation."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailftp.files.homes import Homes
from mailftp.files.policy import IFilePolicy, Operation
from tests.ftp.memory import MemoryCase
from tests.ftp.site import NAME, PASSWORD
from tests.ftp.test_more_clients import ClientCase

ALICE = "alice@example.test"


@implementer(IPlugin, IFilePolicy)
class Own:
    """Remembers what it was asked; refuses what `no` holds."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Operation, tuple[str, ...]]] = []
        self.no: dict[Operation, str] = {}
        self.fault: Exception | None = None
        self.threads: set[int] = set()

    def refuses(self, account: str, operation: Operation, path: tuple[str, ...]) -> str | None:
        self.asked.append((account, operation, path))
        self.threads.add(threading.get_ident())
        if self.fault is not None:
            raise self.fault
        return self.no.get(operation)


class Commands(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.own = Own()
        made: Any = self.factory
        made.realm.homes = Homes(made.wiring.settings, self.runner, (self.own,))
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"octets")
        (self.home / "d").mkdir()
        self.log_in()

    def test_interface(self) -> None:
        verifyObject(IFilePolicy, self.own)

    def test_each(self) -> None:
        """Commands ask by operation and path; one that is about two paths asks for both."""
        for words, operations in (
            (("SIZE f",), [(Operation.STAT, ("f",))]),
            (("MKD e",), [(Operation.MAKE_FOLDER, ("e",))]),
            (("RMD e",), [(Operation.REMOVE_FOLDER, ("e",))]),
            (("SITE CHMOD 600 f",), [(Operation.CHANGE, ("f",))]),
            (("SITE SYMLINK f l",), [(Operation.LINK, ("l",))]),
            (("HASH f",), [(Operation.READ, ("f",))]),
            (("SITE CPFR f", "SITE CPTO g"), [(Operation.READ, ("f",)), (Operation.STORE, ("g",))]),
            (("RNFR f", "RNTO d/f"), [(Operation.RENAME_FROM, ("f",)), (Operation.RENAME_TO, ("d", "f"))]),
            (("RMDA d",), [(Operation.REMOVE_TREE, ("d",)), (Operation.REMOVE, ("d", "f"))]),
            (("DELE g",), [(Operation.REMOVE, ("g",))]),
        ):
            self.own.asked.clear()
            self.say(*words)
            told = {(operation, path) for account, operation, path in self.own.asked if account == ALICE}
            self.assertLessEqual(set(operations), told, words)

    def test_transfers(self) -> None:
        """A small file that could be sent at once is asked about as well, and so are listings."""
        for words, operation in (("RETR f", Operation.READ), ("LIST d", Operation.LIST)):
            self.passive()
            self.assertEqual(self.codes(self.say(words))[-1], "226")
            self.own.no = {operation: "Not on Sundays"}
            self.passive()
            self.assertEqual(self.say(words), ["550 Not on Sundays"])
            self.own.no = {}

    def test_refused(self) -> None:
        """What it says is what the client hears, in one line whatever stands in it, and nothing was done."""
        self.own.no = {Operation.REMOVE: "The archive\r\n226 is closed", Operation.STORE: ""}
        (said,) = self.say("DELE f")
        self.assertRegex(said, r"\A550 The archive *226 is closed\Z")
        self.assertEqual((self.home / "f").read_bytes(), b"octets")
        self.passive()
        self.assertEqual(self.say("STOR new"), ["550 Permission denied"])

    def test_fault(self) -> None:
        """One that fails refuses, and is logged."""
        self.own.fault = ZeroDivisionError()
        self.assertEqual(self.codes(self.say("DELE f")), ["451"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue((self.home / "f").exists())


class Threads(ClientCase):
    async def test_off_the_reactor(self) -> None:
        """curl uploads and downloads; it is never asked on the reactor's thread."""
        own = Own()
        made: Any = self.factories["ftp"]
        made.realm.homes = Homes(self.settings, self.threads, (own,))
        user = ("-sS", "--max-time", "30", "-u", f"{NAME}:{PASSWORD}")
        (self.top / "f").write_bytes(b"octets")
        await self.run_client("curl", *user, "-T", str(self.top / "f"), self.url("f"))
        for _ in range(2):
            self.assertEqual(await self.run_client("curl", *user, self.url("f")), b"octets")
        self.assertEqual([o for _, o, _ in own.asked].count(Operation.READ), 2)
        self.assertNotIn(threading.get_ident(), own.threads)


class Documented(SynchronousTestCase):
    def test_the_page(self) -> None:
        """The example of docs/howto/files.rst is a policy that does what it says."""
        page = (Path(__file__).parents[2] / "docs" / "howto" / "files.rst").read_text()
        (block,) = re.findall(r"(?m)^   from twisted.plugin import IPlugin\n(?:   .*\n|\n)*", page)
        made: dict[str, Any] = {}
        exec(re.sub(r"(?m)^   ", "", block), made)
        freeze = made["freeze"]
        verifyObject(IFilePolicy, freeze)
        self.assertIsNone(freeze.refuses(ALICE, Operation.READ, ("archive", "f")))
        self.assertEqual(freeze.refuses(ALICE, Operation.REMOVE, ("archive", "f")), "The archive is closed")
        self.assertIsNone(freeze.refuses(ALICE, Operation.REMOVE, ("f",)))
