"""The plain engine keeps the contract."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from mailftp.store.memory import MemoryStore, state, suppressing, tls_memory
from mailftp.store.records import Filing
from mailftp.store.units import Accept
from tests.store.aliasing import Aliasing
from tests.store.annotations import Annotations
from tests.store.app_passwording import AppPasswording
from tests.store.appending import Appending
from tests.store.claiming import Claiming
from tests.store.conformance import START, Conformance
from tests.store.copying import Copying
from tests.store.emailing import Emailing
from tests.store.hierarchy import Hierarchy
from tests.store.listing import Listing
from tests.store.messages import message, staged
from tests.store.ordering import Ordering
from tests.store.searching import Searching
from tests.store.steering import Steering
from tests.store.suppressing import Suppressing
from tests.store.tls_memory import RememberingTLS
from tests.store.tracing import Tracing
from tests.store.uploading import Uploading
from tests.store.web_sessions import WebSessions


class MemoryConformance(
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
    tombstone_modules = (state,)

    async def open_store(self, mail_quota=None, message_quota=None):
        store = MemoryStore(self.clock.seconds, mail_quota, message_quota=message_quota)
        await store.start()
        return store

    async def sweep(self):
        """It sweeps at each commit."""
        await self.accept(message("sweep"), Filing(self.bob.id, "Trash"))

    async def test_answers_at_once(self):
        """A unit is committed and its Deferred has fired when commit returns."""
        body = await staged(self.store, message())
        answer = self.store.commit(Accept(body, START, (Filing(self.bob.id),)))
        self.assertTrue(answer.called)
        self.successResultOf(answer)
