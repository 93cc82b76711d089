"""APPEND and REPLACE beyond their transcripts: large messages, quotas, full disks, clients that go."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed

from mailftp.imap.append import MOST_MESSAGES
from mailftp.settings import Limits
from mailftp.store.engine import SMALL_BODY, StoreFull
from mailftp.store.queries import Bodies
from mailftp.store.records import StagedBody
from mailftp.store.units import SetAccount
from tests.imap.mailboxes import IMAPTestCase

MESSAGE = b"Subject: new\r\n\r\ntext\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 10_000


def append(message: bytes, *, mailbox: bytes = b"Sent", plus: bytes = b"+", tag: bytes = b"a") -> bytes:
    return b"%b APPEND %b {%d%b}\r\n%b\r\n" % (tag, mailbox, len(message), plus, message)


class Sinks:
    """What `stage` of a store gave and nobody has finished or aborted. A large body is told to be in a file,
    as a store on a disk has it: it has to be aborted also when it is finished."""

    def __init__(self, case, store) -> None:
        self.case = case
        self.open: list[object] = []
        self._stage = store.stage
        store.stage = self.stage

    def stage(self):
        sink = self._stage()
        self.open.append(sink)
        abort = sink.abort

        def aborted():
            if sink in self.open:
                self.open.remove(sink)
            abort()

        finish = sink.finish

        def finished():
            body = self.case.successResultOf(finish())
            if body.size > SMALL_BODY:
                return succeed(StagedBody(body.size, body.sha256, path=Path("/nonexistent")))
            self.open.remove(sink)
            return succeed(body)

        sink.abort, sink.finish = aborted, finished
        return sink


class AppendTests(IMAPTestCase):
    def quota(self, octets: int | None) -> None:
        self.successResultOf(self.store.commit(SetAccount("bob@example.test", (("mail_quota", octets),))))

    def bodies(self, mailbox: str = "Sent") -> list[bytes]:
        refs = tuple(row.body for row in self.rows(mailbox))
        return list(self.successResultOf(self.store.read(Bodies(refs))))

    def test_large(self):
        """A message of any size, in pieces cut anywhere; what comes back is what was sent."""
        client = self.enter()
        command = append(LARGE)
        for start in range(0, len(command), 4097):
            client.send(command[start : start + 4097])
        self.assertIn(b"a OK [APPENDUID ", client.received())
        answer = client.exchange(b"b EXAMINE Sent\r\nc FETCH 1 BODY[]\r\n")
        self.assertIn(b"BODY[] {%d}\r\n" % len(LARGE) + LARGE + b")\r\n", answer)

    def test_line_ends(self):
        """Whatever its line ends are and wherever the network cuts, what is kept has CR LF."""
        client = self.enter()
        message = b"A: b\nC: d\r\n\re\r\r\nf\n\n"
        for size in (1, 2, 3, 100):
            command = append(message)
            for start in range(0, len(command), size):
                client.send(command[start : start + size])
        self.assertEqual(self.bodies(), [b"A: b\r\nC: d\r\n\r\ne\r\n\r\nf\r\n\r\n"] * 4)

    def test_internal_date(self):
        """Without one, it is now, to the second."""
        self.clock.advance(1234.75)
        client = self.enter()
        client.exchange(append(MESSAGE))
        (row,) = self.rows("Sent")
        self.assertEqual(row.received, 1234.0)

    def test_too_large(self):
        """RFC 7889: refused before it is sent where the client waits; read and dropped where it does not."""
        factory = self.make_factory(limits=Limits(message_size=1000))
        client = self.connect(factory)
        client.exchange(b"l LOGIN bob hungry\r\n")
        message = b"x" * 1001
        self.assertEqual(
            client.exchange(b"a APPEND Sent {1001}\r\n"),
            b"a NO [TOOBIG] a message has at most 1000 octets\r\n",
        )
        answer = client.exchange(append(message) + b"b NOOP\r\n")
        self.assertEqual(answer, b"a NO [TOOBIG] a message has at most 1000 octets\r\nb OK done\r\n")
        # Its line ends make it longer than it said.
        answer = client.exchange(append(b"\n" * 1000) + b"b NOOP\r\n")
        self.assertEqual(answer, b"a NO [TOOBIG] the message is too large\r\nb OK done\r\n")
        self.assertEqual(self.rows("Sent"), ())

    def test_over_quota(self):
        """RFC 9208 section 4.1: none of several; and a client that would send much is told before it does."""
        self.quota(sum(map(len, self.messages)) + len(MESSAGE) + 5)
        client = self.enter()
        both = b"a APPEND Sent {%d+}\r\n%b {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE, len(MESSAGE), MESSAGE)
        self.assertTrue(client.exchange(both).startswith(b"a NO [OVERQUOTA] "))
        self.assertEqual(self.rows("Sent"), ())
        answer = client.exchange(b"a APPEND Sent {%d}\r\n" % len(LARGE))
        self.assertTrue(answer.startswith(b"a NO [OVERQUOTA] "), answer)
        self.assertIn(b"a OK", client.exchange(append(MESSAGE)))
        # More is given while the session lasts.
        self.quota(None)
        answer = client.exchange(b"a APPEND Sent {%d}\r\n" % len(LARGE))
        self.assertTrue(answer.startswith(b"+ "), answer)

    def test_too_many(self):
        """RFC 9208 section 5.2: who would send much is told before; what replaces makes them no more."""
        there = len(self.messages)
        self.successResultOf(self.store.commit(SetAccount("bob@example.test", (("message_quota", there),))))
        client = self.enter()
        answer = client.exchange(b"a APPEND Sent {%d}\r\n" % len(LARGE))
        self.assertTrue(answer.startswith(b"a NO [OVERQUOTA] "), answer)
        client.exchange(b"b SELECT INBOX\r\n")
        answer = client.exchange(b"c REPLACE 1 Sent {%d}\r\n" % len(LARGE))
        self.assertTrue(answer.startswith(b"+ "), answer)
        self.assertIn(b"c OK replaced", client.exchange(LARGE + b"\r\n"))
        self.assertEqual([row.size for row in self.rows("Sent")], [len(LARGE)])

    def test_no_mailbox(self):
        """TRYCREATE, before a large message is sent; and the mailbox is not made."""
        client = self.enter()
        answer = client.exchange(b"a APPEND Nowhere {%d}\r\n" % len(LARGE))
        self.assertTrue(answer.startswith(b"a NO [TRYCREATE] "), answer)
        answer = client.exchange(append(LARGE, mailbox=b"Nowhere"))
        self.assertTrue(answer.startswith(b"a NO [TRYCREATE] "), answer)
        self.assertTrue(client.exchange(b"b EXAMINE Nowhere\r\n").startswith(b"b NO [NONEXISTENT]"))

    def test_full_disk(self):
        """Found while the message is staged, or at the commit: NO, and the connection goes on."""
        client = self.enter()
        sinks = Sinks(self, self.store)
        commit = self.store.commit
        self.store.commit = lambda unit: fail(StoreFull("the disk is full"))
        for text in (MESSAGE, LARGE):
            answer = client.exchange(append(text))
            self.assertEqual(answer, b"a NO [UNAVAILABLE] the disk is full\r\n")
            self.assertEqual(sinks.open, [])
        self.store.commit = commit
        self.assertIn(b"a OK", client.exchange(append(MESSAGE)))
        self.assertEqual(len(self.rows("Sent")), 1)

    def test_slow_disk(self):
        """A message is read no faster than it is staged."""
        client = self.enter()
        client.exchange(b"n NOOP\r\n")
        held: Deferred[None] = Deferred()
        taken = []
        stage = self.store.stage

        def slow():
            sink = stage()
            write = sink.write

            def wait(data):
                taken.append(len(data))
                write(data)
                return held

            sink.write = wait
            return sink

        self.store.stage = slow
        client.send(append(LARGE))
        self.assertEqual(len(taken), 1)
        self.assertEqual(client.received(), b"")
        held.callback(None)
        self.assertIn(b"a OK", client.received())
        self.assertEqual(sum(taken), len(LARGE))

    def test_client_gone(self):
        """A message that does not come to its end is given up, at once and without a trace."""
        sinks = Sinks(self, self.store)
        for how in ("drop", "end"):
            client = self.enter()
            client.send(b"a APPEND Sent {1000+}\r\nSubject: half")
            self.assertEqual(len(sinks.open), 1)
            getattr(client, how)()
            client.received()
            self.assertEqual(sinks.open, [])
        self.assertEqual(self.rows("Sent"), ())

    def test_refused_in_the_middle(self):
        """What is wrong with the second of two gives up the first; the command is read to its end."""
        sinks = Sinks(self, self.store)
        client = self.enter()
        for first in (MESSAGE, LARGE):
            both = b"a APPEND Sent {%d+}\r\n%b {10+}\r\n%b\r\nb NOOP\r\n" % (len(first), first, b"\0" * 10)
            answer = client.exchange(both)
            self.assertEqual(answer, b"a BAD only a literal8 may hold NUL\r\nb OK done\r\n")
            self.assertEqual((sinks.open, self.rows("Sent")), ([], ()))

    def test_many(self):
        """As many as go into one command, and one more."""
        client = self.enter()
        one = b" {%d+}\r\n%b" % (len(MESSAGE), MESSAGE)
        answer = client.exchange(b"a APPEND Sent" + one * MOST_MESSAGES + b"\r\n")
        self.assertIn(b"1:%d] appended" % MOST_MESSAGES, answer)
        answer = client.exchange(b"a APPEND Sent" + one * (MOST_MESSAGES + 1) + b"\r\nb NOOP\r\n")
        self.assertTrue(answer.startswith(b"a NO [LIMIT] "), answer)
        self.assertTrue(answer.endswith(b"b OK done\r\n"))
        self.assertEqual(len(self.rows("Sent")), MOST_MESSAGES)
        body = b"x" * SMALL_BODY
        much = b" {%d+}\r\n%b" % (len(body), body)
        answer = client.exchange(b"a APPEND Sent" + much * 33 + b"\r\nb NOOP\r\n")
        self.assertTrue(answer.startswith(b"a NO [LIMIT] "), answer)

    def test_another_session(self):
        """EXISTS is told to a session that has the mailbox selected."""
        other = self.enter("Sent")
        client = self.enter()
        client.exchange(append(MESSAGE))
        self.assertEqual(other.exchange(b"n NOOP\r\n"), b"* 1 EXISTS\r\nn OK done\r\n")

    def test_replaced_meanwhile(self):
        """RFC 8508 section 3.2: another session was first. Nothing is appended, and the EXPUNGE is told."""
        client, other = self.enter("INBOX"), self.enter("INBOX")
        client.send(b"a REPLACE 1 INBOX {%d}\r\n" % len(MESSAGE))
        self.assertIn(b"+ ", client.received())
        self.assertIn(
            b"b OK", other.exchange(b"b REPLACE 1 Drafts {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
        )
        answer = client.exchange(MESSAGE + b"\r\n")
        self.assertIn(b"a NO [EXPUNGEISSUED] the message to be replaced is gone\r\n", answer)
        self.assertIn(b"* 1 EXPUNGE\r\n", answer)
        self.assertEqual(len(self.rows()), 2)

    def test_replace_read_only(self):
        """EXAMINE: nothing is replaced."""
        client = self.enter()
        client.exchange(b"e EXAMINE INBOX\r\n")
        answer = client.exchange(b"a REPLACE 1 INBOX {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE))
        self.assertTrue(answer.startswith(b"a NO [READ-ONLY] "), answer)
        self.assertEqual(len(self.rows()), 3)
