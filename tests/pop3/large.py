"""A maildrop of very many messages."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from mailftp.store.records import Filing
from mailftp.store.units import Accept

SIZE = 20 * 1024
#: Units that are under way at one time while it is filled.
FLIGHT = 200

_LINE = b"." + b"x" * 70 + b"\r\n"


def message(number: int) -> bytes:
    """No two are alike, and their sizes differ; some lines begin with a dot."""
    head = b"From: a@one.test\r\nSubject: %d\r\nMessage-ID: <%d@one.test>\r\n\r\n" % (number, number)
    return head + _LINE * ((SIZE - len(head)) // len(_LINE) + number % 7)


async def fill(store: Any, account_id: int, count: int) -> None:
    """File messages 0 to `count` - 1 in the account's INBOX, in order."""

    async def put(number: int) -> None:
        sink = store.stage()
        sink.write(message(number))
        await store.commit(Accept(await sink.finish(), 1.0, (Filing(account_id),)))

    for start in range(0, count, FLIGHT):
        flight = range(start, min(start + FLIGHT, count))
        await gatherResults([Deferred.fromCoroutine(put(number)) for number in flight], consumeErrors=True)
