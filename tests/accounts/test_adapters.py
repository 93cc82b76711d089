from __future__ import annotations

import io
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.cred.portal import Portal
from twisted.cred.strcred import makeChecker
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.mail.maildir import MaildirMailbox, initializeMaildir
from twisted.mail.pop3 import IMailbox, Mailbox
from twisted.protocols import ftp
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailftp.accounts.avatars import IMaildrop
from mailftp.accounts.credentials import Anonymous, Password
from mailftp.accounts.login import Login
from mailftp.accounts.mailboxes import MailboxDrop
from mailftp.accounts.shells import ShellHome
from mailftp.files import home
from mailftp.files.home import IHome, Intent, Kind
from mailftp.settings import Auth
from tests.accounts.logins import DOMAINS, LOCAL


class ShellTestCase(SynchronousTestCase):
    """Twisted's own FTPRealm over a real folder, through the portal."""

    def setUp(self) -> None:
        self.root = self.mktemp()
        os.makedirs(os.path.join(self.root, "bob", "sub"))
        self.put("a.txt", b"hello\r\n")
        portal = Portal(
            ftp.FTPRealm(os.path.join(self.root, "bob"), userHome=self.root),
            [makeChecker("memory:bob:hungry"), makeChecker("anonymous")],
        )
        self.login = Login(portal, Auth(), DOMAINS, Clock())

    def put(self, name: str, data: bytes) -> None:
        with open(os.path.join(self.root, "bob", name), "wb") as file:
            file.write(data)

    def got(self, name: str) -> bytes:
        with open(os.path.join(self.root, "bob", name), "rb") as file:
            return file.read()

    def enter(self, credentials: Any = None) -> Any:
        found = self.successResultOf(
            self.login.attempt(
                credentials or Password(b"bob", b"hungry"),
                peer=LOCAL,
                service="ftp",
                context="ftp-1",
                interfaces=(IHome, ftp.IFTPShell),
            )
        )
        self.assertIs(found.interface, IHome)
        return found.avatar

    def upload(self, path: home.Path, *pieces: bytes) -> Any:
        sink = self.successResultOf(self.enter().write(path, Intent.STORE, 0, None))
        for piece in pieces:
            self.assertIsNone(sink.write(piece))
        return sink


class ShellHomeTests(ShellTestCase):
    def test_provides(self) -> None:
        """It is an IHome."""
        verifyObject(IHome, self.enter())

    def test_entry(self) -> None:
        """A file, a folder and the root, with size, kind, mode and time."""
        os.chmod(os.path.join(self.root, "bob", "a.txt"), 0o640)
        os.utime(os.path.join(self.root, "bob", "a.txt"), (5.0, 1234.0))
        entry = self.successResultOf(self.enter().entry(("a.txt",)))
        self.assertEqual((entry.name, entry.kind, entry.size), ("a.txt", Kind.FILE, 7))
        self.assertEqual((entry.mode, entry.modified), (0o640, 1234.0))
        self.assertIs(self.successResultOf(self.enter().entry(("sub",))).kind, Kind.FOLDER)
        self.assertIs(self.successResultOf(self.enter().entry(())).kind, Kind.FOLDER)

    def test_entries(self) -> None:
        """A folder comes in pages until an empty one; a file is no folder."""
        for number in range(450):
            self.put(f"sub/{number}", b"")
        entries = self.successResultOf(self.enter().entries(("sub",)))
        names: set[str] = set()
        pages = 0
        while page := self.successResultOf(entries.next()):
            names |= {entry.name for entry in page}
            pages += 1
            self.assertLessEqual(len(page), 500)
        self.assertEqual(names, {str(number) for number in range(450)})
        self.assertGreater(pages, 1)
        entries.close()
        self.failureResultOf(self.enter().entries(("a.txt",)), home.NotAFolder)
        self.failureResultOf(self.enter().entries(("nowhere",)), home.NoSuchFile)

    def test_read(self) -> None:
        """A file is a descriptor of which any range can be read, whatever its size."""
        data = os.urandom(300_000)
        self.put("big", data)
        source = self.successResultOf(self.enter().read(("big",)))
        self.assertEqual(source.size, len(data))
        self.assertEqual(source.head, data[:65536])
        self.assertEqual(os.pread(source.descriptor, 100, 299_950), data[299_950:])
        source.close()
        source.close()

    def test_write(self) -> None:
        """An upload is in place when it is committed, and not before."""
        self.put("new", b"old")
        sink = self.upload(("new",), b"a" * 300_000, b"b")
        self.assertEqual(self.got("new"), b"old")
        self.assertEqual(self.successResultOf(sink.commit()), 300_001)
        self.assertEqual(self.got("new"), b"a" * 300_000 + b"b")

    def test_cut_uploads(self) -> None:
        """A cut upload, or one that nobody wants at its end, leaves the old file as it was."""
        self.put("old", b"old")
        self.assertEqual(self.successResultOf(self.upload(("old",), b"half").keep()), 0)
        self.failureResultOf(self.upload(("old",), b"half").commit(lambda: False), home.Cut)
        self.assertEqual(self.got("old"), b"old")

    def test_folders_and_names(self) -> None:
        """Make, rename, remove."""
        avatar = self.enter()
        self.successResultOf(avatar.make_folder(("new",)))
        self.successResultOf(avatar.rename(("a.txt",), ("new", "b.txt")))
        self.assertEqual(self.got("new/b.txt"), b"hello\r\n")
        self.failureResultOf(avatar.remove_folder(("new",)), home.FolderNotEmpty)
        self.successResultOf(avatar.remove(("new", "b.txt")))
        self.successResultOf(avatar.remove_folder(("new",)))
        self.assertEqual(os.listdir(os.path.join(self.root, "bob")), ["sub"])

    def test_refusals(self) -> None:
        """The shell's errors are ours, with no path in their text."""
        avatar = self.enter()
        for attempt, fault in (
            (avatar.entry(("none",)), home.NoSuchFile),
            (avatar.read(("none",)), home.NoSuchFile),
            (avatar.read(("sub",)), home.IsAFolder),
            (avatar.remove(("sub",)), home.IsAFolder),
            (avatar.remove_folder(("a.txt",)), home.NotAFolder),
            (avatar.make_folder(("sub",)), home.AlreadyThere),
            (avatar.write(("sub",), Intent.STORE, 0, None), home.IsAFolder),
            (avatar.write(("a.txt",), Intent.APPEND, 0, None), home.Denied),
            (avatar.write(("a.txt",), Intent.STORE, 5, None), home.Denied),
            (avatar.change(("a.txt",), home.Facts(modified=1.0)), home.Denied),
            (avatar.entry(("a.txt/../../x",)), home.Denied),
        ):
            self.assertNotIn(self.root, str(self.failureResultOf(attempt, fault).value))
        self.assertIsNone(self.successResultOf(avatar.room()))

    def test_anonymous(self) -> None:
        """Anonymous reads and may not write."""
        avatar = self.enter(Anonymous())
        self.assertEqual(self.successResultOf(avatar.entry(("a.txt",))).size, 7)
        self.failureResultOf(avatar.remove(("a.txt",)), home.Denied)
        sink = self.successResultOf(avatar.write(("x",), Intent.STORE, 0, None))
        self.failureResultOf(sink.commit(), home.Denied)

    def test_consumer_that_pauses(self) -> None:
        """An upload waits for a consumer that cannot take more, and ends with one that stops."""

        class Consumer:
            def __init__(self) -> None:
                self.data = b""

            def registerProducer(self, producer: Any, streaming: bool) -> None:
                self.producer = producer

            def unregisterProducer(self) -> None:
                self.ended = True

            def write(self, data: bytes) -> None:
                self.data += data
                self.producer.pauseProducing()

        class Shell:
            def __init__(self) -> None:
                self.consumer = Consumer()

            def stat(self, path: Any, keys: Any) -> Any:
                return fail(ftp.FileNotFoundError("x"))

            def openForWriting(self, path: Any) -> Any:
                return succeed(self)

            def receive(self) -> Any:
                return succeed(self.consumer)

            def close(self) -> Any:
                return succeed(None)

        for ends in ("resumeProducing", "stopProducing"):
            shell = Shell()
            sink = self.successResultOf(ShellHome(shell).write(("x",), Intent.STORE, 0, None))
            sink.write(b"x" * 600_000)
            committed = sink.commit()
            self.assertNoResult(committed)
            getattr(shell.consumer.producer, ends)()
            if ends == "stopProducing":
                self.failureResultOf(committed, home.FileFault)
                continue
            shell.consumer.producer.resumeProducing()
            shell.consumer.producer.resumeProducing()
            self.assertEqual(self.successResultOf(committed), 600_000)
            self.assertEqual(shell.consumer.data, b"x" * 600_000)


@implementer(IMailbox)
class Later(Mailbox):
    """A mailbox in memory that answers with Deferreds."""

    loginDelay = messageExpiration = 0

    def __init__(self, *messages: bytes) -> None:
        self.messages: list[bytes] = list(messages)
        self.deleted: set[int] = set()
        self.syncing: Deferred[None] = Deferred()

    def listMessages(self, index: int | None = None) -> Any:
        sizes = [len(message) for message in self.messages]
        return succeed(sizes if index is None else sizes[index])

    def getMessage(self, index: int) -> Any:
        return succeed(io.BytesIO(self.messages[index]))

    def getUidl(self, index: int) -> Any:
        return f"uid {index}"

    def deleteMessage(self, index: int) -> Any:
        self.deleted.add(index)

    def sync(self) -> Any:
        return self.syncing


class MailboxDropTests(SynchronousTestCase):
    def test_maildir(self) -> None:
        """Twisted's Maildir: listed, and read with CRLF line ends."""
        path = self.mktemp().encode()
        initializeMaildir(path)
        for name, text in ((b"1", b"Subject: \xc3\xa4\n\nbody\n"), (b"2", b"x\n.y\n")):
            with open(os.path.join(path, b"new", name), "wb") as file:
                file.write(text)
        drop = MailboxDrop(MaildirMailbox(path))
        verifyObject(IMaildrop, drop)
        drops = self.successResultOf(drop.open())
        self.assertEqual(len(set(drops.uidls(0, 2))), 2)
        contents = self.successResultOf(drop.read((0, 1)))
        found = sorted((content.data, content.dot_free, content.size) for content in contents)
        self.assertEqual(
            found, [(b"Subject: \xc3\xa4\r\n\r\nbody\r\n", True, 21), (b"x\r\n.y\r\n", False, 7)]
        )
        # Its deleteMessage mixes text and octets and raises on Python 3: nothing to adapt there.
        drop.release()

    def test_deferred(self) -> None:
        """Answers that come later, and an update that waits for sync."""
        mailbox = Later(b"a\r\n", b"b\r\n")
        drop = MailboxDrop(mailbox)
        drops = self.successResultOf(drop.open())
        self.assertEqual(list(drops.sizes), [3, 3])
        updating = drop.update((1,))
        self.assertNoResult(updating)
        self.assertEqual(mailbox.deleted, {1})
        mailbox.syncing.callback(None)
        self.successResultOf(updating)

    def test_unusable_uidl(self) -> None:
        """An identifier that POP3 cannot carry becomes one that it can, the same each time."""
        drop = MailboxDrop(Later(b"a", b"b"))
        first, second = self.successResultOf(drop.open()).uidls(0, 2)
        self.assertRegex(first, rb"\A[!-~]{1,70}\Z")
        self.assertNotEqual(first, second)
        self.assertEqual(self.successResultOf(drop.open()).uidls(0, 1), (first,))

    def test_no_folders(self) -> None:
        """It is all that its account has: any folder but INBOX is a LookupError."""
        drop = MailboxDrop(Later(b"a"))
        self.failureResultOf(drop.open("Archive"), LookupError)
        self.assertEqual(len(self.successResultOf(drop.open("inbox"))), 1)

    def test_large(self) -> None:
        """A large message is a descriptor."""
        text = b"x" * 99 + b"\n"
        drop = MailboxDrop(Later(text * 2000))
        (content,) = self.successResultOf(drop.read((0,)))
        self.addCleanup(os.close, content.descriptor)
        self.assertEqual(content.size, 101 * 2000)
        self.assertEqual(os.pread(content.descriptor, 1 << 20, 0), text.replace(b"\n", b"\r\n") * 2000)

    def test_gone(self) -> None:
        """A number that the mailbox does not know any more is a LookupError."""
        drop = MailboxDrop(Later(b"a"))
        self.failureResultOf(drop.read((0, 7)), LookupError)

    @given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"x", b"y" * 65535, b"z" * 65534])))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_line_ends(self, pieces: list[bytes]) -> None:
        """Whatever the line ends and wherever a piece is cut, all become CRLF and nothing else changes."""
        data = b"".join(pieces)
        (content,) = self.successResultOf(MailboxDrop(Later(data)).read((0,)))
        if content.descriptor >= 0:
            got = os.pread(content.descriptor, content.size + 1, 0)
            os.close(content.descriptor)
        else:
            got = content.data or b""
        self.assertEqual(len(got), content.size)
        expected = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        self.assertEqual(got, expected)
        self.assertEqual(content.dot_free, not (b"\n" + expected).count(b"\n."))
