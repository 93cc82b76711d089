"""A running server with one account, and what its mailboxes hold: for tests of real IMAP clients."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.interop.running import PATIENCE, RunningServer, run

PASSWORD = "correct horse battery"


def message(number: int, size: int = 0) -> bytes:
    return (
        b"From: Carol <carol@sender.test>\r\nTo: bob@example.test\r\nSubject: message %d\r\n"
        b"Message-ID: <%d@sender.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nbody %d\r\n"
        % (number, number, number)
    ) + b"another line of it\r\n" * (size // 20)


class Account:
    """bob of a server of its own."""

    kind = RunningServer

    def __init__(self, case: Any, settings: str = "") -> None:
        self.case = case
        self.server = self.kind(case, "example.test", settings=settings)
        self.user = self.server.add_account("bob", PASSWORD)
        self.server.start()
        self.folder = self.server.folder.parent

    @property
    def port(self) -> int:
        return self.server.ports["imap"]

    @property
    def tls_port(self) -> int:
        return self.server.ports["imaps"]

    def trust(self) -> ssl.SSLContext:
        """Of the server's own certificate authority; the name is checked."""
        return ssl.create_default_context(cafile=str(self.server.ca))

    def imaplib(self) -> imaplib.IMAP4:
        """Logged in."""
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=PATIENCE)
        self.case.addCleanup(client.sock.close)
        client.login(self.user, PASSWORD)
        return client

    def append(self, messages: Iterable[bytes], mailbox: str = "INBOX") -> None:
        """Several with each command."""
        client = self.imaplib()
        client.send(b"A1 APPEND %b" % mailbox.encode())
        for text in messages:
            client.send(b" {%d+}\r\n%b" % (len(text), text))
        client.send(b"\r\n")
        answer = client.readline()
        assert answer.startswith(b"A1 OK"), answer
        client.logout()

    def there(self, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """Subject -> flags, of each message."""
        client = self.imaplib()
        assert client.select(mailbox, readonly=True)[0] == "OK"
        found: dict[str, set[str]] = {}
        if client.untagged_responses["EXISTS"] != [b"0"]:
            status, lines = client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            assert status == "OK"
            for line in lines:
                if isinstance(line, tuple):
                    flags = re.search(rb"FLAGS \(([^)]*)\)", line[0])
                    assert flags is not None
                    found[line[1].strip().decode()] = set(flags[1].decode().split())
        client.logout()
        return found

    def client(self, *command: str | Path, **more: Any) -> str:
        """Run a client program, whose home is the folder; its output."""
        done = run(*command, env=self.environment(), cwd=self.folder, **more)
        text: str = (done.stdout + done.stderr).decode(errors="replace")
        assert done.returncode == 0, text
        return text

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
        }
