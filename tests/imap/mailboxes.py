"""An IMAP server over the memory store, for this room's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailftp.accounts.checkers import CertificateChecker, StoreChecker
from mailftp.accounts.login import Login
from mailftp.accounts.passwords import HashingThreads, Passwords, make_verifier
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sasl import Mechanisms
from mailftp.accounts.sessions import Sessions
from mailftp.imap.mailbox_states import MailboxStates
from mailftp.imap.server import IMAPFactory
from mailftp.settings import Argon2, Auth, Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import MailboxSince
from mailftp.store.records import Filing, Message
from mailftp.store.units import Accept, AddAccount
from tests import certificates
from tests.connector import Client, connect, wiring

CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)
DOMAINS = ("example.test",)
#: 17-Jul-1996 09:44:25 UTC, when RFC 3501's own example message came.
RECEIVED = 837596665.0

MESSAGES = (
    b"From: alice@example.test\r\nSubject: one\r\n\r\nfirst\r\nline\r\n",
    b"From: alice@example.test\r\nSubject: two\r\n\r\nsecond\r\n",
    b"From: carol@example.test\r\nSubject: three\r\n\r\n",
)


class AtOnce(HashingThreads):
    """Hashes in the calling thread: these hashes are cheap, and a transcript knows no waiting."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    async def run(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)


class IMAPTestCase(TestCase):
    """bob with the password "hungry" and MESSAGES in his INBOX, alice with "teapot" and none."""

    timeout = 60
    auth = Auth(failure_delay=0.0, argon2=CHEAP)
    messages = MESSAGES
    #: Signs the certificates that clients log in with.
    clients: certificates.Authority | None = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.store: Any = self.make_store()
        self.successResultOf(self.store.start())
        self.ids = {}
        for name, password in (("bob", "hungry"), ("alice", "teapot")):
            unit = AddAccount(f"{name}@example.test", make_verifier(password, CHEAP))
            self.ids[name] = self.successResultOf(self.store.commit(unit)).id
        for message in self.messages:
            self.put(message)
        self.furnish()

    def furnish(self) -> None:
        """The rooms below IMAP, over the store there is."""
        self.sessions = Sessions(self.store)
        self.sessions.start()
        self.states = MailboxStates(self.store)
        self.states.start()
        self.addCleanup(self.states.stop)
        realm = MailRealm(self.store, self.sessions, lambda account, read_only: None, domains=DOMAINS)
        self.checker = StoreChecker(
            self.store,
            Passwords(AtOnce(reactor), CHEAP, self.clock),
            DOMAINS,
            secret=b"kept",
            mark=lambda: self.sessions.mark,
        )
        self.portal = Portal(realm, [self.checker, CertificateChecker(self.store, DOMAINS)])
        self.factory = self.make_factory()

    def make_store(self) -> Any:
        return MemoryStore(self.clock.seconds, None)

    def make_factory(self, tls: bool = False, service: str = "imap", **settings: Any) -> IMAPFactory:
        made = wiring(
            service,
            "imap",
            clock=self.clock,
            tls=certificates.service(self.mktemp(), service, self.clients) if tls else None,
            implicit_tls=service == "imaps",
            settings=replace(
                Settings(folder=Path("/nonexistent"), data=Path("/nonexistent")),
                **{"auth": self.auth, **settings},
            ),
        )
        login = Login(self.portal, self.auth, DOMAINS, self.clock)
        return IMAPFactory(made, login, Mechanisms(self.portal), self.states)

    def put(
        self,
        message: bytes,
        account: str = "bob",
        mailbox: str = "INBOX",
        flags: frozenset[str] = frozenset(),
        received: float = RECEIVED,
    ) -> None:
        """File a message."""
        sink = self.store.stage()
        sink.write(message)
        body = self.successResultOf(sink.finish())
        filing = Filing(self.ids[account], mailbox, flags)
        self.successResultOf(self.store.commit(Accept(body, received, (filing,))))

    def rows(self, mailbox: str = "INBOX", account: str = "bob") -> tuple[Message, ...]:
        """What the store has."""
        found = self.successResultOf(self.store.read(MailboxSince(self.ids[account], mailbox)))
        return () if found is None else found.messages

    def connect(
        self, factory: Any = None, peer: tuple[str, int] = ("127.0.0.1", 40000), **tls: Any
    ) -> Client:
        """From loopback, where a password may be sent in the clear."""
        return connect(factory or self.factory, peer=peer, **tls)

    def enter(self, mailbox: str = "", account: str = "bob") -> Client:
        """Logged in, and with a mailbox selected when one is named; what was said so far is received."""
        client = self.connect()
        password = {"bob": "hungry", "alice": "teapot"}[account]
        client.send(f"a LOGIN {account} {password}\r\n".encode())
        if mailbox:
            client.send(f'b SELECT "{mailbox}"\r\n'.encode())
        self.assertIn(b"b OK" if mailbox else b"a OK", client.received())
        return client
