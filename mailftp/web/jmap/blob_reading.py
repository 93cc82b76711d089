"""The octets of a blob, for methods that make something of them: RFC 8620 section 6."""

from __future__ import annotations

import re

from mailftp.store.emails import EmailsById
from mailftp.web.jmap.body_parts import MOST_HEADER, read_parts
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.octets import Read, decoded_pieces, each_read

#: A message, or with "_" and a number a part of it.
_OF_EMAIL = re.compile(r"B([1-9][0-9]{0,17})(?:_(0|[1-9][0-9]{0,5}))?")
#: Octets of a blob that are taken into memory.
BLOB_OCTETS = 50_000_000


async def read_blob(context: Context, blob_id: str) -> bytes | None:
    """None for one that is not there, or is another account's."""
    match = _OF_EMAIL.fullmatch(blob_id)
    if match is None:
        return None
    found = await context.store.read(EmailsById(context.account.id, (int(match[1]),)))
    number = None if match[2] is None else int(match[2])

    def work(read: Read) -> bytes | None:
        return _octets(read, number)

    reads = [octets async for _, octets in each_read(context.store, found.emails, context.ground.run, work)]
    return reads[0] if reads else None


def _octets(read: Read, number: int | None) -> bytes | None:
    if read.email.size > BLOB_OCTETS:
        return None
    if number is None:
        return read.email.prefix + bytes(read.data[0 : read.email.body.size])

    root = read_parts(
        read.index.root, lambda part: read.data[part.header : min(part.body, part.header + MOST_HEADER)]
    )
    for each in root.walk():
        if each.number == number and not each.is_multipart:
            return b"".join(decoded_pieces(read.data, each.part))
    return None
