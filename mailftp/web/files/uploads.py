"""Files that arrive by PUT, whole or in parts (RFC 9110 sections 9.3.4 and 14.5), and bodies that are
commands.

What came of an upload that was cut is kept and can be gone on with, by FTP as well: the facts of its name
tell how much there is, and a PUT with Content-Range brings the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from twisted.internet.defer import Deferred, fail, succeed

from mailftp.accounts.avatars import IMailAccount
from mailftp.files.home import Denied, IHome, ISink, Path
from mailftp.web.ranges import RangeFault, sent_part
from mailftp.wire.eager import eager

#: Octets of a command.
COMMAND = 16 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """Which octets of a file a request brings."""

    offset: int = 0
    #: Of them; None when that is not known before their end.
    length: int | None = None
    #: Of the whole file, likewise.
    size: int | None = None
    #: The file is whole with it.
    last: bool = True

    @classmethod
    def of(cls, content_range: str | None, length: int | None) -> Part:
        """Of a request's header. Raises RangeFault."""
        if content_range is None:
            return cls(0, length, length)
        start, last, size = sent_part(content_range)
        if length is not None and length != last + 1 - start:
            raise RangeFault("Content-Length and Content-Range do not agree")
        return cls(start, last + 1 - start, size, last + 1 == size)


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an upload."""

    home: IHome
    path: Path
    #: Octets that are there now.
    size: int
    whole: bool
    #: Nothing had this name before.
    new: bool


class Upload:
    """Takes the body of a PUT."""

    def __init__(self, home: IHome, path: Path, sink: ISink, part: Part, new: bool) -> None:
        self._home, self._path, self._sink, self._part, self._new = home, path, sink, part, new
        self._came = 0
        self._over = False

    def write(self, data: bytes) -> Deferred[None] | None:
        self._came += len(data)
        if self._part.length is not None and self._came > self._part.length:
            return fail(Denied("More came than Content-Range said"))
        return self._sink.write(data)

    def finish(self) -> Deferred[Stored]:
        return eager(self._finish())

    async def _finish(self) -> Stored:
        if self._part.length is not None and self._came < self._part.length:
            raise Denied("Less came than Content-Range said")
        self._over = True
        if self._part.last:
            size = await self._sink.commit()
        else:
            size = await self._sink.keep()
        return Stored(self._home, self._path, size, self._part.last, self._new)

    def abort(self) -> None:
        if not self._over:
            self._over = True
            # What cannot be kept is gone, and nobody is there to be told.
            self._sink.keep().addErrback(lambda failure: None)


@dataclass(frozen=True, slots=True)
class Command:
    avatar: IMailAccount
    octets: bytes


class CommandBody:
    """Takes the body of a POST."""

    def __init__(self, avatar: IMailAccount) -> None:
        self._avatar = avatar
        self._kept = BytesIO()

    def write(self, data: bytes) -> Deferred[None] | None:
        if self._kept.tell() + len(data) > COMMAND:
            return fail(Denied(f"A command has at most {COMMAND} octets"))
        self._kept.write(data)
        return None

    def finish(self) -> Deferred[Command]:
        return succeed(Command(self._avatar, self._kept.getvalue()))

    def abort(self) -> None:
        self._kept = BytesIO()
