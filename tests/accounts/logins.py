"""A Login over a few accounts, as the composition root puts it together."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from mailftp.accounts.checkers import CertificateChecker, StoreChecker
from mailftp.accounts.login import Login
from mailftp.accounts.passwords import HashingThreads, Passwords
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sessions import Sessions
from mailftp.settings import Auth
from mailftp.wire.peer import Peer
from tests.accounts.stores import CHEAP, FewAccounts

LOCAL = Peer.of("127.0.0.1", 4000)
REMOTE = Peer.of("192.0.2.9", 4000)
DOMAINS = ("example.test",)


class LoginTestCase(TestCase):
    """`bob` has the password "hungry", `alice` "teapot"."""

    #: Seconds; nothing here waits for a real clock.
    timeout = 10
    auth = Auth(failure_delay=2.0, argon2=CHEAP)

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = FewAccounts(bob="hungry", alice="teapot")
        self.threads = HashingThreads(reactor)
        self.threads.start()
        self.addCleanup(self.threads.stop)
        self.sessions = Sessions(self.store)
        self.sessions.start()
        self.addCleanup(self.sessions.stop)
        self.homes: list[Any] = []
        self.realm = MailRealm(self.store, self.sessions, self.make_home, domains=DOMAINS)
        self.checker = StoreChecker(
            self.store,
            Passwords(self.threads, CHEAP, self.clock),
            DOMAINS,
            secret=b"kept",
            mark=lambda: self.sessions.mark,
        )
        certificates = CertificateChecker(self.store, DOMAINS, mark=lambda: self.sessions.mark)
        self.portal = Portal(self.realm, [self.checker, certificates])
        self.login = Login(self.portal, self.auth, DOMAINS, self.clock)
        self.lines: list[tuple[str, dict[str, Any]]] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)

    def make_home(self, account: Any, read_only: bool) -> Any:
        self.homes.append(account)
        return object()

    def hear(self, event: Any) -> None:
        if "mailftp_event" in event:
            self.lines.append((event["mailftp_event"], event["mailftp_fields"]))

    def events(self) -> list[str]:
        return [event for event, _ in self.lines]
