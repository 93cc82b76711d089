from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.cred.credentials import IAnonymous, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.cred.strcred import makeChecker
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from mailftp.accounts.avatars import IMaildrop, ISubmitter
from mailftp.accounts.credentials import Anonymous, IPassword, Password
from mailftp.accounts.login import Login, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.passwords import Busy, make_verifier
from mailftp.files.home import IHome
from mailftp.message.address import parse_address
from mailftp.settings import Auth
from mailftp.store.engine import StoreFault
from mailftp.wire.peer import Peer
from tests.accounts.logins import DOMAINS, LOCAL, REMOTE, LoginTestCase
from tests.accounts.stores import CHEAP


class Attempts(LoginTestCase):
    """What the tests below do."""

    def attempt(
        self,
        name: bytes = b"bob",
        password: bytes = b"hungry",
        peer: Peer = REMOTE,
        interface: Any = ISubmitter,
        close: Any = None,
    ) -> Deferred[Any]:
        return self.login.attempt(
            Password(name, password),
            peer=peer,
            service="pop3",
            context="pop3-1",
            interfaces=(interface,),
            close=close,
        )

    async def settled(self, attempt: Deferred[Any]) -> Any:
        """The attempt's end, with the guard's delays passed on the clock; bounded."""
        ended: list[Any] = []
        attempt.addBoth(ended.append)
        for _ in range(2000):
            if ended:
                return ended[0]
            self.clock.advance(0.5)
            await deferLater(reactor, 0.001)
        raise AssertionError("the attempt does not end")

    async def refused(self, **how: Any) -> type[Exception]:
        kind: type[Exception] = (await self.settled(self.attempt(**how))).type
        return kind


class LoginTests(Attempts):
    async def test_right(self) -> None:
        """Full address or local part alone, in any case, give the avatar under the full name."""
        for name in (b"bob", b"BOB", b"bob@example.test", b"Bob@Example.TEST"):
            found = await self.attempt(name)
            self.assertEqual(found.name, "bob@example.test")
            self.assertIs(found.interface, ISubmitter)
            self.assertEqual(found.avatar.account_id, 1)
            found.logout()

    async def test_interfaces(self) -> None:
        """The first interface asked for that can be had is given."""
        found = await self.login.attempt(
            Password(b"bob", b"hungry"),
            peer=REMOTE,
            service="pop3",
            context="pop3-1",
            interfaces=(IUsernamePassword, IMaildrop, ISubmitter),
        )
        self.assertIs(found.interface, IMaildrop)
        verifyObject(IMaildrop, found.avatar)
        self.assertEqual(found.name, "bob@example.test")
        found = await self.attempt(interface=IHome)
        self.assertEqual([account.address for account in self.homes], ["bob@example.test"])
        self.assertEqual(found.name, "bob@example.test")

    async def test_refused_alike(self) -> None:
        """Wrong, unknown, empty, disabled, half a name: one exception, one text, one delay, one look-up."""
        bob, _ = self.store.accounts["bob@example.test"]
        self.store.change(bob.address, replace(bob, disabled=True))
        answers = set()
        for name, password in (
            (b"alice", b"wrong"),
            (b"nobody", b"hungry"),
            (b"bob", b"hungry"),
            (b"alice", b""),
            (b"alice", b"\xff\xfe"),
            (b"alice@elsewhere.test", b"teapot"),
            (b"", b"teapot"),
            (b"x y\x00z", b"teapot"),
        ):
            self.store.reads.clear()
            self.login = Login(self.portal, self.auth, DOMAINS, self.clock)
            attempt = self.attempt(name, password)
            for _ in range(2000):
                if self.clock.getDelayedCalls():
                    break
                await deferLater(reactor, 0.001)
            (call,) = self.clock.getDelayedCalls()
            delay = call.getTime() - self.clock.seconds()
            failure = await self.settled(attempt)
            answers.add((failure.type, str(failure.value), delay, len(self.store.reads)))
        self.assertEqual(answers, {(LoginRefused, "wrong name or password", 2.0, 1)})

    async def test_lines(self) -> None:
        """A line for each login and each refusal, with name, peer and service, and never the password."""
        await self.attempt()
        await self.refused(password=b"s3cr3t")
        self.assertEqual(self.events(), ["login", "login refused"])
        for _, fields in self.lines:
            self.assertEqual(fields["name"], "bob@example.test")
            self.assertEqual((fields["peer"], fields["service"]), (REMOTE, "pop3"))
        self.assertNotIn("s3cr3t", repr(self.lines))
        self.assertNotIn("hungry", repr(Password(b"bob", b"hungry")))

    async def test_throttled(self) -> None:
        """After twenty wrong guesses a network is turned away before its password is looked at."""
        for number in range(20):
            self.login._guard.failed(REMOTE, "bob", b"%d" % number)
        self.store.reads.clear()
        failure = await self.settled(self.attempt())
        self.assertIs(failure.type, LoginThrottled)
        self.assertGreaterEqual(failure.value.seconds, 1)
        self.assertEqual(self.store.reads, [])
        self.assertEqual(self.lines[-1][1]["reason"], "throttled")
        self.assertEqual((await self.attempt(peer=Peer.of("198.51.100.1"))).name, "bob@example.test")

    async def test_unavailable(self) -> None:
        """A store that cannot be read is a temporary error; it is logged, and no failure counts."""
        self.store.broken = StoreFault("the disk is gone")
        self.assertIs(await self.refused(), LoginUnavailable)
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)
        self.assertEqual(len(self.login._guard._tables[0]), 0)
        self.store.broken = None
        self.assertEqual((await self.attempt()).name, "bob@example.test")

    async def test_busy(self) -> None:
        """When too many passwords wait it is a temporary error, a line without a traceback."""

        async def busy(*ignored: Any) -> bool:
            raise Busy("too many")

        self.checker._passwords.verify = busy
        self.assertIs(await self.refused(), LoginUnavailable)
        self.assertEqual(self.events(), ["login unavailable"])

    async def test_refused_at_one_time(self) -> None:
        """A refusal comes so long after the attempt, however long the check took; one that took longer than
        that comes at once."""
        for taken in (0.0, 0.5, 1.5, 5.0):
            self.login = Login(self.portal, self.auth, DOMAINS, self.clock)
            checked: Deferred[bool] = Deferred()

            async def verify(*ignored: Any, checked: Deferred[bool] = checked) -> bool:
                return await checked

            self.checker._passwords.verify = verify
            attempt = self.attempt()
            self.clock.advance(taken)
            checked.callback(False)
            if taken < 2.0:
                self.clock.advance(1.9 - taken)
                self.assertNoResult(attempt)
                self.clock.advance(0.1)
            self.failureResultOf(attempt, LoginRefused)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_hung_up(self) -> None:
        """A client that is gone before the answer has failed, and nothing is left of it."""
        self.store.slow = True
        attempt = self.attempt(close=lambda: None)
        attempt.cancel()
        self.assertIs((await self.settled(attempt)).type, CancelledError)
        self.assertEqual(self.lines[-1][1]["reason"], "connection lost")
        self.assertEqual(len(self.login._guard._tables[0]), 1)
        self.assertEqual(len(self.login._guard._under_way), 0)
        self.assertEqual(self.sessions.count(1), 0)

    async def test_hung_up_while_it_waits(self) -> None:
        """Cancelled while the refusal is held back, its timer goes too."""
        attempt = self.attempt(password=b"wrong")
        for _ in range(2000):
            if self.clock.getDelayedCalls():
                break
            await deferLater(reactor, 0.001)
        attempt.cancel()
        await self.settled(attempt)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_where_it_comes_from(self) -> None:
        """A checker finds peer and service on the credentials."""
        credentials = Password(b"bob", b"hungry")
        await self.login.attempt(
            credentials, peer=REMOTE, service="ftps", context="ftp-1", interfaces=(ISubmitter,)
        )
        self.assertEqual((credentials.peer, credentials.service), (REMOTE, "ftps"))
        verifyObject(IPassword, credentials)

    async def test_anonymous(self) -> None:
        """Anonymous is refused where there is none, and gets its own home where there is."""

        def ask() -> Deferred[Any]:
            return self.login.attempt(
                Anonymous(), peer=REMOTE, service="ftp", context="ftp-1", interfaces=(IHome,)
            )

        self.assertIs((await self.settled(ask())).type, LoginRefused)
        self.portal.registerChecker(makeChecker("anonymous"), IAnonymous)
        self.assertIs((await self.settled(ask())).type, LoginRefused)
        home = object()
        self.realm._anonymous_home = lambda: home
        found = await ask()
        self.assertIs(found.avatar, home)
        self.assertEqual(found.name, "anonymous")


class SubmitterTests(Attempts):
    async def test_may_send_as(self) -> None:
        """An account sends as its own address, in any case, and as no other."""
        submitter = (await self.attempt()).avatar
        verifyObject(ISubmitter, submitter)
        self.assertTrue(submitter.may_send_as(parse_address("BOB@example.TEST")))
        for other in ("alice@example.test", "bob@elsewhere.test", "bob+x@example.test"):
            self.assertFalse(submitter.may_send_as(parse_address(other)))


class SessionTests(Attempts):
    """Sessions end when their account's password changes or it is disabled or removed."""

    async def open(self) -> tuple[list[str], Any]:
        closed: list[str] = []
        found = await self.attempt(close=lambda: closed.append("closed"))
        return closed, found

    async def test_changes_that_close(self) -> None:
        """A new verifier, disabled, removed, and removed and made again: each ends the session."""
        bob, verifier = self.store.accounts["bob@example.test"]
        for changed in (
            replace(bob, verifier_version=2),
            replace(bob, disabled=True),
            None,
            replace(bob, id=9),
        ):
            self.store.accounts[bob.address] = (bob, verifier)
            closed, found = await self.open()
            self.store.change(bob.address, changed)
            self.assertEqual(closed, ["closed"], changed)
            found.logout()
            self.assertEqual(self.sessions.count(1), 0)

    async def test_changes_that_do_not(self) -> None:
        """Another quota, another account's change, and a session that has ended."""
        bob, _ = self.store.accounts["bob@example.test"]
        closed, found = await self.open()
        self.store.change(bob.address, replace(bob, mail_quota=7))
        self.store.change("alice@example.test", None)
        found.logout()
        found.logout()
        self.store.change(bob.address, None)
        self.assertEqual(closed, [])

    async def test_changed_while_checking(self) -> None:
        """A password that was changed between reading and letting in does not open a session that stays."""
        bob, _ = self.store.accounts["bob@example.test"]
        self.store.slow = True
        closed: list[str] = []
        attempt = self.attempt(close=lambda: closed.append("closed"))
        (waiting, result), self.store.slow = self.store.pending[0], False
        self.store.change(bob.address, replace(bob, verifier_version=2), make_verifier("new", CHEAP))
        waiting.callback(result)
        await attempt
        self.assertEqual(closed, ["closed"])

    async def test_new_password_opens(self) -> None:
        """After a change the old password is refused, remembered or not, and the new one taken."""
        await self.attempt()
        bob, _ = self.store.accounts["bob@example.test"]
        self.store.change(bob.address, replace(bob, verifier_version=2), make_verifier("new", CHEAP))
        self.assertIs(await self.refused(), LoginRefused)
        closed: list[str] = []
        await self.attempt(password=b"new", close=lambda: closed.append("closed"))
        self.assertEqual(closed, [])

    async def test_a_session_that_fails_to_close(self) -> None:
        """One session's error does not spare the others."""
        bob, _ = self.store.accounts["bob@example.test"]
        closed: list[int] = []

        def broken() -> None:
            raise ZeroDivisionError

        await self.attempt(close=broken)
        await self.attempt(close=lambda: closed.append(1))
        await self.attempt(close=broken)
        self.store.change(bob.address, None)
        self.assertEqual(closed, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    async def test_a_change_that_cannot_be_read(self) -> None:
        """When nobody can say what changed, the session ends."""
        closed, _ = await self.open()
        bob, _ = self.store.accounts["bob@example.test"]
        self.store.broken = StoreFault("the disk is gone")
        self.store.change(bob.address, replace(bob, mail_quota=7))
        self.assertEqual(closed, ["closed"])
        self.assertEqual(len(self.flushLoggedErrors(StoreFault)), 1)

    async def test_many_changes_are_forgotten_safely(self) -> None:
        """Beyond what is remembered, a change is assumed rather than missed."""
        mark = self.sessions.mark
        bob, _ = self.store.accounts["bob@example.test"]
        for number in range(2, 1500):
            self.sessions._note(number)
        self.assertLessEqual(len(self.sessions._changed), 1000)
        closed: list[int] = []
        self.store.accounts[bob.address] = (replace(bob, disabled=True), self.store.accounts[bob.address][1])
        self.sessions.register(bob, lambda: closed.append(1), mark)
        self.assertEqual(closed, [1])


class OfferTests(SynchronousTestCase):
    def offers(
        self, plaintext: tuple[str, ...], service: str, peer: Peer = REMOTE, secure: bool = False
    ) -> bool:
        from twisted.internet.task import Clock

        login = Login(Portal(None, ()), Auth(plaintext=plaintext), DOMAINS, Clock())
        return login.offers(secure=secure, peer=peer, service=service)

    def test_where_a_password_may_be_sent(self) -> None:
        """Under TLS, on loopback, or where the settings name the protocol; a proxied loopback is none."""
        self.assertFalse(self.offers((), "ftp"))
        self.assertTrue(self.offers((), "ftp", secure=True))
        self.assertTrue(self.offers((), "ftp", peer=LOCAL))
        self.assertFalse(self.offers((), "ftp", peer=Peer.of("127.0.0.1", proxied=True)))
        self.assertTrue(self.offers(("ftp",), "ftp"))
        self.assertFalse(self.offers(("ftp",), "pop3"))
        self.assertTrue(self.offers(("smtp",), "submission"))
        self.assertFalse(self.offers(("submission",), "smtp"))


@implementer(Interface)
class Anything:
    pass


class StockCheckerTests(Attempts):
    """Checkers and realms that were written for Twisted work unchanged."""

    def use(self, checker: Any, realm: Any = None) -> None:
        self.portal = Portal(realm or self.realm, [checker])
        self.login = Login(self.portal, self.auth, DOMAINS, self.clock)

    async def test_file_and_memory(self) -> None:
        """strcred's file: and memory: take our credentials (#10209), and name accounts of the store."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("bob:rosebud\nghost:boo\n")
        for checker in (makeChecker(f"file:{path}"), makeChecker("memory:bob:rosebud:ghost:boo")):
            self.use(checker)
            self.assertEqual((await self.attempt(password=b"rosebud")).name, "bob@example.test")
            self.assertIs(await self.refused(password=b"hungry"), LoginRefused)
            self.assertIs(await self.refused(name=b"ghost", password=b"boo"), LoginRefused)

    async def test_unix(self) -> None:
        """strcred's unix: takes our credentials; an unknown name is refused."""
        self.use(makeChecker("unix"))
        self.assertIs(await self.refused(name=b"no-such-user-here"), LoginRefused)

    async def test_text_avatar_id(self) -> None:
        """A checker that answers text, as unix: does, names an account too."""

        class Texts:
            credentialInterfaces = (IUsernamePassword,)

            def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
                return succeed("bob")

        self.use(Texts())
        self.assertEqual((await self.attempt()).avatar.account_id, 1)

    async def test_twisted_credentials(self) -> None:
        """Twisted's own credentials, even with text in them, are taken where a checker takes them."""
        self.use(makeChecker("memory:bob:rosebud"))
        found = await self.login.attempt(
            UsernamePassword(b"bob", b"rosebud"),
            peer=LOCAL,
            service="ftp",
            context="x",
            interfaces=(ISubmitter,),
        )
        self.assertEqual(found.name, "bob@example.test")
        attempt = self.login.attempt(
            UsernamePassword("bob", "rosebud"),
            peer=LOCAL,
            service="ftp",
            context="x",
            interfaces=(ISubmitter,),
        )
        self.assertEqual((await self.settled(attempt)).name, "bob@example.test")

    async def test_foreign_realm(self) -> None:
        """A realm that knows nothing of us: its avatar, its logout; an interface it has not is our error."""
        logged_out: list[int] = []

        class Realm:
            def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
                if IHome not in interfaces:
                    raise NotImplementedError("only IHome")
                return IHome, "avatar", lambda: logged_out.append(1)

        self.use(makeChecker("memory:bob:rosebud"), Realm())
        found = await self.settled(self.attempt(password=b"rosebud", interface=IHome))
        self.assertEqual((found.name, found.avatar), ("bob@example.test", "avatar"))
        found.logout()
        self.assertEqual(logged_out, [1])
        self.assertIs(await self.refused(password=b"rosebud"), LoginUnavailable)
        self.flushLoggedErrors(NotImplementedError)

    def test_check_password(self) -> None:
        """checkPassword takes octets and text."""
        credentials = Password(b"bob", b"rosebud")
        self.assertTrue(credentials.checkPassword(b"rosebud"))
        self.assertTrue(credentials.checkPassword("rosebud"))
        self.assertFalse(credentials.checkPassword(b"rosebu"))

    async def test_removed_while_the_file_says_yes(self) -> None:
        """Another checker's name without an account, or with a disabled one, is refused like a wrong one."""
        bob, _ = self.store.accounts["bob@example.test"]
        self.use(makeChecker("memory:bob:rosebud"))
        self.store.change(bob.address, replace(bob, disabled=True))
        self.assertIs(await self.refused(password=b"rosebud"), LoginRefused)
        self.assertIsNotNone(UnauthorizedLogin)
