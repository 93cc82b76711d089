"""POP3 over the engine that a server uses: threads, large bodies in files, commits that take their time."""

from __future__ import annotations

import poplib
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import fail
from twisted.internet.threads import deferToThread

from mailftp.accounts.passwords import make_verifier
from mailftp.store.queries import MailboxSince
from mailftp.store.records import Filing
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount, SetVerifier
from mailftp.wire.reading import FileReader
from tests.pop3.maildrops import CHEAP, MESSAGES, turns
from tests.pop3.test_clients import LARGE, ClientTestCase


class SQLiteTests(ClientTestCase):
    async def open(self) -> int:
        """A port whose server reads an SQLite store in which bob has MESSAGES and LARGE."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.store = SQLiteStore(folder / "mail.sqlite", folder / "blobs", reactor, reactor)
        self.addCleanup(self.store.stop)
        await self.store.start()
        bob = await self.store.commit(AddAccount("bob@example.test", make_verifier("hungry", CHEAP)))
        self.ids["bob"] = bob.id
        for message in (*MESSAGES, LARGE):
            sink = self.store.stage()
            held_up = sink.write(message)
            if held_up is not None:
                await held_up
            await self.store.commit(Accept(await sink.finish(), 1.0, (Filing(bob.id),)))
        self.furnish()
        return self.listen()

    async def left(self) -> int:
        found = await self.store.read(MailboxSince(self.ids["bob"]))
        return len(found.messages)

    async def test_session(self) -> None:
        """A whole session; the large message comes from its file, the deletion is in the store."""
        port = await self.open()

        def run() -> list[bytes]:
            client = poplib.POP3("127.0.0.1", port, timeout=20)
            client.user("bob")
            client.pass_("hungry")
            got = [b"\r\n".join(client.retr(number)[1]) + b"\r\n" for number in range(1, 5)]
            client.dele(4)
            client.quit()
            return got

        self.assertEqual(await deferToThread(run), [*MESSAGES, LARGE])
        self.assertEqual(await self.left(), 3)

    async def test_unreadable_end(self) -> None:
        """A disk that fails at a message's end: the connection is cut, and no error stands in the message."""
        port = await self.open()
        sink = self.store.stage()
        # Without a dot at the beginning of a line it goes from the file to the socket as it is.
        held_up = sink.write(b"Subject: plain\r\n\r\n" + b"no dots\r\n" * 20_000)
        if held_up is not None:
            await held_up
        await self.store.commit(Accept(await sink.finish(), 1.0, (Filing(self.ids["bob"]),)))
        self.patch(FileReader, "read", lambda *_: fail(OSError(5, "Input/output error")))

        def run() -> bytes:
            with socket.create_connection(("127.0.0.1", port), 20) as client:
                client.sendall(b"USER bob\r\nPASS hungry\r\nRETR 5\r\n")
                got = b""
                try:
                    while piece := client.recv(65536):
                        got += piece
                except ConnectionResetError:
                    pass
                return got

        self.assertNotIn(b"-ERR", await deferToThread(run))
        self.assertTrue(self.flushLoggedErrors(OSError))

    async def test_changed_password_ends_the_session(self) -> None:
        """After passwd the open session is closed, its deletions are void, and the lock is free."""
        port = await self.open()

        def enter(password: str) -> poplib.POP3:
            client = poplib.POP3("127.0.0.1", port, timeout=20)
            client.user("bob")
            client.pass_(password)
            return client

        client = await deferToThread(enter, "hungry")
        await deferToThread(client.dele, 1)
        await self.store.commit(SetVerifier("bob@example.test", make_verifier("new", CHEAP)))
        await turns(lambda: not self.sessions.count(self.ids["bob"]))
        with self.assertRaises((poplib.error_proto, OSError)):
            await deferToThread(client.quit)
        client.close()
        self.assertEqual(await self.left(), 4)
        client = await deferToThread(enter, "new")
        await deferToThread(client.quit)
