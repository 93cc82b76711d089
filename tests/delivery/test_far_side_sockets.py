"""The same far sides over real sockets, and several deliveries on one SQLite store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailftp.delivery import DeliveryService
from mailftp.intake.intake import Intake
from mailftp.settings import Concurrency, Delivery, Settings
from mailftp.store.queries import QueueAttempts, QueueList
from mailftp.store.records import ForwardPath, QueueFilter, RecipientState, Transfer
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount
from tests.delivery.far_side_case import fate_of
from tests.delivery.scripted import MESSAGE, Host, Script, ScriptedEnd
from tests.dns.table import Table
from tests.store.messages import VERIFIER, staged


class _Connection(Protocol):
    """What a ScriptedEnd has for a line."""

    factory: Listener

    def connectionMade(self) -> None:
        self.hung_up = False
        self.reading = True
        self.end: ScriptedEnd = self.factory.host()
        self.factory.open.add(self)
        self.end.line = self
        self.factory.held.addCallback(lambda _: self.hung_up or self.end.connected(self))

    def dataReceived(self, data: bytes) -> None:
        if not self.hung_up:
            self.end.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.hung_up = True
        self.end.lost()
        self.factory.open.discard(self)
        for waiting in self.factory.waiting if not self.factory.open else ():
            waiting.callback(None)

    def say(self, data: bytes) -> None:
        self.transport.write(data)

    def hang_up(self, reset: bool = False) -> None:
        self.hung_up = True
        if reset:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()


class Listener(Factory):
    protocol = _Connection
    noisy = False

    def __init__(self, script: Script) -> None:
        self.host = Host(reactor, script)
        self.open: set[_Connection] = set()
        self.waiting: list[Deferred[None]] = []
        #: Nobody is greeted before it has fired.
        self.held: Deferred[object] = succeed(None)
        self._listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def stop(self) -> None:
        await self._listening.stopListening()
        if self.open:
            self.waiting.append(Deferred())
            for connection in list(self.open):
                connection.transport.abortConnection()
            await self.waiting[0]


class SocketCase(TestCase):
    timeout = 120

    async def listener(self, script: Script) -> Listener:
        listener = Listener(script)
        self.addCleanup(listener.stop)
        return listener

    async def begin(self, routes: dict[str, str], *names: str, **delivery) -> None:
        """A service for each name, all on one SQLite store."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.store = SQLiteStore(folder / "mail.sqlite", folder / "blobs", reactor, reactor, text_index=False)
        await self.store.start()
        self.addCleanup(self.store.stop)
        await self.store.commit(AddAccount("alice@a.test", VERIFIER))
        self.services = []
        for name in names:
            settings = Settings(
                folder=None,
                data=folder,
                hostname=name,
                domains=("a.test",),
                delivery=Delivery(routes=routes, retry=(3600.0,), **delivery),
            )
            intake = Intake(settings, self.store)
            service = DeliveryService(settings, self.store, Table(), intake, reactor, (("127.0.0.1", 1),))
            service.startService()
            self.addCleanup(service.stopService)
            self.services.append(service)

    async def send(self, *recipients: str) -> int:
        body = await staged(self.store, MESSAGE)
        transfer = Transfer("alice@a.test", tuple(map(ForwardPath, recipients)), b"Received: here\r\n")
        accepted = await self.store.commit(Accept(body, reactor.seconds(), (), transfer))
        return accepted.queued

    async def until_tried(self) -> dict[str, str]:
        """What became of each recipient, when none is being tried and each was."""
        everything = QueueFilter(states=frozenset(RecipientState))
        for _ in range(1500):
            recipients = [r for m in await self.store.read(QueueList(everything)) for r in m.recipients]
            if all(not r.lease_owner and (r.attempt > 1 or r.state.value != "waiting") for r in recipients):
                return {r.address: r.state.value for r in recipients}
            await deferLater(reactor, 0.01)
        untried = [
            r.address for r in recipients if r.lease_owner or (r.attempt == 1 and r.state.value == "waiting")
        ]
        raise AssertionError(f"attempts did not end: {untried}")

    async def until_owners(self, count: int) -> None:
        for _ in range(6000):
            queued = await self.store.read(QueueList(QueueFilter()))
            if len({r.lease_owner for m in queued for r in m.recipients} - {""}) == count:
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("not so many work")


class RealFarSideTests(SocketCase):
    async def test_sample(self) -> None:
        """Some of each kind: codes, cuts, resets, lies, floods of ten megabytes; the sound one beside them
        gets its mail, and the fate of each is as in memory."""
        cases: list[tuple[Script, str]] = [
            (Script({step: b"%d no\r\n" % code}), fate_of(step, code))
            for step in ("banner", "EHLO", "MAIL", "RCPT", "DATA", ".")
            for code in (250, 421, 451, 550)
        ]
        cases += [
            (Script(cut_saying=cut, reset=cut % 2 == 1), "waiting") for cut in (0, 10, 19, 60, 150, 180)
        ]
        cases += [(Script(cut_hearing=cut), "waiting") for cut in (1, 20, 60, 100, 150)]
        cases += [
            (Script({step: b"250-more\r\n" * 1_000_000}), "waiting") for step in ("banner", "EHLO", ".")
        ]
        cases += [(Script({step: b"2" * 10_000_000}), "waiting") for step in ("banner", "MAIL")]
        cases += [(Script({"RCPT": b"354 go\r\n"}), "waiting"), (Script(hangs_up_after="."), "delivered")]
        far = [await self.listener(script) for script, _ in cases]
        good = await self.listener(Script())
        routes = {f"d{n}.test": f"127.0.0.1:{listener.port}" for n, listener in enumerate(far)}
        await self.begin({**routes, "good.test": f"127.0.0.1:{good.port}"}, "mx.a.test")
        numbers = [await self.send(f"bob@d{n}.test", "carol@good.test") for n in range(len(cases))]
        states = await self.until_tried()
        found = {n: states[f"bob@d{n}.test"] for n in range(len(cases))}
        self.assertEqual(found, {n: fate for n, (_, fate) in enumerate(cases)})
        self.assertEqual(good.host.copies["carol"], len(cases))
        for number in numbers:
            for attempt in await self.store.read(QueueAttempts(number)):
                self.assertLess(len(attempt.dialogue) + len(attempt.outcome), 5000)


class SQLiteLeaseTests(SocketCase):
    async def test_two_services(self) -> None:
        """Two deliveries on one SQLite store, 200 messages: each goes out once, and both send some."""
        far = await self.listener(Script())
        release = far.held = Deferred()
        route = {"b.test": f"127.0.0.1:{far.port}"}
        await self.begin(route, "one.a.test", "two.a.test", concurrency=Concurrency(4, 4))
        for number in range(200):
            await self.send(f"take{number}@b.test")
        # The first has as many as it may; the second takes of the others.
        await self.until_owners(2)
        release.callback(None)
        states = await self.until_tried()
        self.assertEqual(set(states.values()), {"delivered"})
        self.assertEqual(far.host.copies, Counter(f"take{number}" for number in range(200)))
        greeted = {line for line in far.host.lines if line.startswith(b"EHLO")}
        self.assertEqual(greeted, {b"EHLO one.a.test", b"EHLO two.a.test"})
