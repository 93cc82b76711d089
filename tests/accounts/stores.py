"""A store of accounts and one INBOX each, for this room's tests: answers at once or when told to."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.passwords import make_verifier
from mailftp.message.index import MessageIndex
from mailftp.settings import Argon2
from mailftp.store.engine import MissingBody, Store
from mailftp.store.queries import AccountWithVerifier, Copies, Indexes, ListMaildrop, OpenBody
from mailftp.store.records import (
    Account,
    BodyRef,
    Change,
    Copy,
    Mailbox,
    MaildropListing,
    Message,
    Verifier,
)
from mailftp.store.units import Expunge, NoteAppPasswordUse, NoteRetrieved

#: As cheap as argon2 lets it be.
CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)


class FewAccounts(Store):
    """`slow` makes reads wait in `pending` for the test to fire; `broken` makes them fail."""

    def __init__(self, **passwords: str) -> None:
        self.accounts: dict[str, tuple[Account, Verifier]] = {}
        self.hearers: list[Any] = []
        self.reads: list[object] = []
        self.commits: list[object] = []
        self.broken: Exception | None = None
        self.slow = False
        self.pending: list[tuple[Deferred[Any], Any]] = []
        self.inboxes: dict[int, list[Message]] = {}
        self.bodies: dict[int, bytes] = {}
        self.uidls: dict[int, bytes] = {}
        for number, (name, password) in enumerate(passwords.items(), 1):
            address = f"{name}@example.test"
            self.accounts[address] = (Account(number, address, 0.0), make_verifier(password, CHEAP))

    def start(self) -> Deferred[None]:
        return succeed(None)

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def stage(self) -> Any:
        raise AssertionError("this room stages nothing")

    def subscribe(self, hear: Any) -> Any:
        self.hearers.append(hear)
        hearers = self.hearers

        class Subscribed:
            def cancel(self) -> None:
                hearers.remove(hear)

        return Subscribed()

    def change(self, address: str, account: Account | None, verifier: Verifier | None = None) -> None:
        """Commit a change of an account, and tell the feed."""
        then = self.accounts.pop(address)
        if account is not None:
            self.accounts[address] = (account, verifier or then[1])
        for hear in list(self.hearers):
            hear((Change("account", then[0].id),))

    def put(self, account_id: int, body: bytes, prefix: bytes = b"", large: bool = False) -> None:
        """File a message in an INBOX."""
        inbox = self.inboxes.setdefault(account_id, [])
        number = len(self.bodies) + 1
        self.bodies[number] = body
        inbox.append(
            Message(
                account_id * 10,
                number,
                number,
                number,
                number,
                BodyRef(number, len(body), large),
                prefix,
                0.0,
            )
        )

    def read(self, query: Any) -> Deferred[Any]:
        self.reads.append(query)
        if self.broken is not None:
            return fail(self.broken)
        try:
            result = self._answer(query)
        except MissingBody:
            return fail()
        if self.slow:
            waiting: Deferred[Any] = Deferred()
            self.pending.append((waiting, result))
            return waiting
        return succeed(result)

    def _answer(self, query: Any) -> Any:
        if isinstance(query, AccountWithVerifier):
            return self.accounts.get(query.address)
        if isinstance(query, ListMaildrop):
            inbox = self.inboxes.get(query.account_id)
            if inbox is None:
                return None
            box = Mailbox(query.account_id * 10, query.account_id, "INBOX", 7, 99, 99)
            uids, sizes = zip(*((m.uid, m.size) for m in inbox), strict=True)
            return MaildropListing(box, False, uids, sizes, self.uidls)
        if isinstance(query, Copies):
            return tuple(self._copy(uid) for uid in query.uids)
        if isinstance(query, Indexes):
            return tuple(self._index(ref) for ref in query.refs)
        if isinstance(query, OpenBody):
            body = self._body(query.ref, large=True)
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.flush()
                return os.dup(file.fileno())
        raise AssertionError(query)

    def _copy(self, uid: int) -> Copy | None:
        for inbox in self.inboxes.values():
            for m in inbox:
                if m.uid == uid:
                    return Copy(m.prefix, m.body, None if m.body.large else self.bodies[m.body.id])
        return None

    def _body(self, ref: BodyRef, large: bool) -> bytes:
        if ref.id not in self.bodies or ref.large != large:
            raise MissingBody("gone")
        return self.bodies[ref.id]

    def _index(self, ref: BodyRef) -> MessageIndex:
        body = self.bodies[ref.id]
        index = MessageIndex.__new__(MessageIndex)
        object.__setattr__(index, "dot_free", not body.startswith(b".") and b"\n." not in body)
        return index

    def commit(self, unit: Any) -> Deferred[Any]:
        self.commits.append(unit)
        if self.broken is not None:
            return fail(self.broken)
        if isinstance(unit, NoteAppPasswordUse):
            return succeed(None)
        if isinstance(unit, NoteRetrieved):
            return succeed(len(unit.uids))
        assert isinstance(unit, Expunge)
        for inbox in self.inboxes.values():
            inbox[:] = [m for m in inbox if m.mailbox_id != unit.mailbox_id or m.uid not in unit.uids]
        return succeed(unit.uids)
