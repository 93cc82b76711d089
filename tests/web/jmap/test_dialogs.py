"""Every method, by transcripts, over both engines; what happens between the calls goes the way of IMAP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailftp.store.queries import Bodies, Mailboxes, MailboxSince
from mailftp.store.units import SetAccount
from tests.imap.on_disk import SQLiteTestCase
from tests.web.jmap import dialogs
from tests.web.jmap.site import JMAPCase

HERE = Path(__file__).parent


class Dialogs:
    """What "X:" lines do."""

    #: Seconds between two messages.
    received = 0.0

    def play(self: Any, dialog: dialogs.Dialog) -> None:
        self.received = 837596665.0
        account = f"A{self.ids['bob']}"
        dialogs.play(dialog, account, lambda calls: self.calls(*calls), self.act, self.mailbox_ids)

    def act(self: Any, words: str) -> None:
        name, *arguments = words.split(" ")
        getattr(self, f"do_{name}")(*arguments)

    def mailbox_ids(self: Any) -> dict[str, str]:
        """ "$INBOX" and the like."""
        found = self.successResultOf(self.store.read(Mailboxes(self.ids["bob"])))
        return {mailbox.name: f"F{mailbox.id}" for mailbox in found if mailbox.name.isalpha()}

    def do_put(self: Any, mailbox: str, name: str, *flags: str) -> None:
        message = (HERE / "messages" / f"{name}.eml").read_bytes()
        self.put(message, mailbox=mailbox, flags=frozenset(flags), received=self.received)
        self.received += 1

    def do_quota(self: Any, name: str, most: str) -> None:
        unit = SetAccount("bob@example.test", ((name, int(most)),))
        self.successResultOf(self.store.commit(unit))

    def do_arrived(self: Any, account: str, subject: str) -> None:
        """One message of that subject is in the account's INBOX, and does not say who had a blind copy."""
        [message] = self.successResultOf(self.store.read(MailboxSince(self.ids[account]))).messages
        [octets] = self.successResultOf(self.store.read(Bodies((message.body,))))
        self.assertIn(f"Subject: {subject}\r\n".encode(), octets)
        self.assertNotIn(b"Bcc", octets)
        self.assertIn(b"Return-Path: <bob@example.test>", message.prefix)

    def do_imap(self: Any, command: str, *arguments: str) -> None:
        """By IMAP; STORE and EXPUNGE in INBOX."""
        client = self.enter("INBOX")
        lines = [f"a {command} {' '.join(arguments)}"]
        if command == "STORE":
            lines = [f"a STORE {arguments[0]} +FLAGS ({arguments[1]})"]
        elif command == "EXPUNGE":
            lines = [f"a STORE {arguments[0]} +FLAGS (\\Deleted)", "b EXPUNGE"]
        for line in lines:
            client.exchange(line.encode() + b"\r\n")
        client.drop()


class DialogTests(Dialogs, JMAPCase):
    """Over the memory store."""


class SQLiteDialogTests(Dialogs, JMAPCase, SQLiteTestCase):
    """Over SQLite."""


def _add_tests(case: type) -> None:
    """A test for each transcript in dialogs/."""
    for dialog in dialogs.load(HERE / "dialogs"):

        def test(self: Any, dialog: dialogs.Dialog = dialog) -> None:
            self.play(dialog)

        setattr(case, f"test_{dialog.name}", test)


_add_tests(DialogTests)
_add_tests(SQLiteDialogTests)
