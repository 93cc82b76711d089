"""A whole server in memory, for the tests of software that sends mail, reads it or moves files.

    class ReminderTests(TestCase):
        async def setUp(self):
            self.server = await MailServer.start(reactor, accounts={"bob@example.test": "hungry"})
            self.addCleanup(self.server.stop)

        async def test_reminder(self):
            await remind("bob@example.test", "127.0.0.1", self.server.smtp_port)
            [message] = self.server.messages("bob@example.test")

It is made of the same rooms as the real one, over a store in memory, and it listens on free ports of the
loopback. Nothing delivers: mail to other domains stays in the queue, which is the `outbox`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, Literal, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from mailftp.accounts.passwords import make_verifier
from mailftp.files.homes import folder_name
from mailftp.intake.intake import Envelope, Intake, Origin, Recipient, Refused
from mailftp.message.address import Address, parse_address
from mailftp.rooms import Foundations, furnish
from mailftp.settings import FTP, TLS, Argon2, Auth, Settings
from mailftp.setup.authority import make_certificates
from mailftp.store.engine import Store
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import (
    Accounts,
    Bodies,
    MailboxSince,
    OpenBody,
    QueueList,
)
from mailftp.store.records import (
    Accepted,
    BodyRef,
    QueueFilter,
    QueueMessage,
    RecipientState,
    StagedBody,
)
from mailftp.store.units import AddAccount
from mailftp.wire.listener import ListenerService
from mailftp.wire.tls import Certificates

__all__ = ["MailServer", "Outgoing", "Step"]

T = TypeVar("T")

#: Where `fail_next` says no: the reply to MAIL, to RCPT, or to the end of the message.
Step = Literal["sender", "recipient", "message"]

_SERVICES = ("smtp", "submission", "pop3", "imap", "ftp")
#: The least that argon2 takes: a test has no use for a password that is hard to guess.
_CHEAP = Argon2(time_cost=1, memory_cost=8, parallelism=1)
#: Messages that the outbox shows.
LARGEST_OUTBOX = 1_000_000
#: Seconds that connections have to finish at `stop`.
_DRAIN = 1.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that would have left: its envelope, and its octets as they would have been sent.

    `sender` is "" for a notice, which has the null reverse-path.
    """

    sender: str
    recipients: tuple[str, ...]
    message: bytes


class MailServer:
    """SMTP, submission, POP3, IMAP and FTP on 127.0.0.1; `start` makes one that listens."""

    def __init__(self, reactor: Any, folder: Path, domains: tuple[str, ...], **settings: Any) -> None:
        """Use `start`. `folder` becomes the server's and is removed by `stop`."""
        self.settings = replace(
            Settings(
                folder,
                folder,
                domains=domains,
                auth=Auth(failure_delay=0.0, argon2=_CHEAP),
                ftp=FTP(root=folder / "files", passive_ports=None, durable=False),
            ),
            **settings,
        )
        self._folder = folder
        self._store = MemoryStore(
            mail_quota=self.settings.quota.mail, message_quota=self.settings.quota.messages
        )
        self._base = Foundations(self.settings, reactor, self._store)
        self._refusals: dict[Step, deque[Refused]] = {
            step: deque() for step in ("sender", "recipient", "message")
        }
        self._listeners: dict[str, ListenerService] = {}
        self._ending: list[Callable[[], Any]] = [lambda: rmtree(folder)]

    @classmethod
    def start(
        cls, reactor: Any, accounts: Mapping[str, str] | None = None, *, tls: bool = False, **settings: Any
    ) -> Deferred[MailServer]:
        """Fires with a server that listens, with these accounts: address -> password.

        With `tls` it offers STARTTLS, STLS and AUTH TLS by a certificate for localhost and 127.0.0.1, which
        `ca` signed. `settings` are fields of `mailftp.settings.Settings`, `limits=Limits(message_size=1000)`
        for one. Mail is taken for the domains of the accounts, or `domains`. Fails with AddressFault for
        what is no address.
        """
        return Deferred.fromCoroutine(cls._start(reactor, accounts or {}, tls, settings))

    @classmethod
    async def _start(
        cls, reactor: Any, accounts: Mapping[str, str], tls: bool, settings: dict[str, Any]
    ) -> MailServer:
        named = {parse_address(address).domain.lower(): None for address in accounts}
        domains = settings.pop("domains", tuple(named) or ("example.test",))
        folder = Path(mkdtemp(prefix="mailftp-"))
        try:
            if tls:
                make_certificates(folder, "localhost")
                settings["tls"] = TLS(folder / "cert.pem", folder / "key.pem")
            server = cls(reactor, folder, domains, **settings)
        except BaseException:
            rmtree(folder)
            raise
        try:
            await server._open()
            for address, password in accounts.items():
                server.add_account(address, password)
        except BaseException:
            await server.stop()
            raise
        return server

    async def _open(self) -> None:
        base, settings = self._base, self.settings
        certificates = Certificates(settings.tls) if settings.tls is not None else None
        for start, stop in base.parts():
            self._ending.append(stop)
            started = start()
            if isinstance(started, Deferred):
                await started
        rooms = furnish(base, settings)
        # Ours takes the place of the plain one, which is to hear no more of the store.
        await rooms.intake.stop()
        intake = _ObstinateIntake(settings, base.store, self._refusals)
        self._ending.append(intake.stop)
        rooms = replace(rooms, intake=intake)
        for service in _SERVICES:
            factory = rooms.factory(service, base, certificates)
            listener = ListenerService(
                "tcp:0:interface=127.0.0.1", factory, base.reactor, key=service, drain_seconds=_DRAIN
            )
            listener.startService()
            self._ending.append(listener.stopService)
            self._listeners[service] = listener

    def stop(self) -> Deferred[None]:
        """Close every connection and remove every file; fires when the reactor holds nothing of it. It may be
        called twice."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        while self._ending:
            ended = self._ending.pop()()
            if isinstance(ended, Deferred | Coroutine):
                await ended

    # Where it is.

    @property
    def ca(self) -> Path:
        """The authority that a client has to trust, PEM; there with `tls` only."""
        return self._folder / "ca.pem"

    def _port(self, service: str) -> int:
        (address,) = self._listeners[service].addresses
        port: int = getattr(address, "port")  # noqa: B009  # IAddress does not say that TCP has ports
        return port

    @property
    def smtp_port(self) -> int:
        """Where mail comes from other servers: no login, and only for this server's domains."""
        return self._port("smtp")

    @property
    def submission_port(self) -> int:
        """Where mail comes from its authors: with a login, for everywhere."""
        return self._port("submission")

    @property
    def pop3_port(self) -> int:
        return self._port("pop3")

    @property
    def imap_port(self) -> int:
        return self._port("imap")

    @property
    def ftp_port(self) -> int:
        return self._port("ftp")

    # Who is there, and what came.

    def add_account(self, address: str, password: str) -> None:
        """Raises AccountExists, AddressFault, or PasswordFault."""
        verifier = make_verifier(password, self.settings.auth.argon2)
        _at_once(self._store.commit(AddAccount(parse_address(address).key, verifier)))

    def messages(self, address: str, mailbox: str = "INBOX") -> list[bytes]:
        """What is in an account's mailbox, oldest first, as POP3 would send it: with its trace fields and
        CRLF line ends. Raises KeyError for an account that there is not."""
        accounts = {account.address: account for account in _at_once(self._store.read(Accounts()))}
        account = accounts[parse_address(address).key]
        found = _at_once(self._store.read(MailboxSince(account.id, mailbox)))
        return [message.prefix + self._body(message.body) for message in found.messages] if found else []

    @property
    def outbox(self) -> list[Outgoing]:
        """What would have left for other domains, oldest first. Submitted mail alone can: see
        `submission_port`."""
        everything = QueueList(QueueFilter(states=frozenset(RecipientState)), LARGEST_OUTBOX)
        return [self._outgoing(message) for message in _at_once(self._store.read(everything))]

    def _outgoing(self, message: QueueMessage) -> Outgoing:
        transfer = message.transfer
        recipients = tuple(path.address for path in transfer.recipients)
        return Outgoing(transfer.reverse_path, recipients, transfer.prefix + self._body(message.body))

    def _body(self, ref: BodyRef) -> bytes:
        if not ref.large:
            return _at_once(self._store.read(Bodies((ref,))))[0]
        with os.fdopen(_at_once(self._store.read(OpenBody(ref))), "rb") as file:
            return file.read()

    def files(self, address: str) -> Path:
        """The folder that FTP serves this account. It is made when it is first used: to put files there
        before, make it."""
        local, _, domain = parse_address(address).key.rpartition("@")
        return self.settings.ftp.root / folder_name(domain) / folder_name(local)

    # What goes wrong.

    def fail_next(self, reply: str = "451 4.3.0 Try again later", at: Step = "message") -> None:
        """Refuse what comes next at this step of SMTP, once, on either port; repeat for more.

        `reply` is "CODE STATUS TEXT", the code 400 to 599. Raises ValueError for another form.
        """
        code, _, rest = reply.partition(" ")
        status, _, text = rest.partition(" ")
        if not (reply.isascii() and reply.isprintable() and text and status[:2] == f"{code[:1]}."):
            raise ValueError(f"not of the form '451 4.3.0 Try again later': {reply!r}")
        if not (len(code) == 3 and code.isdigit() and code[0] in "45"):
            raise ValueError(f"{code!r} refuses nothing: it takes 400 to 599")
        self._refusals[at].append(Refused(int(code), status, text))


class _ObstinateIntake(Intake):
    """Refuses what it is told to refuse."""

    def __init__(self, settings: Settings, store: Store, refusals: Mapping[Step, deque[Refused]]) -> None:
        super().__init__(settings, store)
        self._refusals = refusals

    def _refuse(self, step: Step) -> None:
        if self._refusals[step]:
            raise self._refusals[step].popleft()

    def sender(self, origin: Origin, sender: Address | None) -> Deferred[None] | None:
        self._refuse("sender")
        return super().sender(origin, sender)

    def recipient(
        self, origin: Origin, address: Address, sender: Address | None = None
    ) -> Recipient | Deferred[Recipient]:
        self._refuse("recipient")
        return super().recipient(origin, address, sender)

    def accept(self, envelope: Envelope, body: StagedBody) -> Deferred[Accepted]:
        try:
            self._refuse("message")
        except Refused:
            return fail()
        return super().accept(envelope, body)


def _at_once(answer: Deferred[T]) -> T:
    """What the store in memory answers, which it does before it returns. Raises what it failed with."""
    answers: list[T] = []
    failures: list[Failure] = []
    answer.addCallbacks(answers.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return answers[0]
