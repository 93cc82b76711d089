"""The SQLite engine keeps the contract."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailftp.store.engine import HISTORY
from mailftp.store.sqlite import SQLiteStore, expunging, suppressing, tls_memory
from mailftp.store.sqlite.engine import GRACE
from mailftp.store.sqlite.sweeping import Sweep
from tests.store.aliasing import Aliasing
from tests.store.annotations import Annotations
from tests.store.app_passwording import AppPasswording
from tests.store.appending import Appending
from tests.store.claiming import Claiming
from tests.store.conformance import Conformance
from tests.store.copying import Copying
from tests.store.emailing import Emailing
from tests.store.hierarchy import Hierarchy
from tests.store.listing import Listing
from tests.store.ordering import Ordering
from tests.store.searching import Searching
from tests.store.steering import Steering
from tests.store.suppressing import Suppressing
from tests.store.tls_memory import RememberingTLS
from tests.store.tracing import Tracing
from tests.store.uploading import Uploading
from tests.store.web_sessions import WebSessions


class SQLiteConformance(
    Aliasing,
    Annotations,
    AppPasswording,
    Appending,
    Claiming,
    Copying,
    Emailing,
    Hierarchy,
    Listing,
    Ordering,
    Searching,
    Steering,
    Suppressing,
    RememberingTLS,
    Tracing,
    Uploading,
    WebSessions,
    Conformance,
    TestCase,
):
    suppressing_modules = (suppressing,)
    tls_memory_module = tls_memory
    #: Where the number of expunges that are remembered is read.
    tombstone_modules = (expunging,)

    async def open_store(self, mail_quota=None, message_quota=None):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        store = SQLiteStore(
            folder / "mail.sqlite",
            folder / "blobs",
            reactor,
            self.clock,
            mail_quota,
            message_quota=message_quota,
        )
        self.addCleanup(store.stop)
        await store.start()
        return store

    async def sweep(self):
        for _ in range(20):
            if not await self.store.commit(Sweep(GRACE, HISTORY, self.store._blobs, 0)):
                break
