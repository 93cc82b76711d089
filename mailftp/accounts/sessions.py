"""Who is logged in, so that a changed password, a removed app password, a disabled account and a removed one
end their sessions.

The store's feed says that an account changed; the account is then read and compared with what each of
its sessions was opened with. A login that was being checked while the change was committed carries a
`mark` from before it read the account, and is compared as well: no session outlives its password.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from mailftp.store.engine import Store, Subscription
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import Account, Change, Verifier
from mailftp.wire.journal import Journal

#: Accounts whose last change is remembered by id; for others the oldest of these is assumed.
_REMEMBERED = 1000


@dataclass(eq=False, slots=True)
class _Session:
    account: Account
    close: Callable[[], None]
    #: The id of the app password that opened it; None: the account's own password, or something else.
    app_password: int | None

    def stale(self, account: Account, verifier: Verifier) -> bool:
        """Whether what it was opened with opens the account no longer."""
        # The id: an account removed and made again under its name is another one.
        if account.id != self.account.id or account.disabled:
            return True
        if self.app_password is not None:
            return all(each.id != self.app_password for each in verifier.app_passwords)
        return account.verifier_version != self.account.verifier_version


class Sessions:
    """`close` is called on the reactor thread, once, and is expected to end in the session's logout."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._journal = Journal.new("sessions")
        self._open: dict[int, set[_Session]] = {}
        self._subscription: Subscription | None = None
        self._mark = 0
        #: Account id -> mark of its last change, oldest first.
        self._changed: OrderedDict[int, int] = OrderedDict()
        self._forgotten = 0

    def start(self) -> None:
        self._subscription = self._store.subscribe(self._hear)

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None

    @property
    def mark(self) -> int:
        """Take it before reading an account; give it to `register` with that account."""
        return self._mark

    def count(self, account_id: int) -> int:
        return len(self._open.get(account_id, ()))

    def register(
        self, account: Account, close: Callable[[], None], mark: int, app_password: int | None = None
    ) -> Callable[[], None]:
        """Know of a session until the callable that this gives is called (idempotent). `app_password` is the
        id of the one that opened it."""
        session = _Session(account, close, app_password)
        self._open.setdefault(account.id, set()).add(session)

        def forget() -> None:
            sessions = self._open.get(account.id)
            if sessions is not None:
                sessions.discard(session)
                if not sessions:
                    del self._open[account.id]

        if self._changed.get(account.id, self._forgotten) > mark:
            self._compare(account.id)
        return forget

    def _hear(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            if change.kind == "account":
                self._note(change.account_id)

    def _note(self, account_id: int) -> None:
        self._mark += 1
        self._changed[account_id] = self._mark
        self._changed.move_to_end(account_id)
        if len(self._changed) > _REMEMBERED:
            self._forgotten = self._changed.popitem(last=False)[1]
        if account_id in self._open:
            self._compare(account_id)

    def _compare(self, account_id: int) -> None:
        Deferred.fromCoroutine(self._end_stale(account_id))

    async def _end_stale(self, account_id: int) -> None:
        session = next(iter(self._open.get(account_id, ())), None)
        if session is None:
            return
        try:
            found = await self._store.read(AccountWithVerifier(session.account.address))
        except Exception:
            # It changed, and nobody can say how: rather no session than one that ought to have ended.
            self._journal.fault("sessions not compared", name=session.account.address)
            found = None
        for session in tuple(self._open.get(account_id, ())):
            then = session.account
            if found is None or session.stale(*found):
                self._journal.record("session ended", name=then.address, reason="account changed")
                try:
                    session.close()
                except Exception:
                    self._journal.fault("session not closed", name=then.address)
