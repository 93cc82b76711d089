"""Blobs: messages, their parts, and what was uploaded (RFC 8620 section 6).

"B17" is the message of Email 17, "B17_3" the content of its part 3, "U5" an upload. A blob of another account
is as one that is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

from mailftp.message.index import Part
from mailftp.store.emails import EmailsById
from mailftp.store.engine import Store
from mailftp.store.queries import Bodies, Indexes, OpenBody
from mailftp.store.records import BodyRef
from mailftp.store.uploads import UploadsById
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.octets import PIECE, FileOctets, Octets, decoded_pieces

_BLOB = re.compile(r"B([1-9][0-9]{0,18})(?:_(0|[1-9][0-9]{0,4}))?")
_UPLOAD = re.compile(r"U([1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Blob:
    id: str
    body: BodyRef
    #: What comes before the body.
    prefix: bytes = b""
    #: Only this part's content.
    part: Part | None = None
    #: Of an Email: its id, its thread's, its mailboxes'; else 0 and none.
    email_id: int = 0
    thread_id: int = 0
    mailbox_ids: tuple[int, ...] = ()

    @property
    def size(self) -> int | None:
        """None: it has to be decoded to know."""
        if self.part is None:
            return len(self.prefix) + self.body.size
        return self.part.end - self.part.body if self.part.encoding in ("7bit", "8bit", "binary") else None


async def find_blob(store: Store, account_id: int, blob_id: str) -> Blob | None:
    match = _UPLOAD.fullmatch(blob_id)
    if match is not None and int(match[1]) < 2**63:
        uploads = await store.read(UploadsById(account_id, (int(match[1]),)))
        return Blob(blob_id, uploads[0].body) if uploads else None
    match = _BLOB.fullmatch(blob_id)
    if match is None or int(match[1]) >= 2**63:
        return None
    found = await store.read(EmailsById(account_id, (int(match[1]),)))
    if not found.emails:
        return None
    email = found.emails[0]
    part, prefix = None, email.prefix
    if match[2] is not None:
        [index] = await store.read(Indexes((email.body,)))
        part, prefix = _numbered(index.root, int(match[2])), b""
        if part is None:
            return None
    return Blob(blob_id, email.body, prefix, part, email.id, email.thread_id, email.mailbox_ids)


def _numbered(root: Part, number: int) -> Part | None:
    """As mailftp.web.jmap.body_parts numbers them."""

    def walk(part: Part) -> Iterator[Part]:
        yield part
        if part.media_type.startswith("multipart/"):
            for each in part.parts:
                yield from walk(each)

    for at, part in enumerate(walk(root)):
        if at == number:
            # RFC 8621 section 4.1.4: a multipart has no blob.
            return None if part.media_type.startswith("multipart/") else part
    return None


async def blob_pieces(ground: Ground, blob: Blob) -> AsyncGenerator[bytes, None]:
    """Its octets, some at a time. Raises MissingBody where it is gone by now."""
    descriptor = -1
    data: Octets
    if blob.body.large:
        descriptor = await ground.store.read(OpenBody(blob.body))
        data = FileOctets(descriptor)
    else:
        [data] = await ground.store.read(Bodies((blob.body,)))
    try:
        pieces = _raw(blob, data) if blob.part is None else decoded_pieces(data, blob.part)
        while True:
            piece: Any = await ground.run(lambda: next(pieces, None))
            if piece is None:
                break
            if piece:
                yield piece
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _raw(blob: Blob, data: Octets) -> Iterator[bytes]:
    yield blob.prefix
    for start in range(0, blob.body.size, PIECE):
        yield data[start : min(start + PIECE, blob.body.size)]


async def read_blob(ground: Ground, blob: Blob, most: int) -> bytes | None:
    """All of it; None when that is more than `most` octets."""
    kept: list[bytes] = []
    octets = 0
    pieces = blob_pieces(ground, blob)
    try:
        async for piece in pieces:
            octets += len(piece)
            if octets > most:
                return None
            kept.append(piece)
    finally:
        await pieces.aclose()
    return b"".join(kept)
