"""`mailftp trace`, over a store in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import trace
from mailftp.operation.admin import perform
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.records import Filing, ForwardPath, RecipientState, Transfer
from mailftp.store.units import Accept, AddAccount, LeaseDue, RecordOutcomes
from mailftp.wire.journal import Journal
from tests.cli.test_folders import call
from tests.store.messages import VERIFIER, message, outcome

CHECKS = b"Authentication-Results: mx.a.test; spf=pass\r\nReturn-Path: <eve@far.test>\r\n"


class Trace(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.config = folder / "mailftp.toml"
        self.config.write_text("")
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds)
        self.successResultOf(self.store.start())
        self.bob = self.successResultOf(self.store.commit(AddAccount("bob@a.test", VERIFIER)))
        self.patch(trace, "request", self.request)

    def request(self, settings: Settings, members: dict[str, object]) -> Any:
        return self.successResultOf(
            Deferred.fromCoroutine(perform(self.store, settings, members, Journal("test")))
        )

    def trace(self, *arguments: str) -> tuple[int, str, str]:
        return call("trace", *arguments, "--config", str(self.config))

    def accept(self, subject: str, message_id: str) -> None:
        """Eve's message, to bob here and to carol elsewhere, who is not let in."""
        sink = self.store.stage()
        sink.write(message(subject, message_id))
        body = self.successResultOf(sink.finish())
        transfer = Transfer("eve@far.test", (ForwardPath("carol@else.test"),), CHECKS, context="smtp-7")
        filed = (Filing(self.bob.id, flags=frozenset({"\\Seen", "\\Answered"}), prefix=CHECKS),)
        self.successResultOf(self.store.commit(Accept(body, self.clock.seconds(), filed, transfer)))
        (leased,) = self.successResultOf(self.store.commit(LeaseDue("node/1", 60.0, 10)))
        failed = outcome(leased.recipients[0], RecipientState.FAILED, error="550 5.1.1 no carol")
        self.successResultOf(self.store.commit(RecordOutcomes("node/1", (failed,))))

    def test_page(self) -> None:
        """Sender, connection, checks, queue, attempt with its dialogue, mailbox, and that it was read."""
        self.accept("Plan", "one@far.test")
        status, page, err = self.trace("<one@far.test>")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.trace("one@far.test")[1], page)
        for words in (
            "<one@far.test>, subject: Plan",
            "from eve@far.test, accepted ",
            " as smtp-7",
            "to carol@else.test, failed: 550 5.1.1 no carol",
            "    C: QUIT",
            "bob@a.test INBOX UID 1, read, \\Answered",
            "  Authentication-Results: mx.a.test; spf=pass",
        ):
            self.assertIn(words, page)
        found = json.loads(self.trace("one@far.test", "--json")[1])
        self.assertEqual((len(found["queued"]), len(found["copies"])), (1, 1))

    def test_address(self) -> None:
        """A line for each message that an address sent or got, newest first."""
        self.accept("Plan", "one@far.test")
        self.clock.advance(60)
        self.accept("\x1b[2JNews", "two@far.test")
        for address in ("eve@far.test", "BOB@a.test"):
            status, lines, _ = self.trace(address)
            self.assertEqual(status, 0)
            copies = [line for line in lines.splitlines() if "INBOX" in line]
            self.assertEqual(["two@far.test" in line for line in copies], [True, False])
            self.assertNotIn("\x1b", lines)
        self.assertIn("eve@far.test to carol@else.test", self.trace("carol@else.test")[1])

    def test_unknown(self) -> None:
        """What is not known is said, and where it might be; nothing is misuse."""
        status, out, err = self.trace("<three@far.test>")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("nothing is known of <three@far.test>", err)
        self.assertEqual(call("trace")[0], 2)
        self.assertEqual(call("trace", "<>")[0], 2)
