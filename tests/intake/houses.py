"""A store in memory with a few accounts and an Intake over it, whose answers can be held back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailftp.accounts.realm import Submitter
from mailftp.intake.intake import Envelope, Intake, Origin
from mailftp.message.address import parse_address
from mailftp.settings import Delivery, Limits, Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import Bodies, Mailboxes, MailboxSince, OpenBody, QueueList
from mailftp.store.records import Accepted, Account, BodyRef, QueueMessage, StagedBody, Verifier
from mailftp.store.units import AddAccount, SetAccount
from mailftp.wire.peer import Peer

FAR = Peer.of("192.0.2.7", 40000)
NEAR = Peer.of("127.0.0.1", 40000)
NOW = 1_800_000_000.0


class HeldSink:
    """A sink that counts what it is given and can be slow or full."""

    def __init__(self, store: HeldStore, sink: Any) -> None:
        self._store, self._sink = store, sink
        self.octets = 0
        self.aborted = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self.octets += len(data)
        self._sink.write(data)
        if self._store.write_fault is not None:
            return fail(self._store.write_fault)
        if self._store.hold_writes:
            waiting: Deferred[None] = Deferred()
            self._store.held.append(lambda: waiting.callback(None))
            return waiting
        return None

    def finish(self) -> Deferred[StagedBody]:
        return self._sink.finish()

    def abort(self) -> None:
        self.aborted = True
        self._sink.abort()


class HeldStore(MemoryStore):
    """With `hold_reads`, `hold_commits` or `hold_writes` set, answers wait in `held` until `release`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(now=lambda: NOW, **arguments)
        self.hold_reads = self.hold_commits = self.hold_writes = False
        self.write_fault: Exception | None = None
        self.commit_fault: Exception | None = None
        self.held: list[Callable[[], None]] = []
        self.sinks: list[HeldSink] = []
        self.reads = 0

    def stage(self) -> HeldSink:  # type: ignore[override]
        self.sinks.append(HeldSink(self, super().stage()))
        return self.sinks[-1]

    def read(self, query: Any) -> Deferred[Any]:
        self.reads += 1
        return self._later(super().read(query), self.hold_reads)

    def commit(self, unit: Any) -> Deferred[Any]:
        if self.commit_fault is not None:
            return fail(self.commit_fault)
        return self._later(super().commit(unit), self.hold_commits)

    def _later(self, answer: Deferred[Any], hold: bool) -> Deferred[Any]:
        if not hold:
            return answer
        waiting: Deferred[Any] = Deferred()
        self.held.append(lambda: answer.addBoth(waiting.callback) and None)
        return waiting

    def release(self) -> None:
        """Give the oldest answer that is held."""
        self.held.pop(0)()


class HouseTestCase(SynchronousTestCase):
    """alice and bob live at example.test, carol is disabled; the second domain is second.test."""

    capture: str | None = None
    limits = Limits(message_size=1_000_000, recipients=1000)

    def setUp(self) -> None:
        self.settings = Settings(
            folder=Path("/nonexistent"),
            data=Path("/nonexistent/data"),
            domains=("example.test", "second.test"),
            delivery=Delivery(capture=self.capture),
            limits=self.limits,
        )
        self.store = HeldStore()
        self.successResultOf(self.store.start())
        self.alice = self.add("alice@example.test")
        self.bob = self.add("bob@example.test")
        self.carol = self.add("carol@example.test")
        self.set("carol@example.test", disabled=True)
        self.time = NOW
        self.intake = Intake(self.settings, self.store, now=lambda: self.time)

    def add(self, address: str) -> Account:
        return self.successResultOf(self.store.commit(AddAccount(address, Verifier("$argon2id$"))))

    def set(self, address: str, **changes: bool | int | None) -> None:
        self.successResultOf(self.store.commit(SetAccount(address, tuple(changes.items()))))

    def origin(self, login: str | None = None, peer: Peer = FAR) -> Origin:
        submitter = None
        if login is not None:
            account = {"alice": self.alice, "bob": self.bob}[login]
            submitter = Submitter(account.address, account.id)
        return Origin(peer, "client.test", "ESMTP", "smtp-test", submitter)

    def deliver(
        self, message: bytes, *to: str, login: str | None = None, sender: str = "z@far.test"
    ) -> Deferred[Accepted]:
        """The whole way of a message that was accepted at RCPT, in two pieces."""
        envelope = Envelope(self.origin(login), parse_address(sender) if sender else None)
        for address in to:
            found = self.intake.recipient(envelope.origin, parse_address(address), envelope.sender)
            envelope.recipients.append(self.successResultOf(found) if isinstance(found, Deferred) else found)
        sink = self.intake.stage(envelope)
        half = message.find(b"\r\n", len(message) // 2) + 2
        for piece in (message[:half], message[half:]):
            if piece:
                sink.write(piece)
        return Deferred.fromCoroutine(self._finish(envelope, sink))

    async def _finish(self, envelope: Envelope, sink: Any) -> Accepted:
        return await self.intake.accept(envelope, await sink.finish())

    def inbox(self, account: Account, name: str = "INBOX") -> list[bytes]:
        """Messages as a client would read them: prefix and body."""
        found = self.successResultOf(self.store.read(MailboxSince(account.id, name)))
        if found is None:
            return []
        return [message.prefix + self.body(message.body) for message in found.messages]

    def body(self, ref: BodyRef) -> bytes:
        if not ref.large:
            return self.successResultOf(self.store.read(Bodies((ref,))))[0]
        descriptor = self.successResultOf(self.store.read(OpenBody(ref)))
        try:
            return os.pread(descriptor, ref.size, 0)
        finally:
            os.close(descriptor)

    def boxes(self, account: Account) -> dict[str, int]:
        """Mailbox name -> number of messages."""
        boxes = self.successResultOf(self.store.read(Mailboxes(account.id)))
        return {box.name: len(self.inbox(account, box.name)) for box in boxes}

    def queue(self) -> tuple[QueueMessage, ...]:
        return self.successResultOf(self.store.read(QueueList()))
