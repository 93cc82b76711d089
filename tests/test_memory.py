"""How much memory one connection can hold before its client has logged in: 64 KiB, whatever it sends.

Each service is given what makes it hold the most: a command that waits for ever, and behind it as many of the
smallest commands as it reads.
"""

from __future__ import annotations

import socket
import tracemalloc
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailftp.accounts.login import Login
from mailftp.testing import MailServer

reactor: Any = global_reactor

#: What promise 5 says.
PROMISED = 64 * 1024
CONNECTIONS = 10
#: What each client sends at most; the kernel's own buffers hold a part of it.
SENT = 4 * 1024 * 1024


class BeforeLogin(TestCase):
    async def setUp(self) -> None:
        # Room for the clients, and logins that are never done.
        self.server = await MailServer.start(reactor, {"bob@a.test": "secret"})
        self.addCleanup(self.server.stop)
        self.patch(Login, "attempt", lambda *_, **__: Deferred())

    async def settle(self) -> None:
        """Until the server has read all that it wants to."""
        for _ in range(30):
            await deferLater(reactor, 0)

    async def flood(self, port: int, beginning: bytes, command: bytes) -> int:
        """Octets that a connection holds, after `beginning` and then `command` again and again."""
        much = memoryview(command * (SENT // len(command)))
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        try:
            await self.settle()
            for client in clients:
                client.setblocking(False)
                client.send(beginning)
            await self.settle()
            tracemalloc.start()
            try:
                for _ in range(20):
                    for client in clients:
                        try:
                            client.send(much)
                        except OSError:
                            # It takes no more, or it has closed: there are limits to what makes no sense.
                            pass
                    await self.settle()
                return tracemalloc.get_traced_memory()[0] // CONNECTIONS
            finally:
                tracemalloc.stop()
        finally:
            for client in clients:
                client.close()
            await self.settle()

    async def test_pop3(self) -> None:
        """POP3: commands behind a PASS."""
        for command in (b"x\n", b"xy\n", b"CAPA\r\n", b"x" * 10_000):
            held = await self.flood(self.server.pop3_port, b"USER bob\r\nPASS x\r\n", command)
            self.assertLess(held, PROMISED, command[:10])

    async def test_ftp(self) -> None:
        """FTP: commands behind a PASS."""
        for command in (b"\n", b"xy\n", b"NOOP\r\n", b"x" * 10_000):
            held = await self.flood(self.server.ftp_port, b"USER bob\r\nPASS x\r\n", command)
            self.assertLess(held, PROMISED, command[:10])

    async def test_submission(self) -> None:
        """Submission: commands behind an AUTH."""
        for command in (b"x\n", b"NOOP\r\n", b"x" * 10_000):
            held = await self.flood(
                self.server.submission_port, b"EHLO c.test\r\nAUTH PLAIN AGJvYgB4\r\n", command
            )
            self.assertLess(held, PROMISED, command[:10])

    async def test_imap(self) -> None:
        """IMAP: commands behind a LOGIN, literals of one that never ends, a line that never ends."""
        for beginning, command in (
            (b"a LOGIN bob x\r\n", b"x\r\n"),
            (b"a LOGIN bob x\r\n", b"a NOOP\r\n"),
            (b"a LOGIN bob x\r\n", b"x" * 10_000),
            (b"a LOGIN bob x\r\n", b"a LOGIN {0+}\r\n {0+}\r\n x\r\n"),
            (b"a LOGIN ", b"{0+}\r\n "),
            (b"a LOGIN ", b"{4096+}\r\n" + b"x" * 4096),
            (b"a AUTHENTICATE PLAIN\r\n", b"x" * 10_000),
            (b"a ID ", b"(" * 10_000),
        ):
            held = await self.flood(self.server.imap_port, beginning, command)
            self.assertLess(held, PROMISED, command[:10])

    async def test_many_answers(self) -> None:
        """Answers that the client does not read are not piled up either."""
        for port, command in (
            (self.server.smtp_port, b"RSET\r\n"),
            (self.server.smtp_port, b"MAIL FROM:<>\r\nRCPT TO:<bob@a.test>\r\nRSET\r\n"),
            (self.server.pop3_port, b"CAPA\r\n"),
            (self.server.ftp_port, b"FEAT\r\n"),
            (self.server.imap_port, b"a CAPABILITY\r\n"),
        ):
            held = await self.flood(port, b"EHLO c.test\r\n", command)
            self.assertLess(held, PROMISED, command)


class Idle(TestCase):
    """Sessions that wait for mail: there may be ten thousand of them."""

    #: What each may take, octets of the server's own objects.
    EACH = 16 * 1024
    SESSIONS = 150

    async def setUp(self) -> None:
        self.server = await MailServer.start(reactor, {"bob@a.test": "secret"})
        self.addCleanup(self.server.stop)

    async def enter(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.imap_port))
        client.setblocking(False)
        client.send(b"a LOGIN bob secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        answer = b""
        for _ in range(10_000):
            if b"+ idling\r\n" in answer:
                return client
            await deferLater(reactor, 0)
            try:
                answer += client.recv(65536)
            except BlockingIOError:
                await deferLater(reactor, 0.001)
        raise AssertionError(f"not in IDLE: {answer!r}")

    async def test_imap(self) -> None:
        """Logged in, with a mailbox selected, in IDLE."""
        clients = [await self.enter() for _ in range(10)]
        tracemalloc.start()
        try:
            clients += [await self.enter() for _ in range(self.SESSIONS)]
            held = tracemalloc.get_traced_memory()[0] // self.SESSIONS
        finally:
            tracemalloc.stop()
            for client in clients:
                client.close()
        self.assertLess(held, self.EACH)
