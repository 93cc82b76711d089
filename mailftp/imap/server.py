"""IMAP over a connection: TLS, login, timeouts, back-pressure. The protocol itself is session.py."""

from __future__ import annotations

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailftp.accounts.avatars import IMailAccount
from mailftp.accounts.login import LoggedIn, Login
from mailftp.accounts.sasl import Channel, Exchange, Mechanisms
from mailftp.imap.compress import CompressionFault, Deflater, Inflater
from mailftp.imap.context import Context, Offer
from mailftp.imap.mailbox_states import MailboxStates
from mailftp.imap.output import Output
from mailftp.imap.session import Session
from mailftp.settings import Settings
from mailftp.wire.connection import READ_MUCH, Connection, ConnectionFactory, Expiry, Wiring
from mailftp.wire.journal import Journal

#: Seconds without a reply after which a compressed connection gives back memory: most of them are in IDLE.
REST = 10.0


class IMAPConnection(Connection):
    factory: IMAPFactory
    session: Session

    _output: Output
    _work: Deferred[None] | None = None
    _securing: Deferred[None] | None = None
    #: COMPRESS: there may be more in it than was given to the session; the session is being given some; and
    #: the client sends no more.
    _inflater: Inflater | None = None
    _deflater: Deflater | None = None
    _rested = 0.0
    _inflates_more = _feeding = _half_closed = False

    # What happened.

    def opened(self) -> None:
        self._output = Output(self)
        self._shared = Context(_Link(self), self._output, self.factory.states)
        self.session = Session(self._shared)
        work = Deferred.fromCoroutine(self.session.run())
        work.addCallbacks(self._said, self._cancelled)
        if not work.called:
            self._work = work

    def _said(self, result: object) -> None:
        self._work = None
        self.close()

    def _cancelled(self, failure: Failure) -> None:
        # Nothing else comes out of it: the connection is gone.
        failure.trap(CancelledError)  # type: ignore[no-untyped-call]  # untyped upstream

    def received(self, data: bytes) -> None:
        # Two of these a command would be two system calls, so only who sends on before the answer is paused.
        busy = not self.session.waiting
        if self._inflater is None:
            self.session.feed(data)
        else:
            self._inflater.feed(data)
            self._inflate()
        if busy or self._inflates_more:
            self.pause()

    def _inflate(self) -> None:
        """Give the session one piece, when it waits for one: 64 KiB may be 64 MiB, and others have turns."""
        if self._work is None or self._inflater is None or not self.session.waiting:
            return
        try:
            data = self._inflater.take(READ_MUCH)
        except CompressionFault as fault:
            self.session.stop(str(fault))
            return
        self._inflates_more = len(data) == READ_MUCH
        if data:
            self._feeding = True
            self.session.feed(data)
            self._feeding = False
        if self.session.waiting:
            self.wanted()

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._deflater is not None and now - self._rested >= REST:
            self._rested = now
            self._deflater.rest()

    def secured(self) -> None:
        securing, self._securing = self._securing, None
        if securing is not None:
            securing.callback(None)

    def expired(self, clock: Expiry) -> None:
        """RFC 9051 section 5.4: an autologout says BYE."""
        why = "no login came" if clock is Expiry.LOGIN else "nothing was said for too long"
        self.session.stop(f"{why}: connect again")

    def ended(self) -> None:
        if self._inflates_more:
            self._half_closed = True
        else:
            self.session.end()

    def drain(self) -> None:
        self.session.stop("the server is stopping")

    def closed(self, reason: Failure) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
        self._shared.leave_mailbox()
        self._shared.log_out()

    def refusal(self, reason: str) -> bytes:
        return f"* BYE [UNAVAILABLE] {reason}\r\n".encode()

    def unread(self, full: bool) -> None:
        super().unread(full)
        self._output.unread(full)
        if not full:
            self.session.heard()

    # What the session asks for, by its Link.

    def wanted(self) -> None:
        """The session waits for what the client sends."""
        if self._feeding:
            return
        if self._inflates_more:
            self.factory.wiring.clock.callLater(0, self._inflate)
        elif self._half_closed:
            self.session.end()
        else:
            self.resume()

    def compress(self) -> bool:
        """Both directions, from here; False when octets are there that are not compressed."""
        if len(self.session.scanner):
            return False
        self._inflater, self._deflater = Inflater(), Deflater()
        self._output.encode = self._deflater.compress
        return True

    def encrypt(self) -> Deferred[None]:
        """Begin the handshake; fires when it is complete."""
        # What came in the clear behind STARTTLS is never looked at (CVE-2011-0411, CVE-2021-33515).
        self.session.scanner.clear()
        self._securing = securing = Deferred[None]()
        self.start_tls()
        return securing

    def evict(self) -> None:
        """The account's password changed, or it was disabled or removed."""
        if self.session.idle:
            self.session.stop("the account has changed, log in again")
        else:
            self.abort()


class _Link:
    """The session's Link (mailftp.imap.context)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: IMAPConnection) -> None:
        self._connection = connection

    @property
    def journal(self) -> Journal:
        return self._connection.journal

    @property
    def secure(self) -> bool:
        return self._connection.secure

    @property
    def settings(self) -> Settings:
        return self._connection.factory.wiring.settings

    def now(self) -> float:
        return self._connection.factory.wiring.clock.seconds()

    def _channel(self) -> Channel:
        return self._connection.factory.login.channel(self._connection)

    def offer(self) -> Offer:
        channel, factory = self._channel(), self._connection.factory
        starttls = factory.wiring.tls is not None and not self._connection.secure
        limit = factory.wiring.settings.limits.message_size
        return Offer(starttls, channel.plaintext_allowed, factory.mechanisms.offered(channel), limit)

    def begin(self, mechanism: str) -> Exchange | None:
        return self._connection.factory.mechanisms.begin(mechanism, self._channel())

    def attempt(self, credentials: ICredentials) -> Deferred[LoggedIn]:
        connection = self._connection
        return connection.factory.login.attempt(
            credentials,
            peer=connection.peer,
            service=connection.factory.wiring.service,
            context=connection.context,
            interfaces=(IMailAccount,),
            close=connection.evict,
        )

    def entered(self, entered: bool) -> None:
        connection = self._connection
        connection.read_much(entered)
        wiring = connection.factory.wiring
        deadline = wiring.clock.seconds() + wiring.settings.limits.login_timeout
        connection.login_deadline = None if entered else deadline

    def start_tls(self) -> Deferred[None]:
        return self._connection.encrypt()

    def compress(self) -> bool:
        return self._connection.compress()

    def read(self) -> None:
        self._connection.wanted()

    def abort(self) -> None:
        self._connection.abort()


class IMAPFactory(ConnectionFactory):
    """One service, "imap" or "imaps"."""

    protocol = IMAPConnection

    def __init__(self, wiring: Wiring, login: Login, mechanisms: Mechanisms, states: MailboxStates) -> None:
        """Factories over the same store share `states`, which somebody else starts and stops."""
        super().__init__(wiring)
        self.login = login
        self.mechanisms = mechanisms
        self.states = states
