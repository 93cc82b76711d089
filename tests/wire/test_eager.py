from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire.eager import eager


class EagerTests(SynchronousTestCase):
    async def add(self, *parts: Any) -> int:
        total = 0
        for part in parts:
            total += part if isinstance(part, int) else await part
        return total

    def test_at_once(self) -> None:
        """What waits for nothing, or for what is there, is done when the call returns."""
        self.assertEqual(self.successResultOf(eager(self.add(1, 2))), 3)
        self.assertEqual(self.successResultOf(eager(self.add(succeed(1), succeed(2)))), 3)
        self.assertEqual(self.successResultOf(eager(self.add(self.add(1), self.add(succeed(2))))), 3)

    def test_fault(self) -> None:
        """An exception is a failure, be it before or after a wait, with its traceback."""
        self.failureResultOf(eager(self.add(fail(KeyError("x")))), KeyError)
        waiting: Deferred[int] = Deferred()
        done = eager(self.add(1, waiting, fail(KeyError("x"))))
        self.assertNoResult(done)
        waiting.callback(1)
        failure = self.failureResultOf(done, KeyError)
        self.assertIn("in add", failure.getTraceback())

    def test_waits(self) -> None:
        """What waits goes on when each thing that it waits for is there, in any depth."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        done = eager(self.add(self.add(1, first), succeed(10), second))
        self.assertNoResult(done)
        first.callback(100)
        self.assertNoResult(done)
        second.callback(1000)
        self.assertEqual(self.successResultOf(done), 1111)

    def test_failure_is_raised_inside(self) -> None:
        """A failure of what it waits for is an exception there, which it may handle."""

        async def forgiving(first: Deferred[int], second: Deferred[int]) -> int:
            try:
                await first
            except ValueError:
                return await second
            raise AssertionError("nothing was raised")

        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        done = eager(forgiving(first, second))
        first.errback(ValueError())
        self.assertNoResult(done)
        second.callback(7)
        self.assertEqual(self.successResultOf(done), 7)

    def test_cancel(self) -> None:
        """Cancelling cancels what is waited for, and the coroutine cleans up."""
        said: list[str] = []

        async def careful(waiting: Deferred[int]) -> int:
            try:
                return await waiting
            except CancelledError:
                said.append("cancelled")
                raise
            finally:
                said.append("cleaned")

        cancelled: list[Deferred[int]] = []
        waiting: Deferred[int] = Deferred(cancelled.append)
        done = eager(careful(waiting))
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual((said, cancelled), (["cancelled", "cleaned"], [waiting]))

    def test_many(self) -> None:
        """A thousand steps, half of which wait, are no thousand calls deep."""
        waits: list[Deferred[int]] = [Deferred() if n % 2 else succeed(1) for n in range(5000)]
        done = eager(self.add(*waits))
        for waiting in waits:
            if not waiting.called:
                waiting.callback(1)
        self.assertEqual(self.successResultOf(done), 5000)
