"""Another account's mailboxes are out of reach, by every command."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from mailftp.imap.registry import COMMANDS
from mailftp.store.queries import Accounts, Query
from mailftp.store.units import CreateMailbox, SetMetadata, SetSubscription, Unit
from tests.imap.mailboxes import IMAPTestCase

#: What clients of other servers call somebody else's mailbox, and what attacks call it.
NAMES = (
    "secret",
    "bob/secret",
    "/bob@example.test/secret",
    "#user/bob/secret",
    "user/bob@example.test/secret",
    "Other Users/bob/secret",
    "~bob/secret",
    "../bob/secret",
    "%/secret",
    "1",
    "F7",
)

#: How each command is tried; {} is a mailbox's name. All commands have to be here.
TRIED: dict[bytes, tuple[str, ...]] = {
    b"SELECT": ("SELECT {}",),
    b"EXAMINE": ("EXAMINE {}",),
    b"STATUS": ("STATUS {} (MESSAGES UIDNEXT UNSEEN SIZE MAILBOXID)",),
    b"LIST": ("LIST {} *", 'LIST "" {}', 'LIST (SUBSCRIBED) "" {} RETURN (STATUS (MESSAGES))'),
    b"LSUB": ("LSUB {} *", 'LSUB "" {}'),
    b"DELETE": ("DELETE {}",),
    b"RENAME": ("RENAME {} mine",),
    b"GETMETADATA": ("GETMETADATA {} /private/comment",),
    b"SETMETADATA": ('SETMETADATA {} (/private/comment "gotcha")',),
    b"GETQUOTAROOT": ("GETQUOTAROOT {}",),
    b"GETQUOTA": ("GETQUOTA {}",),
    b"SETQUOTA": ("SETQUOTA {} (STORAGE 1)",),
    b"COPY": ("COPY 1 {}",),
    b"UID COPY": ("UID COPY 1:* {}",),
    b"MOVE": ("MOVE 1 {}",),
    b"UID MOVE": ("UID MOVE 1:* {}",),
    b"APPEND": ("APPEND {} {{3+}}\r\na\r\n",),
    b"REPLACE": ("REPLACE 1 {} {{3+}}\r\na\r\n",),
    b"UID REPLACE": ("UID REPLACE 1 {} {{3+}}\r\na\r\n",),
    b"UNSUBSCRIBE": ("UNSUBSCRIBE {}",),
    b"NOTIFY": ("NOTIFY SET STATUS (MAILBOXES {} (MessageNew MessageExpunge))",),
    # In the selected mailbox alone, which is the client's own.
    b"FETCH": ("FETCH 1:* (UID FLAGS BODY.PEEK[])",),
    b"UID FETCH": ("UID FETCH 1:* (FLAGS ENVELOPE EMAILID BODY.PEEK[])",),
    b"STORE": ("STORE 1:* +FLAGS (gotcha)",),
    b"UID STORE": ("UID STORE 1:* +FLAGS (gotcha)",),
    b"SEARCH": ("SEARCH ALL", "SEARCH TEXT hidden"),
    b"UID SEARCH": ("UID SEARCH ALL",),
    b"SORT": ("SORT (DATE) UTF-8 ALL",),
    b"UID SORT": ("UID SORT (DATE) UTF-8 ALL",),
    b"THREAD": ("THREAD REFERENCES UTF-8 ALL",),
    b"UID THREAD": ("UID THREAD REFERENCES UTF-8 ALL",),
    b"EXPUNGE": ("EXPUNGE",),
    b"UID EXPUNGE": ("UID EXPUNGE 1:*",),
    b"CREATE": ("CREATE {}",),
    b"SUBSCRIBE": ("SUBSCRIBE {}",),
}
#: Those that name no mailbox and no message.
HARMLESS = {
    b"CAPABILITY", b"NOOP", b"LOGOUT", b"ID", b"ENABLE", b"STARTTLS", b"LOGIN", b"AUTHENTICATE", b"CHECK",
    b"UNAUTHENTICATE", b"CLOSE", b"UNSELECT", b"IDLE", b"NAMESPACE", b"COMPRESS", b"CANCELUPDATE",
}  # fmt: skip


class Recording:
    """The memory store, and what was asked of it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[Unit[Any] | Query[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, query: Any) -> Deferred[Any]:
        self.asked.append(query)
        result: Deferred[Any] = self._store.read(query)
        return result

    def commit(self, unit: Any) -> Deferred[Any]:
        self.asked.append(unit)
        result: Deferred[Any] = self._store.commit(unit)
        return result


class AnotherAccountTests(IMAPTestCase):
    store: Any

    def make_store(self) -> Any:
        return Recording(super().make_store())

    def setUp(self) -> None:
        super().setUp()
        bob, alice = self.ids["bob"], self.ids["alice"]
        self.successResultOf(self.store.commit(CreateMailbox(bob, "secret")))
        self.put(b"Subject: hidden\r\n\r\nhidden\r\n", mailbox="secret")
        self.successResultOf(
            self.store.commit(SetMetadata(bob, "secret", (("/private/comment", b"hidden"),)))
        )
        self.successResultOf(self.store.commit(SetSubscription(bob, "secret", True)))
        self.put(b"Subject: mine\r\n\r\nmine\r\n", account="alice")
        self.put(b"Subject: mine\r\n\r\nmine too\r\n", account="alice")
        self.assertNotEqual(bob, alice)
        self.assertEqual(len(self.successResultOf(self.store.read(Accounts()))), 2)

    def of_bob(self) -> Any:
        """All that is bob's."""
        return [
            (row.mailbox_id, row.uid, row.modseq, row.flags)
            for name in ("INBOX", "secret")
            for row in self.rows(name)
        ]

    def test_every_command_is_tried(self) -> None:
        self.assertEqual(set(COMMANDS) - TRIED.keys() - HARMLESS, set())

    def test_out_of_reach(self) -> None:
        """Whatever alice says, nothing of bob's is told to her or changed, and every unit and query that is
        made for her names her account."""
        before = self.of_bob()
        alice = self.ids["alice"]
        tried = 0
        for name in filter(COMMANDS.__contains__, TRIED):
            for form in TRIED[name]:
                for box in NAMES if "{}" in form else ("",):
                    client = self.enter("INBOX", account="alice")
                    self.store.asked.clear()
                    command = "t " + form.format(f'"{box}"')
                    answer = client.exchange(command.encode() + b"\r\n")
                    answer += client.exchange(b"u NOOP\r\n")
                    self.assertNotIn(b"hidden", answer.replace(command.encode(), b""), command)
                    self.assertIn(b"u OK", answer, command)
                    self.assertEqual(self.of_bob(), before, command)
                    self.check_asked(alice, command)
                    client.drop()
                    tried += 1
        self.assertGreater(tried, 200)
        comment = b"GETMETADATA secret /private/comment\r\n"
        self.assertIn(b'"hidden"', self.enter().exchange(b"v " + comment))

    def check_asked(self, account: int, command: str) -> None:
        for asked in self.store.asked:
            named = getattr(asked, "account_id", None)
            if named is None:
                # Bodies and indexes go by references that only a query of the account's gives.
                self.assertTrue(hasattr(asked, "ref") or hasattr(asked, "refs") or hasattr(asked, "address"))
            elif named != account:
                # of_bob() itself asks about bob.
                self.assertEqual((type(asked).__name__, named), ("MailboxSince", self.ids["bob"]), command)
