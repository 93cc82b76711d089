"""A stored message's octets, small or large, for work in threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mailftp.message.index import MessageIndex, Part
from mailftp.message.transfer_encoding import decoder
from mailftp.store.emails import Email
from mailftp.store.engine import MissingBody, Store
from mailftp.store.queries import Bodies, Indexes, OpenBody

T = TypeVar("T")

#: Of a large part, what is read at a time.
PIECE = 1 << 18
#: Of one turn in a thread: messages, and octets of small bodies that are in memory at one time.
_MESSAGES, _OCTETS = 100, 1 << 20


class Octets(Protocol):
    def __getitem__(self, where: slice) -> bytes: ...


class FileOctets:
    """A large body's; each slice is read from its file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __getitem__(self, where: slice) -> bytes:
        return os.pread(self._descriptor, max(0, where.stop - where.start), where.start)


def decoded_pieces(data: Octets, part: Part) -> Iterator[bytes]:
    """A part's content, its transfer encoding taken away; as it is where nobody knows the encoding."""
    at = decoder(part.encoding)
    for start in range(part.body, part.end, PIECE):
        piece = data[start : min(start + PIECE, part.end)]
        yield piece if at is None else at.feed(piece)
    if at is not None:
        yield at.finish()


@dataclass(frozen=True, slots=True)
class Read:
    email: Email
    index: MessageIndex
    data: Octets


async def each_read(
    store: Store, emails: Sequence[Email], run: Callable[[Callable[[], T]], Any], work: Callable[[Read], T]
) -> AsyncIterator[tuple[Email, T]]:
    """What `work` makes of each, in a thread; one that is gone by now is left out."""
    for piece in _pieces(emails):
        try:
            async for each in _read(store, piece, run, work):
                yield each
        except MissingBody:
            # One of them went since: the others are read one by one.
            for email in piece:
                try:
                    async for each in _read(store, [email], run, work):
                        yield each
                except MissingBody:
                    continue


def _pieces(emails: Sequence[Email]) -> Iterator[list[Email]]:
    piece: list[Email] = []
    octets = 0
    for email in emails:
        size = 0 if email.body.large else email.body.size
        if piece and (len(piece) >= _MESSAGES or octets + size > _OCTETS):
            yield piece
            piece, octets = [], 0
        piece.append(email)
        octets += size
    if piece:
        yield piece


async def _read(
    store: Store, piece: Sequence[Email], run: Callable[[Callable[[], Any]], Any], work: Callable[[Read], T]
) -> AsyncIterator[tuple[Email, T]]:
    """Fails with MissingBody before anything is given."""
    indexes = await store.read(Indexes(tuple(email.body for email in piece)))
    small = await store.read(Bodies(tuple(email.body for email in piece if not email.body.large)))
    left = iter(small)
    opened: list[int] = []
    try:
        reads = []
        for email, index in zip(piece, indexes, strict=True):
            data: Octets
            if email.body.large:
                opened.append(await store.read(OpenBody(email.body)))
                data = FileOctets(opened[-1])
            else:
                data = next(left)
            reads.append(Read(email, index, data))
        made = await run(lambda: [work(each) for each in reads])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    for email, result in zip(piece, made, strict=True):
        yield email, result
