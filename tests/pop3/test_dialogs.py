from __future__ import annotations

from pathlib import Path

from mailftp.pop3.session import _COMMANDS
from tests import dialogs
from tests.pop3.maildrops import POP3TestCase

FOLDER = Path(__file__).parent / "dialogs"


class DialogTests(POP3TestCase):
    def played(self, piece: int | None) -> None:
        for dialog in dialogs.load(FOLDER):
            self.setUp()
            client = self.connect()
            dialogs.play(dialog, client.exchange, client.is_closed, piece)

    def test_every_command(self) -> None:
        """There are transcripts of each command in each state; those that lead to another have their own."""
        verbs = {verb for commands in _COMMANDS.values() for verb in commands}
        said: dict[str, set[bytes]] = {}
        for dialog in dialogs.load(FOLDER):
            lines = b"".join(piece for turn in dialog.turns for piece in turn.writes).split(b"\r\n")
            said[dialog.name] = {line.split(b" ")[0].upper() for line in lines}
        self.assertEqual(verbs - said["every_before_login"], {b"AUTH", b"STLS"})
        self.assertEqual(verbs - said["every_after_login"], set())

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
