"""The whole way with real peers: dnsmasq for MX, Postfix's smtp-sink to take the mail."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from mailftp.delivery import DeliveryService
from mailftp.dns.resolver import Resolver
from mailftp.intake.intake import Intake
from mailftp.settings import DNS, Delivery, Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import MailboxSince, QueueList
from mailftp.store.records import ForwardPath, QueueFilter, RecipientState, Transfer
from mailftp.store.units import Accept, AddAccount
from tests.dns.dnsmasq import Dnsmasq
from tests.smtp.smtp_sink import SMTPSink
from tests.store.messages import VERIFIER, message, staged


class PeerTests(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.sink = await SMTPSink.start(folder=str(self.folder))
        self.addCleanup(self.sink.stop)
        self.dnsmasq = await Dnsmasq.start(
            "--mx-host=b.test,dead.b.test,5",
            "--mx-host=b.test,mx.b.test,10",
            "--host-record=dead.b.test,127.0.0.9",
            "--host-record=mx.b.test,127.0.0.1",
            "--mx-host=null.test,.,0",
            "--local=/test/",
        )
        self.addCleanup(self.dnsmasq.stop)
        self.settings = Settings(
            folder=self.folder,
            data=self.folder,
            hostname="mx.a.test",
            domains=("a.test",),
            delivery=Delivery(port=self.sink.port),
            dns=DNS(servers=(self.dnsmasq.address,)),
        )
        self.store = MemoryStore()
        await self.store.start()
        self.alice = await self.store.commit(AddAccount("alice@a.test", VERIFIER))
        resolver = Resolver(self.settings.dns, reactor)
        self.addCleanup(resolver.stop)
        intake = Intake(self.settings, self.store)
        # Our own SMTP would be on this address of the loopback.
        service = DeliveryService(self.settings, self.store, resolver, intake, reactor, {("127.0.0.5", 25)})
        service.startService()
        self.addCleanup(service.stopService)

    async def submit(self, number: int, *addresses: str) -> None:
        transfer = Transfer("alice@a.test", tuple(map(ForwardPath, addresses)), b"Received: here\r\n")
        body = await staged(self.store, message(f"number {number}", body=b".dot\r\n.\r\nend\r\n"))
        await self.store.commit(Accept(body, time.time(), (), transfer))

    async def until_done(self) -> None:
        unfinished = QueueFilter(states=frozenset({RecipientState.WAITING}))
        for _ in range(2000):
            if not await self.store.read(QueueList(unfinished)):
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("the queue did not become empty")

    async def test_delivered(self) -> None:
        """Fifty messages by MX, past a dead host, arrive whole and once each."""
        for number in range(50):
            await self.submit(number, "bob@b.test", "eve@b.test")
        await self.until_done()
        kept = [path.read_bytes() for path in self.folder.iterdir()]
        self.assertEqual(len(kept), 50)
        subjects = {octets.split(b"Subject: ")[1].split(b"\n")[0] for octets in kept}
        self.assertEqual(subjects, {b"number %d" % number for number in range(50)})
        for octets in kept:
            self.assertIn(b"X-Rcpt-Args: <bob@b.test>\nX-Rcpt-Args: <eve@b.test>", octets)
            self.assertIn(b"\n\n.dot\n.\nend\n", octets)

    async def test_bounced(self) -> None:
        """A name that does not exist, and a null MX, come back as reports."""
        await self.submit(1, "bob@nowhere.test")
        await self.submit(2, "bob@null.test")
        await self.until_done()
        inbox = await self.store.read(MailboxSince(self.alice.id))
        self.assertEqual(len(inbox.messages), 2)
