"""Blobs: messages, their parts, and what was uploaded (RFC 8620 section 6).

"B17" is the message of Email 17, "B17_3" the content of its part 3, "U5" an upload, and where it is a message
"U5_1" a part of that. A blob of another account
is as one that is not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailftp.message.index import Part
from mailftp.store.emails import EmailsById
from mailftp.store.engine import Store
from mailftp.store.queries import Bodies, Indexes, OpenBody
from mailftp.store.records import BodyRef
from mailftp.store.uploads import UploadsById
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.octets import PIECE, FileOctets, Octets, decoded_pieces

_BLOB = re.compile(r"([BU])([1-9][0-9]{0,18})((?:_(?:0|[1-9][0-9]{0,4})){0,8})")


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
    match = _BLOB.fullmatch(blob_id)
    if match is None or int(match[2]) >= 2**63:
        return None
    number = int(match[2])
    if match[1] == "U":
        uploads = await store.read(UploadsById(account_id, (number,)))
        whole = Blob(blob_id, uploads[0].body) if uploads else None
    else:
        found = await store.read(EmailsById(account_id, (number,)))
        whole = None
        for email in found.emails:
            mailboxes = email.mailbox_ids
            whole = Blob(blob_id, email.body, email.prefix, None, email.id, email.thread_id, mailboxes)
    if whole is None or not match[3]:
        return whole
    [index] = await store.read(Indexes((whole.body,)))
    part = _at(index.root, [int(step) for step in match[3].split("_")[1:]])
    return None if part is None else replace(whole, prefix=b"", part=part)


def _at(root: Part, steps: Sequence[int]) -> Part | None:
    """A part, or a part of the message that a part is (RFC 8621 section 4.9)."""
    part = _numbered(root, steps[0])
    for step in steps[1:]:
        if part is None or part.media_type != "message/rfc822" or not part.parts:
            return None
        part = _numbered(part.parts[0], step)
    return part


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
