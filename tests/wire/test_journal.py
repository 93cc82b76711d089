"""What the journal hands to Twisted's logger."""

from __future__ import annotations

from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire.journal import Journal


class FaultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def logged(self) -> dict[str, object]:
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        [event] = [event for event in self.events if event.get("mailftp_event") == "broken"]
        self.assertEqual(event["log_level"], LogLevel.critical)
        self.assertEqual(event["mailftp_fields"], {"part": "axle"})
        return event

    def test_except_block(self) -> None:
        """In an except block the exception that was caught is logged with its traceback."""
        try:
            _ = 1 // 0
        except ZeroDivisionError:
            Journal("wire").fault("broken", part="axle")
        self.assertIn("test_except_block", self.logged()["log_failure"].getTraceback())  # type: ignore[attr-defined]  # a Failure

    def test_errback(self) -> None:
        """In an errback, where no exception is being handled, the failure that it was given is logged."""
        try:
            _ = 1 // 0
        except ZeroDivisionError:
            failure = Failure()
        Journal("wire").fault("broken", failure, part="axle")
        self.assertIs(self.logged()["log_failure"], failure)
