"""The event source: RFC 8620 section 7.3, with EmailDelivery of RFC 8621 section 1.5.

The store's feed may lose a notice and may tell one twice; a state is a number that only grows, so whoever is
told of it late has missed nothing. A thousand of these are open at a time: each is a few small objects, no
coroutine, and no clock but that of its pings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.store.emails import EmailsById, EmailsSince, FoundEmails
from mailftp.store.engine import Store, Subscription
from mailftp.store.records import Change
from mailftp.web.jmap.ids import ACCOUNT, spell
from mailftp.web.jmap.ijson import write_json
from mailftp.wire.journal import Journal

#: Types that a change of mail is of, and those of other objects, by the kind that the store has them by.
MAIL = ("Email", "Mailbox", "Thread")
DELIVERY = "EmailDelivery"
OBJECTS = {each: each for each in ("Identity", "EmailSubmission", "VacationResponse")}

#: Event sources of one account.
MOST = 32
#: Seconds between pings that a client may have, and between two events.
PING_LEAST, PING_MOST = 10, 3600
PAUSE = 0.5

_EVENT_ID = re.compile(r"([0-9]{1,19})")


class EventSources:
    """All of them that are open. The feed is heard only while there are some."""

    def __init__(self, store: Store, clock: IReactorTime) -> None:
        self.store, self.clock = store, clock
        self.journal = Journal("jmap")
        self._open: dict[int, set[EventSource]] = {}
        self._subscription: Subscription | None = None

    def count(self, account_id: int) -> int:
        return len(self._open.get(account_id, ()))

    def add(self, source: EventSource) -> None:
        self._open.setdefault(source.account_id, set()).add(source)
        if self._subscription is None:
            self._subscription = self.store.subscribe(self._hear)

    def remove(self, source: EventSource) -> None:
        """Idempotent."""
        there = self._open.get(source.account_id)
        if there is not None:
            there.discard(source)
            if not there:
                del self._open[source.account_id]
        if not self._open and self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None

    def _hear(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            for source in tuple(self._open.get(change.account_id, ())):
                if change.kind == "mail":
                    source.changed(MAIL, change.modseq)
                elif change.kind == "object":
                    types = [OBJECTS[kind] for kind in change.entries if kind in OBJECTS]
                    source.changed(types, change.modseq)
                elif change.kind == "account":
                    source.doubt()


@implementer(IPushProducer)
class EventSource:
    """One client that listens. `known` is the modseq up to which it has been told."""

    __slots__ = (
        "_check",
        "_close_after_state",
        "_due",
        "_next_ping",
        "_over",
        "_paused",
        "_pending",
        "_ping",
        "_request",
        "_sources",
        "_told_at",
        "_types",
        "account_id",
        "known",
    )

    def __init__(
        self,
        sources: EventSources,
        account_id: int,
        types: Collection[str] | None,
        *,
        close_after_state: bool,
        ping: int,
        known: int,
        check: Callable[[], Deferred[bool]],
    ) -> None:
        """`types` None: all. `ping` in seconds, or 0. `check` says whether he who listens still may."""
        self._sources, self.account_id, self._types = sources, account_id, types
        self._close_after_state, self._ping, self.known = close_after_state, ping, known
        self._check = check
        self._request: Any = None
        #: Type -> state, to be told.
        self._pending: dict[str, int] = {}
        self._due: IDelayedCall | None = None
        self._next_ping: IDelayedCall | None = None
        self._told_at = 0.0
        self._paused = self._over = False

    def begin(self, request: Any, missed: bool) -> None:
        """The answer's header is set. `missed`: something has changed since the client was told last."""
        self._request = request
        request.endless = self
        request.notifyFinish().addErrback(lambda _: self.stopProducing())
        request.registerProducer(self, True)
        # The header leaves with it, so that the client knows that it listens.
        request.write(b": listening\n\n")
        self._sources.add(self)
        self._wind_up()
        if missed:
            self.changed(MAIL, self.known)
        # What was committed between the look at the state and now, nobody told us.
        self._sources.store.read(EmailsById(self.account_id, ())).addCallbacks(self._catch_up, self._not_told)

    def _catch_up(self, found: FoundEmails) -> None:
        if found.modseq > self.known and not self._over:
            self.changed(MAIL, found.modseq)

    def _not_told(self, failure: Failure) -> None:
        """Better no event source than one that may keep silent."""
        self._sources.journal.fault("event source ended", failure)
        self.end()

    # What happens.

    def changed(self, types: Collection[str], modseq: int) -> None:
        wanted = [each for each in types if self._types is None or each in self._types]
        for each in wanted:
            self._pending[each] = max(self._pending.get(each, 0), modseq)
        if "Email" in types and (self._types is None or DELIVERY in self._types):
            self._pending.setdefault(DELIVERY, 0)
        if self._pending and self._due is None:
            clock = self._sources.clock
            wait = max(0.0, self._told_at + PAUSE - clock.seconds())
            self._due = clock.callLater(wait, self._tell)

    def doubt(self) -> None:
        """The account has changed: he may have no business here any more."""
        if self._over:
            return

        def answered(may: bool) -> None:
            if not may:
                self.end()

        self._check().addCallbacks(answered, self._not_told)

    def _tell(self) -> None:
        self._due = None
        # A client that does not read is told the last of it once it does.
        if self._over or self._paused:
            return
        pending, self._pending = self._pending, {}
        delivery = pending.pop(DELIVERY, None)
        if delivery is None:
            self._send(pending)
            return

        def counted(changed: Any) -> None:
            if changed is None:
                pending[DELIVERY] = max(pending.values(), default=self.known)
            elif changed.created.modseqs:
                pending[DELIVERY] = changed.created.modseqs[-1]
            self._send(pending)

        since = EmailsSince(self.account_id, self.known)
        self._sources.store.read(since).addCallback(counted).addErrback(self._not_told)

    def _send(self, states: Mapping[str, int]) -> None:
        if self._over or not states:
            return
        self.known = max(self.known, *states.values())
        changed = {spell(ACCOUNT, self.account_id): {name: str(states[name]) for name in sorted(states)}}
        data = write_json({"@type": "StateChange", "changed": changed})
        self._told_at = self._sources.clock.seconds()
        self._request.write(b"event: state\nid: %d\ndata: %s\n\n" % (self.known, data))
        if self._close_after_state:
            self.end()
        else:
            self._wind_up()

    def _wind_up(self) -> None:
        """The next ping is due so long after what was sent last."""
        if self._ping and not self._over:
            if self._next_ping is not None and self._next_ping.active():
                self._next_ping.reset(self._ping)
            else:
                self._next_ping = self._sources.clock.callLater(self._ping, self._send_ping)

    def _send_ping(self) -> None:
        self._next_ping = None
        if not self._paused:
            self._request.write(b'event: ping\ndata: {"interval":%d}\n\n' % self._ping)
        self._wind_up()
        # A browser's session that was ended elsewhere is no change of the account.
        self.doubt()

    def end(self) -> None:
        """The answer is whole; the client may ask again."""
        if not self._over:
            self._leave()
            self._request.unregisterProducer()
            self._request.finish()

    def _leave(self) -> None:
        self._over = True
        self._sources.remove(self)
        for call in (self._due, self._next_ping):
            if call is not None and call.active():
                call.cancel()

    # IPushProducer.

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._pending and self._due is None and not self._over:
            self._due = self._sources.clock.callLater(0, self._tell)

    def stopProducing(self) -> None:
        if not self._over:
            self._leave()


async def modseq_now(store: Store, account_id: int) -> int:
    return int((await store.read(EmailsById(account_id, ()))).modseq)


def told_last(text: str) -> int | None:
    """Of Last-Event-ID; None for none of ours."""
    match = _EVENT_ID.fullmatch(text)
    return None if match is None else int(match[1])
