"""`mailftp queue`, over a store in memory: what reaches it, what is printed, how it ends."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import queue
from mailftp.cli.exits import CommandFailed
from mailftp.operation.admin import perform
from mailftp.operation.control import NotRunning
from mailftp.operation.requests import Refused
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.records import ForwardPath, RecipientState, Transfer
from mailftp.store.units import Accept, LeaseDue, RecordOutcomes
from mailftp.wire.journal import Journal
from tests.cli.test_folders import call
from tests.store.messages import outcome

HEADER = b"Subject: the \x1b[2J subject\r\nFrom: bob@example.test\r\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class QueueCommands(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.config = folder / "mailftp.toml"
        self.config.write_text("")
        self.store = MemoryStore(Clock().seconds)
        self.successResultOf(self.store.start())
        self.patch(queue, "request", self.request)

    def request(self, settings: Settings, members: dict[str, object]) -> Any:
        doing = Deferred.fromCoroutine(perform(self.store, settings, members, Journal("test")))
        answer = self.successResultOf(doing.addErrback(lambda failure: failure.value))
        if isinstance(answer, Refused):
            raise CommandFailed(str(answer))
        return answer

    def queue(self, *arguments: str) -> tuple[int, str, str]:
        return call("queue", *arguments, "--config", str(self.config))

    def listed(self, *arguments: str) -> list[str]:
        """The addresses of what is listed."""
        status, out, err = self.queue("list", "--json", *arguments)
        self.assertEqual((status, err), (0, ""))
        return [recipient["address"] for message in json.loads(out) for recipient in message["recipients"]]

    def send(self, *recipients: str, sender: str = "bob@example.test", accepted: float = 0.0) -> str:
        sink = self.store.stage()
        sink.write(HEADER + b"\r\nhello\r\n")
        body = self.successResultOf(sink.finish())
        transfer = Transfer(sender, tuple(map(ForwardPath, recipients)), b"Received: here\r\n")
        made = self.successResultOf(self.store.commit(Accept(body, accepted, (), transfer)))
        return str(made.queued)

    def attempt(self, **more: Any) -> None:
        """Every recipient that is due is tried, and is to be tried again."""
        leased = self.successResultOf(self.store.commit(LeaseDue("node/1", 60.0, 100)))
        outcomes = [outcome(r, RecipientState.WAITING, 1e12, **more) for m in leased for r in m.recipients]
        self.successResultOf(self.store.commit(RecordOutcomes("node/1", tuple(outcomes))))

    def test_steps(self) -> None:
        """List, show, hold, release, retry and drop."""
        number = self.send("x@far.test")
        self.assertIn("x@far.test", self.queue("list")[1])
        self.assertIn("to x@far.test", self.queue("show", number)[1])
        self.assertEqual(self.queue("hold", number)[1], "hold: 1 recipient\n")
        self.assertIn("held", self.queue("list", "--state", "held")[1])
        self.assertEqual(self.queue("release", "--all")[0], 0)
        self.assertEqual(self.queue("retry", number)[0], 0)
        self.assertEqual(self.queue("drop", number)[0], 0)
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.queue("drop", "--all"), (1, "", "the queue is empty\n"))

    def test_filters(self) -> None:
        """A listing by sender, recipient, domain, error, age and state; an action on what a filter finds."""
        self.send("a@one.test", sender="", accepted=1e10)
        self.attempt(error="451 4.7.1 Greylisted")
        self.send("b@two.test", "c@two.test")
        self.assertEqual(self.listed("--sender", "<>"), ["a@one.test"])
        self.assertEqual(self.listed("--domain", "two.test"), ["b@two.test", "c@two.test"])
        self.assertEqual(self.listed("--recipient", "c@two.test", "--domain", "one.test"), [])
        self.assertEqual(self.listed("--error", "greylisted"), ["a@one.test"])
        self.assertEqual(self.listed("--older", "2d"), ["b@two.test", "c@two.test"])
        self.assertEqual(self.queue("hold", "--older", "2d"), (0, "hold: 2 recipients\n", ""))
        self.assertEqual(self.listed("--state", "waiting"), ["a@one.test"])
        none = self.queue("drop", "--domain", "three.test")
        self.assertEqual(none, (1, "", "no message in the queue fits\n"))

    def test_show(self) -> None:
        """The header as it is sent, nothing in it moves the cursor; a route; what is to be returned."""
        number = self.send("x@far.test")
        self.attempt()
        self.assertEqual(self.queue("route", number, "--to", "lmtp:[::1]:24")[1], "route: 1 recipient\n")
        shown = self.queue("show", number)[1]
        self.assertIn("to x@far.test by lmtp:[::1]:24, attempt 2 in", shown)
        self.assertIn("  Received: here\n", shown)
        self.assertIn("  From: bob@example.test\n", shown)
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("hello", shown)
        self.assertIn("    C: QUIT", shown)
        self.assertEqual(self.queue("route", number, "--to", "default")[0], 0)
        self.assertEqual(self.queue("bounce", number)[1], "bounce: 1 recipient\n")
        self.assertIn("to x@far.test, to be returned", self.queue("show", number)[1])

    def test_misuse(self) -> None:
        """What is no number, state or age, or two ways to choose at once, is misuse."""
        for arguments in (
            ["show"], ["show", "x"], ["show", "١"], ["hold"], ["hold", "1", "--all"],
            ["hold", "--all", "--domain", "a.test"], ["drop", "1", "--sender", "a@a.test"],
            ["list", "--state", "lost"], ["list", "--limit", "0"], ["list", "--older", "soon"],
            ["list", "--older", "0s"], ["route", "1"], ["burn", "1"], [],
        ):  # fmt: skip
            self.assertEqual(call("queue", *arguments)[0], 2, arguments)

    def test_no_route(self) -> None:
        """A route that nobody could follow is refused, and nothing is changed."""
        number = self.send("x@far.test")
        for route in ("far.test", "far.test:0", "far.test:99999", "smtp://far.test:25", "a\nb:25"):
            status, out, err = self.queue("route", number, "--to", route)
            self.assertEqual((status, out), (1, ""), route)
            self.assertIn("HOST:PORT", err)
        self.assertNotIn(" by ", self.queue("show", number)[1].partition("to x@far.test")[2])

    def test_wait(self) -> None:
        """A flush says how it goes, a line for each change, until all was tried."""
        number = self.send("x@far.test", "y@far.test")
        self.attempt()
        self.patch(queue, "LOOK", 0.0)
        looks: list[Any] = [lambda: None, lambda: None, self.attempt]

        def ask(data: Path, members: dict[str, object]) -> Any:
            looks.pop(0)()
            return self.request(Settings(Path(), Path()), members)

        self.patch(queue, "ask", ask)
        status, out, _ = self.queue("retry", number, "--wait")
        self.assertEqual((status, looks), (0, []))
        self.assertEqual(
            out.splitlines(),
            [
                "retry: 2 recipients",
                "0 delivered, 0 failed, 0 later, 2 to go",
                "0 delivered, 0 failed, 2 later, 0 to go",
            ],
        )

    def test_wait_for_nobody(self) -> None:
        """Where no server runs nothing is tried, and that is said."""

        def ask(data: Path, members: dict[str, object]) -> Any:
            raise NotRunning

        self.patch(queue, "ask", ask)
        status, out, err = self.queue("retry", self.send("x@far.test"), "--wait")
        self.assertEqual((status, out), (1, "retry: 1 recipient\n"))
        self.assertIn("the server does not run", err)

    def test_wait_on_a_terminal(self) -> None:
        """One line, written over."""
        number = self.send("x@far.test")
        self.attempt()
        members = {"do": "queue progress", "ids": [int(number)]}
        terminal = Terminal()
        self.patch(sys, "stdout", terminal)
        queue._wait(lambda: self.request(Settings(Path(), Path()), members))
        self.assertEqual(terminal.getvalue(), "\r0 delivered, 0 failed, 1 later, 0 to go\x1b[K\n")
