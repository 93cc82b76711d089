"""Every dialogue of the folder beside this file, whole and cut at every octet, over TCP and TLS."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import dialogs
from tests.ftp.conversations import Conversation, conversations
from tests.ftp.memory import MemoryCase

FOLDER = Path(__file__).parent / "dialogs"
COMMANDS = Path(__file__).parent / "conversations_of_commands"
CLIENTS = Path(__file__).parent / "conversations_of_clients"
ENCRYPTED = Path(__file__).parent / "dialogs_tls"


class Dialogs(MemoryCase):
    def play(self, folder: Path, piece: int | None, **ftp: object) -> None:
        for dialog in dialogs.load(folder):
            shutil.rmtree(self.top / "files", ignore_errors=True)
            self.start(**ftp)
            dialogs.play(dialog, self.client.exchange, self.client.is_closed, piece)

    def test_whole(self) -> None:
        """Each write arrives in one piece."""
        self.play(FOLDER, None)

    def test_cut_at_every_octet(self) -> None:
        """Nothing depends on where the network cuts."""
        self.play(FOLDER, 1)
        self.play(FOLDER, 3)


class Conversations(MemoryCase):
    def play(self, folder: Path) -> None:
        for file in conversations(folder):
            shutil.rmtree(self.top / "files", ignore_errors=True)
            self.home.mkdir(parents=True)
            self.start()
            self.answers()
            Conversation(self, file).play()

    def test_commands(self) -> None:
        """Commands about files, with the data connections that they need."""
        self.play(COMMANDS)

    def test_clients(self) -> None:
        """What clients, scanners and cameras say, as their public captures have it."""
        self.play(CLIENTS)
