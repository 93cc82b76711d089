"""Twisted's IMailboxPOP3 as an IMaildrop, so that a POP3 realm that already exists works unchanged.

Its methods may answer at once or with a Deferred. Most read their files in the reactor's thread; that is
theirs. Line ends become CRLF here, as POP3 demands: a Maildir holds LF. The sizes that LIST shows are
those that the mailbox tells, which for such a Maildir are smaller than what is sent; RFC 1939 section 11
lets clients expect that of no server, but all of them bear it.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from zope.interface import implementer

from mailftp.accounts.avatars import Content, Drop, Drops, IMaildrop
from mailftp.store.engine import SMALL_BODY

_PIECE = 64 * 1024
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
#: RFC 1939 section 7: 1 to 70 characters from 0x21 to 0x7E.
_UIDL = re.compile(rb"[!-~]{1,70}\Z")


@implementer(IMaildrop)
class MailboxDrop:
    """The mailbox itself decides who may open it at a time; nothing is locked here."""

    def __init__(self, mailbox: Any) -> None:
        """`mailbox` provides twisted.mail.pop3.IMailbox."""
        self._mailbox = mailbox

    def open(self, folder: str = "INBOX") -> Deferred[Drops]:
        """A mailbox of Twisted's is the only one that its account has."""
        return Deferred.fromCoroutine(self._open(folder))

    async def _open(self, folder: str) -> Drops:
        if folder.upper() != "INBOX":
            raise LookupError(f"there is no folder {folder}")
        sizes = await maybeDeferred(self._mailbox.listMessages)
        return Drops.of([await self._drop(number, size) for number, size in enumerate(sizes)])

    async def _drop(self, number: int, size: int) -> Drop:
        uidl = await maybeDeferred(self._mailbox.getUidl, number)
        if isinstance(uidl, str):
            uidl = uidl.encode("utf-8", "surrogateescape")
        if not _UIDL.match(uidl):
            # Anything else would break the listing's lines; the same message gets the same one again.
            uidl = (b"x" + bytes(uidl).hex().encode())[:70]
        return Drop(size, uidl)

    def read(self, numbers: tuple[int, ...]) -> Deferred[tuple[Content, ...]]:
        return Deferred.fromCoroutine(self._read(numbers))

    async def _read(self, numbers: tuple[int, ...]) -> tuple[Content, ...]:
        contents: list[Content] = []
        try:
            for number in numbers:
                contents.append(await self._content(number))
        except BaseException:
            for content in contents:
                if content.descriptor >= 0:
                    os.close(content.descriptor)
            raise
        return tuple(contents)

    async def _content(self, number: int) -> Content:
        try:
            file = await maybeDeferred(self._mailbox.getMessage, number)
        except (ValueError, FileNotFoundError) as error:
            # ValueError (or IndexError) is what IMailboxPOP3 names for a message that is not there.
            raise LookupError("the message is gone") from error
        try:
            # Opened as text, as Twisted's own Maildir does, it would be decoded: what is below it is octets.
            return _normalised(getattr(file, "buffer", file))
        finally:
            close = getattr(file, "close", None)
            if close is not None:
                close()

    def update(self, deleted: tuple[int, ...], retrieved: tuple[int, ...] = ()) -> Deferred[None]:
        """What was retrieved is of no interest to it."""
        return Deferred.fromCoroutine(self._update(deleted))

    async def _update(self, deleted: tuple[int, ...]) -> None:
        for number in deleted:
            await maybeDeferred(self._mailbox.deleteMessage, number)
        await maybeDeferred(self._mailbox.sync)

    def release(self) -> None:
        """Nothing is held."""


def _normalised(file: Any) -> Content:
    """A file's content with CRLF line ends, in memory when it is small."""
    with tempfile.SpooledTemporaryFile(SMALL_BODY) as spool:
        size, dot_free, last = 0, True, b"\n"
        while piece := _octets(file.read(_PIECE)):
            # The LF that belongs to a CR may be in the next piece.
            while piece.endswith(b"\r") and (more := _octets(file.read(1))):
                piece += more
            piece = _LONE.sub(b"\r\n", piece)
            dot_free = dot_free and b"\n." not in piece and not (last == b"\n" and piece.startswith(b"."))
            last = piece[-1:]
            size += len(piece)
            spool.write(piece)
        if size <= SMALL_BODY:
            spool.seek(0)
            return Content(b"", size, dot_free, spool.read())
        spool.flush()
        return Content(b"", size, dot_free, None, os.dup(spool.fileno()))


def _octets(data: bytes | str) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
