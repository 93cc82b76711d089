"""The mailboxes that sessions of this process have selected, kept as the store has them.

The store's feed says that a mailbox changed; what is newer than is known is then read, once for all of its
sessions. A state that nobody looks at is kept for the next SELECT, without being kept up to date.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred

from mailftp.imap.mailbox_state import MailboxState
from mailftp.imap.selected import SelectedView
from mailftp.store.engine import Store, Subscription
from mailftp.store.names import mailbox_name
from mailftp.store.queries import ListMailbox
from mailftp.store.records import Change, MailboxListing
from mailftp.wire.journal import Journal

#: Messages kept in states that nobody looks at: about 32 octets each.
SPARE = 500_000
#: What a state costs besides, in messages: empty mailboxes must not be kept without end.
OVERHEAD = 32

Hear = Callable[[], None]


class Watcher(Protocol):
    """Somebody who wants to hear of all mailboxes of an account."""

    def changed(self, change: Change) -> None: ...


class _Kept:
    """A state, who hears of it, and the read that is under way."""

    __slots__ = ("gone", "key", "hears", "reading", "state", "waiting")

    def __init__(self, state: MailboxState) -> None:
        self.state = state
        self.gone = False
        #: The name that it was last found by.
        self.key = (0, "")
        self.hears: dict[SelectedView, Hear] = {}
        self.reading = False
        #: Who waits for a read that begins from now on.
        self.waiting: list[Deferred[None]] = []


class MailboxStates:
    def __init__(self, store: Store, spare: int = SPARE) -> None:
        self._store = store
        self._spare = spare
        self._journal = Journal.new("imap")
        self._kept: dict[int, _Kept] = {}
        #: Those that nobody looks at and what each costs, lately left last.
        self._unwatched: OrderedDict[int, int] = OrderedDict()
        self._laid_by = 0
        self._names: dict[tuple[int, str], int] = {}
        #: Account id -> who wants to hear of all its mailboxes.
        self._watchers: dict[int, dict[Watcher, None]] = {}
        self._subscription: Subscription | None = None

    def start(self) -> None:
        self._subscription = self._store.subscribe(self._heard)

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None

    async def open(self, account_id: int, name: str, hear: Hear) -> SelectedView:
        """A view of a mailbox as it is now; give it to `close`. `hear` is called on the reactor thread
        whenever there may be news, and once when the mailbox is gone.

        Raises LookupError when the account has no mailbox of this name, and what the store fails with.
        """
        key = (account_id, mailbox_name(name))
        while True:
            kept = self._kept.get(self._names.get(key, 0))
            if kept is None or not await self._current(kept, key):
                changes = await self._store.read(ListMailbox(*key))
                if changes is None:
                    raise LookupError(f"there is no mailbox {name}")
                kept = self._keep(changes)
                # What was committed after that read was not heard by a state that was not there yet.
                if not await self._current(kept, key):
                    raise LookupError(f"there is no mailbox {name}")
            # It may have been let go while we waited for the store, and another made in its place.
            if self._kept.get(kept.state.mailbox.id) is kept:
                return self._watch(kept, key, hear)

    def _watch(self, kept: _Kept, key: tuple[int, str], hear: Hear) -> SelectedView:
        view = SelectedView(kept.state)
        kept.hears[view] = hear
        self._use(kept)
        if self._names.get(kept.key) == kept.state.mailbox.id:
            del self._names[kept.key]
        kept.key = key
        self._names[key] = kept.state.mailbox.id
        return view

    def close(self, view: SelectedView) -> None:
        """The session has left; idempotent."""
        view.close()
        kept = self._kept.get(view.state.mailbox.id)
        if kept is None or kept.hears.pop(view, None) is None or kept.hears:
            return
        self._lay_by(kept)
        while self._laid_by > self._spare:
            self._forget(next(iter(self._unwatched)))

    def watch(self, account_id: int, watcher: Watcher) -> None:
        """Tell it of every change of the account, until `unwatch`."""
        self._watchers.setdefault(account_id, {})[watcher] = None

    def unwatch(self, account_id: int, watcher: Watcher) -> None:
        """Idempotent."""
        there = self._watchers.get(account_id, {})
        there.pop(watcher, None)
        if not there:
            self._watchers.pop(account_id, None)

    def gone(self, view: SelectedView) -> bool:
        """The mailbox was deleted: nothing more is heard of it."""
        kept = self._kept.get(view.state.mailbox.id)
        return kept is None or kept.state is not view.state

    async def refresh(self, view: SelectedView) -> None:
        """Everything committed before this call is in the view's state when it returns. Raises LookupError
        when the mailbox is gone, and what the store fails with."""
        kept = self._kept.get(view.state.mailbox.id)
        if kept is None or kept.state is not view.state:
            raise LookupError("the mailbox is gone")
        await self._refresh(kept)

    # Keeping up.

    def _keep(self, changes: MailboxListing) -> _Kept:
        """Another may have read it first; then `changes`, which tell of no expunges, are of no use."""
        kept = self._kept.get(changes.mailbox.id)
        if kept is None:
            state = MailboxState(changes.mailbox)
            state.apply(changes)
            kept = self._kept[changes.mailbox.id] = _Kept(state)
            self._lay_by(kept)
        return kept

    def _lay_by(self, kept: _Kept) -> None:
        cost = len(kept.state) + OVERHEAD
        self._unwatched[kept.state.mailbox.id] = cost
        self._laid_by += cost

    def _use(self, kept: _Kept) -> None:
        self._laid_by -= self._unwatched.pop(kept.state.mailbox.id, 0)

    async def _current(self, kept: _Kept, key: tuple[int, str]) -> bool:
        """Bring it up to date; whether it still is the mailbox of that name."""
        try:
            await self._refresh(kept)
        except LookupError:
            return False
        mailbox = kept.state.mailbox
        return (mailbox.account_id, mailbox.name) == key

    def _heard(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            kept = self._kept.get(change.mailbox_id) if change.kind == "mail" else None
            if kept is not None and kept.hears and kept.state.modseq < change.modseq:
                self._refresh(kept).addErrback(self._unread, kept)
            for watcher in tuple(self._watchers.get(change.account_id, ())):
                self._tell(partial(watcher.changed, change))

    def _unread(self, failure: object, kept: _Kept) -> None:
        """The next change or command tries again; whoever waits for a command is told by that."""
        if not kept.gone:
            self._journal.warn("mailbox not read", name=kept.state.mailbox.name, reason=str(failure)[:200])

    def _refresh(self, kept: _Kept) -> Deferred[None]:
        """One read at a time. One that is under way may have begun too early for who asks now: another
        follows it, for all who asked meanwhile."""
        done: Deferred[None] = Deferred()
        kept.waiting.append(done)
        if not kept.reading:
            kept.reading = True
            Deferred.fromCoroutine(self._read_on(kept))
        return done

    async def _read_on(self, kept: _Kept) -> None:
        while kept.waiting:
            asked, kept.waiting = kept.waiting, []
            before = kept.state.modseq
            error: Exception | None = None
            try:
                await self._read(kept)
            except Exception as raised:
                error = raised
            if not kept.waiting:
                kept.reading = False
            for done in asked:
                if error is None:
                    done.callback(None)
                else:
                    done.errback(error)
            if kept.gone or kept.state.modseq != before:
                for hear in tuple(kept.hears.values()):
                    self._tell(hear)
            if not kept.reading:
                return

    def _tell(self, hear: Hear) -> None:
        """One session that fails must not keep the news from the others."""
        try:
            hear()
        except Exception:
            self._journal.fault("session not told", listener=repr(hear))

    async def _read(self, kept: _Kept) -> None:
        state = kept.state
        mailbox = state.mailbox
        changes = await self._store.read(ListMailbox(mailbox.account_id, mailbox.id, state.modseq))
        if changes is not None and not changes.vanished_complete:
            # What it was expunged of is remembered no more: a state that was laid by for a month.
            changes = await self._store.read(ListMailbox(mailbox.account_id, mailbox.id))
            if changes is not None:
                gone = sorted(set(state.uids).difference(changes.uids))
                changes = replace(changes, vanished=array("I", gone))
        if changes is not None:
            state.apply(changes)
            return
        kept.gone = True
        self._forget(mailbox.id)
        raise LookupError("the mailbox is gone")

    def _forget(self, mailbox_id: int) -> None:
        kept = self._kept.pop(mailbox_id, None)
        if kept is not None:
            self._use(kept)
            if self._names.get(kept.key) == mailbox_id:
                del self._names[kept.key]
