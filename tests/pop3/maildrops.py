"""A POP3 server over the memory store, for this room's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from mailftp.accounts.checkers import CertificateChecker, StoreChecker
from mailftp.accounts.login import Login
from mailftp.accounts.passwords import HashingThreads, Passwords, make_verifier
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sasl import Mechanisms
from mailftp.accounts.sessions import Sessions
from mailftp.pop3.server import POP3Factory
from mailftp.settings import Argon2, Auth, Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import MailboxSince
from mailftp.store.records import Filing
from mailftp.store.units import Accept, AddAccount
from tests import certificates
from tests.connector import Client, connect, wiring

CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)
DOMAINS = ("example.test",)

MESSAGES = (
    b"From: alice@example.test\r\nSubject: one\r\n\r\nfirst\r\nline\r\n",
    b"Subject: two\r\n\r\n.dot\r\n..\r\n.\r\nlast\r\n",
    b"Subject: three\r\n\r\n",
)


class AtOnce(HashingThreads):
    """Hashes in the calling thread: these hashes are cheap, and a transcript knows no waiting."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    async def run(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)


class POP3TestCase(TestCase):
    """bob with the password "hungry" and MESSAGES, alice with "teapot" and none."""

    timeout = 20
    auth = Auth(failure_delay=0.0, argon2=CHEAP)
    clients: certificates.Authority | None = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.store: Any = self.make_store()
        self.successResultOf(self.store.start())
        self.ids = {}
        for name, password in (("bob", "hungry"), ("alice", "teapot")):
            unit = AddAccount(f"{name}@example.test", make_verifier(password, CHEAP))
            self.ids[name] = self.successResultOf(self.store.commit(unit)).id
        for message in MESSAGES:
            self.put(message)
        self.furnish()

    def furnish(self) -> None:
        """The rooms below POP3, over the store there is."""
        self.sessions = Sessions(self.store)
        self.sessions.start()
        self.threads = self.make_threads()
        self.threads.start()
        self.addCleanup(self.threads.stop)
        realm = MailRealm(self.store, self.sessions, lambda account, read_only: None, domains=DOMAINS)
        self.checker = StoreChecker(
            self.store,
            Passwords(self.threads, CHEAP, self.clock),
            DOMAINS,
            secret=b"kept",
            mark=lambda: self.sessions.mark,
        )
        self.portal = Portal(realm, [self.checker, CertificateChecker(self.store, DOMAINS)])
        self.factory = self.make_factory()

    def make_store(self) -> Any:
        return MemoryStore()

    def make_threads(self) -> HashingThreads:
        return AtOnce(reactor)

    def make_factory(self, tls: bool = False, service: str = "pop3", **settings: Any) -> POP3Factory:
        """`self.clients`, where there is one, signs the certificates that clients log in with."""
        made = wiring(
            service,
            "pop3",
            clock=self.clock,
            tls=certificates.service(self.mktemp(), service, self.clients) if tls else None,
            implicit_tls=service == "pop3s",
            settings=replace(
                Settings(folder=Path("/nonexistent"), data=Path("/nonexistent")), auth=self.auth, **settings
            ),
        )
        login = Login(self.portal, self.auth, DOMAINS, self.clock)
        return POP3Factory(made, login, Mechanisms(self.portal))

    def put(self, message: bytes, account: str = "bob", prefix: bytes = b"") -> None:
        sink = self.store.stage()
        sink.write(message)
        body = self.successResultOf(sink.finish())
        filing = Filing(self.ids[account], prefix=prefix)
        self.successResultOf(self.store.commit(Accept(body, 1.0, (filing,))))

    def connect(self, peer: Any = ("127.0.0.1", 4000), factory: Any = None, **tls: Any) -> Client:
        """A client on loopback, where passwords may be sent; the greeting is not yet read."""
        client = connect(factory or self.factory, peer=peer, **tls)
        self.addCleanup(lambda: client.closed or client.drop())
        return client

    def enter(self, name: bytes = b"bob", password: bytes = b"hungry", **how: Any) -> Client:
        client = self.connect(**how)
        answer = client.exchange(b"USER " + name + b"\r\nPASS " + password + b"\r\n")
        self.assertIn(b"+OK maildrop", answer)
        return client

    def uids(self, account: str = "bob") -> list[int]:
        found = self.successResultOf(self.store.read(MailboxSince(self.ids[account])))
        return [message.uid for message in found.messages]


async def turns(condition: Any) -> None:
    """Let the reactor run until the condition holds; bounded."""
    for _ in range(5000):
        if condition():
            return
        await deferLater(reactor, 0.001)
    raise AssertionError("it does not come to be")


__all__ = ["DOMAINS", "MESSAGES", "Deferred", "POP3TestCase", "turns"]
