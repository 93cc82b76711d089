"""Addresses elsewhere that nobody's mail is taken for, because their servers refuse them for good.

The list is kept here whole, so that RCPT asks no disk; the store bounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from twisted.internet.defer import Deferred

from mailftp.intake.refused import Refused
from mailftp.message.address import Address
from mailftp.store.engine import Store, StoreFault
from mailftp.store.queries import Suppressions
from mailftp.store.records import Suppression
from mailftp.wire.journal import Journal


class Suppressed:
    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store, self._now = store, now
        self._by_address: dict[str, Suppression] | None = None
        self._reading = self._stale = False
        self._journal = Journal("intake")

    def forget(self) -> None:
        """It has changed."""
        self._stale = True
        if self._by_address is not None:
            self._read()

    def check(self, address: Address) -> None:
        """Raises Refused (550 5.1.1). What is still being read when the server starts is not waited for:
        then the message is taken, and refused by its recipient's server as before."""
        if self._by_address is None:
            self._read()
            return
        found = self._by_address.get(address.key)
        if found is None or (found.until and found.until <= self._now()):
            return
        day = datetime.fromtimestamp(found.since, UTC).strftime("%Y-%m-%d")
        said = f"since {day}: {found.reason}" if found.reason else f"since {day}"
        raise Refused(
            550, "5.1.1", f"No mail is taken for {address} {said}. The postmaster of this server can allow it"
        )

    def _read(self) -> None:
        if self._reading:
            return
        self._reading, self._stale = True, False
        Deferred.fromCoroutine(self._refresh())

    async def _refresh(self) -> None:
        try:
            listed = await self._store.read(Suppressions())
            self._by_address = {each.address: each for each in listed}
        except StoreFault as fault:
            # The older list holds until there is news.
            self._journal.warn("suppressions_unreadable", reason=str(fault))
        finally:
            self._reading = False
        if self._stale:
            self._read()
