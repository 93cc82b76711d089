"""A deletion session whose connection is lost at every point, a million commands pipelined, and guessing by
many."""

from __future__ import annotations

from mailftp.pop3.server import TURN
from tests.connector import Client
from tests.pop3.maildrops import POP3TestCase

LOGIN = b"USER bob\r\nPASS hungry\r\n"
DELETIONS = b"DELE 1\r\nDELE 3\r\n"
QUIT = b"QUIT\r\n"


class CutTests(POP3TestCase):
    def cut(self, sent: bytes, closing: str) -> list[int]:
        """The UIDs that are left when this was sent and the connection then ended: lost, with the replies
        read or not, or closed by a client that has sent all it will."""
        self.setUp()
        client = self.connect()
        client.received()
        client.reading = closing != "unread"
        client.send(sent)
        if closing == "half":
            client.end()
        if not client.closed:
            client.drop()
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0, (sent, closing))
        # The lock is free at once: mail that was not deleted can be fetched again.
        self.enter().exchange(QUIT)
        return self.uids()

    def test_every_octet(self) -> None:
        """Until the line end of QUIT nothing is deleted, with it everything is, wherever and however the
        connection ends (RFC 1939 section 6)."""
        session = LOGIN + DELETIONS + QUIT
        # With the CR of QUIT and without its LF nothing was said.
        for end in range(len(session) + 1):
            for closing in ("lost", "half", "unread"):
                left = self.cut(session[:end], closing)
                expected = [2] if end == len(session) else [1, 2, 3]
                self.assertEqual(left, expected, (session[:end], closing))

    def test_octet_by_octet(self) -> None:
        """The same when each octet comes alone and is answered before the next."""
        for end in range(len(DELETIONS + QUIT) + 1):
            self.setUp()
            client = self.enter()
            for octet in (DELETIONS + QUIT)[:end]:
                client.exchange(bytes((octet,)))
            if not client.closed:
                client.drop()
            self.assertEqual(self.uids(), [2] if end == len(DELETIONS + QUIT) else [1, 2, 3], end)
            self.enter().exchange(QUIT)


class MillionTests(POP3TestCase):
    #: Commands in one piece as the network brings them.
    PIECE = 10_000

    def test_million_commands(self) -> None:
        """A million commands pipelined by one client that reads: each has its answer, in order, and never
        more than a turn's replies is in memory."""
        client = self.enter()
        piece = b"NOOP\r\nSTAT\r\n" * (self.PIECE // 2)
        expected = b"+OK\r\n+OK 3 108\r\n" * (self.PIECE // 2)
        largest = 0
        for _ in range(1_000_000 // self.PIECE):
            before = len(client.transport.writes)
            self.assertEqual(client.exchange(piece), expected)
            largest = max(largest, *map(len, client.transport.writes[before:]))
            del client.transport.writes[:]
        self.assertLess(largest, TURN + 64)
        self.assertFalse(client.closed)
        self.assertEqual(client.exchange(b"QUIT\r\n"), b"+OK bye\r\n")


class GuessingTests(POP3TestCase):
    """A botnet of single addresses, each of which guesses a few times."""

    def guess(self, client: Client, number: int) -> bytes:
        return client.exchange(b"USER bob\r\nPASS guess-%d\r\n" % number)

    def test_many_networks(self) -> None:
        """From one /24, three guesses an address: the network is turned away long before its 254 addresses
        have had their turns, with no password looked at; a client from elsewhere logs in."""
        factory = self.make_factory(tls=True, service="pop3s")
        refused = looked_at = 0
        for number in range(254 * 3):
            client = self.connect(peer=(f"192.0.2.{number % 254 + 1}", 4000), factory=factory)
            answer = self.guess(client, number)
            refused += b"-ERR [LOGIN-DELAY]" in answer
            looked_at += b"-ERR [AUTH]" in answer
            client.drop()
        self.assertEqual(refused + looked_at, 254 * 3)
        self.assertEqual(looked_at, 60)
        other = self.connect(peer=("198.51.100.7", 4000), factory=factory)
        self.assertIn(b"+OK maildrop", other.exchange(LOGIN))

    def test_right_among_wrong(self) -> None:
        """Who is turned away is so with the right password too: nothing tells that it was found."""
        factory = self.make_factory(tls=True, service="pop3s")
        for number in range(20):
            client = self.connect(peer=("192.0.2.9", 4000), factory=factory)
            self.assertIn(b"-ERR [AUTH]", self.guess(client, number))
            client.drop()
        for password in (b"hungry", b"wrong"):
            client = self.connect(peer=("192.0.2.9", 4000), factory=factory)
            self.assertIn(b"-ERR [LOGIN-DELAY]", client.exchange(b"USER bob\r\nPASS " + password + b"\r\n"))
            client.drop()
