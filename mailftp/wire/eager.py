"""A coroutine that seldom waits, run at once.

`Deferred.fromCoroutine` costs 4 us whether the coroutine waits or not, and a login is seven of them, one in
the other. What a coroutine awaits is mostly there already: then it ends in its first step, and needs neither
a context of its own nor anybody to drive it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

R = TypeVar("R")


def eager(work: Coroutine[Deferred[Any], Any, R]) -> Deferred[R]:
    """As `Deferred.fromCoroutine`; a coroutine that does not wait runs in the caller's context variables."""
    try:
        waiting = work.send(None)
    except StopIteration as done:
        return succeed(done.value)
    except Exception:
        return fail()
    return Deferred.fromCoroutine(_rest(work, waiting))


@coroutine
def _rest(work: Coroutine[Deferred[Any], Any, R], waiting: Deferred[Any]) -> Generator[Deferred[Any], Any, R]:
    """What is left of a coroutine that was begun and waits: passes on what it is sent and what it awaits."""
    while True:
        try:
            value = yield waiting
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            caught: BaseException | None = error
        else:
            caught = None
        try:
            waiting = work.send(value) if caught is None else work.throw(caught)
        except StopIteration as done:
            result: R = done.value
            return result
