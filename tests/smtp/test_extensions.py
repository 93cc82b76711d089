"""DSN, SMTPUTF8 and chunks from the wire to the store."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.policy import default

from mailftp.message.address import parse_address
from mailftp.store.engine import StoreFault
from mailftp.store.records import ForwardPath
from tests.smtp.servers import PLAIN_ALICE, ServerTestCase

MESSAGE = b"Subject: hello\r\nMessage-ID: <1@far.test>\r\n\r\nHello.\r\n"
DATA = b"DATA\r\n" + MESSAGE + b".\r\n"


def status(report: bytes) -> list[Message]:
    """The blocks of a report's machine-readable part."""
    part = message_from_bytes(report, policy=default).get_payload()[1]  # type: ignore[index]
    return list(part.get_payload())  # type: ignore[union-attr,arg-type]


class NotificationTests(ServerTestCase):
    def submit(self, *lines: bytes) -> list[bytes]:
        """Codes of the answers to what alice says."""
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        return self.codes(client, b"".join(line + b"\r\n" for line in lines[:-1]) + lines[-1])

    def test_carried(self) -> None:
        """RET, ENVID, NOTIFY and ORCPT of what leaves are kept with it, decoded."""
        codes = self.submit(
            b"MAIL FROM:<alice@example.test> RET=hdrs ENVID=x+2By",
            b"RCPT TO:<x@far.test> NOTIFY=SUCCESS,delay ORCPT=rfc822;X+2Bz@first.test",
            b"RCPT TO:<y@far.test>",
            DATA,
        )
        self.assertEqual(codes, [b"250", b"250", b"250", b"354", b"250"])
        (queued,) = self.queue()
        self.assertEqual((queued.transfer.ret, queued.transfer.envid), ("HDRS", "x+y"))
        paths = [ForwardPath(r.address, r.orcpt, r.notify) for r in queued.recipients]
        asked = frozenset({"SUCCESS", "DELAY"})
        self.assertEqual(
            paths,
            [ForwardPath("x@far.test", "rfc822;X+z@first.test", asked), ForwardPath("y@far.test")],
        )

    def test_delivered_here(self) -> None:
        """NOTIFY=SUCCESS to our own people is answered with one report, which has the header alone."""
        self.submit(
            b"MAIL FROM:<alice@example.test> ENVID=abc",
            b"RCPT TO:<bob@example.test> NOTIFY=SUCCESS ORCPT=rfc822;bobby@first.test",
            b"RCPT TO:<postmaster@example.test> NOTIFY=FAILURE",
            b"RCPT TO:<x@far.test> NOTIFY=SUCCESS",
            DATA,
        )
        report, *_ = [m for m in self.inbox(self.alice) if b"multipart/report" in m]
        self.assertTrue(report.startswith(b"Return-Path: <>\r\n"))
        blocks = status(report)
        self.assertEqual(blocks[0]["Original-Envelope-Id"], "abc")
        self.assertEqual([block["Final-Recipient"] for block in blocks[1:]], ["rfc822; bob@example.test"])
        self.assertEqual(blocks[1]["Action"], "delivered")
        self.assertEqual(blocks[1]["Original-Recipient"], "rfc822;bobby@first.test")
        self.assertIn(b"\r\nSubject: hello\r\n", report)
        self.assertNotIn(b"Hello.", report)

    def test_to_a_stranger(self) -> None:
        """A stranger who asks is told by mail that is queued from the null sender; the null sender never."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\n")
        for sender in (b"z@far.test", b""):
            said = b"MAIL FROM:<" + sender + b">\r\nRCPT TO:<bob@example.test> NOTIFY=SUCCESS\r\n" + DATA
            self.assertEqual(self.codes(client, said)[-1], b"250")
        (queued,) = self.queue()
        self.assertEqual(queued.transfer.reverse_path, "")
        self.assertEqual([r.address for r in queued.recipients], ["z@far.test"])
        self.assertEqual(len(self.inbox(self.bob)), 2)

    def test_report_fails(self) -> None:
        """A report that cannot be made costs nobody the message."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\n")
        commit = self.store.commit
        commits = 0

        def second_fails(unit: object) -> object:
            nonlocal commits
            commits += 1
            if commits == 2:
                raise StoreFault("broken")
            return commit(unit)

        self.patch(self.store, "commit", second_fails)
        said = b"MAIL FROM:<z@far.test>\r\nRCPT TO:<bob@example.test> NOTIFY=SUCCESS\r\n" + DATA
        self.assertEqual(self.codes(client, said)[-1], b"250")
        self.assertEqual(len(self.inbox(self.bob)), 1)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)

    def test_long_header(self) -> None:
        """Of a header beyond what is kept for a report its whole lines are given back."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\n")
        client.exchange(
            b"MAIL FROM:<alice@example.test>\r\nRCPT TO:<bob@example.test> NOTIFY=SUCCESS\r\nDATA\r\n"
        )
        client.exchange(b"Subject: x\r\n" + b"X-Long: 0123456789\r\n" * 2000 + b"\r\nbody\r\n.\r\n")
        (report,) = self.inbox(self.alice)
        self.assertGreater(report.count(b"X-Long: 0123456789\r\n"), 700)
        self.assertEqual(report.count(b"X-Long"), report.count(b"X-Long: 0123456789\r\n"))


class UTF8Tests(ServerTestCase):
    def test_to_ours(self) -> None:
        """An account beyond ASCII gets its mail, in each way to type its name, and its trace says so."""
        self.juergen = self.add(parse_address("j\u00fcrgen@example.test").key)
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\n")
        for name in ("j\u00fcrgen", "J\u00dcRGEN", "ju\u0308rgen"):
            said = (
                f"MAIL FROM:<z\u00e9@far.test> SMTPUTF8\r\nRCPT TO:<{name}@example.test>\r\n".encode() + DATA
            )
            self.assertEqual(self.codes(client, said), [b"250", b"250", b"354", b"250"])
        messages = self.inbox(self.juergen)
        self.assertEqual(len(messages), 3)
        self.assertTrue(messages[0].startswith("Return-Path: <z\u00e9@far.test>\r\n".encode()))
        self.assertIn("Delivered-To: j\u00fcrgen@example.test\r\n".encode(), messages[0])
        self.assertIn(b"with UTF8SMTP ", messages[0].replace(b"\r\n\t", b" "))

    def test_domain(self) -> None:
        """A domain in UTF-8 is its A-label from here on."""
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n" + PLAIN_ALICE)
        said = "MAIL FROM:<alice@example.test> SMTPUTF8\r\nRCPT TO:<x@b\u00fccher.test>\r\n".encode() + DATA
        self.assertEqual(self.codes(client, said)[-1], b"250")
        (queued,) = self.queue()
        self.assertTrue(queued.transfer.smtputf8)
        self.assertEqual(queued.recipients[0].address, "x@xn--bcher-kva.test")
        self.assertIn(b"with UTF8SMTPSA ", queued.transfer.prefix.replace(b"\r\n\t", b" "))

    def test_forgotten(self) -> None:
        """SMTPUTF8 holds for its own transaction."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\nMAIL FROM:<z@far.test> SMTPUTF8\r\nRSET\r\n")
        said = b"MAIL FROM:<z@far.test>\r\nRCPT TO:<bob@example.test>\r\n" + DATA
        self.assertEqual(self.codes(client, said)[-1], b"250")
        self.assertIn(b"with ESMTP ", self.inbox(self.bob)[0].replace(b"\r\n\t", b" "))

    def test_report(self) -> None:
        """A report to an address beyond ASCII is queued as what it is."""
        to = parse_address("z\u00e9@far.test")
        unit = self.successResultOf(self.intake.report(to, "To: <z\u00e9@far.test>\r\n\r\nx\r\n".encode()))
        assert unit is not None and unit.transfer is not None
        self.assertTrue(unit.transfer.smtputf8)


class ChunkTests(ServerTestCase):
    def test_accepted(self) -> None:
        """A message in chunks is filed as it came."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\nMAIL FROM:<z@far.test>\r\nRCPT TO:<bob@example.test>\r\n")
        body = MESSAGE + b"." * 100_000 + b"\r\n"
        said = b"".join(b"BDAT %d\r\n" % len(p) + p for p in (body[:10], body[10:50_000]))
        codes = self.codes(client, said + b"BDAT %d LAST\r\n" % (len(body) - 50_000) + body[50_000:])
        self.assertEqual(codes, [b"250"] * 3)
        self.assertTrue(self.inbox(self.bob)[0].endswith(b"\r\n" + body))

    def test_reset(self) -> None:
        """RSET between chunks leaves nothing staged."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\nMAIL FROM:<z@far.test>\r\nRCPT TO:<bob@example.test>\r\n")
        client.exchange(b"BDAT 3\r\nabcRSET\r\n")
        self.assertTrue(self.store.sinks[-1].aborted)
        self.assertEqual(self.inbox(self.bob), [])


class VerifyTests(ServerTestCase):
    def test_submission(self) -> None:
        """Who logged in is told who is here; of elsewhere nothing is known."""
        client = self.connect("submissions")
        client.exchange(b"EHLO c.test\r\n")
        self.assertEqual(self.codes(client, b"VRFY bob@example.test\r\n"), [b"252"])
        client.exchange(PLAIN_ALICE)
        self.assertEqual(client.exchange(b"VRFY <bob@example.test>\r\n"), b"250 2.1.5 <bob@example.test>\r\n")
        said = b"VRFY dave@example.test\r\nVRFY carol@example.test\r\nVRFY x@far.test\r\nVRFY Bob\r\nVRFY\r\n"
        self.assertEqual(self.codes(client, said), [b"550", b"550", b"252", b"252", b"501"])

    def test_strangers(self) -> None:
        """On the MX nobody is told."""
        client = self.connect("smtp")
        client.exchange(b"EHLO far.test\r\n")
        said = b"VRFY bob@example.test\r\nVRFY dave@example.test\r\n"
        self.assertEqual(self.codes(client, said), [b"252", b"252"])
