"""Logins, TLS, timeouts, back-pressure, and several sessions with one mailbox."""

from __future__ import annotations

import base64
import re
from typing import Any

from scramp import ScramClient
from twisted.internet.defer import Deferred, fail

from mailftp.accounts.passwords import make_verifier
from mailftp.imap import selected
from mailftp.imap.output import PIECE
from mailftp.imap.watch import MOST_ENTRIES
from mailftp.settings import Quota
from mailftp.store.engine import StoreFault
from mailftp.store.queries import ListMailbox
from mailftp.store.quota import UNLIMITED
from mailftp.store.units import (
    CreateMailbox,
    DeleteMailbox,
    Expunge,
    FlagChange,
    RemoveAccount,
    RenameMailbox,
    SetAccount,
    SetMetadata,
    SetVerifier,
    StoreFlags,
)
from tests.connector import Client, advance
from tests.imap.mailboxes import CHEAP, IMAPTestCase

REMOTE = ("192.0.2.9", 4000)


class SlowStore:
    """The memory store, with chosen reads and commits held back until the test lets them go."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.held: list[tuple[Deferred[Any], Any]] = []
        self.holding: tuple[type, ...] = ()
        self.failing: dict[type, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, query: Any) -> Deferred[Any]:
        return self._held(query, self._store.read)

    def commit(self, unit: Any) -> Deferred[Any]:
        return self._held(unit, self._store.commit)

    def _held(self, what: Any, method: Any) -> Deferred[Any]:
        if type(what) in self.failing:
            return fail(self.failing[type(what)])
        if not isinstance(what, self.holding):
            result: Deferred[Any] = method(what)
            return result
        waiting: Deferred[Any] = Deferred()
        self.held.append((waiting, lambda: method(what)))
        return waiting

    def let_go(self) -> None:
        waiting, work = self.held.pop(0)
        work().chainDeferred(waiting)


class ServerTestCase(IMAPTestCase):
    store: Any

    def make_store(self) -> Any:
        return SlowStore(super().make_store())

    def commit(self, unit: Any) -> Any:
        return self.successResultOf(self.store.commit(unit))


class TLSTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = self.make_factory(tls=True)

    def test_starttls(self) -> None:
        """In the clear a stranger cannot log in; after STARTTLS he can."""
        client = self.connect(peer=REMOTE)
        greeting = client.received()
        self.assertIn(b" STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256]", greeting)
        self.assertIn(b"a NO [PRIVACYREQUIRED]", client.exchange(b"a LOGIN bob hungry\r\n"))
        self.assertIn(b"a NO [CANNOT]", client.exchange(b"a AUTHENTICATE PLAIN AGJvYgBodW5ncnk=\r\n"))
        self.assertEqual(client.exchange(b"b STARTTLS\r\n"), b"b OK begin TLS\r\n")
        client.start_tls()
        answer = client.exchange(b"c CAPABILITY\r\n")
        self.assertNotIn(b"STARTTLS", answer)
        self.assertIn(b" AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN", answer)
        self.assertIn(b"d BAD TLS is on already", client.exchange(b"d STARTTLS\r\n"))
        self.assertIn(b"e OK", client.exchange(b"e LOGIN bob hungry\r\n"))
        self.assertIn(b"f BAD you are logged in already", client.exchange(b"f STARTTLS\r\n"))

    def test_injection(self) -> None:
        """What came in the clear behind STARTTLS is never answered, not even under TLS (CVE-2011-0411,
        CVE-2021-33515)."""
        for behind in (
            b"c LOGIN bob hungry\r\nd SELECT INBOX\r\n",
            b"c LOGIN {3}\r\nbob",
            b"c LOGIN {3+}\r\nb",
        ):
            client = self.connect()
            client.received()
            client.send(b"b STARTTLS\r\n" + behind)
            self.assertEqual(client.received(), b"b OK begin TLS\r\n")
            client.start_tls()
            self.assertEqual(client.received(), b"")
            self.assertEqual(client.exchange(b"e SELECT INBOX\r\n"), b"e BAD log in first\r\n")

    def test_implicit(self) -> None:
        """imaps greets under TLS and offers passwords."""
        client = self.connect(self.make_factory(tls=True, service="imaps"), peer=REMOTE)
        greeting = client.received()
        self.assertTrue(greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 "), greeting)
        self.assertNotIn(b"STARTTLS", greeting)
        self.assertIn(b"a OK", client.exchange(b"a LOGIN bob hungry\r\n"))

    def test_scram(self) -> None:
        """SCRAM-SHA-256 in the clear, with a right password and a wrong one."""
        for password, outcome in (("hungry", b"a OK ["), ("wrong", b"a NO [AUTHENTICATIONFAILED]")):
            client = self.connect(peer=REMOTE)
            client.received()
            scram = ScramClient(["SCRAM-SHA-256"], "bob", password)
            first = base64.b64encode(scram.get_client_first().encode())
            answer = client.exchange(b"a AUTHENTICATE SCRAM-SHA-256 " + first + b"\r\n")
            scram.set_server_first(base64.b64decode(answer[2:]).decode())
            answer = client.exchange(base64.b64encode(scram.get_client_final().encode()) + b"\r\n")
            if password == "hungry":
                scram.set_server_final(base64.b64decode(answer[2:]).decode())
                answer = client.exchange(b"\r\n")
            self.assertTrue(answer.startswith(outcome), answer)


class EndingTests(ServerTestCase):
    def test_wrong_logins(self) -> None:
        """After three the connection is closed."""
        client = self.connect()
        client.received()
        for _ in range(2):
            self.assertIn(b"a NO [AUTHENTICATIONFAILED]", client.exchange(b"a LOGIN bob no\r\n"))
        answer = client.exchange(b"a AUTHENTICATE PLAIN AGJvYgBubw==\r\nb NOOP\r\n")
        self.assertIn(b"a NO [AUTHENTICATIONFAILED]", answer)
        self.assertTrue(answer.endswith(b"* BYE too many logins failed\r\n"), answer)
        self.assertTrue(client.closed)

    def test_nonsense(self) -> None:
        """A client that speaks something else is told to go, and a web browser at once."""
        client = self.connect()
        client.received()
        answer = client.exchange(b"x y\r\n" * 20)
        self.assertEqual(answer.count(b"x BAD"), 10)
        self.assertIn(b"* BYE", answer)
        self.assertTrue(client.closed)
        browser = self.connect()
        browser.received()
        self.assertEqual(
            browser.exchange(b"POST / HTTP/1.1\r\na LOGIN bob hungry\r\n"), b"* BYE this is IMAP\r\n"
        )
        self.assertTrue(browser.closed)

    def test_literal_that_has_no_end(self) -> None:
        """What follows a command that is far too long would be taken for commands: the connection ends."""
        client = self.connect()
        client.received()
        answer = client.exchange(b"a LOGIN " + b"x" * 9000 + b"\r\n")
        self.assertEqual(answer, b"* BYE a command has more than 8192 octets\r\n")
        self.assertTrue(client.closed)

    def test_timeouts(self) -> None:
        """No login in a minute, and half an hour of silence after one."""
        client = self.connect()
        client.received()
        advance(self.factory, 61)
        self.assertIn(b"* BYE no login came", client.received())
        self.assertTrue(client.closed)
        client = self.enter("INBOX")
        client.send(b"c IDLE\r\n")
        advance(self.factory, 1800)
        self.assertFalse(client.closed)
        advance(self.factory, 62)
        self.assertIn(b"* BYE nothing was said for too long", client.received())
        self.assertTrue(client.closed)

    def test_stopping(self) -> None:
        """Who is between two commands or in IDLE is told at once; a command that is under way is finished."""
        waiting, idle, busy = self.enter(), self.enter("INBOX"), self.enter("INBOX")
        idle.exchange(b"c IDLE\r\n")
        self.store.holding = (StoreFlags,)
        busy.send(b"c STORE 1 FLAGS.SILENT (x)\r\nd NOOP\r\n")
        stopped = self.factory.drain(10)
        for client in (waiting, idle):
            self.assertEqual(client.received(), b"* BYE the server is stopping\r\n")
            self.assertTrue(client.closed)
        self.assertEqual(busy.received(), b"")
        self.store.let_go()
        self.assertEqual(busy.received(), b"c OK done\r\n* BYE the server is stopping\r\n")
        self.successResultOf(stopped)

    def test_evicted(self) -> None:
        """A session ends when the password changes or the account goes, also in the middle of a command."""
        idle, busy, other = self.enter("INBOX"), self.enter("INBOX"), self.enter(account="alice")
        idle.exchange(b"c IDLE\r\n")
        self.store.holding = (StoreFlags,)
        busy.send(b"c STORE 1 FLAGS.SILENT (x)\r\n")
        self.commit(SetVerifier("bob@example.test", make_verifier("other", CHEAP)))
        self.assertIn(b"* BYE the account has changed", idle.received())
        self.assertEqual(busy.received(), b"")
        self.assertTrue(idle.closed and busy.closed)
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)
        self.commit(RemoveAccount("alice@example.test"))
        self.assertIn(b"* BYE the account has changed", other.received())

    def test_half_closed(self) -> None:
        """What a client sent before it ended its half is answered."""
        client = self.connect()
        client.received()
        client.send(b"a LOGIN bob hungry\r\nb SELECT INBOX\r\nc NOOP\r\n")
        client.end()
        self.assertTrue(client.received().endswith(b"c OK done\r\n"))
        self.assertTrue(client.closed)

    def test_lost(self) -> None:
        """Wherever the connection is lost, nothing of the session is left."""
        session = (
            b"a LOGIN bob hungry\r\nb SELECT INBOX\r\nc STORE 1:2 +FLAGS (x)\r\nd IDLE\r\nDONE\r\ne LIST "
        )
        for end in range(0, len(session) + 1, 3):
            client = self.connect()
            client.send(session[:end])
            client.drop()
            self.assertEqual(self.sessions.count(self.ids["bob"]), 0)
            self.assertFalse([kept for kept in self.states._kept.values() if kept.hears])

    def test_lost_while_waiting(self) -> None:
        """A client that goes while the store works leaves nothing behind, and its flags are set."""
        client = self.enter("INBOX")
        self.store.holding = (StoreFlags,)
        client.send(b"c STORE 1 FLAGS (x)\r\n")
        client.drop()
        self.store.let_go()
        self.assertEqual(self.rows()[0].flags, frozenset({"x"}))
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)

    def test_store_fails(self) -> None:
        """An error of the store is answered, logged, and the session goes on."""
        client = self.enter("INBOX")
        self.store.failing = {StoreFlags: StoreFault("no"), ListMailbox: OSError("disk")}
        self.assertEqual(
            client.exchange(b"c STORE 1 FLAGS (x)\r\nd NOOP\r\n"),
            b"c NO [SERVERBUG] this cannot be done just now\r\n"
            b"d NO [SERVERBUG] this cannot be done just now\r\n",
        )
        self.store.failing = {}
        self.assertEqual(client.exchange(b"e NOOP\r\n"), b"e OK done\r\n")
        self.assertEqual(len(self.flushLoggedErrors(StoreFault, OSError)), 2)


class QuotaTests(ServerTestCase):
    def test_quota(self) -> None:
        """RFC 9208: in units of 1,024 octets; an account's own setting wins at once; COPY is held to it."""
        factory = self.make_factory(quota=Quota(mail=10 * 1024))
        client = self.connect(factory)
        client.exchange(b"a LOGIN bob hungry\r\nb SELECT INBOX\r\n")
        answer = b'* QUOTA "mail" (STORAGE 1 10)\r\nc OK done\r\n'
        self.assertEqual(client.exchange(b"c GETQUOTA mail\r\n"), answer)
        self.commit(SetAccount("bob@example.test", (("mail_quota", 200),)))
        answer = client.exchange(b"d GETQUOTA mail\r\n")
        self.assertIn(b"(STORAGE 1 0)", answer)
        self.assertEqual(client.exchange(b"e COPY 1:* Sent\r\n"), b"e NO [OVERQUOTA] the mailbox is full\r\n")
        self.assertTrue(client.exchange(b"f MOVE 1:* Sent\r\n").endswith(b"f OK moved\r\n"))

    def test_number_of_messages(self) -> None:
        """RFC 9208 section 5.2: as many messages as the account may have; what has no limit is not told."""
        factory = self.make_factory(quota=Quota(mail=10 * 1024, messages=3))
        client = self.connect(factory)
        client.exchange(b"a LOGIN bob hungry\r\nb SELECT INBOX\r\n")
        there = len(self.rows())
        answer = b'* QUOTA "mail" (STORAGE 1 10 MESSAGE %d 3)\r\nc OK done\r\n' % there
        self.assertEqual(client.exchange(b"c GETQUOTA mail\r\n"), answer)
        for own in (("message_quota", there), ("mail_quota", UNLIMITED)):
            self.commit(SetAccount("bob@example.test", (own,)))
        answer = b'* QUOTAROOT "INBOX" "mail"\r\n* QUOTA "mail" (MESSAGE %d %d)\r\nd OK done\r\n'
        self.assertEqual(client.exchange(b"d GETQUOTAROOT INBOX\r\n"), answer % (there, there))
        full = b"e NO [OVERQUOTA] the mailbox is full\r\n"
        self.assertEqual(client.exchange(b"e COPY 1 Sent\r\n"), full)
        self.assertEqual(client.exchange(b"e APPEND Sent {6+}\r\nA: b\r\n\r\n"), full)
        self.assertTrue(client.exchange(b"f MOVE 1:* Sent\r\n").endswith(b"f OK moved\r\n"))
        self.commit(SetAccount("bob@example.test", (("message_quota", UNLIMITED),)))
        self.assertEqual(client.exchange(b"g GETQUOTA mail\r\n"), b'* QUOTA "mail" ()\r\ng OK done\r\n')


class NotifyTests(ServerTestCase):
    def watching(self, groups: bytes, mailbox: str = "") -> Client:
        client = self.enter(mailbox)
        answer = client.exchange(b"n NOTIFY SET %b\r\n" % groups)
        self.assertTrue(answer.endswith(b"n OK news are told as they come\r\n"), answer)
        return client

    def test_others(self) -> None:
        """RFC 5465: what others do is told as it is committed, with no command under way, and in IDLE."""
        watching = self.watching(b"(PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))")
        self.put(b"Subject: new\r\n\r\n", mailbox="fresh")
        self.assertEqual(
            re.sub(rb"UIDVALIDITY \d+", b"UIDVALIDITY 14", watching.received()),
            b'* LIST (\\HasNoChildren \\Subscribed) "/" "fresh"\r\n'
            b'* STATUS "fresh" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 14 UNSEEN 1)\r\n',
        )
        watching.exchange(b"c IDLE\r\n")
        other = self.enter("fresh")
        other.exchange(b"c STORE 1 +FLAGS (\\Seen)\r\n")
        self.assertRegex(
            watching.received(),
            rb'^\* STATUS "fresh" \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+ UNSEEN 0\)\r\n$',
        )
        other.exchange(b"d UID STORE 1 +FLAGS (\\Deleted)\r\ne EXPUNGE\r\n")
        self.assertIn(b"(MESSAGES 0 UIDNEXT 2", watching.received())
        other.exchange(b"f RENAME fresh stale\r\n")
        self.assertIn(b'"stale" ("OLDNAME" ("fresh"))\r\n', watching.received())
        self.assertEqual(watching.exchange(b"DONE\r\n"), b"c OK done\r\n")
        watching.exchange(b"g UNAUTHENTICATE\r\n")
        self.put(b"Subject: new\r\n\r\n")
        self.assertEqual(watching.received(), b"")
        self.assertFalse(self.states._watchers)

    def test_not_asked(self) -> None:
        """Events that nobody asked for, and other accounts', are not told."""
        watching = self.watching(b"(MAILBOXES INBOX (MessageNew MessageExpunge)) (PERSONAL (MailboxName))")
        self.put(b"Subject: new\r\n\r\n", account="alice")
        self.put(b"Subject: new\r\n\r\n", mailbox="Sent")
        self.enter("INBOX").exchange(b"c STORE 1 +FLAGS (\\Seen)\r\n")
        self.assertEqual(watching.received(), b"")
        self.put(b"Subject: new\r\n\r\n")
        self.assertIn(b'* STATUS "INBOX" (MESSAGES 4 ', watching.received())
        watching.drop()
        self.assertFalse(self.states._watchers)

    def annotate(self, mailbox: str | None, *entries: str) -> None:
        values = tuple((entry, b"x") for entry in entries)
        self.commit(SetMetadata(self.ids["bob"], mailbox, values))

    def test_metadata(self) -> None:
        """RFC 5465 sections 5.6 and 5.7: what others annotate, by the mailbox's name when told; one that
        is gone by then is not named, and a line does not hold them all."""
        watching = self.watching(b"(SUBTREE work (MailboxMetadataChange)) (INBOXES (ServerMetadataChange))")
        for name in ("work/plans", "work/gone"):
            self.commit(CreateMailbox(self.ids["bob"], name))
        watching.send(b"c NOOP {1}\r\n")
        watching.received()
        self.annotate("work/plans", "/private/b", "/private/a")
        self.annotate("work/plans", "/private/b", "/private/c")
        self.annotate("work/gone", "/private/d")
        self.annotate("INBOX", "/private/a")
        self.annotate(None, "/shared/comment")
        self.commit(RenameMailbox(self.ids["bob"], "work/plans", "work/old"))
        self.commit(DeleteMailbox(self.ids["bob"], "work/gone"))
        self.assertEqual(watching.received(), b"")
        watching.send(b"x\r\n")
        told = watching.received()
        self.assertIn(b'* METADATA "work/old" /private/a /private/b /private/c\r\n', told)
        self.assertIn(b'* METADATA "" /shared/comment\r\n', told)
        self.assertEqual(told.count(b"* METADATA "), 2)
        self.annotate("work/old", *(f"/private/{n:02}" for n in range(30)))
        lines = watching.received().splitlines()
        self.assertEqual([line.count(b"/private/") for line in lines], [20, 10])

    def test_too_much_metadata(self) -> None:
        """RFC 5465 section 5.8: what cannot be told is not piled up; the client hears that it missed some."""
        watching = self.watching(b"(PERSONAL (MailboxMetadataChange))")
        watching.send(b"c NOOP {1}\r\n")
        watching.received()
        for number in range(MOST_ENTRIES + 1):
            self.commit(SetMetadata(self.ids["bob"], "INBOX", ((f"/private/{number}", None),)))
        watching.send(b"x\r\n")
        self.assertIn(b"* OK [NOTIFICATIONOVERFLOW] ", watching.received())
        self.assertFalse(self.states._watchers)
        self.annotate("INBOX", "/private/a")
        self.assertEqual(watching.received(), b"")

    def test_selected(self) -> None:
        """The selected mailbox's news come at once, with what is to be fetched of each message."""
        watching = self.watching(
            b"(SELECTED (MessageNew (FLAGS BODY[HEADER.FIELDS (SUBJECT)]) MessageExpunge))", "INBOX"
        )
        self.put(b"Subject: new\r\n\r\n")
        self.assertEqual(
            watching.received(),
            b"* 4 EXISTS\r\n"
            b"* 4 FETCH (UID 4 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {16}\r\nSubject: new\r\n\r\n)\r\n",
        )
        other = self.enter("INBOX")
        other.exchange(b"c STORE 2 +FLAGS (\\Deleted)\r\n")
        self.assertEqual(watching.received(), b"")
        other.exchange(b"d EXPUNGE\r\n")
        self.assertEqual(watching.received(), b"* 2 EXPUNGE\r\n")
        self.assertEqual(self.rows()[2].flags, frozenset())

    def test_selected_delayed(self) -> None:
        """EXPUNGE waits for a command, the rest does not."""
        group = b"(SELECTED-DELAYED (MessageNew MessageExpunge FlagChange))"
        watching = self.watching(group, "INBOX")
        self.commit(Expunge(self.ids["bob"], self.rows()[0].mailbox_id, (1,)))
        self.put(b"Subject: new\r\n\r\n")
        self.assertEqual(watching.received(), b"* 4 EXISTS\r\n")
        self.assertEqual(watching.exchange(b"c NOOP\r\n"), b"* 1 EXPUNGE\r\nc OK done\r\n")

    def test_in_the_middle_of_a_command(self) -> None:
        """Nothing is told while a command is half there: its numbers are of before."""
        watching = self.watching(b"(SELECTED (MessageNew MessageExpunge))", "INBOX")
        watching.send(b"c STORE 2 +FLAGS {1}\r\n")
        self.assertEqual(watching.received(), b"+ go on\r\n")
        self.commit(Expunge(self.ids["bob"], self.rows()[0].mailbox_id, (1,)))
        self.assertEqual(watching.received(), b"")
        watching.send(b"x\r\n")
        self.assertIn(b"* 1 EXPUNGE\r\n", watching.received())

    def test_that_does_not_read(self) -> None:
        """What is not read is not piled up: the last word is what counts."""
        watching = self.watching(b"(PERSONAL (MessageNew MessageExpunge))")
        watching.reading = False
        for _ in range(3000):
            self.put(b"Subject: new\r\n\r\n", mailbox="a mailbox of some length, as its name is repeated")
        self.assertLess(watching.transport.unsent, PIECE)
        watching.reading = True
        self.assertIn(b"(MESSAGES 3000 UIDNEXT 3001 ", watching.received())


class PressureTests(ServerTestCase):
    messages = tuple(b"Subject: %d\r\n\r\n" % number for number in range(2000))

    def test_client_that_does_not_read(self) -> None:
        """It can ask as much as it likes: what waits for it is bounded, and so is what is read from it."""
        client = self.enter("INBOX")
        client.reading = False
        client.send(b"c STORE 1:2000 +FLAGS (x)\r\n" * 200)
        self.assertLess(client.transport.unsent, 2 * PIECE)
        scanner = client.protocol.session.scanner
        self.assertLess(len(scanner), 256 * 1024)
        client.reading = True
        answer = client.received()
        self.assertEqual(answer.count(b"c OK done\r\n"), 200)

    def test_many_changes(self) -> None:
        """A session that asks for nothing holds few of the changes one by one, and is told of all at last;
        of what it changed itself without wanting to hear of it, of nothing."""
        self.patch(selected, "MANY", 50)
        one, other = self.enter("INBOX"), self.enter("INBOX")
        self.assertEqual(one.exchange(b"c STORE 1:1000 +FLAGS.SILENT (x)\r\n"), b"c OK done\r\n")
        self.assertLess(len(other.protocol._shared.view._changed), 60)
        one.exchange(b"d STORE 900:1100 +FLAGS.SILENT (y)\r\n")
        self.assertEqual(other.exchange(b"c STORE 1000:1002 -FLAGS.SILENT (y)\r\n").count(b"FETCH"), 1100)
        answer = one.exchange(b"e NOOP\r\n")
        told = [b"* %d FETCH (FLAGS %b)\r\n" % (n, b"(x)" if n == 1000 else b"()") for n in range(1000, 1003)]
        self.assertEqual(answer, b"".join(told) + b"e OK done\r\n")
        self.assertEqual(other.exchange(b"d NOOP\r\n"), b"d OK done\r\n")

    def test_many_at_once(self) -> None:
        """A thousand commands in one write are answered in order, others having their turn meanwhile."""
        client = self.enter("INBOX")
        tags = [b"t%d" % number for number in range(5000)]
        client.send(b"".join(tag + b" NOOP\r\n" for tag in tags))
        self.assertEqual(client.received(), b"".join(tag + b" OK done\r\n" for tag in tags))
        self.assertLess(max(map(len, client.transport.writes)), PIECE)

    def test_idle_that_does_not_read(self) -> None:
        """News for a client in IDLE that does not read are kept as news and not as octets."""
        client = self.enter("INBOX")
        client.exchange(b"c IDLE\r\n")
        client.reading = False
        mailbox = self.rows()[0].mailbox_id
        for number in range(100):
            unit = StoreFlags(
                self.ids["bob"], mailbox, tuple(range(1, 2001)), FlagChange.REPLACE, frozenset({f"f{number}"})
            )
            self.commit(unit)
        self.assertLess(client.transport.unsent, PIECE)
        client.reading = True
        answer = client.received()
        self.assertIn(b"* 2000 FETCH (FLAGS (f99))\r\n", answer)
        self.assertLess(answer.count(b"\r\n"), 5 * 2000)


class SeveralTests(ServerTestCase):
    def two(self) -> tuple[Client, Client]:
        return self.enter("INBOX"), self.enter("INBOX")

    def test_news_in_idle(self) -> None:
        """Whoever is in IDLE hears of what others do when it is committed."""
        idle, other = self.two()
        self.assertEqual(idle.exchange(b"c IDLE\r\n"), b"+ idling\r\n")
        self.put(b"Subject: new\r\n\r\n")
        self.assertEqual(idle.received(), b"* 4 EXISTS\r\n")
        other.exchange(b"c STORE 2 +FLAGS.SILENT (\\Deleted)\r\n")
        self.assertEqual(idle.received(), b"* 2 FETCH (FLAGS (\\Deleted))\r\n")
        other.exchange(b"d EXPUNGE\r\n")
        self.assertEqual(idle.received(), b"* 2 EXPUNGE\r\n")
        self.assertEqual(idle.exchange(b"DONE\r\n"), b"c OK done\r\n")
        self.put(b"Subject: newer\r\n\r\n")
        self.assertEqual(idle.received(), b"")
        self.assertEqual(idle.exchange(b"d IDLE\r\n"), b"+ idling\r\n* 4 EXISTS\r\n")

    def test_expunge_waits(self) -> None:
        """RFC 9051 section 7.5.1: not in answer to STORE by sequence number; with UID STORE and NOOP."""
        one, other = self.two()
        self.commit(Expunge(self.ids["bob"], self.rows()[0].mailbox_id, (1,)))
        self.assertEqual(one.exchange(b"c STORE 3 +FLAGS (x)\r\n"), b"* 3 FETCH (FLAGS (x))\r\nc OK done\r\n")
        self.assertEqual(
            one.exchange(b"d STORE 1:2 +FLAGS (y)\r\n"),
            b"* 2 FETCH (FLAGS (y))\r\n"
            b"d NO [EXPUNGEISSUED] some of the messages are gone: ask by NOOP which\r\n",
        )
        self.assertEqual(
            one.exchange(b"e COPY 1 Sent\r\n"),
            b"* 1 EXPUNGE\r\ne NO [EXPUNGEISSUED] some of the messages are gone: ask by NOOP which\r\n",
        )
        self.assertEqual(
            other.exchange(b"c UID STORE 3 +FLAGS.SILENT (z)\r\n"),
            b"* 1 EXPUNGE\r\n* 1 FETCH (FLAGS (y))\r\n* 2 FETCH (FLAGS (x z))\r\nc OK done\r\n",
        )

    def test_silent_still_tells_what_others_did(self) -> None:
        one, other = self.two()
        self.commit(
            StoreFlags(self.ids["bob"], self.rows()[0].mailbox_id, (2,), FlagChange.ADD, frozenset({"a"}))
        )
        self.assertEqual(
            one.exchange(b"c STORE 1 +FLAGS.SILENT (b)\r\n"), b"* 2 FETCH (FLAGS (a))\r\nc OK done\r\n"
        )
        self.assertEqual(
            other.exchange(b"c NOOP\r\n"),
            b"* 1 FETCH (FLAGS (b))\r\n* 2 FETCH (FLAGS (a))\r\nc OK done\r\n",
        )

    def test_silent_hides_nothing_of_others(self) -> None:
        """A flag that another session set on the same message is told, also when it came with ours; what the
        client knows is not."""
        one, other = self.two()
        mailbox = self.rows()[0].mailbox_id
        self.commit(StoreFlags(self.ids["bob"], mailbox, (1,), FlagChange.ADD, frozenset({"a"})))
        self.assertEqual(
            one.exchange(b"c STORE 1 +FLAGS.SILENT (b)\r\n"), b"* 1 FETCH (FLAGS (a b))\r\nc OK done\r\n"
        )
        self.store.holding = (StoreFlags,)
        one.send(b"d STORE 2 +FLAGS.SILENT (b)\r\n")
        ((waiting, ours),) = self.store.held
        self.store.holding = (ListMailbox,)
        self.commit(StoreFlags(self.ids["bob"], mailbox, (2,), FlagChange.ADD, frozenset({"a"})))
        ours().chainDeferred(waiting)
        self.store.held.pop(0)
        while self.store.held:
            self.store.let_go()
        self.assertEqual(one.received(), b"* 2 FETCH (FLAGS (a b))\r\nd OK done\r\n")
        self.store.holding = ()
        self.assertEqual(one.exchange(b"e STORE 3 +FLAGS.SILENT (b)\r\n"), b"e OK done\r\n")
        self.assertIn(b"* 3 FETCH (FLAGS (b))\r\n", other.exchange(b"c NOOP\r\n"))

    def test_order(self) -> None:
        """A pipelined STORE and EXPUNGE never change places, though the store answers late."""
        one = self.enter("INBOX")
        self.store.holding = (StoreFlags, Expunge)
        one.send(b"c STORE 2 +FLAGS.SILENT (\\Deleted)\r\nd EXPUNGE\r\ne STORE 2 +FLAGS (x)\r\n")
        self.assertEqual(len(self.store.held), 1)
        while self.store.held:
            self.store.let_go()
            one.pump()
        self.assertEqual(
            one.received(),
            b"c OK done\r\n* 2 EXPUNGE\r\nd OK expunged\r\n* 2 FETCH (FLAGS (x))\r\ne OK done\r\n",
        )
        self.assertEqual([row.uid for row in self.rows()], [1, 3])

    def test_mark_taken_away(self) -> None:
        """A message whose \\Deleted another session takes away while EXPUNGE is on its way stays."""
        one, other = self.two()
        one.exchange(b"c STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n")
        self.store.holding = (Expunge,)
        one.send(b"d EXPUNGE\r\n")
        other.exchange(b"c STORE 1 -FLAGS (\\Deleted)\r\n")
        self.store.let_go()
        self.assertEqual(one.received(), b"* 2 EXPUNGE\r\n* 1 FETCH (FLAGS ())\r\nd OK expunged\r\n")
        self.assertEqual([row.uid for row in self.rows()], [1, 3])

    def test_deleted_by_another(self) -> None:
        """Whoever has a mailbox selected that is deleted is told BYE, in IDLE or with the next command."""
        self.put(b"Subject: x\r\n\r\n", mailbox="gone")
        idle, waiting = self.enter("gone"), self.enter("gone")
        idle.exchange(b"c IDLE\r\n")
        self.commit(DeleteMailbox(self.ids["bob"], "gone"))
        self.assertEqual(idle.received(), b"* BYE the selected mailbox was deleted\r\n")
        self.assertEqual(waiting.received(), b"* BYE the selected mailbox was deleted\r\n")
        self.assertTrue(idle.closed and waiting.closed)
