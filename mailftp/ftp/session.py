"""The conversation on a control connection: RFC 959 without sockets, clock or disk.

`Session.receive` takes octets; answers go to `Outside.send`, in the order of the commands. A command that can
answer at once does. One that has to wait is a coroutine, and the lines after it wait for it; while a transfer
is under way those that RFC 959 section 4.1.3 allows (ABOR, STAT, QUIT, and NOOP, which clients send to keep
the connection alive) are answered at once. Commands are functions in the modules beside this one; the table
of them is in mailftp.ftp.commands.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mailftp.files.home import Busy, FileFault, IHome, NoRoom, Path
from mailftp.ftp.data import DataFault, IDataChannel
from mailftp.ftp.events import What
from mailftp.ftp.syntax import (
    Lines,
    Representation,
    SyntaxFault,
    TooLong,
    parse_command,
    parse_type,
    reply,
    resolve,
)

#: Unknown or over-long commands before login that close the connection: another protocol, or a scan.
STRANGE = 10
#: Octets that may wait for a command under way; then nothing more is read.
WAITING = 4 * 1024
#: Octets that are made into lines at a time: a line costs many times what it weighs on the wire.
_PORTION = 512
#: What other protocols begin with. A browser can be made to send them here (ALPACA, CVE-2021-3618).
FOREIGN = frozenset(
    {"GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "EHLO", "HELO"}
)


class Crowded(Exception):
    """There are as many logins as `[[ftp.limits]]` allow."""


class Outside(Protocol):
    """What the session asks of the server around it."""

    #: The control connection is encrypted.
    secure: bool

    @property
    def data(self) -> IDataChannel:
        """The data connection, or the lack of one."""

    def send(self, data: bytes) -> None: ...

    def full(self) -> bool:
        """Whether enough was said for now; `Session.go_on` is called when more may be."""

    def close(self) -> None:
        """When everything that was sent has left."""

    def start_tls(self, server_name: str) -> None:
        """With the certificate for a name, where there is one; "" for the default."""

    @property
    def server_name(self) -> str:
        """The host that the client named in its TLS handshake, or ""."""

    @property
    def may_end_tls(self) -> bool:
        """AUTH began the encryption, and it can end again."""

    def end_tls(self) -> None:
        """`Session.cleared` is called when the client has ended it too."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def alive(self) -> bool:
        """Whether the client still holds the control connection open, as far as we can see just now."""

    def password_allowed(self) -> bool:
        """Whether a password may be sent on this connection."""

    def log_in(self, name: bytes, password: bytes, anonymous: bool) -> Deferred[IHome]:
        """Fails as mailftp.accounts.login.Login.attempt does, and with Crowded."""

    def certified(self, name: bytes) -> bool:
        """Whether the client has shown a certificate that names this account."""

    def log_in_certified(self, name: bytes) -> Deferred[IHome]:
        """By that certificate; fails as `log_in` does."""

    def logged_in(self) -> None:
        """The login stands: its clock stops."""

    def log_out(self) -> None:
        """Idempotent."""

    def begin_transfer(self) -> bool:
        """Whether there may be one more just now; then `end_transfer` follows."""

    def end_transfer(self) -> None: ...

    def book(self, up: int = 0, down: int = 0) -> None:
        """Count octets against what the account may move; negative ones did not move. Raises UsedUp."""

    @property
    def counted(self) -> bool:
        """Whether `book` has anything to count."""

    def transferring(self, under_way: bool) -> None:
        """The control connection is not idle while data moves."""

    @property
    def idle_time(self) -> float:
        """Seconds that the client may be silent."""

    def set_idle_time(self, seconds: float) -> None: ...

    def now(self) -> float:
        """The time of day, in seconds since the epoch."""

    def moment(self) -> Deferred[None]:
        """Fires when a client that died has had the time to lose its control connection too.

        The kernel closes a dead process's sockets one after the other, the data connection's with a FIN as
        if all had come.
        """

    def begin_record(self, direction: str, path: Path) -> Record: ...

    def tell(self, what: What, path: Path, to: Path | None = None) -> None:
        """Something happened to a file of whoever is logged in."""

    def fault(self, error: BaseException) -> None:
        """An error of our own, for the log."""


class Record(Protocol):
    """The line in the log that a transfer leaves."""

    def end(self, outcome: str, size: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say about sessions."""

    hostname: str
    tls_offered: bool
    tls_required: bool
    implicit_tls: bool
    anonymous: bool
    failures_closed: int
    #: 150 where RFC 959 has 125.
    always_150: bool = False
    clear_command_channel: bool = False
    #: MODE Z is offered.
    compression: bool = False
    #: The domain of a name that HOST may say, "" where it has none of its own; None: no such host.
    domain_of: Callable[[str], str | None] = lambda name: None
    #: Whether an account, by what USER said, may have nothing in the clear.
    tls_required_for: Callable[[bytes], bool] = lambda name: False


class Phase(enum.IntEnum):
    """How far the login is."""

    GREETED = 0
    NAMED = 1
    LOGGED_IN = 2


class Argument(enum.Enum):
    NONE = 0
    MAY = 1
    MUST = 2


Answer = bytes | Coroutine[Deferred[Any], Any, bytes]


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table."""

    name: str
    run: Callable[[Session, str], Answer]
    argument: Argument = Argument.NONE
    #: The earliest phase in which it may be said.
    phase: Phase = Phase.LOGGED_IN
    #: Said while a transfer is under way it is answered at once.
    meanwhile: bool = False
    #: Its syntax, for HELP.
    usage: str = ""
    #: Keeps what RNFR said; every other command forgets it (RFC 959 section 4.1.3).
    keeps_rename: bool = False
    #: The same for what SITE CPFR said.
    keeps_copy: bool = False


@dataclass(slots=True)
class Transfer:
    """The one that is under way."""

    #: "up", "down" or "list", and of what.
    direction: str = ""
    path: Path = ()
    #: Octets that it will be; None where nobody knows.
    size: int | None = None
    #: ABOR was said.
    aborted: bool = False


class Session:
    """One client's conversation. Commands read and set the attributes without an underscore."""

    def __init__(self, outside: Outside, terms: Terms, commands: Mapping[str, Command]) -> None:
        self.outside = outside
        self.terms = terms
        self.commands = commands
        self.failures = 0
        self.transfer: Transfer | None = None
        #: QUIT was said during a transfer.
        self.quitting = False
        #: What HOST said, and the domain whose accounts log in by their local part.
        self.host = self.domain = ""
        self.protect_data = terms.implicit_tls
        self.buffer_size_said = terms.implicit_tls
        #: What came and is no lines yet, and how much of it is.
        self._received, self._position = b"", 0
        self._lines = Lines()
        self._queue: deque[bytes | TooLong] = deque()
        self._busy = self._paused = self._over = self._closed = self._draining = self._running = False
        self._strange = 0
        #: What was said last.
        self.command = ""
        self.forget()

    def forget(self) -> None:
        """Back to what a fresh control connection has, but for its TLS: REIN, or USER again."""
        self.phase = Phase.GREETED
        self.user = b""
        self.anonymous = False
        #: Whoever USER named may have nothing in the clear.
        self.tls_required = self.terms.tls_required
        self._home: IHome | None = None
        self.here: Path = ()
        self.representation: Representation = parse_type("A")
        #: MODE Z was said.
        self.compressed = False
        self.restart = 0
        #: Where RANG said that the next transfer ends: the octet behind its last.
        self.until: int | None = None
        self.announced: int | None = None
        self.rename_from: Path | None = None
        self.copy_from: Path | None = None
        self.umask: int | None = None
        #: What HASH computes, and what was asked for last: uploads have it computed while they arrive.
        self.hash_algorithm = "SHA-256"
        self.digest: str | None = None
        self.extended_only = False
        self.facts: tuple[str, ...] | None = None

    @property
    def home(self) -> IHome:
        """The home of whoever is logged in; no command that uses it runs before."""
        assert self._home is not None
        return self._home

    def enter(self, home: IHome) -> None:
        """The login succeeded."""
        self._home = home
        self.phase = Phase.LOGGED_IN
        self.outside.logged_in()

    def path(self, argument: str) -> Path:
        """An argument as a path of the home."""
        return resolve(self.here, argument)

    # What the server tells.

    def greet(self) -> None:
        self.outside.send(reply(220, f"{self.terms.hostname} FTP server ready"))

    def receive(self, data: bytes) -> None:
        """Octets came on the control connection."""
        self._received = self._received[self._position :] + data
        self._position = 0
        self._run()

    def go_on(self) -> None:
        """More may be said again."""
        self._run()

    def secured(self) -> None:
        """The TLS handshake that AUTH began is complete. What came before it in the clear is gone."""
        self._done(b"")

    def cleared(self) -> None:
        """The encryption that CCC ended is gone. What came in it and behind CCC is not done."""
        self._done(b"")

    def ended(self) -> None:
        """The client sends no more. Its transfer is cut, unless it said QUIT: a client that dies looks so."""
        self._over = True
        if self.transfer is not None and not self.quitting:
            self.outside.data.abandon()
        self._run()

    def drain(self) -> None:
        """The server stops: what is under way is finished first."""
        self._draining = True
        self._run()

    def lost(self) -> None:
        """The control connection is gone."""
        self._closed = self._over = True
        self._drop_received()
        self.outside.data.abandon()
        self.outside.log_out()

    def wanted(self) -> bool:
        """Whether an upload that has come whole may get its name: the client is there, and did not ABOR."""
        if self.transfer is None or self.transfer.aborted:
            return False
        return self.quitting or not (self._over or self._closed) and self.outside.alive()

    # Lines.

    def _run(self) -> None:
        if self._running:
            return
        self._running = True
        try:
            while not self._closed and (self._queue or self._more_lines()):
                if self.outside.full() or not self._next():
                    break
        finally:
            self._running = False
        if not self._busy and not self._closed:
            if self._draining:
                self.close(reply(421, "The server is stopping"))
            elif self._over and not self._queue and not self._received:
                self.close(b"")
        self._hold_back()

    def _more_lines(self) -> bool:
        """Make lines of what came, a portion at a time; whether there is one."""
        while not self._queue and self._position < len(self._received):
            start, self._position = self._position, self._position + _PORTION
            self._queue.extend(self._lines.feed(self._received[start : self._position]))
        if self._position >= len(self._received):
            self._received, self._position = b"", 0
        return bool(self._queue)

    def _drop_received(self) -> None:
        self._queue.clear()
        self._received, self._position = b"", 0

    def _next(self) -> bool:
        """Do the first line that waits; False when it has to wait on."""
        line = self._queue[0]
        if self._busy and self.transfer is None:
            return False
        try:
            command, argument = self._understand(line)
        except SyntaxFault as fault:
            if self._busy:
                return False
            self._queue.popleft()
            self._strange_line()
            if not self._closed:
                self.outside.send(reply(fault.code, fault.text))
            return True
        if self._busy and not command.meanwhile:
            return False
        self._queue.popleft()
        self._do(command, argument)
        return True

    def _understand(self, line: bytes | TooLong) -> tuple[Command, str]:
        if isinstance(line, TooLong):
            raise SyntaxFault(500, "Line too long")
        verb, argument = parse_command(line)
        if self.phase is not Phase.LOGGED_IN and verb in FOREIGN:
            return _GOODBYE, ""
        command = self.commands.get(verb)
        if command is None:
            raise SyntaxFault(500, "Unknown command")
        return command, argument

    def _strange_line(self) -> None:
        if self.phase is not Phase.LOGGED_IN:
            self._strange += 1
            if self._strange >= STRANGE:
                self.close(reply(421, "Too many errors"))

    def _do(self, command: Command, argument: str) -> None:
        if not command.keeps_rename:
            self.rename_from = None
        if not command.keeps_copy:
            self.copy_from = None
        self.command = command.name
        try:
            answer = self._answer(command, argument)
        except Exception as error:
            answer = self._apology(error)
        if isinstance(answer, bytes):
            if answer:
                self.outside.send(answer)
            return
        self._busy = True
        Deferred.fromCoroutine(answer).addCallbacks(self._done, self._failed)

    def _answer(self, command: Command, argument: str) -> Answer:
        if self.phase < command.phase:
            if command.phase is Phase.LOGGED_IN:
                return reply(530, "Log in with USER and PASS first")
            return reply(503, "Say USER first")
        if command.argument is Argument.MUST and not argument.strip():
            return reply(501, f"Syntax: {command.usage}")
        if command.argument is Argument.NONE and argument.strip():
            return reply(501, "No argument, please")
        return command.run(self, argument)

    def _done(self, answer: bytes) -> None:
        """A command that had to wait has its answer."""
        aborted = self.transfer is not None and self.transfer.aborted
        self._busy = False
        self.transfer = None
        if not self._closed:
            self.outside.send(answer + reply(226, "Aborted") if aborted else answer)
            if self.quitting:
                self.close(reply(221, "Goodbye"))
        self._run()

    def _failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self._done(self._apology(failure.value))

    def _apology(self, error: BaseException) -> bytes:
        """The answer to a command that could not be done."""
        if isinstance(error, SyntaxFault):
            return reply(error.code, error.text)
        if isinstance(error, DataFault):
            return reply(425, str(error))
        if isinstance(error, FileFault):
            return reply(fault_code(error), str(error) or "Not done")
        if not (self._closed and isinstance(error, CancelledError)):
            self.outside.fault(error)
        return reply(451, "Local error")

    def _hold_back(self) -> None:
        full = len(self._received) - self._position > WAITING
        if full != self._paused and not self._closed:
            self._paused = full
            if full:
                self.outside.pause()
            else:
                self.outside.resume()

    # What commands use.

    def wait(self) -> None:
        """No line is done before `secured`: TLS begins. What came already is not believed (CVE-2011-0411)."""
        self._busy = True
        self._drop_received()
        self._lines.clear()

    def close(self, farewell: bytes) -> None:
        """Say goodbye and close; nothing more is done."""
        if farewell:
            self.outside.send(farewell)
        self._closed = True
        self._drop_received()
        self.outside.data.abandon()
        self.outside.close()

    def take_restart(self) -> int:
        """What REST said, for one transfer."""
        return self.take_span()[0]

    def take_span(self) -> tuple[int, int | None]:
        """What REST or RANG said, for one transfer: the first octet, and the one behind the last."""
        span, self.restart, self.until = (self.restart, self.until), 0, None
        return span

    def take_range(self) -> tuple[int, int | None]:
        """What RANG said, for one HASH; REST is not about that."""
        return self.take_span() if self.until is not None else (0, None)


def fault_code(fault: FileFault) -> int:
    """RFC 959 section 4.2.2: 452 there is no room, 450 try again, 550 no, 451 our error."""
    if isinstance(fault, NoRoom):
        return 452
    if isinstance(fault, Busy):
        return 450
    return 451 if type(fault) is FileFault else 550


def _goodbye(session: Session, argument: str) -> bytes:
    session.close(reply(421, "This is an FTP server"))
    return b""


_GOODBYE = Command("", _goodbye, Argument.MAY, Phase.GREETED)
