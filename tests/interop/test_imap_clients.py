"""IMAP clients that we did not write: imaplib, imapclient, aioimaplib, curl, mutt, getmail."""

from __future__ import annotations

import asyncio
import imaplib
import shlex
from datetime import UTC, datetime

from twisted.trial.unittest import SkipTest, TestCase

from tests.interop.imap import PASSWORD, Account, message
from tests.interop.running import PATIENCE, program

#: Kept in a file of its own.
LARGE = message(7, 200_000)


class ClientTestCase(TestCase):
    def setUp(self) -> None:
        self.account = Account(self)

    def subjects(self, mailbox: str = "INBOX") -> list[str]:
        return [subject.removeprefix("Subject: message ") for subject in self.account.there(mailbox)]


class ImaplibTests(ClientTestCase):
    def test_session(self) -> None:
        """The standard library's client, behind STARTTLS: every command that it knows and that we have."""
        client = imaplib.IMAP4("localhost", self.account.port, timeout=PATIENCE)
        self.addCleanup(client.sock.close)
        client.starttls(self.account.trust())
        client.authenticate("PLAIN", lambda _: f"\0bob\0{PASSWORD}".encode())

        def ok(name: str, *arguments: object) -> list[bytes]:
            status, data = getattr(client, name)(*arguments)
            self.assertEqual(status, "OK", (name, data))
            found: list[bytes] = data
            return found

        ok("enable", "CONDSTORE")
        ok("create", "Work")
        ok("subscribe", "Work")
        self.assertIn(b'(\\HasNoChildren) "/" "Work"', ok("list", '""', "Work")[0])
        for number in (1, 2, 3):
            stamp = datetime(2024, 2, number, tzinfo=UTC)
            ok("append", "Work", "\\Seen" if number == 1 else "", stamp, message(number))
        ok("append", "Work", "", "", LARGE)
        self.assertEqual(ok("select", "Work"), [b"4"])
        self.assertEqual(ok("search", None, "UNSEEN"), [b"2 3 4"])
        envelope = ok("fetch", "1", "(UID ENVELOPE INTERNALDATE)")[0]
        self.assertIn(b'INTERNALDATE " 1-Feb-2024 00:00:00 +0000"', envelope)
        self.assertIn(b'"message 1" (("Carol" NIL "carol" "sender.test"))', envelope)
        (_, body), flags = ok("uid", "FETCH", "4", "(BODY[])")  # type: ignore[misc]
        self.assertEqual(body, LARGE)
        self.assertIn(b")", flags)
        ok("copy", "1:2", "INBOX")
        ok("store", "2", "+FLAGS", "\\Deleted")
        self.assertEqual(ok("expunge"), [b"2"])
        ok("rename", "Work", "Arbeit")
        ok("status", "Arbeit", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")
        ok("noop")
        ok("close")
        ok("delete", "Arbeit")
        client.logout()
        self.assertEqual(self.subjects(), ["1", "2"])


class ImapclientTests(ClientTestCase):
    def test_session(self) -> None:
        """imapclient over imaps: parsing what we say is its whole point."""
        try:
            from imapclient import IMAPClient
        except ImportError:
            raise SkipTest("needs imapclient: pip install imapclient") from None
        self.account.append([message(number) for number in (1, 2, 3)])
        with IMAPClient(
            "localhost", self.account.tls_port, ssl_context=self.account.trust(), timeout=PATIENCE
        ) as client:
            client.login("bob", PASSWORD)
            self.assertEqual(client.select_folder("INBOX")[b"EXISTS"], 3)
            found = client.fetch([1, 2], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE", "BODY.PEEK[]"])
            self.assertEqual(sorted(found), [1, 2])
            self.assertEqual(found[2][b"ENVELOPE"].subject, b"message 2")
            self.assertEqual(found[2][b"BODYSTRUCTURE"][:2], (b"text", b"plain"))
            self.assertEqual(found[1][b"BODY[]"], message(1))
            self.assertEqual(found[1][b"RFC822.SIZE"], len(message(1)))
            client.add_flags([1], ["\\Flagged", "$Label"])
            self.assertEqual(client.get_flags([1])[1], (b"$Label", b"\\Flagged"))
            self.assertEqual(client.search(["FLAGGED"]), [1])
            client.create_folder("Gro\u00df/Stra\u00dfe")
            self.assertIn("Gro\u00df/Stra\u00dfe", [name for _, _, name in client.list_folders()])
            client.move([1], "Gro\u00df/Stra\u00dfe")
            client.copy([2], "Gro\u00df/Stra\u00dfe")
            self.assertEqual(client.folder_status("Gro\u00df/Stra\u00dfe", ["MESSAGES"])[b"MESSAGES"], 2)
            client.idle()
            self.account.append([message(8)])
            self.assertEqual(client.idle_check(timeout=PATIENCE), [(3, b"EXISTS")])
            client.idle_done()
            client.append("INBOX", message(9), flags=["\\Seen"], msg_time=datetime(2024, 1, 1))
            client.delete_messages([2])
            client.expunge([2])
            self.assertEqual(client.search("ALL"), [3, 4, 5])
            client.logout()
        self.assertEqual(self.subjects(), ["3", "8", "9"])


class AioimaplibTests(ClientTestCase):
    def test_session(self) -> None:
        """aioimaplib: IDLE is told of what another session appends, and its fetched octets are ours."""
        try:
            from aioimaplib import aioimaplib
        except ImportError:
            raise SkipTest("needs aioimaplib: pip install aioimaplib") from None
        self.account.append([message(1)])

        async def session() -> None:
            client = aioimaplib.IMAP4_SSL(
                "localhost", self.account.tls_port, timeout=PATIENCE, ssl_context=self.account.trust()
            )
            await client.wait_hello_from_server()
            self.assertEqual((await client.login("bob", PASSWORD)).result, "OK")
            self.assertEqual((await client.select("INBOX")).result, "OK")
            fetched = await client.uid("fetch", "1", "(UID BODY.PEEK[])")
            self.assertEqual(fetched.lines[1], message(1))
            idle = await client.idle_start(timeout=PATIENCE)
            await asyncio.to_thread(self.account.append, [message(2)])
            while b"2 EXISTS" not in await client.wait_server_push():
                pass
            client.idle_done()
            await asyncio.wait_for(idle, PATIENCE)
            self.assertEqual((await client.uid("move", "1", "Archive")).result, "OK")
            self.assertEqual((await client.logout()).result, "OK")

        asyncio.run(session())
        self.assertEqual((self.subjects(), self.subjects("Archive")), (["2"], ["1"]))


class CurlTests(ClientTestCase):
    def curl(self, path: str, *arguments: str, tls: bool = False) -> str:
        scheme, port = ("imaps", self.account.tls_port) if tls else ("imap", self.account.port)
        secure = () if tls else ("--ssl-reqd",)
        return self.account.client(
            *(
                program("curl", "curl"),
                "-sS",
                "--max-time",
                "50",
                "--cacert",
                self.account.server.ca,
                *secure,
            ),
            *("-u", f"bob:{PASSWORD}", *arguments, f"{scheme}://localhost:{port}/{path}"),
        )

    def test_session(self) -> None:
        """An upload, a listing, a message by its UID, a section of it, a search, other commands."""
        file = self.account.folder / "message"
        for text in (message(1), LARGE):
            file.write_bytes(text)
            self.curl("INBOX", "-T", str(file))
        self.assertIn('(\\HasNoChildren) "/" "INBOX"', self.curl("", tls=True))
        self.assertEqual(self.curl("INBOX;UID=2").encode(), LARGE)
        self.assertEqual(
            self.curl("INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)", tls=True), "Subject: message 1\r\n\r\n"
        )
        self.assertEqual(self.curl("INBOX?SUBJECT%20%22message%207%22"), "* SEARCH 2\r\n")
        self.curl("INBOX", "-X", "STORE 1 +FLAGS \\Deleted")
        self.curl("INBOX", "-X", "EXPUNGE", tls=True)
        self.assertEqual(self.subjects(), ["7"])


class MuttTests(ClientTestCase):
    def test_folder(self) -> None:
        """mutt opens the mailbox, saves one message to another mailbox, copies one to a file, deletes one."""
        program("mutt", "mutt")
        self.account.append([message(number) for number in (1, 2, 3)])
        keys = (
            "<first-entry><copy-message>=kept<enter><next-entry><save-message>imap://bob@localhost:"
            f"{self.account.port}/Archive<enter><next-entry><flag-message><first-entry><delete-message><quit>"
        )
        (self.account.folder / "rc").write_text(
            f'set imap_user=bob imap_pass="{PASSWORD}" certificate_file={self.account.server.ca}\n'
            f"set ssl_starttls=yes ssl_verify_host=yes folder={self.account.folder} mbox_type=mbox\n"
            "set delete=yes quit=yes confirmappend=no confirmcreate=no move=no sort=mailbox-order\n"
            f'push "{keys}"\n'
        )
        command = shlex.join([
            "timeout", "--foreground", str(PATIENCE - 5), "mutt", "-n", "-F", str(self.account.folder / "rc"),
            "-f", f"imap://bob@localhost:{self.account.port}/INBOX",
        ])  # fmt: skip
        self.account.client(program("script", "bsdutils"), "-qec", command, "/dev/null")
        self.assertIn("Subject: message 1\n", (self.account.folder / "kept").read_text())
        self.assertEqual((self.subjects(), self.subjects("Archive")), (["3"], ["2"]))
        self.assertIn("\\Flagged", self.account.there()["Subject: message 3"])


class GetmailTests(ClientTestCase):
    def test_fetch(self) -> None:
        """getmail6 takes all mail, large mail too, gives it to a program and deletes it here."""
        getmail = program("getmail", "getmail6")
        self.account.append([message(1), LARGE])
        home = self.account.folder / ".getmail"
        home.mkdir()
        # Its own Maildir delivery refuses to run as root, as tests may.
        (home / "rc").write_text(
            "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\n"
            f"port = {self.account.tls_port}\nusername = bob\npassword = {PASSWORD}\n"
            f"ca_certs = {self.account.server.ca}\nmailboxes = ('INBOX',)\n"
            "[destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n"
            f"arguments = ('-c', 'cat >>{home}/got')\n"
            "[options]\ndelete = true\nread_all = true\nreceived = false\ndelivered_to = false\n"
        )
        self.account.client(getmail, "--getmaildir", home, "--rcfile", "rc")
        got = (home / "got").read_bytes()
        self.assertIn(b"Subject: message 1\n", got)
        self.assertIn(b"body 7\n" + b"another line of it\n" * 10_000, got)
        self.assertEqual(self.subjects(), [])
