"""FTP on Twisted: the control connection's protocol, and the factory that makes it."""

from __future__ import annotations

import re
import socket
from typing import Any, cast

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorTCP
from twisted.protocols.ftp import IFTPShell
from twisted.python.failure import Failure

from mailftp.accounts.credentials import Anonymous, ClientCertificate, IClientCertificate, Password
from mailftp.accounts.external import certified_addresses
from mailftp.accounts.login import LoggedIn, Login
from mailftp.accounts.names import full_name
from mailftp.files.home import IHome, Path
from mailftp.files.rules import ANONYMOUS, Rulebook
from mailftp.files.rules import Terms as AccountTerms
from mailftp.ftp.addresses import PassiveAddresses, Resolve
from mailftp.ftp.channel import KEPT, DataChannel
from mailftp.ftp.commands import COMMANDS
from mailftp.ftp.data import DataConnections
from mailftp.ftp.events import Event, Watchers, What
from mailftp.ftp.ledger import Ledger
from mailftp.ftp.pace import Allowances
from mailftp.ftp.session import Crowded, Session, Terms
from mailftp.ftp.syntax import reply, shown
from mailftp.wire.connection import Connection, ConnectionFactory, Expiry, Wiring

#: Seconds between the end of an upload in the clear and the look at its control connection: what a dying
#: process, put aside by the scheduler between two of its sockets, needs. TLS has close_notify for that.
MOMENT = 0.002


#: Octets of answers in one turn of the reactor: a client can ask for FEAT three thousand times in one chunk,
#: and read none of it.
TURN = 16 * 1024


class TransferRecord:
    """Writes the log line of one transfer."""

    def __init__(self, connection: FTPConnection, direction: str, path: Path) -> None:
        self._connection = connection
        self._direction = direction
        self._path = path
        self._name = connection.user_name
        # The session may be over before its transfer is.
        self._login = connection._logged_in
        self._began = connection.factory.wiring.clock.seconds()

    def end(self, outcome: str, size: int) -> None:
        seconds = self._connection.factory.wiring.clock.seconds() - self._began
        note = (
            self._connection.journal.detail if self._direction == "list" else self._connection.journal.record
        )
        note(
            "transfer",
            direction=self._direction,
            path=shown(self._path),
            octets=size,
            seconds=round(seconds, 3),
            outcome=outcome,
            name=self._name,
            peer=str(self._connection.peer),
        )
        if self._direction != "list":
            done = What.UPLOADED if self._direction == "up" else What.DOWNLOADED
            self._connection.tell(
                done if outcome == "done" else What.FAILED,
                self._path,
                octets=size,
                seconds=seconds,
                direction=self._direction,
                reason="" if outcome == "done" else outcome,
                login=self._login,
            )


class FTPConnection(Connection):
    """A control connection: what `mailftp.ftp.session.Outside` asks for, on a transport."""

    factory: FTPFactory
    data: DataChannel
    user_name: str = ""
    _connected_at: float = 0.0
    #: When a transfer last began or ended.
    _moved_data: float = 0.0
    #: Octets of answers in this turn; whether the rest waits for the next one, or for the client to read.
    _said = 0
    _resting = _clogged = False
    #: What SITE IDLE said.
    _idle_time: float | None = None
    _login: Deferred[LoggedIn] | None = None
    _logged_in: LoggedIn | None = None
    _terms: AccountTerms | None = None

    def opened(self) -> None:
        factory = self.factory
        self._connected_at = factory.wiring.clock.seconds()
        # Else the urgent octet of Telnet's Synch before ABOR is lost, and the octets around it are misread.
        _set_option(self._socket(), socket.SOL_SOCKET, socket.SO_OOBINLINE)
        # Routers forget a control connection that is silent while data moves.
        self.transport.setTcpKeepAlive(True)
        self.session = Session(self, factory.terms, COMMANDS)
        self.data = DataChannel(
            factory.reactor,
            factory.clear_data,
            factory.private_data,
            control=self,
            ends=self._ends(),
            is_private=lambda: self.session.protect_data,
            server_name=lambda: self.session.host,
            addresses=factory.addresses,
        )
        factory.addresses.freshen(self.peer)
        self.session.greet()

    def received(self, data: bytes) -> None:
        if not self._resting:
            self._said = 0
        self.session.receive(data)

    def unread(self, full: bool) -> None:
        super().unread(full)
        self._clogged = full
        if not full and self._resting:
            self.factory.wiring.clock.callLater(0, self._rested)

    def secured(self) -> None:
        self.session.secured()

    def cleared(self) -> None:
        self.session.cleared()

    def expired(self, clock: Expiry) -> None:
        now = self.factory.wiring.clock.seconds()
        if clock is Expiry.IDLE and now - self._moved_data < self.idle_time:
            # The client was busy with a transfer that it has said nothing after yet.
            return
        self.session.close(reply(421, "Too long without a word" if clock is Expiry.IDLE else "No login"))

    def tick(self, now: float) -> None:
        super().tick(now)
        if self._opened:
            self.data.tidy(now - KEPT)

    def ended(self) -> None:
        self.session.ended()

    def drain(self) -> None:
        self.session.drain()

    def closed(self, reason: Failure) -> None:
        self.session.lost()

    def refusal(self, reason: str) -> bytes:
        return reply(421, reason)

    # What the session asks for.

    def send(self, data: bytes) -> None:
        self._said += len(data)
        super().send(data)

    def full(self) -> bool:
        if self._said >= TURN and not self._resting:
            self._resting = True
            self.factory.wiring.clock.callLater(0, self._rested)
        return self._resting

    def _rested(self) -> None:
        if self._resting and not self._clogged:
            self._resting, self._said = False, 0
            self.session.go_on()

    def alive(self) -> bool:
        found = self._socket()
        if found is None:
            return True
        try:
            return found.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def password_allowed(self) -> bool:
        wiring = self.factory.wiring
        return self.factory.login.offers(secure=self.secure, peer=self.peer, service=wiring.service)

    def certified(self, name: bytes) -> bool:
        certificate = self.client_certificate
        if certificate is None or IClientCertificate not in self.factory.login.portal.checkers:
            return False
        account = full_name(name, self.factory.wiring.settings.domains)
        return account is not None and account in certified_addresses(certificate)

    def log_in_certified(self, name: bytes) -> Deferred[IHome]:
        certificate = self.client_certificate
        assert certificate is not None, "asked for only where there is one"
        return self._attempt(ClientCertificate(name, certificate))

    def log_in(self, name: bytes, password: bytes, anonymous: bool) -> Deferred[IHome]:
        return self._attempt(Anonymous() if anonymous else Password(name, password))

    def _attempt(self, credentials: ICredentials) -> Deferred[IHome]:
        attempt = self._login = self.factory.login.attempt(
            credentials,
            peer=self.peer,
            service=self.factory.wiring.service,
            context=self.context,
            interfaces=(IHome, IFTPShell),
            close=self._end_session,
        )
        return attempt.addCallback(self._home_of)

    def _home_of(self, found: LoggedIn) -> IHome:
        self._login = None
        allowance = self.factory.allowances.of(found.name, self.peer)
        if not allowance.enter():
            found.logout()
            raise Crowded
        self._logged_in, self.data.allowance = found, allowance
        self.data.others = self.factory.rulebook.fxp(found.name)
        self.user_name = found.name
        self._terms = self.factory.rulebook.terms(found.name)
        self.tell(What.LOGIN)
        return IHome(found.avatar)

    def begin_transfer(self) -> bool:
        return self.data.allowance is None or self.data.allowance.begin()

    def end_transfer(self) -> None:
        if self.data.allowance is not None:
            self.data.allowance.end()

    def book(self, up: int = 0, down: int = 0) -> None:
        if self._terms is not None:
            self.factory.ledger.book(self.user_name, self._terms, up, down)

    @property
    def counted(self) -> bool:
        return self._terms is not None and self._terms.counted

    def _end_session(self) -> None:
        """The account was removed, or its password changed."""
        self.session.close(reply(421, "This account may not be used any more"))

    def logged_in(self) -> None:
        self.login_deadline = None

    def log_out(self) -> None:
        attempt, self._login = self._login, None
        if attempt is not None:
            attempt.cancel()
        self.tell(What.LOGOUT)
        found, self._logged_in = self._logged_in, None
        self.user_name = ""
        allowance, self.data.allowance, self.data.others = self.data.allowance, None, ()
        if allowance is not None:
            allowance.release()
        if found is not None:
            found.logout()

    def transferring(self, under_way: bool) -> None:
        self.idle_limit = None if under_way else self.idle_time
        self._moved_data = self.factory.wiring.clock.seconds()

    def now(self) -> float:
        return self.factory.wiring.clock.seconds()

    @property
    def idle_time(self) -> float:
        return self.factory.idle_limit if self._idle_time is None else self._idle_time

    def set_idle_time(self, seconds: float) -> None:
        self._idle_time = self.idle_limit = seconds

    def moment(self) -> Deferred[None]:
        passed: Deferred[None] = Deferred()
        self.factory.wiring.clock.callLater(MOMENT, passed.callback, None)
        return passed

    def begin_record(self, direction: str, path: Path) -> TransferRecord:
        return TransferRecord(self, direction, path)

    def tell(
        self,
        what: What,
        path: Path = (),
        to: Path | None = None,
        login: LoggedIn | None = None,
        **more: Any,
    ) -> None:
        login = login or self._logged_in
        if login is not None:
            home, service = IHome(login.avatar), self.factory.wiring.service
            self.factory.watchers.tell(
                Event(what, login.name, self.peer, service, self.context, home, path, to, **more)
            )

    def describe(self) -> dict[str, Any]:
        """The session as `mailftp ftp who` shows it."""
        now = self.factory.wiring.clock.seconds()
        found: dict[str, Any] = {
            "session": self.context,
            "account": self.user_name,
            "peer": str(self.peer),
            "service": self.factory.wiring.service,
            "encrypted": self.secure,
            "since": round(now - self._connected_at, 1),
            "silent": round(now - self._heard, 1),
            "command": self.session.command,
        }
        transfer = self.session.transfer
        if transfer is not None:
            seconds = max(0.001, now - self._moved_data)
            octets = self.data.moved
            found |= {
                "direction": transfer.direction,
                "path": shown(transfer.path),
                "octets": octets,
                "size": transfer.size,
                "rate": round(octets / seconds),
                "percent": round(100 * octets / transfer.size, 1) if transfer.size else None,
            }
        return found

    def kick(self) -> None:
        """An operator ends the session."""
        self.session.close(reply(421, "Closed by the administrator"))

    def fault(self, error: BaseException) -> None:
        self.journal.fault("fault", Failure(error, type(error), error.__traceback__), peer=str(self.peer))  # type: ignore[no-untyped-call]  # untyped upstream

    def _ends(self) -> tuple[str | None, str | None]:
        found = self._socket()
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            try:
                return found.getsockname()[0], found.getpeername()[0]
            except OSError:
                # Gone already.
                return None, None
        here, there = self.transport.getHost(), self.transport.getPeer()
        return getattr(here, "host", None), getattr(there, "host", None)

    def _socket(self) -> socket.socket | None:
        """The socket below everything; None where there is none."""
        transport = self.transport
        while (lower := getattr(transport, "transport", None)) is not None:
            transport = lower
        found = getattr(transport, "socket", None)
        return found if isinstance(found, socket.socket) else None


def _set_option(found: socket.socket | None, level: int, option: int) -> None:
    if found is not None:
        found.setsockopt(level, option, 1)


class FTPFactory(ConnectionFactory):
    """Serves `ftp`, or with a wiring that says so `ftps`.

    `reactor` opens and makes data connections; their clock is that of the wiring. `allowances` are shared by
    the services, whose logins are counted together, and so are `watchers` and `ledger`; `resolve` gives the
    IPv4 address of a host's name.
    """

    protocol = FTPConnection

    def __init__(
        self,
        wiring: Wiring,
        login: Login,
        reactor: IReactorTCP,
        allowances: Allowances | None = None,
        resolve: Resolve | None = None,
        watchers: Watchers | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(wiring)
        if wiring.tls is not None:
            wiring.tls.sessions_apart = wiring.settings.ftp.tls_reuse == "required"
        look_up = resolve or cast(IReactorCore, reactor).resolve
        self.addresses = PassiveAddresses(wiring.settings.ftp, look_up, wiring.clock)
        self.rulebook = Rulebook(wiring.settings.ftp)
        self.watchers = watchers or Watchers()
        self.ledger = ledger or Ledger(wiring.clock)
        self.allowances = allowances or Allowances(self.rulebook)
        self.login = login
        self.reactor = reactor
        self.clear_data = DataConnections(wiring, private=False)
        self.private_data = None if wiring.tls is None else DataConnections(wiring, private=True)
        settings = wiring.settings
        self.terms = Terms(
            hostname=settings.hostname,
            tls_offered=wiring.tls is not None,
            tls_required=settings.ftp.tls == "required",
            implicit_tls=wiring.implicit_tls,
            anonymous=settings.ftp.anonymous is not None,
            failures_closed=settings.auth.failures_closed,
            always_150=settings.ftp.always_150,
            clear_command_channel=settings.ftp.clear_command_channel,
            compression=settings.ftp.compression,
            domain_of=self._domain_of,
            tls_required_for=self._tls_required_for,
        )

    def _tls_required_for(self, name: bytes) -> bool:
        if name == ANONYMOUS.encode():
            return self.rulebook.terms(ANONYMOUS).tls_required
        account = full_name(name, self.wiring.settings.domains)
        return account is not None and self.rulebook.terms(account).tls_required

    def _domain_of(self, name: str) -> str | None:
        """HOST: a domain itself, a host in it, our own name, or an address of ours in brackets."""
        settings = self.wiring.settings
        for domain in settings.domains:
            if name == domain or name.endswith(f".{domain}"):
                return domain
        return "" if name == settings.hostname or re.fullmatch(r"\[[0-9a-f.:]+\]", name) else None
