"""Programs that keep a Maildir the same as a mailbox: mbsync and offlineimap, both ways."""

from __future__ import annotations

import email
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.interop.imap import PASSWORD, Account, message
from tests.interop.running import program

MAILDIR_FLAGS = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft", "T": "\\Deleted"}


def subject_of(file: Path) -> str:
    return "Subject: " + str(email.message_from_bytes(file.read_bytes())["Subject"])


def local(box: Path) -> dict[str, Path]:
    """Subject -> file."""
    return {subject_of(file): file for folder in ("cur", "new") for file in (box / folder).iterdir()}


def flags_of(file: Path) -> set[str]:
    return {MAILDIR_FLAGS[letter] for letter in file.name.partition(":2,")[2]}


def deliver(box: Path, number: int, flags: str = "") -> None:
    text = message(number).replace(b"\r\n", b"\n")
    (box / "cur" / f"1704067200.{number}.here:2,{flags}").write_bytes(text)


def flag(box: Path, subject: str, flags: str) -> None:
    file = local(box)[subject]
    file.rename(box / "cur" / f"{file.name.partition(':2,')[0]}:2,{flags}")


def known(flags: set[str]) -> set[str]:
    return flags & set(MAILDIR_FLAGS.values())


class SyncTestCase(TestCase):
    def setUp(self) -> None:
        self.account = Account(self)

    def same(self, box: Path, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """Both sides have the same messages with the same flags, which are answered."""
        here = {subject: flags_of(file) for subject, file in local(box).items()}
        there = {subject: known(flags) for subject, flags in self.account.there(mailbox).items()}
        self.assertEqual(here, there)
        return there

    def change_there(self, *, flagged: range, deleted: range) -> None:
        client = self.account.imaplib()
        client.select("INBOX")
        for subjects, item in ((flagged, "\\Flagged"), (deleted, "\\Deleted")):
            for number in subjects:
                (found,) = client.uid("SEARCH", "HEADER", "Subject", f'"message {number}"')[1]
                uid = found.split()[0].decode()
                self.assertEqual(client.uid("STORE", uid, "+FLAGS.SILENT", f"({item})")[0], "OK")
        self.assertEqual(client.expunge()[0], "OK")
        client.logout()


class MbsyncTests(SyncTestCase):
    def setUp(self) -> None:
        self.mbsync = program("mbsync", "isync")
        super().setUp()
        self.box = self.account.folder / "mail" / "INBOX"
        self.box.parent.mkdir()
        server = self.account.server
        (self.account.folder / "rc").write_text(
            f"IMAPAccount there\nHost localhost\nPort {self.account.port}\nUser {self.account.user}\n"
            f'Pass "{PASSWORD}"\nSSLType STARTTLS\nCertificateFile {server.ca}\n\n'
            "IMAPStore far\nAccount there\n\n"
            f"MaildirStore near\nPath {self.box.parent}/\nInbox {self.box}\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
        )

    def sync(self) -> str:
        return self.account.client(self.mbsync, "-c", self.account.folder / "rc", "-V", "all")

    def test_two_way(self) -> None:
        """500 messages, then flags, deletions and new messages on both sides; then there is nothing to do.
        A mailbox that is made on one side is made on the other."""
        count = 500
        self.account.append(message(number, 3000 * (number % 3)) for number in range(100, 100 + count))
        self.sync()
        self.assertEqual(len(self.same(self.box)), count)
        here = local(self.box)
        for number in range(100, 110):
            flag(self.box, f"Subject: message {number}", "S")
        for number in range(110, 120):
            here[f"Subject: message {number}"].unlink()
        for number in range(900, 905):
            deliver(self.box, number, "FS")
        self.change_there(flagged=range(200, 205), deleted=range(205, 215))
        self.account.append(message(number) for number in range(950, 953))
        work = self.box.parent / "Work"
        for folder in ("cur", "new", "tmp"):
            (work / folder).mkdir(parents=True)
        deliver(work, 990, "S")
        self.sync()
        there = self.same(self.box)
        self.assertEqual(len(there), count - 10 - 10 + 5 + 3)
        self.assertIn("\\Seen", there["Subject: message 105"])
        self.assertIn("\\Flagged", there["Subject: message 204"])
        self.assertEqual(there["Subject: message 902"], {"\\Seen", "\\Flagged"})
        self.assertEqual(self.same(work, "Work"), {"Subject: message 990": {"\\Seen"}})
        before = sorted(path.name for path in self.box.rglob("*") if path.is_file() and ":2," in path.name)
        self.sync()
        after = sorted(path.name for path in self.box.rglob("*") if path.is_file() and ":2," in path.name)
        self.assertEqual(before, after)
        self.assertEqual(self.same(self.box), there)


class OfflineImapTests(SyncTestCase):
    def setUp(self) -> None:
        self.offlineimap = program("offlineimap", "offlineimap3")
        super().setUp()
        self.box = self.account.folder / "mail" / "INBOX"
        (self.account.folder / "rc").write_text(
            f"[general]\naccounts = all\nmetadata = {self.account.folder}/meta\nui = quiet\n"
            "[Account all]\nlocalrepository = near\nremoterepository = far\n"
            f"[Repository near]\ntype = Maildir\nlocalfolders = {self.box.parent}\n"
            f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {self.account.tls_port}\n"
            f"ssl = yes\nsslcacertfile = {self.account.server.ca}\nremoteuser = {self.account.user}\n"
            f"remotepass = {PASSWORD}\n"
        )

    def sync(self) -> str:
        return self.account.client(self.offlineimap, "-c", self.account.folder / "rc", "-o")

    def test_two_way(self) -> None:
        """Messages, flags, deletions and a new message, both ways, over imaps."""
        self.account.append(message(number) for number in range(100, 140))
        self.sync()
        self.assertEqual(len(self.same(self.box)), 40)
        flag(self.box, "Subject: message 101", "RS")
        local(self.box)["Subject: message 102"].unlink()
        deliver(self.box, 900, "S")
        self.change_there(flagged=range(110, 112), deleted=range(112, 114))
        self.sync()
        there = self.same(self.box)
        self.assertEqual(len(there), 40 - 3 + 1)
        self.assertEqual(there["Subject: message 101"], {"\\Answered", "\\Seen"})
        self.assertEqual(there["Subject: message 111"], {"\\Flagged"})
        self.assertIn("Subject: message 900", there)
        self.sync()
        self.assertEqual(self.same(self.box), there)
