from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from scramp import ScramClient
from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.avatars import IMaildrop
from mailftp.pop3 import visits
from mailftp.pop3.expiry import Expiry
from mailftp.pop3.retrieval import AHEAD_MOST, AHEAD_OCTETS
from mailftp.pop3.server import TURN
from mailftp.settings import POP3
from mailftp.store.engine import StoreFault
from mailftp.store.queries import Copies, ListMaildrop, MailboxSince
from mailftp.store.units import ExpireRetrieved, Expunge, RemoveAccount, SetAccount
from tests.connector import advance
from tests.pop3.maildrops import MESSAGES, POP3TestCase

REMOTE = ("192.0.2.9", 4000)


class SlowStore:
    """The memory store, with chosen reads and commits held back until the test fires them."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.held: list[tuple[Deferred[Any], Any]] = []
        self.holding: tuple[type, ...] = ()
        self.failing: dict[type, Exception] = {}
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, query: Any) -> Deferred[Any]:
        return self._held(query, self._store.read)

    def commit(self, unit: Any) -> Deferred[Any]:
        return self._held(unit, self._store.commit)

    def _held(self, what: Any, method: Any) -> Deferred[Any]:
        self.asked.append(what)
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


class ServerTestCase(POP3TestCase):
    store: Any

    def make_store(self) -> Any:
        return SlowStore(super().make_store())

    def queries(self, kind: type) -> list[Any]:
        return [query for query in self.store.asked if isinstance(query, kind)]


class TLSTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = self.make_factory(tls=True)

    def test_stls(self) -> None:
        """In the clear a stranger gets no USER; after STLS he does, and logs in."""
        client = self.connect(peer=REMOTE)
        client.received()
        capa = client.exchange(b"CAPA\r\n")
        self.assertIn(b"\r\nSTLS\r\n", capa)
        self.assertIn(b"\r\nSASL SCRAM-SHA-256\r\n", capa)
        self.assertNotIn(b"\r\nUSER\r\n", capa)
        self.assertIn(b"-ERR", client.exchange(b"USER bob\r\n"))
        self.assertEqual(client.exchange(b"STLS\r\n"), b"+OK begin TLS\r\n")
        client.start_tls()
        capa = client.exchange(b"CAPA\r\n")
        self.assertNotIn(b"STLS", capa)
        self.assertIn(b"\r\nUSER\r\nSASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n", capa)
        self.assertIn(b"+OK maildrop", client.exchange(b"USER bob\r\nPASS hungry\r\n"))

    def test_injection(self) -> None:
        """What came in the clear behind STLS is never answered, not even under TLS (CVE-2011-0411)."""
        for cut in (1, 6, 60):
            client = self.connect()
            client.received()
            data = b"STLS\r\nUSER bob\r\nPASS hungry\r\nRETR 1\r\n"
            for start in range(0, len(data), cut):
                if start < 6:
                    client.send(data[start : start + cut])
            self.assertEqual(client.received(), b"+OK begin TLS\r\n")
            client.start_tls()
            self.assertEqual(client.received(), b"")
            self.assertIn(b"log in first", client.exchange(b"STAT\r\n"))

    def test_user_before_stls_is_forgotten(self) -> None:
        """A name given in the clear is nobody's under TLS."""
        client = self.connect()
        client.exchange(b"USER bob\r\n")
        client.exchange(b"STLS\r\n")
        client.start_tls()
        self.assertIn(b"-ERR USER first", client.exchange(b"PASS hungry\r\n"))

    def scram(self, client: Any, password: str) -> bytes:
        """AUTH SCRAM-SHA-256 up to the last answer."""
        scram = ScramClient(["SCRAM-SHA-256"], "bob", password)

        def say(text: str) -> bytes:
            return client.exchange(base64.b64encode(text.encode()) + b"\r\n")

        client.exchange(b"AUTH SCRAM-SHA-256\r\n")
        first = say(scram.get_client_first())
        self.assertTrue(first.startswith(b"+ "))
        scram.set_server_first(base64.b64decode(first[2:]).decode())
        last = say(scram.get_client_final())
        if not last.startswith(b"+ "):
            return last
        scram.set_server_final(base64.b64decode(last[2:]).decode())
        return client.exchange(b"\r\n")

    def test_scram(self) -> None:
        """SCRAM in the clear; its password may not travel, its proof may; the server proves itself too."""
        client = self.connect(peer=REMOTE)
        client.received()
        self.assertIn(b"+OK maildrop has 3", self.scram(client, "hungry"))
        self.assertIn(b"+OK 3", client.exchange(b"STAT\r\n"))
        client = self.connect(peer=REMOTE)
        client.received()
        self.assertIn(b"-ERR [AUTH]", self.scram(client, "wrong"))

    def test_aborted_exchanges(self) -> None:
        """Garbage at any step, or a client that goes there, harms nobody (CVE-2019-11494, CVE-2025-59028)."""
        garbage = (
            b"*",
            b"",
            b"=",
            b"!",
            b"AAA",
            b"AA==",
            b"AAAA" * 3000,
            b"AAAA" * 3073,
            b"\xff\x00",
            b"biws",
        )
        first = base64.b64encode(b"n,,n=bob,r=abc")
        for opening in (
            (b"AUTH SCRAM-SHA-256",),
            (b"AUTH SCRAM-SHA-256", first),
            (b"AUTH SCRAM-SHA-256 " + first,),
        ):
            for last in garbage:
                client = self.connect(peer=REMOTE)
                client.received()
                for line in opening:
                    self.assertTrue(client.exchange(line + b"\r\n").startswith(b"+ "))
                self.assertTrue(client.exchange(last + b"\r\n").startswith(b"-ERR "), last)
                self.assertIn(b"+OK capabilities", client.exchange(b"CAPA\r\n"))
            client = self.connect(peer=REMOTE)
            for line in opening:
                client.send(line + b"\r\n")
            client.drop()
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)
        client = self.connect(peer=REMOTE)
        client.received()
        self.assertIn(b"+OK maildrop", self.scram(client, "hungry"))

    def test_scram_without_acknowledgement(self) -> None:
        """A login that is not acknowledged is none: the session is let go when the client goes."""
        client = self.connect(peer=REMOTE)
        client.received()
        scram = ScramClient(["SCRAM-SHA-256"], "bob", "hungry")
        initial = base64.b64encode(scram.get_client_first().encode())
        first = client.exchange(b"AUTH SCRAM-SHA-256 " + initial + b"\r\n")
        scram.set_server_first(base64.b64decode(first[2:]).decode())
        client.exchange(base64.b64encode(scram.get_client_final().encode()) + b"\r\n")
        self.assertEqual(self.sessions.count(self.ids["bob"]), 1)
        self.assertIn(b"-ERR cancelled", client.exchange(b"*\r\n"))
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)


class LoginTests(ServerTestCase):
    def test_cleartext_is_refused(self) -> None:
        """Without TLS a stranger's USER is refused, before a password travels."""
        client = self.connect(peer=REMOTE)
        client.received()
        self.assertIn(b"only under TLS", client.exchange(b"USER bob\r\n"))

    def test_pipelined_behind_a_slow_login(self) -> None:
        """Commands behind PASS wait for it and are answered in order, in one write."""
        from mailftp.store.queries import AccountWithVerifier

        self.store.holding = (AccountWithVerifier,)
        client = self.connect()
        client.received()
        client.send(b"USER bob\r\nPASS hungry\r\nSTAT\r\nUIDL 1\r\nQUIT\r\n")
        self.assertEqual(client.received(), b"+OK\r\n")
        before = len(client.transport.writes)
        self.store.let_go()
        answer = client.received()
        self.assertRegex(answer, rb"\A\+OK maildrop [^\n]+\n\+OK 3 108\r\n\+OK 1 [^\n]+\n\+OK bye\r\n\Z")
        self.assertEqual(len(client.transport.writes) - before, 1)
        self.assertTrue(client.closed)

    def test_vanishing_during_login(self) -> None:
        """A client that goes while its password is checked leaves nothing behind, wherever it is."""
        from mailftp.store.queries import AccountWithVerifier

        for kind in (AccountWithVerifier, ListMaildrop):
            self.store.holding = (kind,)
            client = self.connect()
            client.send(b"USER bob\r\nPASS hungry\r\nUSER bob\r\nPASS hungry\r\n")
            client.drop()
            self.store.holding = ()
            self.store.let_go()
            self.assertEqual(self.sessions.count(self.ids["bob"]), 0)
            self.enter().exchange(b"QUIT\r\n")

    def test_failures_close(self) -> None:
        """The third failure closes the connection, SASL's included."""
        client = self.connect()
        client.exchange(b"USER bob\r\nPASS x\r\nAUTH PLAIN AGJvYgB4\r\n")
        self.assertFalse(client.closed)
        self.assertIn(b"[AUTH]", client.exchange(b"USER bob\r\nPASS z\r\n"))
        self.assertTrue(client.closed)

    def test_throttled(self) -> None:
        """A network that has guessed too often is told when to come again."""
        guard = self.factory.login._guard
        from mailftp.wire.peer import Peer

        for number in range(30):
            guard.failed(Peer.of(REMOTE[0]), "bob", b"%d" % number)
        factory = self.make_factory(tls=True, service="pop3s")
        factory.login = self.factory.login
        client = self.connect(peer=REMOTE, factory=factory)
        self.assertIn(b"-ERR [LOGIN-DELAY] ", client.exchange(b"USER bob\r\nPASS hungry\r\n"))

    def test_store_out_of_order(self) -> None:
        """Accounts or a maildrop that cannot be read are a temporary error, and the lock is free after it."""
        from mailftp.store.queries import AccountWithVerifier

        client = self.connect()
        for kind in (AccountWithVerifier, ListMaildrop):
            self.store.failing = {kind: StoreFault("disk")}
            self.assertIn(b"-ERR [SYS/TEMP]", client.exchange(b"USER bob\r\nPASS hungry\r\n"))
        self.store.failing = {}
        self.assertIn(b"+OK maildrop", client.exchange(b"USER bob\r\nPASS hungry\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 2)
        self.assertEqual(self.sessions.count(self.ids["bob"]), 1)

    def test_in_use(self) -> None:
        """A second session is told [IN-USE] and may try again; it gets in when the first is gone."""
        first, second = self.enter(), self.connect()
        second.received()
        answer = second.exchange(b"USER bob\r\nPASS hungry\r\n")
        self.assertIn(b"-ERR [IN-USE]", answer)
        self.assertEqual(self.sessions.count(self.ids["bob"]), 1)
        first.drop()
        self.assertIn(b"+OK maildrop", second.exchange(b"USER bob\r\nPASS hungry\r\n"))

    def test_evicted(self) -> None:
        """Disabling or removing the account ends its sessions."""
        for unit in (
            SetAccount("bob@example.test", (("disabled", True),)),
            RemoveAccount("alice@example.test"),
        ):
            name, password = (b"bob", b"hungry") if isinstance(unit, SetAccount) else (b"alice", b"teapot")
            client = self.enter(name, password)
            self.successResultOf(self.store.commit(unit))
            self.assertIn(b"-ERR [AUTH]", client.received())
            self.assertTrue(client.closed)

    def test_evicted_in_the_middle(self) -> None:
        """A session that is waiting for its message is cut off at once."""
        self.store.holding = (Copies,)
        client = self.enter()
        client.send(b"RETR 1\r\n")
        self.successResultOf(self.store.commit(RemoveAccount("bob@example.test")))
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(client.received(), b"")
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)

    def test_evicted_in_update(self) -> None:
        """Deletions that QUIT began are carried out; then the session is over anyway."""
        self.store.holding = (Expunge,)
        client = self.enter()
        client.send(b"DELE 1\r\nQUIT\r\n")
        self.successResultOf(self.store.commit(SetAccount("bob@example.test", (("disabled", True),))))
        self.store.let_go()
        self.assertTrue(client.received().endswith(b"+OK bye\r\n"))
        self.assertEqual(len(self.uids()), 2)

    def test_login_timeout(self) -> None:
        """Who does not log in within a minute is closed; who has, is not."""
        idle, busy = self.connect(), self.enter()
        advance(self.factory, 61)
        idle.pump()
        self.assertTrue(idle.closed)
        self.assertEqual(busy.exchange(b"NOOP\r\n"), b"+OK\r\n")


class MaildropTests(ServerTestCase):
    def test_deleted_at_quit_and_only_then(self) -> None:
        """Lost, timed out or drained, a session deletes nothing; QUIT deletes in one unit."""
        client = self.enter()
        client.exchange(b"DELE 1\r\nDELE 3\r\n")
        client.drop()
        client = self.enter()
        client.exchange(b"DELE 1\r\n")
        advance(self.factory, 601)
        client.pump()
        self.assertTrue(client.closed)
        self.assertEqual(client.received(), b"")
        client = self.enter()
        client.exchange(b"DELE 1\r\n")
        self.factory.drain(5)
        self.assertIn(b"-ERR [SYS/TEMP]", client.received())
        self.assertTrue(client.closed)
        self.assertEqual(len(self.uids()), 3)
        self.assertEqual(self.queries(Expunge), [])
        self.factory = self.make_factory()
        client = self.enter()
        self.assertIn(b"+OK bye", client.exchange(b"DELE 1\r\nDELE 3\r\nQUIT\r\n"))
        self.assertTrue(client.closed)
        self.assertEqual(len(self.uids()), 1)
        self.assertEqual(len(self.queries(Expunge)), 1)
        self.enter().exchange(b"QUIT\r\n")

    def test_quit_without_waiting(self) -> None:
        """A client that says QUIT and goes at once has said it; the lock is held until it is carried out."""
        self.store.holding = (Expunge,)
        client = self.enter()
        client.send(b"DELE 2\r\nQUIT\r\n")
        client.drop()
        other = self.connect()
        self.assertIn(b"[IN-USE]", other.exchange(b"USER bob\r\nPASS hungry\r\n"))
        self.store.let_go()
        self.assertEqual(len(self.uids()), 2)
        self.assertIn(b"+OK maildrop has 2", other.exchange(b"USER bob\r\nPASS hungry\r\n"))

    def test_quit_that_fails(self) -> None:
        """Deletions that cannot be stored are said to have failed (RFC 1939 section 6)."""
        self.store.failing = {Expunge: StoreFault("disk")}
        client = self.enter()
        answer = client.exchange(b"DELE 2\r\nQUIT\r\n")
        self.assertIn(b"-ERR [SYS/TEMP] some deleted messages were not removed\r\n", answer)
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)
        self.store.failing = {}
        self.assertEqual(len(self.uids()), 3)
        self.enter()

    def test_expunged_by_another(self) -> None:
        """A message that IMAP removed meanwhile is refused alone, and does not hinder QUIT."""
        for _ in range(5):
            self.put(MESSAGES[0] + b"more\r\n")
        client = self.enter()
        box = self.successResultOf(self.store.read(MailboxSince(self.ids["bob"]))).mailbox
        self.successResultOf(self.store.commit(Expunge(self.ids["bob"], box.id, (2, 5))))
        self.assertTrue(client.exchange(b"RETR 1\r\n").startswith(b"+OK 55"))
        self.assertEqual(client.exchange(b"RETR 2\r\n"), b"-ERR the message is gone\r\n")
        self.assertTrue(client.exchange(b"RETR 3\r\n").startswith(b"+OK 18"))
        self.assertIn(b"8 messages", client.exchange(b"LIST\r\n"))
        self.assertIn(b"+OK bye", client.exchange(b"DELE 1\r\nDELE 2\r\nQUIT\r\n"))
        self.assertEqual(self.uids(), [3, 4, 6, 7, 8])

    def test_read_ahead(self) -> None:
        """Messages fetched one by one cost a query for every few, and what is read ahead is bounded."""
        for number in range(200):
            self.put(b"Subject: %d\r\n\r\n" % number + b"x" * 1000 + b"\r\n")
        client = self.enter()
        for number in range(4, 204):
            answer = client.exchange(b"RETR %d\r\n" % number)
            self.assertIn(b"Subject: %d\r\n" % (number - 4), answer)
        self.assertLess(len(self.queries(Copies)), 15)
        self.assertLessEqual(max(len(query.uids) for query in self.queries(Copies)), AHEAD_MOST)

    def test_next_batch_comes_while_this_one_goes(self) -> None:
        """Half of a batch before its end the next one is asked for; one that fails is asked for again, and a
        client that goes in between leaves no error."""
        for number in range(100):
            self.put(b"Subject: %d\r\n\r\n" % number)
        client = self.enter()
        for number in range(4, 9):
            client.exchange(b"RETR %d\r\n" % number)
        self.store.holding = (Copies,)
        number = 9
        while not self.store.held:
            self.assertIn(b"Subject: %d\r\n" % (number - 4), client.exchange(b"RETR %d\r\n" % number))
            number += 1
        self.assertIn(b"Subject: %d\r\n" % (number - 4), client.exchange(b"RETR %d\r\n" % number))
        while not (answer := client.exchange(b"RETR %d\r\n" % (number + 1))):
            self.store.let_go()
            answer = client.received()
            break
        self.assertIn(b"Subject: ", answer)
        client.send(b"RETR 60\r\n")
        client.drop()
        self.store.holding = ()
        while self.store.held:
            self.store.let_go()
        self.enter().exchange(b"QUIT\r\n")

    def test_read_ahead_is_bounded_in_octets(self) -> None:
        """Big small messages are read ahead by octets."""
        for _ in range(40):
            self.put(b"Subject: x\r\n\r\n" + b"y" * 60_000 + b"\r\n")
        client = self.enter()
        for number in range(4, 44):
            client.exchange(b"RETR %d\r\n" % number)
        for query in self.queries(Copies):
            self.assertLessEqual(60_016 * len(query.uids), AHEAD_OCTETS)

    def test_random_access(self) -> None:
        """Any order gives the right messages, deleted ones in between included."""
        for number in range(20):
            self.put(b"Subject: %d\r\n\r\n.\r\n" % number)
        client = self.enter()
        client.exchange(b"DELE 6\r\nDELE 7\r\n")
        for number in (5, 8, 9, 5, 20, 10, 23, 4, 5):
            self.assertEqual(
                client.exchange(b"RETR %d\r\n" % number),
                b"+OK %d octets\r\nSubject: %d\r\n\r\n..\r\n.\r\n" % (len(str(number - 4)) + 16, number - 4),
            )
        client.exchange(b"RSET\r\n")
        self.assertIn(b"Subject: 2\r\n", client.exchange(b"RETR 6\r\n"))


class PolicyTests(ServerTestCase):
    """What [pop3] of the settings asks for."""

    def test_login_delay(self) -> None:
        """An account that comes again too soon is told when, on whichever factory; CAPA says so before."""
        policy = POP3(login_delay=90.0)
        factory = self.make_factory(pop3=policy)
        other = self.make_factory(pop3=policy)
        other.visits = factory.visits
        client = self.connect(factory=factory)
        self.assertIn(b"\r\nLOGIN-DELAY 90\r\n", client.exchange(b"CAPA\r\n"))
        client.exchange(b"USER bob\r\nPASS hungry\r\nQUIT\r\n")
        self.clock.advance(60)
        for each in (factory, other):
            client = self.connect(factory=each)
            answer = client.exchange(b"USER bob@example.test\r\nPASS hungry\r\n")
            self.assertIn(b"-ERR [LOGIN-DELAY] come again in 30 seconds\r\n", answer)
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)
        self.enter(b"alice", b"teapot", factory=factory)
        self.clock.advance(30)
        self.enter(factory=other)

    def test_visits_are_bounded(self) -> None:
        """The least recent are forgotten, which lets in."""
        self.patch(visits, "MOST", 2)
        there = visits.Visits()
        for name in ("a", "b", "c"):
            self.assertEqual(there.too_soon(name, 10.0, 100.0), 0.0)
        self.assertEqual([there.too_soon(name, 10.0, 103.0) for name in ("c", "b", "a")], [7.0, 7.0, 0.0])

    def test_expiry(self) -> None:
        """What was fetched whole and left is removed when its days are over; what TOP showed, what a lost
        session fetched and what nobody fetched stays."""
        self.store._store._state.now = self.clock.seconds
        realm: Any = self.portal.realm
        realm._expiring = True
        expiry = Expiry(self.store, self.clock)
        expiry.after = 2.5 * 86400
        expiry.start()
        self.addCleanup(expiry.stop)
        factory = self.make_factory(pop3=POP3(expire_after_retrieval=expiry.after))
        client = self.enter(factory=factory)
        self.assertIn(b"\r\nEXPIRE 2\r\n", client.exchange(b"CAPA\r\n"))
        client.exchange(b"RETR 3\r\n")
        client.drop()
        self.enter(factory=factory).exchange(b"RETR 2\r\nTOP 1 1\r\nQUIT\r\n")
        self.clock.pump([3600] * 59)
        self.assertEqual(self.uids(), [1, 2, 3])
        self.clock.pump([3600] * 2)
        self.assertEqual(self.uids(), [1, 3])
        self.store.failing = {ExpireRetrieved: StoreFault("disk")}
        self.clock.pump([3600] * 2)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 2)

    def test_folders(self) -> None:
        """A folder follows the address in every way to log in, and is locked apart from INBOX."""
        self.enter()
        name = b"bob@example.test#Archive"
        self.enter(name).exchange(b"QUIT\r\n")
        client = self.connect()
        plain = base64.b64encode(b"\0" + name + b"\0hungry")
        self.assertIn(b"+OK maildrop has 0", client.exchange(b"AUTH PLAIN " + plain + b"\r\n"))
        other = self.connect()
        scram = ScramClient(["SCRAM-SHA-256"], name.decode(), "hungry")
        first = base64.b64encode(scram.get_client_first().encode())
        answer = other.exchange(b"AUTH SCRAM-SHA-256 " + first + b"\r\n")
        scram.set_server_first(base64.b64decode(answer.split(b"+ ")[-1]).decode())
        answer = other.exchange(base64.b64encode(scram.get_client_final().encode()) + b"\r\n")
        self.assertIn(b"-ERR [IN-USE]", answer + other.exchange(b"\r\n"))
        client.exchange(b"QUIT\r\n")
        self.assertEqual(self.uids(), [1, 2, 3])


class LargeTests(ServerTestCase):
    """Messages that are kept in a file."""

    def body(self, line: bytes, end: bytes = b"\r\n") -> bytes:
        return b"Subject: big\r\n\r\n" + line * (300_000 // len(line)) + end

    def expect(self, body: bytes, prefix: bytes = b"") -> bytes:
        text = prefix + body
        stuffed = text.replace(b"\r\n.", b"\r\n..")
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        return b"+OK %d octets\r\n" % len(text) + stuffed + b".\r\n"

    def fetched(self, tls: bool) -> None:
        bodies = (
            (self.body(b"plain text\r\n"), b""),
            (self.body(b".dots\r\n"), b"Return-Path: <>\r\n"),
            (self.body(b"no end", b""), b"Return-Path: <>\r\n"),
            (self.body(b"..", b""), b""),
        )
        for body, prefix in bodies:
            self.put(body, prefix=prefix)
        factory = self.make_factory(tls=True, service="pop3s") if tls else self.factory
        client = self.enter(factory=factory)
        for number, (body, prefix) in enumerate(bodies, 4):
            got = client.exchange(b"RETR %d\r\nNOOP\r\n" % number)
            self.assertEqual(got, self.expect(body, prefix) + b"+OK\r\n")
            top = client.exchange(b"TOP %d 2\r\nNOOP\r\n" % number)
            head, _, rest = (prefix + body).partition(b"\r\n\r\n")
            lines = b"".join(rest.splitlines(keepends=True)[:2]).replace(b"\r\n.", b"\r\n..")
            lines = b"." + lines if lines.startswith(b".") else lines
            expected = b"+OK\r\n" + head + b"\r\n\r\n" + lines
            self.assertEqual(top, expected + (b"" if expected.endswith(b"\n") else b"\r\n") + b".\r\n+OK\r\n")

    def test_plain(self) -> None:
        """Streamed whole or in part, stuffed or not, commands behind it answered after it."""
        self.fetched(tls=False)

    def test_tls(self) -> None:
        """The same under TLS."""
        self.fetched(tls=True)

    def test_vanishing_in_the_middle(self) -> None:
        """A client that goes in the middle of a large message frees the lock and leaves no error."""
        for line in (b"plain\r\n", b".dot\r\n"):
            self.put(self.body(line) * 20)
            client = self.enter()
            client.reading = False
            client.send(b"RETR 4\r\n")
            client.drop()
            self.enter().exchange(b"DELE 4\r\nQUIT\r\n")

    def test_unread(self) -> None:
        """A client that asks for much and reads nothing costs a bounded buffer, and gets all of it later."""
        text = b"Subject: x\r\n\r\n" + b"y" * 50_000 + b"\r\n"
        for _ in range(3):
            self.put(text)
        client = self.enter()
        client.reading = False
        client.send(b"RETR 4\r\nRETR 5\r\nRETR 6\r\n" * 400 + b"NOOP\r\n")
        self.assertLess(client.transport.unsent, 2 * TURN + 4 * len(text))
        client.reading = True
        got = client.received()
        self.assertEqual(got.count(b"+OK 50016 octets\r\n"), 1200)
        self.assertTrue(got.endswith(b".\r\n+OK\r\n"))


class ConnectionTests(ServerTestCase):
    def test_one_write(self) -> None:
        """A batch is answered in one write."""
        client = self.enter()
        before = len(client.transport.writes)
        client.exchange(b"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nNOOP\r\n")
        self.assertEqual(len(client.transport.writes) - before, 1)

    def test_half_close(self) -> None:
        """A client that has sent all it will is answered, also behind a slow store."""
        self.store.holding = (Copies,)
        client = self.connect()
        client.send(b"USER bob\r\nPASS hungry\r\nRETR 1\r\nSTAT\r\n")
        client.end()
        self.assertFalse(client.closed)
        self.store.let_go()
        self.assertTrue(client.received().endswith(b"line\r\n.\r\n+OK 3 108\r\n"))
        self.assertTrue(client.closed)

    def test_refusal(self) -> None:
        """One connection too many is told so in POP3's words."""
        from mailftp.settings import Limits

        factory = self.make_factory(limits=Limits(connections=1))
        self.connect(factory=factory)
        self.assertIn(b"-ERR [SYS/TEMP]", self.connect(factory=factory).received())

    def test_drain_waits_for_what_is_in_flight(self) -> None:
        """Stopping, a message under way is finished first, and commands behind it are not begun."""
        self.store.holding = (Copies,)
        client = self.enter()
        client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
        drained = self.factory.drain(5)
        self.assertNoResult(drained)
        self.store.let_go()
        answer = client.received()
        self.assertIn(b"line\r\n.\r\n-ERR [SYS/TEMP] the server is stopping\r\n", answer)
        self.successResultOf(drained)
        self.assertEqual(len(self.uids()), 3)

    def test_foreign_mailbox(self) -> None:
        """A realm that hands out twisted.mail.pop3.IMailbox is served."""
        from twisted.mail.pop3 import IMailbox

        from tests.accounts.test_adapters import Later

        mailbox = Later(b"Subject: theirs\n\n.x\n")
        mailbox.syncing = succeed(None)

        class Realm:
            def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
                assert interfaces == (IMaildrop, IMailbox)
                return IMailbox, mailbox, lambda: None

        self.portal.realm = Realm()
        client = self.enter()
        self.assertEqual(
            client.exchange(b"RETR 1\r\n"), b"+OK 23 octets\r\nSubject: theirs\r\n\r\n..x\r\n.\r\n"
        )
        self.assertIn(b"+OK bye", client.exchange(b"DELE 1\r\nQUIT\r\n"))
        self.assertEqual(mailbox.deleted, {0})

    def test_settings_are_heard(self) -> None:
        """`auth.failures_closed` is the settings'."""
        self.auth = replace(self.auth, failures_closed=1)
        client = self.connect(factory=self.make_factory())
        client.exchange(b"USER bob\r\nPASS x\r\n")
        self.assertTrue(client.closed)
