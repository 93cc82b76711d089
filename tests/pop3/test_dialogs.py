from __future__ import annotations

from pathlib import Path

from tests import dialogs
from tests.pop3.maildrops import POP3TestCase

FOLDER = Path(__file__).parent / "dialogs"


class DialogTests(POP3TestCase):
    def played(self, piece: int | None) -> None:
        for dialog in dialogs.load(FOLDER):
            self.setUp()
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

    def test_under_tls(self) -> None:
        """The same transcripts where they do not tell of the connection, over pop3s."""
        for dialog in dialogs.load(FOLDER):
            if dialog.name == "capabilities":
                continue
            self.setUp()
            client = self.connect(factory=self.make_factory(tls=True, service="pop3s"))
            dialogs.play(dialog, client.exchange, client.is_closed)
