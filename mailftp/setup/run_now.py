"""Running asynchronous work to its end where no reactor runs: the command line, the quickstart.

On a reactor of its own, so that the one that the process is going to run, or that a test runs, is neither
chosen nor started by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

T = TypeVar("T")


def run_now(work: Callable[[], Awaitable[T]], reactor: Any) -> T:
    """What `work` answers, or raises. `reactor` is one of `private_reactor`'s, and is spent afterwards."""
    outcome: list[Any] = []

    async def working() -> T:
        return await work()

    def begin() -> None:
        Deferred.fromCoroutine(working()).addBoth(outcome.append)

    # `run` would say "Main loop terminated" in the log of the server that is about to start.
    reactor.startRunning(installSignalHandlers=False)
    reactor.callWhenRunning(begin)
    while not outcome:
        reactor.iterate(1)
    reactor.stop()
    reactor.iterate(0)
    answer = outcome[0]
    if isinstance(answer, Failure):
        raise answer.value or RuntimeError("it failed without saying why")
    result: T = answer
    return result


def private_reactor() -> Any:
    """One that nobody else has."""
    return SelectReactor()
