"""The REST interface to an account's files, below "/files/"; described for programs in openapi.json beside
this.

Nothing that is served here may run in the pages' origin: whatever a file holds, a browser is told to save it
and, if it shows it all the same, to give it no origin, no script and no network.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailftp.accounts.avatars import IMailAccount
from mailftp.files.digests import ALGORITHMS
from mailftp.files.home import (
    AlreadyThere,
    Entry,
    FileFault,
    IHome,
    Intent,
    ISource,
    Kind,
    NoSuchFile,
    Path,
)
from mailftp.files.listing import entry_of
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.conditions import Validators, failed, range_holds
from mailftp.web.content import FileContent
from mailftp.web.files.faults import problem, refused
from mailftp.web.files.folders import FolderContent
from mailftp.web.files.listing import row
from mailftp.web.files.paths import PathFault, parse_path, parse_target, shown_name, written
from mailftp.web.files.uploads import Command, CommandBody, Part, Stored, Upload
from mailftp.web.pages import Answer, Page, Visit
from mailftp.web.ranges import RangeFault, Unsatisfiable, asked_range
from mailftp.web.reception import Begun, BodyTaker
from mailftp.wire.eager import eager
from mailftp.wire.reading import FileReader

_JSON = "application/json"
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
#: Set with each file, in the place of what the pages have.
_SAFE = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Accept-Ranges": "bytes",
    # The name of another account's folder is the same: nobody between may keep it.
    "Cache-Control": "private, no-cache",
}

HomeOf = Callable[[IMailAccount], Awaitable[IHome]]


class FilesPage(Page):
    """Everything below "/files/"."""

    methods = ("GET", "PUT", "POST", "DELETE")
    utf8 = False

    def __init__(self, authentication: Authentication, home_of: HomeOf, reader: FileReader) -> None:
        self._authentication, self._home_of, self._reader = authentication, home_of, reader
        #: Quotas, and not this, limit what is stored.
        self.body_limit = 1 << 50

    # Bodies.

    def begin(self, visit: Visit) -> Begun | None:
        return eager(self._begin(visit)) if visit.method in ("PUT", "POST") else None

    async def _begin(self, visit: Visit) -> BodyTaker | Answer:
        try:
            avatar = await self._authentication.account_of(visit)
            path, folder = parse_path(visit.segments)
            if visit.method == "POST":
                return CommandBody(avatar)
            if folder:
                return problem(HTTPStatus.CONFLICT, "a file's name does not end in a slash")
            return await self._upload(await self._home_of(avatar), path, visit)
        except Unauthenticated as error:
            return error.answer
        except (PathFault, RangeFault) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except FileFault as fault:
            return refused(fault)

    async def _upload(self, home: IHome, path: Path, visit: Visit) -> BodyTaker | Answer:
        given = visit.fields.get("content-length", "")
        part = Part.of(visit.fields.get("content-range"), int(given) if _LENGTH.fullmatch(given) else None)
        there = await _entry(home, path)
        known = self._validators(there) if there is not None and there.whole else None
        status = failed(_fields(visit), known, reading=False)
        if status is not None:
            return _changed()
        sink = await home.write(path, Intent.STORE, part.offset, part.size)
        return Upload(home, path, sink, part, new=known is None)

    def not_taken(self, failure: Failure) -> Answer | None:
        error = failure.value
        return refused(error) if isinstance(error, FileFault) else None

    # Answers.

    def answer(self, visit: Visit) -> Deferred[Answer]:
        return eager(self._answer(visit))

    async def _answer(self, visit: Visit) -> Answer:
        try:
            path, folder = parse_path(visit.segments)
            if isinstance(visit.received, Stored):
                return await self._stored(visit.received)
            if isinstance(visit.received, Command):
                home = await self._home_of(visit.received.avatar)
                return await self._command(home, path, visit.received.octets)
            home = await self._home_of(await self._authentication.account_of(visit))
            if visit.method == "DELETE":
                return await self._delete(home, path, folder, visit)
            return await self._get(home, path, folder, visit)
        except Unauthenticated as error:
            return error.answer
        except PathFault as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except FileFault as fault:
            return refused(fault)

    async def _stored(self, stored: Stored) -> Answer:
        if not stored.whole:
            return _told({"path": written(stored.path), "arrived": stored.size}, HTTPStatus.ACCEPTED)
        entry = await stored.home.entry(stored.path)
        status = HTTPStatus.CREATED if stored.new else HTTPStatus.OK
        return _told(row(stored.path[:-1], entry), status, self._validators(entry).fields)

    async def _get(self, home: IHome, path: Path, folder: bool, visit: Visit) -> Answer:
        if "facts" in visit.query:
            return _told(row(path[:-1], await home.entry(path)))
        if "room" in visit.query:
            return _told({"room": await home.room()})
        if "digest" in visit.query:
            return await _digest(home, path, visit.query["digest"])
        if folder:
            entries = await home.entries(path)
            return Answer(b"", _JSON, pieces=FolderContent(path, entries))
        entry = await _entry(home, path)
        if entry is not None and entry.kind is Kind.FOLDER:
            # So that relative addresses in it mean what is in the folder.
            where = f"{visit.base}files{written(path, folder=True)}"
            return problem(HTTPStatus.PERMANENT_REDIRECT, "a folder's name ends in a slash", Location=where)
        return self._file(await home.read(path), path, visit)

    def _file(self, source: ISource, path: Path, visit: Visit) -> Answer:
        """Which takes the source over."""
        try:
            answer = self._part(source, path, visit)
        except Unsatisfiable:
            answer = problem(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"the file has {source.size} octets",
                Content_Range=f"bytes */{source.size}",
            )
        except BaseException:
            source.close()
            raise
        if answer.pieces is None:
            source.close()
        return answer

    def _part(self, source: ISource, path: Path, visit: Visit) -> Answer:
        """What is asked for of a file. Raises Unsatisfiable."""
        there, fields = self._opened(source), _fields(visit)
        status = failed(fields, there, reading=True)
        headers = {**_SAFE, **there.fields, "Content-Disposition": attachment(path[-1])}
        if status == HTTPStatus.NOT_MODIFIED:
            return Answer(b"", status=status, headers=headers)
        if status is not None:
            return _changed()
        asked = fields("Range") if visit.method == "GET" and range_holds(fields, there) else None
        part = asked_range(asked, source.size)
        start, end = part or (0, source.size)
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{source.size}"
        headers["Content-Length"] = str(end - start)
        content = FileContent(self._reader, source.descriptor, start, end - start, source.close)
        found = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
        return Answer(b"", "application/octet-stream", found, headers, content)

    def _opened(self, source: ISource) -> Validators:
        """Of what is open, and not of what has its name by now."""
        return self._validators(entry_of(b"", os.fstat(source.descriptor)))

    def _validators(self, entry: Entry) -> Validators:
        return Validators.of(entry.unique, entry.size, entry.modified)

    async def _delete(self, home: IHome, path: Path, folder: bool, visit: Visit) -> Answer:
        there = await _entry(home, path)
        if there is None:
            raise NoSuchFile("No such file or folder")
        status = failed(_fields(visit), self._validators(there), reading=False)
        if status is not None:
            return _changed()
        if there.kind is not Kind.FOLDER:
            await home.remove(path)
        elif not folder:
            return problem(HTTPStatus.CONFLICT, "a folder's name ends in a slash: give it so to remove it")
        elif visit.query.get("with-all") == "yes":
            await home.remove_tree(path)
        else:
            await home.remove_folder(path)
        return Answer(b"", status=HTTPStatus.NO_CONTENT)

    async def _command(self, home: IHome, path: Path, octets: bytes) -> Answer:
        """{"do": "make"}: a folder; {"do": "rename" or "copy", "to": "/path", "overwrite": true}."""
        try:
            command = json.loads(octets)
            do, overwrite = command["do"], command.get("overwrite", False)
            to = parse_target(command["to"]) if do in ("rename", "copy") else path
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            words = 'a command is {"do": "make"}, or "rename" or "copy" with "to"'
            return problem(HTTPStatus.BAD_REQUEST, words)
        if do not in ("make", "rename", "copy"):
            return problem(HTTPStatus.BAD_REQUEST, 'what can be done is "make", "rename" and "copy"')
        if do == "make":
            await home.make_folder(path)
        else:
            if overwrite is not True and await _entry(home, to) is not None:
                raise AlreadyThere('There is something by that name; "overwrite": true replaces it')
            await (home.rename(path, to) if do == "rename" else home.copy(path, to))
        return _told(row(to[:-1], await home.entry(to)), HTTPStatus.CREATED)


async def _entry(home: IHome, path: Path) -> Entry | None:
    try:
        return await home.entry(path)
    except NoSuchFile:
        return None


async def _digest(home: IHome, path: Path, algorithm: str) -> Answer:
    if algorithm not in ALGORITHMS:
        return problem(HTTPStatus.BAD_REQUEST, f"the algorithms are {', '.join(ALGORITHMS)}")
    digest = await home.digest(path, algorithm, 0, None)
    return _told({"algorithm": algorithm, "digest": digest.hexadecimal, "size": digest.end})


def _changed() -> Answer:
    return problem(HTTPStatus.PRECONDITION_FAILED, "the file is not as the request has it")


def _fields(visit: Visit) -> Callable[[str], str | None]:
    return lambda name: visit.fields.get(name.lower())


def _told(what: Any, status: HTTPStatus = HTTPStatus.OK, headers: Any = None) -> Answer:
    text = json.dumps(what, ensure_ascii=False).encode() + b"\n"
    return Answer(text, _JSON, status, headers or {})


def attachment(name: str) -> str:
    """RFC 6266: to be saved, by that name."""
    shown = shown_name(name)
    plain = re.sub(r"[^ !#-\[\]-~]", "_", shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"
