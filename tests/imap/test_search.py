"""SEARCH, SORT and THREAD where a transcript does not reach: progress, what IMAP4rev2 and others change."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.search import TELL_EVERY, cut
from mailftp.imap.thread import written
from mailftp.store import searching
from mailftp.store.queries import SearchMessages
from tests.imap.mailboxes import IMAPTestCase


class SearchTests(IMAPTestCase):
    def said(self, client: Any, command: bytes) -> list[bytes]:
        client.send(command + b"\r\n")
        return client.received().split(b"\r\n")[:-1]

    def test_progress(self) -> None:
        """A search that takes long says how far it is, not too often, and nothing when it is done."""
        self.patch(searching, "PIECE_MESSAGES", 1)
        client = self.enter("INBOX")
        read = self.store.read

        def slow(query: Any) -> Any:
            if isinstance(query, SearchMessages):
                self.clock.advance(TELL_EVERY / 2)
            return read(query)

        self.patch(self.store, "read", slow)
        self.assertEqual(
            self.said(client, b"x SEARCH TEXT e"),
            [b'* OK [INPROGRESS ("x" 2 3)] still looking', b"* SEARCH 1 2 3", b"x OK done"],
        )

    def test_rev2(self) -> None:
        """With IMAP4rev2 a SEARCH without RETURN is answered by ESEARCH (RFC 9051 section 7.3.4)."""
        client = self.enter("INBOX")
        self.said(client, b"e ENABLE IMAP4rev2")
        self.assertEqual(
            self.said(client, b"x UID SEARCH 1,3"), [b'* ESEARCH (TAG "x") UID ALL 1,3', b"x OK done"]
        )
        self.assertEqual(self.said(client, b"x SEARCH DELETED"), [b'* ESEARCH (TAG "x")', b"x OK done"])

    def test_utf8(self) -> None:
        """With UTF8=ACCEPT strings are UTF-8 and a charset is not named (RFC 6855 section 3)."""
        self.put("Subject: Grüße\r\n\r\n".encode())
        client = self.enter("INBOX")
        self.said(client, b"e ENABLE UTF8=ACCEPT")
        self.assertEqual(self.said(client, 'x SEARCH SUBJECT "GRÜSSE"'.encode()), [b"* SEARCH", b"x OK done"])
        self.assertEqual(
            self.said(client, 'x SEARCH SUBJECT "grÜße"'.encode()), [b"* SEARCH 4", b"x OK done"]
        )
        (answer,) = self.said(client, b"x SEARCH CHARSET UTF-8 ALL")
        self.assertTrue(answer.startswith(b"x BAD"), answer)

    def test_uidonly(self) -> None:
        """With UIDONLY nothing goes by sequence number (RFC 9586 section 3)."""
        client = self.enter("INBOX")
        self.said(client, b"e ENABLE UIDONLY")
        for command in (
            b"SEARCH ALL",
            b"UID SEARCH 1",
            b"SORT (SIZE) UTF-8 ALL",
            b"THREAD REFERENCES UTF-8 ALL",
        ):
            (answer,) = self.said(client, b"x " + command)
            self.assertTrue(answer.startswith(b"x BAD [UIDREQUIRED]"), answer)
        self.assertEqual(self.said(client, b"x UID SEARCH UID 1,3"), [b"* SEARCH 1 3", b"x OK done"])

    def test_saved(self) -> None:
        """A search that is refused leaves nothing saved, one that makes no sense leaves what was (RFC 5182
        section 2.1); `$` may be in a search that saves."""
        client = self.enter("INBOX")
        self.said(client, b"x SEARCH RETURN (SAVE) 1:2")
        self.said(client, b"x SEARCH RETURN (SAVE) 9")
        self.assertEqual(self.said(client, b"x SEARCH $"), [b"* SEARCH 1 2", b"x OK done"])
        self.said(client, b"x SEARCH RETURN (SAVE) NOT $")
        self.assertEqual(self.said(client, b"x SEARCH $"), [b"* SEARCH 3", b"x OK done"])
        self.said(client, b"x SEARCH RETURN (SAVE MIN) ALL")
        self.assertEqual(self.said(client, b"x SEARCH $"), [b"* SEARCH 1", b"x OK done"])
        self.said(client, b"x SEARCH RETURN (SAVE) CHARSET martian ALL")
        self.assertEqual(self.said(client, b"x SEARCH $"), [b"* SEARCH", b"x OK done"])

    def test_not_yet_told(self) -> None:
        """What the client does not know of has no number and is not found; nor is what is gone."""
        client, other = self.enter("INBOX"), self.enter("INBOX")
        self.put(b"Subject: new\r\n\r\n")
        self.said(other, b"y UID STORE 2 +FLAGS.SILENT \\Deleted")
        self.said(other, b"y EXPUNGE")
        answer = self.said(client, b"x SEARCH ALL")
        self.assertEqual(answer[0], b"* SEARCH 1 3")
        self.assertEqual(answer[1:], [b"* 4 EXISTS", b"x OK done"])


class WritingTests(SynchronousTestCase):
    def test_cut(self) -> None:
        """PARTIAL counts from either end."""
        found = list(range(10, 20))
        for span, expected in (
            ((1, 3), [10, 11, 12]),
            ((9, 30), [18, 19]),
            ((11, 30), []),
            ((-1, -3), [17, 18, 19]),
            ((-9, -30), [10, 11]),
            ((-11, -30), []),
        ):
            self.assertEqual(cut(found, span), expected, span)

    def test_threads(self) -> None:
        """As RFC 5256 section 4 shows them; depth costs no stack."""
        names, depths = (2, 3, 6, 4, 23, 44, 7, 96), (0, 0, 1, 2, 3, 2, 3, 4)
        self.assertEqual(b"".join(written(names, depths)), b"(2)(3 6 (4 23)(44 7 96))")
        self.assertEqual(b"".join(written((0, 3, 5), (0, 1, 1))), b"((3)(5))")
        chain = b"".join(written(range(1, 50_001), range(50_000)))
        self.assertTrue(chain.startswith(b"(1 2 3 ") and chain.endswith(b" 50000)"))
