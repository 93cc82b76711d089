from __future__ import annotations

from pathlib import Path

from mailftp.store.units import SetAccount
from tests import dialogs
from tests.imap.mailboxes import IMAPTestCase

FOLDER = Path(__file__).parent / "dialogs"


class DialogTests(IMAPTestCase):
    def played(self, piece: int | None) -> None:
        for dialog in dialogs.load(FOLDER):
            self.setUp()
            # Of alice's transcripts.
            limit = SetAccount("alice@example.test", (("message_quota", 2),))
            self.successResultOf(self.store.commit(limit))
            client = self.connect()
            dialogs.play(dialog, client.exchange, client.is_closed, piece)

    def test_whole(self) -> None:
        """Every transcript in dialogs/."""
        self.played(None)

    def test_octet_by_octet(self) -> None:
        """The same when the network cuts everywhere."""
        self.played(1)

    def test_in_sevens(self) -> None:
        """And when it cuts elsewhere."""
        self.played(7)
