"""A delivery with a store in memory, a clock that tests move, and real sockets on the loopback."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mailftp.delivery import DeliveryService
from mailftp.intake.intake import Intake
from mailftp.settings import Delivery as DeliverySettings
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import Bodies, MailboxSince, QueueAttempts, QueueList
from mailftp.store.records import ForwardPath, QueueFilter, QueueMessage, RecipientState, Transfer
from mailftp.store.units import Accept, AddAccount
from tests.dns.table import Table
from tests.smtp.far_side import Behaviour, FarSide
from tests.store.messages import VERIFIER, staged

MESSAGE = b"From: alice@a.test\r\nSubject: hello\r\nMessage-ID: <1@a.test>\r\n\r\nBody.\r\n"
ALL = frozenset(RecipientState)


@implementer(IReactorTime, IReactorTCP, IReactorUDP, IReactorFromThreads)
class MovedReactor(Clock):
    """The real reactor's sockets and threads under a clock that stands still until it is moved."""

    def connectTCP(self, host, port, factory, timeout=30, bindAddress=None):
        return reactor.connectTCP(host, port, factory, timeout, bindAddress)

    def listenUDP(self, port, protocol, interface="", maxPacketSize=8192):
        return reactor.listenUDP(port, protocol, interface, maxPacketSize)

    def listenTCP(self, port, factory, backlog=50, interface=""):
        return reactor.listenTCP(port, factory, backlog, interface)

    def callFromThread(self, callable, *args, **kwargs):
        return reactor.callFromThread(callable, *args, **kwargs)

    def getThreadPool(self):
        raise AssertionError("the reactor's own threads are not for us")


class HouseCase(TestCase):
    """`await self.house(...)` first; then `submit`, `settled`, `queue`."""

    timeout = 30
    data = Path("/nonexistent/data")

    async def house(self, delivery: DeliverySettings | None = None, start: bool = True, **more) -> None:
        self.clock = MovedReactor()
        self.clock.advance(1_000_000_000)
        self.table = Table()
        self.settings = Settings(
            folder=None,
            data=self.data,
            hostname="mx.a.test",
            domains=("a.test",),
            delivery=delivery or self.plain(),
        )
        self.store = MemoryStore(self.clock.seconds)
        await self.store.start()
        self.alice = await self.store.commit(AddAccount("alice@a.test", VERIFIER))
        self.intake = Intake(self.settings, self.store, self.clock.seconds)
        self.service = self.deliverer(**more)
        if start:
            self.service.startService()
        self.addCleanup(self.stop)

    def deliverer(self, local_addresses=(("127.0.0.1", 1),), **more) -> DeliveryService:
        return DeliveryService(
            self.settings,
            self.store,
            self.table,
            self.intake,
            self.clock,
            local_addresses,
            now=self.clock.seconds,
            chance=lambda: 0.5,
            **more,
        )

    def plain(self, **more) -> DeliverySettings:
        return DeliverySettings(
            **{"retry": (60.0, 300.0), "give_up": 3600.0, "delay_warning": 1200.0, **more}
        )

    async def stop(self) -> None:
        if self.service.running:
            await self.stopped()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def stopped(self) -> None:
        """Stop the service, moving the clock as far as that takes."""
        stopping = self.service.stopService()
        for _ in range(2000):
            if stopping.called:
                break
            await deferLater(reactor, 0.005)
            self.clock.advance(0.5)
        await stopping

    async def far(self, behaviour: Behaviour | None = None) -> FarSide:
        far = FarSide(behaviour)
        far.listen(reactor)
        self.addCleanup(far.stop)
        return far

    async def routed(self, behaviour: Behaviour | None = None, **more) -> FarSide:
        """A house whose mail for b.test goes to a far side by a route."""
        far = await self.far(behaviour)
        await self.house(self.plain(routes={"b.test": f"127.0.0.1:{far.port}"}, **more))
        return far

    async def submit(
        self,
        *recipients: str | ForwardPath,
        sender: str = "alice@a.test",
        message: bytes = MESSAGE,
        prefix: bytes = b"Received: here\r\n",
        **more,
    ) -> int:
        paths = tuple(ForwardPath(r) if isinstance(r, str) else r for r in recipients)
        transfer = Transfer(sender, paths, prefix, context="smtp-1", **more)
        body = await staged(self.store, message)
        accepted = await self.store.commit(Accept(body, self.clock.seconds(), (), transfer))
        return accepted.queued

    async def until(self, condition, what: str = "it") -> None:
        """Turn the reactor until a condition holds, ten seconds at most; the clock does not move."""
        for _ in range(2000):
            found = condition()
            if isinstance(found, Deferred):
                found = await found
            if found:
                return
            await deferLater(reactor, 0.005)
        raise AssertionError(f"{what} did not come about")

    async def queue(self, message_id: int) -> QueueMessage:
        (message,) = await self.store.read(QueueList(QueueFilter((message_id,), states=ALL)))
        return message

    async def states(self, message_id: int) -> dict[str, str]:
        return {r.address: r.state.value for r in (await self.queue(message_id)).recipients}

    async def settled(self, message_id: int, attempts: int = 1) -> QueueMessage:
        """The message when that many attempts of each recipient have been recorded."""

        async def recorded() -> bool:
            message = await self.queue(message_id)
            kept = await self.store.read(QueueAttempts(message_id))
            return len(kept) >= attempts * len(message.recipients) and not any(
                r.lease_owner for r in message.recipients
            )

        await self.until(lambda: Deferred.fromCoroutine(recorded()), "the end of the attempts")
        return await self.queue(message_id)

    async def attempts(self, message_id: int):
        return await self.store.read(QueueAttempts(message_id))

    async def inbox(self) -> list[bytes]:
        """Alice's messages."""
        changes = await self.store.read(MailboxSince(self.alice.id))
        bodies = [await self.store.read(Bodies((m.body,))) for m in changes.messages]
        return [m.prefix + data for m, (data,) in zip(changes.messages, bodies, strict=True)]
