"""What every login asks, kept on the reactor's thread until a commit changes it.

A read costs a trip to another thread and back, two turns of the reactor and a fight for Python's lock: a
third of the time of a POP3 login that fetches nothing. This engine alone writes its database, and all of its
commits pass by here before they are answered, so what is kept is never older than what anybody was told.

A name that is no account's is kept as one that is: how long an answer takes must not tell them apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from mailftp.store.queries import AccountWithVerifier, ListMaildrop, Query
from mailftp.store.records import Account, Change, Mailbox, MaildropListing, Verifier

#: Names, and mailboxes, that are kept; about a kilobyte each.
MOST = 10_000

_Found = tuple[Account, Verifier] | None


class Reading:
    """A query that is on its way, whose answer may be kept unless something changes meanwhile."""

    __slots__ = ("_at_hand", "_query", "stale")

    def __init__(self, at_hand: AtHand, query: Query[Any]) -> None:
        self._at_hand, self._query = at_hand, query
        self.stale = False

    def answered(self, answer: Any) -> Any:
        self._at_hand._ended(self)
        if not self.stale:
            self._at_hand._keep(self._query, answer)
        return answer

    def failed(self, failure: Any) -> Any:
        self._at_hand._ended(self)
        return failure

    def concerns(self, account_id: int | None) -> bool:
        """Whether a change of this account's mail may have an effect; None: of an account."""
        query = self._query
        return account_id is None or (isinstance(query, ListMaildrop) and query.account_id == account_id)


class AtHand:
    """Least lately used out first."""

    #: What may be kept; nothing else needs to be asked about.
    kinds = frozenset({AccountWithVerifier, ListMaildrop})

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._accounts: OrderedDict[str, _Found] = OrderedDict()
        self._mailboxes: OrderedDict[tuple[int, str], Mailbox] = OrderedDict()
        #: Account id -> names in `_mailboxes`.
        self._names: dict[int, set[str]] = {}
        self._under_way: set[Reading] = set()

    def answer(self, query: Query[Any]) -> tuple[Any] | None:
        """The answer to a query of `kinds`, in a tuple; None when it has to be read."""
        if isinstance(query, AccountWithVerifier):
            if query.address in self._accounts:
                self._accounts.move_to_end(query.address)
                return (self._accounts[query.address],)
        elif isinstance(query, ListMaildrop):
            key = (query.account_id, query.name)
            mailbox = self._mailboxes.get(key)
            if mailbox is not None and query.known == (mailbox.id, mailbox.modseq):
                self._mailboxes.move_to_end(key)
                return (MaildropListing(mailbox, True, (), (), {}),)
        return None

    def begins(self, query: Query[Any]) -> Reading:
        """A query of `kinds` goes to a thread; tell the Reading what came of it, on the reactor's thread."""
        reading = Reading(self, query)
        self._under_way.add(reading)
        return reading

    def forget(self, changes: Iterable[Change]) -> None:
        """A commit changed this. To be called before anybody hears of the commit."""
        for change in changes:
            if change.kind == "account":
                # A name that is new may be kept as one that is not there.
                self._accounts.clear()
                self._mailboxes.clear()
                self._names.clear()
                self._outdate(None)
            elif change.kind == "mail":
                for name in self._names.pop(change.account_id, ()):
                    del self._mailboxes[change.account_id, name]
                self._outdate(change.account_id)

    def _outdate(self, account_id: int | None) -> None:
        for reading in self._under_way:
            if reading.concerns(account_id):
                reading.stale = True

    def _ended(self, reading: Reading) -> None:
        self._under_way.discard(reading)

    def _keep(self, query: Query[Any], answer: Any) -> None:
        if isinstance(query, AccountWithVerifier):
            self._accounts[query.address] = answer
            if len(self._accounts) > self._most:
                self._accounts.popitem(last=False)
        elif isinstance(query, ListMaildrop) and answer is not None:
            self._mailboxes[query.account_id, query.name] = answer.mailbox
            self._names.setdefault(query.account_id, set()).add(query.name)
            if len(self._mailboxes) > self._most:
                (account_id, name), _ = self._mailboxes.popitem(last=False)
                names = self._names[account_id]
                names.discard(name)
                if not names:
                    del self._names[account_id]
