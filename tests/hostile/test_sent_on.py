"""What our relay says, octet for octet, of every odd end of a message that any way in can bring."""

from __future__ import annotations

import re
from base64 import b64encode
from email import message_from_bytes
from itertools import product
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.attempt import Means, load_body
from mailftp.intake.binary import BinarySink, at_once
from mailftp.smtp.client import OutgoingBody, Target, _Shell
from mailftp.smtp.client_body import DotStuffer
from mailftp.smtp.client_envelope import Envelope
from mailftp.smtp.data import LineEnds
from mailftp.store.emails import ListEmails
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import QueueList
from mailftp.store.records import ForwardPath, QueueFilter, QueueMessage
from mailftp.store.units import SetAccount
from tests.smtp.driver import Dialogue, terms
from tests.smtp.far_side import Behaviour, FarSide
from tests.web.jmap.site import JMAPCase

#: All of up to six: 1,093.
ODD = tuple(b"".join(each) for length in range(7) for each in product((b"\r", b"\n", b"."), repeat=length))
HEADER = b"From: bob@example.test\r\nSubject: odd\r\n\r\n"
SMUGGLED = b"MAIL FROM:<evil@a.test>\r\nRCPT TO:<victim@b.test>\r\nDATA\r\nSmuggled.\r\n.\r\nQUIT\r\n"


def odd_message(odd: bytes) -> bytes:
    """It begins the body, has commands behind it, and ends the message."""
    return HEADER + odd + b"First." + odd + SMUGGLED + b"Last." + odd


#: A store in memory is slow with many messages in one account.
BATCH = 100
BATCHES = tuple([odd_message(odd) for odd in ODD[at : at + BATCH]] for at in range(0, len(ODD), BATCH))


def lines_of(message: bytes) -> list[bytes]:
    """What is to be read at the far side; each kind of line end is one."""
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read(raw: bytes) -> list[bytes]:
    """The lines of one message as it was sent, by a reader that takes CR, LF and CR LF for a line end, and a
    lone dot before any of them for the end. AssertionError where a stricter one would read anything else."""
    *lines, rest = re.split(rb"\r\n|\r|\n", raw)
    assert rest == b"" and raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n") == len(lines), raw
    assert lines.index(b".") == len(lines) - 1, raw
    assert not any(re.match(rb"\.(?!\.)", line) for line in lines[:-1]), raw
    return [line.removeprefix(b".") for line in lines[:-1]]


class Connection:
    """The client of the relay and a far side in memory: one message after the other."""

    def __init__(self, *extensions: str) -> None:
        self.far = FarSide(Behaviour(extensions=("PIPELINING", "8BITMIME", *extensions)))
        self._verb = "BDAT" if extensions else "DATA"
        self._shell = _Shell(Clock(), Target("far.test", "127.0.0.1", 25, "a.test"), None, None)  # type: ignore[arg-type]
        session = self.far.buildProtocol(IPv4Address("TCP", "127.0.0.1", 25))
        self._ends: list[tuple[Any, Any, StringTransport]] = []
        for end, other in ((self._shell, session), (session, self._shell)):
            transport: Any = StringTransport()
            transport.setTcpNoDelay = lambda _: None
            self._ends.append((end, other, transport))
        for end, _, transport in self._ends:
            end.makeConnection(transport)
        self._carry()

    def _carry(self) -> None:
        carried = True
        while carried:
            carried = False
            for _, other, transport in self._ends:
                if octets := transport.value():
                    transport.clear()
                    other.dataReceived(octets)
                    carried = True

    def send(self, body: OutgoingBody) -> bytes:
        """What the message was, as DATA has it. AssertionError unless it was one message."""
        before = len(self.far.taken), len(self.far.lines)
        envelope = Envelope("bob@example.test", (ForwardPath("x@far.test"),), body.size)
        answers: list[Any] = []
        self._shell.send(envelope, body).addBoth(answers.append)
        self._carry()
        assert [reply.code for reply in answers[0].replies.values()] == [250], answers
        verbs = [line.split(" ")[0] for line in self.far.lines[before[1] :]]
        assert verbs == ["MAIL", "RCPT", self._verb], verbs
        assert len(self.far.taken) == before[0] + 1, len(self.far.taken)
        return self.far.taken[-1].raw


class Relay:
    """Says each message to a far side that has DATA alone, and to one with CHUNKING."""

    def __init__(self) -> None:
        self._data, self._chunks = Connection(), Connection("CHUNKING")

    def send(self, body: OutgoingBody) -> bytes:
        """What went out. AssertionError unless it was one message, and the same by DATA and BDAT."""
        sent = self._data.send(body)
        assert self._chunks.send(body) == sent, sent
        return sent


class SubmittedTests(JMAPCase):
    """Stored by another protocol first, then sent: from the mailbox to the queue, and from there out."""

    def setUp(self) -> None:
        super().setUp()
        unlimited = SetAccount("bob@example.test", (("daily_messages", 0),))
        self.successResultOf(self.store.commit(unlimited))

    def submit(self) -> None:
        """All that bob has, in the order that they came, by EmailSubmission; then they are removed."""
        listed = self.successResultOf(self.store.read(ListEmails(self.ids["bob"])))
        emails = [f"M{number}" for number in sorted(listed.uids)]
        self.assertLessEqual(len(emails), BATCH)
        [identity] = self.call("Identity/get", {"ids": None})["list"]
        envelope = {"mailFrom": {"email": "bob@example.test"}, "rcptTo": [{"email": "x@far.test"}]}
        create = {
            f"s{at}": {"identityId": identity["id"], "emailId": email, "envelope": envelope}
            for at, email in enumerate(emails)
        }
        self.assertIsNone(self.call("EmailSubmission/set", {"create": create})["notCreated"])
        self.assertEqual(self.call("Email/set", {"destroy": emails})["destroyed"], emails)

    def queued(self) -> tuple[QueueMessage, ...]:
        found: tuple[QueueMessage, ...] = self.successResultOf(
            self.store.read(QueueList(QueueFilter(), 2 * len(ODD)))
        )
        return found

    def check(self) -> None:
        """Each combination goes out as one message of the lines that it had, in the order of ODD."""
        relay, queued = Relay(), self.queued()
        self.assertEqual(len(queued), len(ODD))
        means = Means(self.store, *[None] * 5)  # type: ignore[arg-type]
        for odd, message in zip(ODD, queued, strict=True):
            body = self.successResultOf(Deferred.fromCoroutine(load_body(means, message)))
            lines = read(relay.send(body))
            brought = lines_of(odd_message(odd))
            self.assertEqual(lines[-len(brought) :], brought, odd)
            added = lines[: -len(brought)]
            self.assertTrue(all(re.match(rb"[A-Za-z-]+:|[ \t]", line) for line in added), added)

    def test_append(self) -> None:
        """By IMAP's APPEND."""
        client = self.enter()
        for batch in BATCHES:
            said = b"a APPEND Drafts" + b"".join(b" {%d+}\r\n%b" % (len(m), m) for m in batch)
            self.assertIn(b"a OK ", client.exchange(said + b"\r\n"))
            self.submit()
        self.check()

    def test_import(self) -> None:
        """By JMAP: Blob/upload (RFC 9404) and Email/import."""
        [box] = self.call("Mailbox/query", {"filter": {"role": "drafts"}})["ids"]
        for batch in BATCHES:
            create = {
                f"b{at}": {"data": [{"data:asBase64": b64encode(message).decode()}]}
                for at, message in enumerate(batch)
            }
            made = self.call("Blob/upload", {"create": create})["created"]
            emails = {name: {"blobId": made[name]["id"], "mailboxIds": {box: True}} for name in create}
            self.assertIsNone(self.call("Email/import", {"emails": emails})["notCreated"])
            self.submit()
        self.check()


class ChunkTests(SynchronousTestCase):
    """Brought by BDAT, with a border of chunks at every octet of an odd end."""

    def brought(self, message: bytes, odd: bytes, line_ends: LineEnds) -> bytes | None:
        """What is handed on of it to be stored; None where it was refused. It is the only message."""
        dialogue = Dialogue(terms(line_ends=line_ends))
        binary = line_ends is LineEnds.BINARY
        dialogue.exchange(
            b"EHLO c.test\r\nMAIL FROM:<a@b.test>%b\r\nRCPT TO:<c@d.test>\r\n"
            % (b" BODY=BINARYMIME" if binary else b"")
        )
        start = len(message) - len(odd)
        pieces = [message[:start], *(message[at : at + 1] for at in range(start, len(message)))]
        said = b"".join(b"BDAT %d\r\n%b" % (len(piece), piece) for piece in pieces)
        answer = dialogue.exchange(said + b"BDAT 0 LAST\r\n")
        self.assertEqual(answer.count(b"\r\n"), len(pieces) + 1)
        self.assertEqual(len(dialogue.transactions), 1)
        self.assertEqual(len(dialogue.messages) + len(dialogue.spoiled), 1)
        return dialogue.messages[0] if dialogue.messages else None

    def emitted(self, relay: Relay, stored: bytes) -> bytes:
        return relay.send(OutgoingBody(b"", len(stored), stored))

    def test_submitted(self) -> None:
        """Line ends become CR LF; every combination goes out as one message."""
        relay = Relay()
        for odd in ODD:
            message = odd_message(odd)
            stored = self.brought(message, odd, LineEnds.NORMALISED)
            assert stored is not None, odd
            self.assertEqual(read(self.emitted(relay, stored)), lines_of(message), odd)

    def test_strangers(self) -> None:
        """Taken as it is where each line end is CR LF, and refused otherwise."""
        relay, taken = Relay(), 0
        for odd in ODD:
            message = odd_message(odd)
            stored = self.brought(message, odd, LineEnds.STRICT)
            clean = message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n")
            self.assertEqual(stored is not None, clean, odd)
            if stored is not None:
                taken += 1
                self.assertEqual(read(self.emitted(relay, stored)), lines_of(message), odd)
        # Rows of dots and CR LF, of none to six octets: 1 + 1 + 2 + 3 + 5 + 8 + 13.
        self.assertEqual(taken, 33)

    def test_binary(self) -> None:
        """BINARYMIME: its octets are kept, in base64 where they are no lines, and so one message goes out."""
        relay, encoded = Relay(), 0
        store = MemoryStore(lambda: 0.0, None)
        self.successResultOf(store.start())
        for odd in ODD:
            message = odd_message(odd)
            raw = self.brought(message, odd, LineEnds.BINARY)
            self.assertEqual(raw, message)
            sink = BinarySink(store.stage, at_once)
            sink.write(message)
            body = self.successResultOf(sink.finish())
            lines = read(self.emitted(relay, body.data))
            if lines == lines_of(message):
                continue
            encoded += 1
            parsed = message_from_bytes(b"\r\n".join(lines))
            self.assertEqual(parsed["Content-Transfer-Encoding"], "base64")
            self.assertEqual(parsed.get_payload(decode=True), message[len(HEADER) :], odd)
        self.assertEqual(encoded, len(ODD) - 33)


class PieceTests(SynchronousTestCase):
    def test_cut(self) -> None:
        """A file is read in pieces: wherever one ends, the same goes out."""
        for odd in ODD:
            message, start = odd + b"M" + odd, len(odd)
            whole = DotStuffer()
            sent = whole.feed(message) + whole.finish()
            self.assertEqual(read(sent), lines_of(message), odd)
            for at in (*range(start), *range(start + 1, len(message))):
                cut = DotStuffer()
                pieces = cut.feed(message[:at]) + cut.feed(message[at:]) + cut.finish()
                self.assertEqual(pieces, sent, (odd, at))
