"""`mailftp account uidl`."""

from __future__ import annotations

import hashlib
import io
import sys
from collections import deque
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import uidls
from mailftp.cli.exits import CommandFailed
from mailftp.cli.uidls import Line, match
from mailftp.operation import uidls as operation
from mailftp.operation.admin import Refused, perform
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import ListMaildrop
from mailftp.store.records import Filing
from mailftp.store.units import Accept, AddAccount, Expunge
from mailftp.wire.journal import Journal
from tests.cli.test_folders import call
from tests.store.messages import VERIFIER


def header_key(header: bytes) -> str:
    return "header:" + hashlib.sha256(header).hexdigest()


class Commands(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.config = self.folder / "mailftp.toml"
        self.config.write_text("")
        self.file = self.folder / "uidls"
        self.store = MemoryStore(Clock().seconds)
        self.successResultOf(self.store.start())
        self.bob = self.successResultOf(self.store.commit(AddAccount("bob@example.test", VERIFIER)))
        self.patch(uidls, "request", self.request)
        self.asked: list[str] = []

    def request(self, settings: Settings, members: dict[str, object]) -> Any:
        self.asked.append(str(members["do"]))
        doing = Deferred.fromCoroutine(perform(self.store, settings, members, Journal("test")))
        answer = self.successResultOf(doing.addErrback(lambda failure: failure.value))
        if isinstance(answer, Refused):
            raise CommandFailed(str(answer))
        return answer

    def put(self, message: bytes, prefix: bytes = b"") -> None:
        sink = self.store.stage()
        sink.write(message)
        body = self.successResultOf(sink.finish())
        self.successResultOf(self.store.commit(Accept(body, 1.0, (Filing(self.bob.id, prefix=prefix),))))

    def uidl(self, *lines: str, address: str = "bob@example.test") -> tuple[int, str, str]:
        self.file.write_text("\n".join(lines))
        return call("account", "uidl", address, str(self.file), "--config", str(self.config))

    def known(self) -> dict[int, bytes]:
        listing = self.successResultOf(self.store.read(ListMaildrop(self.bob.id)))
        assert listing is not None
        return dict(listing.uidls)

    def test_forms(self) -> None:
        """By UID, by the header without what this server put in front, and by Message-ID."""
        self.put(b"Subject: one\r\n\r\nx\r\n")
        self.put(b"Subject: two\r\nX: y\r\n z\r\n\r\nx\r\n", b"Return-Path: <>\r\nReceived: here\r\n")
        self.put(b"Subject: 3\r\nMESSAGE-Id:\r\n <a.3@b>\r\n\r\nMessage-ID: <no@b>\r\n")
        status, out, err = self.uidl(
            "# of the old server",
            "",
            "AAA<a.3@b> <a.3@b>",
            "2.old " + header_key(b"Subject: two\r\nX: y\r\n z"),
            "1.old uid:1",
        )
        self.assertEqual((status, out, err), (0, "set 3 of 3\n", ""))
        self.assertEqual(self.known(), {1: b"1.old", 2: b"2.old", 3: b"AAA<a.3@b>"})

    def test_odd_headers(self) -> None:
        """No header, no body, no end of the last line, and a header of 70,000 octets in a file of its own."""
        long = b"Subject: x\r\nX-Long: " + b"y" * 900 + b"\r\n" + b"X: " + b"z" * 900 + b"\r\n"
        bodies = [b"\r\nbody\r\n", b"Subject: a\r\n", b"Subject: b", long + b"\r\n" + b"text\r\n" * 20_000]
        for body in bodies:
            self.put(body)
        headers = [b"", b"Subject: a", b"Subject: b", long[:-2]]
        status, out, _ = self.uidl(*(f"old{n} {header_key(header)}" for n, header in enumerate(headers)))
        self.assertEqual((status, out), (0, "set 4 of 4\n"))
        self.assertEqual(self.known(), {n + 1: b"old%d" % n for n in range(4)})

    def test_missing(self) -> None:
        """What is not there is named, the rest is set; it can be said again."""
        self.put(b"Subject: one\r\n\r\n")
        lines = ("here uid:1", "gone uid:2", *(f"g{n} <{n}@gone>" for n in range(20)))
        for _ in range(2):
            status, out, err = self.uidl(*lines)
            self.assertEqual((status, out), (1, "set 1 of 22\n"))
            self.assertIn(f"{self.file}, line 2: no message uid:2\n", err)
            self.assertIn("and 11 more", err)
            self.assertEqual(self.known(), {1: b"here"})

    def test_pieces(self) -> None:
        """More messages than one answer and one request hold."""
        self.patch(operation, "PAGE", 10)
        self.patch(uidls, "PIECE", 7)
        for number in range(35):
            self.put(b"Message-ID: <%d@x>\r\n\r\n" % number)
        status, out, _ = self.uidl(*(f"u{n} <{n}@x>" for n in reversed(range(35))))
        self.assertEqual((status, out), (0, "set 35 of 35\n"))
        self.assertEqual(self.known(), {n + 1: b"u%d" % n for n in range(35)})
        self.assertEqual((self.asked.count("account messages"), self.asked.count("account uidl")), (5, 5))

    def test_wrong_files(self) -> None:
        """A line that is wrong is named, and nothing is set."""
        self.put(b"Subject: one\r\n\r\n")
        for line, words in (
            ("x", "is no message"),
            ("x uid:0", "is no message"),
            ("x uid:-1", "is no message"),
            ("x <a b>", "is no message"),
            ("x header:ab", "is no message"),
            ("x" * 71 + " uid:1", "is no UIDL"),
            ("\xe9 uid:1", "is no UIDL"),
            (" uid:1", "is no UIDL"),
            ("good uid:2", "good is given to the message of line 1 already"),
        ):
            status, out, err = self.uidl("good uid:1", line)
            self.assertEqual((status, out), (1, ""), line)
            self.assertIn(f"{self.file}, line 2: ", err)
            self.assertIn(words, err)
        self.assertEqual((self.known(), self.asked), ({}, []))

    def test_refused(self) -> None:
        """No such file, account or folder; a UIDL that another message has, or that has our own form."""
        missing = str(self.folder / "missing")
        status, _, err = call("account", "uidl", "bob", missing, "--config", str(self.config))
        self.assertEqual((status, err), (1, f"{missing}: No such file or directory\n"))
        self.assertIn("no such account", self.uidl("x uid:1", address="nobody@example.test")[2])
        self.file.write_text("x uid:1\n")
        status, _, err = call(
            "account", "uidl", "bob", str(self.file), "--folder", "No", "--config", str(self.config)
        )
        self.assertEqual((status, err), (1, "bob@example.test has no folder No\n"))
        self.put(b"Subject: one\r\n\r\n")
        self.put(b"Subject: two\r\n\r\n")
        self.assertEqual(self.uidl("old uid:1")[0], 0)
        self.assertIn("another message has the UIDL old", self.uidl("old uid:2")[2])
        listing = self.successResultOf(self.store.read(ListMaildrop(self.bob.id)))
        assert listing is not None
        own = f"{listing.mailbox.uidvalidity}.7"
        self.assertIn("form of the store's own", self.uidl(f"{own} uid:2")[2])
        self.assertEqual(self.known(), {1: b"old"})

    def test_standard_input(self) -> None:
        """- is standard input; CRLF ends are ends."""
        self.put(b"Subject: one\r\n\r\n")
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"old uid:1\r\n")))
        self.assertEqual(call("account", "uidl", "bob", "-", "--config", str(self.config))[0], 0)
        self.assertEqual(self.known(), {1: b"old"})

    def test_deleted_meanwhile(self) -> None:
        """A message that goes between the two requests is not counted."""
        self.put(b"Subject: one\r\n\r\n")
        self.put(b"Subject: two\r\n\r\n")

        def request(settings: Settings, members: dict[str, object]) -> Any:
            if members["do"] == "account uidl":
                listing = self.successResultOf(self.store.read(ListMaildrop(self.bob.id)))
                assert listing is not None
                self.successResultOf(self.store.commit(Expunge(self.bob.id, listing.mailbox.id, (1,))))
            return self.request(settings, members)

        self.patch(uidls, "request", request)
        self.assertEqual(self.uidl("a uid:1", "b uid:2")[1], "set 1 of 2\n")

    def test_bad_requests(self) -> None:
        """What comes by the socket is checked again."""
        for pairs in (None, "x", [1], [["1", "a"]], [[1, 2]], [[True, "a"]], [[-1, "a"]], [[1, "a"]] * 1001):
            with self.assertRaises(CommandFailed):
                self.request(
                    Settings(Path("/"), Path("/")),
                    {"do": "account uidl", "address": "bob@example.test", "uidls": pairs},
                )


class MatchTests(SynchronousTestCase):
    def test_alike(self) -> None:
        """Messages that are alike take the lines in order; one that is named twice is so once."""
        lines = [Line(n, uidl, key) for n, (uidl, key) in enumerate(
            [("c", "uid:2"), ("a", "<x>"), ("b", "<x>"), ("d", "<x>"), ("e", "uid:2")]
        )]  # fmt: skip
        there = {"<x>": deque([1, 2, 3]), "uid:2": deque([2])}
        pairs, missing = match(lines, there)
        self.assertEqual(pairs, [(2, "c"), (1, "a"), (3, "b")])
        self.assertEqual([line.uidl for line in missing], ["d", "e"])
