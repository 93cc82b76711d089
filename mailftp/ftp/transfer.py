"""Moving files: RETR, STOR, APPE and ABOR, and what every transfer goes through.

A transfer replies 125 when the client is connected already, else 150; then 226 when it is done, 425 without
a data connection, 426 when the connection was lost or ABOR was said, 452 without room. 125 and 150 are sent
only when the file could be opened, so that a client never waits for octets that will not come.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, fail

from mailftp.files.home import Cut, Denied, FileFault, IDirectSink, Intent, ISink, NoRoom, Path
from mailftp.ftp.data import DataFault, DataLost, IDataConnection
from mailftp.ftp.deflate import PIECE, Deflating, Inflating
from mailftp.ftp.ledger import UsedUp
from mailftp.ftp.newlines import FromNetwork, to_network
from mailftp.ftp.session import Argument, Command, Session, Transfer, fault_code
from mailftp.ftp.syntax import SyntaxFault, printable, reply


class Running:
    """A transfer under way, as its command sees it."""

    def __init__(self, session: Session, direction: str, path: Path) -> None:
        self._session = session
        self._transfer = session.transfer = Transfer(direction, path)
        self.opened = False
        #: Octets that were counted before they moved, and that are known to have moved.
        self._booked = self._moved = 0
        self._connection: IDataConnection | None = None

    def book(self, size: int) -> None:
        """So many octets are about to be sent. Raises SyntaxFault when they may not."""
        try:
            self._session.outside.book(down=size)
        except UsedUp as used_up:
            raise SyntaxFault(450, str(used_up)) from None
        self._booked = size

    def sends_on(self, connection: IDataConnection, sent: int) -> None:
        """What was booked goes over this connection, or has gone already."""
        self._connection, self._moved = connection, sent

    def give_back(self) -> None:
        """It failed: what was booked and did not move does not count."""
        moved = self._moved + (0 if self._connection is None else self._connection.moved)
        self._session.outside.book(down=min(0, moved - self._booked))

    async def open(self, what: str, told: str = "") -> IDataConnection:
        """Say that data comes, in the words of `told` if there are any, and have its connection. Raises
        DataFault."""
        self.announce(what, told)
        return await self._session.outside.data.open()

    def expects(self, size: int) -> None:
        """So many octets will move, for whoever looks on."""
        self._transfer.size = size

    def announce(self, what: str, told: str = "") -> None:
        """Say that data comes."""
        session, data = self._session, self._session.outside.data
        if self._transfer.aborted:
            raise DataLost("Aborted")
        connected = data.connected()
        opening = "Sending it now" if connected else "Opening the data connection"
        code = 125 if connected and not session.terms.always_150 else 150
        session.outside.send(reply(code, told or f"{opening}: {what}"))
        self.opened = True

    def outcome(self, error: Exception) -> tuple[int, str]:
        """The reply to a transfer that failed."""
        if self._transfer.aborted or isinstance(error, DataLost | Cut):
            return 426, "Aborted" if self._transfer.aborted else str(error)
        if isinstance(error, DataFault):
            return 425, str(error)
        if isinstance(error, SyntaxFault):
            return error.code, error.text
        assert isinstance(error, FileFault)
        return fault_code(error), str(error)


async def run(
    session: Session, direction: str, path: Path, work: Callable[[Running], Awaitable[int]]
) -> bytes:
    """A transfer from its first reply to its last; `work` gives the octets that went over the wire."""
    outside = session.outside
    if session.tls_required and not session.protect_data:
        # The code that clients know from other servers.
        return reply(522, "Data connections are encrypted here: say PROT P")
    if not outside.data.aimed:
        return reply(425, "Say PASV or PORT first")
    if not outside.begin_transfer():
        return reply(450, "Too many transfers at one time, try again later")
    running = Running(session, direction, path)
    record = outside.begin_record(direction, path)
    outside.transferring(True)
    try:
        size = await work(running)
    except (DataFault, DataLost, SyntaxFault, FileFault) as error:
        running.give_back()
        code, text = running.outcome(error)
        record.end(text, 0)
        if running.opened:
            outside.data.abandon()
        return reply(code, text)
    finally:
        outside.transferring(False)
        outside.end_transfer()
    outside.data.release()
    record.end("done", size)
    return reply(226, "Done")


async def retrieve(session: Session, argument: str) -> bytes:
    """RETR: RFC 959 section 4.1.3."""
    path = session.path(argument)
    offset, until = session.take_span()
    session.announced = None
    return await run(session, "down", path, lambda running: _retrieve(session, running, path, offset, until))


async def _retrieve(session: Session, running: Running, path: Path, offset: int, until: int | None) -> int:
    data = session.outside.data
    source = await session.home.read(path)
    try:
        if offset > source.size and until is None:
            raise SyntaxFault(554, "The file is not that long")
        if session.representation.ascii and (offset or until is not None):
            raise SyntaxFault(504, "REST and RANG only in TYPE I")
        # What RANG asks for beyond the end is not there: draft-bryan-ftp-range-08 section 4.3.
        length = max(0, min(source.size, source.size if until is None else until) - offset)
        running.expects(length)
        running.book(length)
        running.announce(f"{printable(path[-1])} ({length} octets)")
        plain = not session.representation.ascii and not session.compressed
        whole = plain and offset + length <= len(source.head) and not data.paced
        sent = data.send_whole(source.head[offset : offset + length]) if whole else 0
        if whole and sent == length and not data.aimed:
            return length
        connection = await data.open()
        # A small file has left us whole when anything of it is known.
        running.sends_on(connection, length if whole else 0)
        if session.compressed:
            sent = await _stream_deflated(session, connection, source.descriptor, offset, length)
        elif session.representation.ascii:
            sent = await connection.stream_text(source.descriptor)
        elif whole:
            connection.send(source.head[offset + sent : offset + length])
            sent = length
        else:
            sent = await connection.stream_file(source.descriptor, offset, length)
            if sent != length:
                raise DataLost("The file became shorter")
        await connection.finish()
        return sent
    finally:
        source.close()


async def _stream_deflated(
    session: Session, connection: IDataConnection, descriptor: int, offset: int, length: int
) -> int:
    """Send a part of a file in MODE Z; the octets of the wire. Raises DataLost."""
    position, end = offset, offset + length

    async def piece() -> bytes:
        nonlocal position
        if position >= end:
            return b""
        data = await connection.read(descriptor, position, min(PIECE, end - position))
        if not data:
            raise DataLost("The file became shorter")
        position += len(data)
        return to_network(data) if session.representation.ascii else data

    return await connection.stream(Deflating(lambda: Deferred.fromCoroutine(piece())).piece)


async def store(session: Session, argument: str) -> bytes:
    """STOR: RFC 959 section 4.1.3; after REST, RFC 3659 section 5.4."""
    return await _upload(session, session.path(argument), Intent.STORE, *session.take_span())


async def store_unique(session: Session, argument: str) -> bytes:
    """STOU: RFC 959 section 4.1.3, RFC 1123 section 4.1.2.9: the first reply tells the name. Scanners say it,
    with a name to begin with or without."""
    session.take_restart()
    wanted = session.path(argument.strip() or "upload")
    if not wanted:
        raise SyntaxFault(553, "Not a name for a file")
    # 64 bits that nobody can guess: no look whether it is free, which would be stale when the upload ends.
    path = (*wanted[:-1], f"{wanted[-1]}.{secrets.token_hex(8)}")
    return await _upload(session, path, Intent.STORE, 0, told=f"FILE: {printable(path[-1])}")


async def append(session: Session, argument: str) -> bytes:
    """APPE: RFC 959 section 4.1.3."""
    # REST before APPE means nothing (RFC 3659 section 5.4); ALLO speaks of what is added.
    session.take_restart()
    return await _upload(session, session.path(argument), Intent.APPEND, 0)


async def _upload(
    session: Session, path: Path, intent: Intent, offset: int, until: int | None = None, told: str = ""
) -> bytes:
    announced, session.announced = session.announced, None
    if session.representation.ascii and until is not None:
        return reply(504, "RANG only in TYPE I")

    async def receive(running: Running) -> int:
        sink = await session.home.write(path, intent, offset, announced, until, session.digest)
        try:
            limit = None if until is None else until - offset
            expected = limit if announced is None else announced - offset
            if expected is not None:
                running.expects(expected)
            came = await _receive(session, running, sink, path, told, limit)
            if announced is not None and came < announced - offset:
                raise DataLost("Less came than ALLO said")
            if limit is not None and came < limit:
                raise DataLost("Less came than RANG said")
        except BaseException:
            await sink.keep()
            raise
        if announced is None and not session.protect_data:
            await session.outside.moment()
        await sink.commit(session.wanted)
        return came

    return await run(session, "up", path, receive)


async def _receive(
    session: Session, running: Running, sink: ISink, path: Path, told: str, limit: int | None
) -> int:
    """Octets that came, in MODE Z those that were in them; more than `limit` is refused."""
    connection = await running.open(printable(path[-1]), told)
    came = 0
    lines = FromNetwork() if session.representation.ascii else None

    def write(data: bytes) -> Deferred[None] | None:
        nonlocal came
        came += len(data)
        if limit is not None and came > limit:
            return fail(Denied("More came than RANG said"))
        try:
            session.outside.book(up=len(data))
        except UsedUp as used_up:
            return fail(NoRoom(str(used_up)))
        return sink.write(data if lines is None else lines.feed(data))

    def intake(work: Callable[[Callable[[memoryview], None]], None]) -> Deferred[None] | None:
        def counted(put: Callable[[memoryview], None]) -> None:
            def write_and_count(octets: memoryview) -> None:
                nonlocal came
                put(octets)
                came += len(octets)

            work(write_and_count)

        assert IDirectSink.providedBy(sink)
        return sink.direct(counted)

    # Where something has to be done with every octet, or before it is taken, the reactor's thread does it.
    plain = lines is None and limit is None and not session.outside.counted
    if session.compressed:
        inflating = Inflating(write, session.outside.moment)
        await connection.receive(inflating.feed)
        await inflating.end()
    else:
        await connection.receive(write, intake if plain and IDirectSink.providedBy(sink) else None)
    if lines is not None and (rest := lines.end()):
        held = sink.write(rest)
        if held is not None:
            await held
    return came


def abort(session: Session, argument: str) -> bytes:
    """ABOR: RFC 959 section 4.1.3. A transfer answers 426, then comes our 226 (`Session` sends it)."""
    outside = session.outside
    if session.transfer is None:
        aimed = outside.data.aimed
        outside.data.abandon()
        return reply(226, "Data connection closed") if aimed else reply(225, "Nothing to abort")
    session.transfer.aborted = True
    outside.data.abandon()
    return b""


COMMANDS = (
    Command("RETR", retrieve, Argument.MUST, usage="RETR path"),
    Command("STOR", store, Argument.MUST, usage="STOR path"),
    Command("STOU", store_unique, Argument.MAY, usage="STOU [path]"),
    Command("APPE", append, Argument.MUST, usage="APPE path"),
    Command("ABOR", abort, meanwhile=True, usage="ABOR"),
)
