"""What MAIL's parameters ask for, from the wire to the store: held, urgent, in time, under TLS, binary."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes

from mailftp.store.records import Handling
from mailftp.store.units import AddAlias
from tests.connector import connect
from tests.intake.houses import NOW
from tests.smtp.servers import PLAIN_ALICE, ServerTestCase

DATA = b"DATA\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n"


class HandlingTests(ServerTestCase):
    def submit(self, parameters: bytes, *recipients: bytes, data: bytes = DATA) -> list[bytes]:
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        said = b"MAIL FROM:<alice@example.test> " + parameters + b"\r\n"
        said += b"".join(b"RCPT TO:<" + recipient + b">\r\n" for recipient in recipients)
        return self.codes(client, said + data)

    def handling(self) -> Handling:
        (queued,) = self.queue()
        return queued.transfer.handling

    def test_all_of_it(self) -> None:
        """What a submitter asks is kept with what leaves."""
        codes = self.submit(b"BY=90;r MT-PRIORITY=-4 REQUIRETLS HOLDFOR=60", b"x@far.test")
        self.assertEqual(codes[-1], b"250")
        self.assertEqual(self.handling(), Handling(True, -4, NOW + 90, "R", NOW + 60))

    def test_stranger(self) -> None:
        """A stranger's priority is not believed; REQUIRETLS is kept for what an alias sends on."""
        self.successResultOf(self.store.commit(AddAlias("info@example.test", ("x@out.test",))))
        client = self.connect("smtp")
        client.exchange(b"EHLO c.test\r\n")
        said = b"MAIL FROM:<z@far.test> MT-PRIORITY=9 BY=60;N\r\nRCPT TO:<info@example.test>\r\n" + DATA
        self.assertEqual(self.codes(client, said)[-1], b"250")
        self.assertEqual(self.handling(), Handling(False, 0, NOW + 60, "N"))

    def test_too_long(self) -> None:
        """Sixty days, and no more; a time that is over means now."""
        self.assertEqual(self.submit(b"HOLDFOR=5184001", b"x@far.test")[0], b"501")
        self.assertEqual(self.submit(b"HOLDUNTIL=2099-01-01T00:00:00Z", b"x@far.test")[0], b"501")
        self.submit(b"HOLDUNTIL=2001-01-01T00:00:00Z", b"x@far.test")
        self.assertEqual(self.handling().hold_until, 0.0)
        self.submit(b"HOLDUNTIL=2027-01-15T09:00:00.5+01:00", b"y@far.test")
        self.assertEqual(self.queue()[1].transfer.handling.hold_until, 1_800_000_000.5)

    def test_held_for_all(self) -> None:
        """Nobody has it before its time, be they here or behind an alias; a name that is nobody's is refused
        at once."""
        self.successResultOf(self.store.commit(AddAlias("info@example.test", ("bob@example.test",))))
        people = (b"bob@example.test", b"info@example.test", b"x@far.test", b"nobody@example.test")
        codes = self.submit(b"HOLDFOR=60", *people)
        self.assertEqual(codes, [b"250", b"250", b"250", b"250", b"550", b"354", b"250"])
        (queued,) = self.queue()
        addresses = [recipient.address for recipient in queued.recipients]
        self.assertEqual(addresses, [person.decode() for person in people[:3]])
        self.assertEqual(queued.recipients[0].next_attempt, NOW + 60)
        self.assertEqual(self.inbox(self.bob), [])

    def test_no_success_before_its_time(self) -> None:
        """Nobody is told that a message was delivered that is not."""
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        said = b"MAIL FROM:<alice@example.test> HOLDFOR=60\r\nRCPT TO:<bob@example.test> NOTIFY=SUCCESS\r\n"
        self.assertEqual(self.codes(client, said + DATA)[-1], b"250")
        self.assertEqual(self.inbox(self.alice), [])


class ExpansionTests(ServerTestCase):
    def ask(self, *addresses: bytes, expand: bool = True) -> list[bytes]:
        factory = self.serve("submissions")
        factory.terms = replace(factory.terms, expands=expand)
        client = connect(factory)
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        return [client.exchange(b"EXPN " + address + b"\r\n") for address in addresses]

    def test_members(self) -> None:
        """One step of an alias, a line each; an account is itself; nobody is nobody."""
        targets = ("bob@example.test", "x@far.test")
        self.successResultOf(self.store.commit(AddAlias("info@example.test", targets)))
        self.assertEqual(
            self.ask(b"info@example.test", b"<Bob@example.test>", b"nobody@example.test", b"x@far.test"),
            [
                b"250-2.1.5 <bob@example.test>\r\n250 2.1.5 <x@far.test>\r\n",
                b"250 2.1.5 <bob@example.test>\r\n",
                b"550 5.1.1 nobody@example.test is nobody here\r\n",
                b"550 5.1.1 x@far.test is nobody here\r\n",
            ],
        )

    def test_off(self) -> None:
        """Without the setting nothing is told."""
        (said,) = self.ask(b"bob@example.test", expand=False)
        self.assertEqual(said[:9], b"550 5.7.2")

    def test_closed_list_is_verified(self) -> None:
        """VRFY says that a list is there, whoever may write to it."""
        unit = AddAlias(
            "team@example.test", ("bob@example.test",), owner="bob@example.test", members_only=True
        )
        self.successResultOf(self.store.commit(unit))
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        self.assertEqual(client.exchange(b"VRFY team@example.test\r\n"), b"250 2.1.5 <team@example.test>\r\n")


class BinaryTests(ServerTestCase):
    def send(self, message: bytes, chunk: int = 100) -> bytes:
        client = self.connect("smtp")
        client.exchange(
            b"EHLO c.test\r\nMAIL FROM:<z@far.test> BODY=BINARYMIME\r\nRCPT TO:<bob@example.test>\r\n"
        )
        for at in range(0, len(message), chunk):
            piece = message[at : at + chunk]
            last = b" LAST" if at + chunk >= len(message) else b""
            said = client.exchange(b"BDAT %d%s\r\n" % (len(piece), last) + piece)
        return said

    def test_kept_as_lines(self) -> None:
        """A part of any octets arrives whole, as base64, in a message of lines."""
        octets = bytes(range(256)) + b"\r\n.\r\n\n\r\0"
        for size in (1, 1000):
            head = (
                b"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            )
            self.assertEqual(self.send(head + octets * size, 100 * size)[:3], b"250")
            kept = self.inbox(self.bob)[-1]
            self.assertEqual(message_from_bytes(kept).get_payload(decode=True), octets * size)
            self.assertNotIn(b"\0", kept)

    def test_refused(self) -> None:
        """What cannot be made one of lines is refused, and nothing is left of it."""
        self.assertEqual(self.send(b"Subject: a\0b\r\n\r\nx")[:9], b"554 5.6.3")
        self.assertEqual(self.inbox(self.bob), [])
        self.assertTrue(all(sink.aborted for sink in self.store.sinks))
