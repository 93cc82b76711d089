"""What is asked of a message again and again, found once: where its parts lie, its ENVELOPE and
BODYSTRUCTURE.

All offsets are into the stored body (CRLF line ends, without the per-recipient prefix).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mailftp.message import mime
from mailftp.message.bodystructure import Writer, encoding
from mailftp.message.dates import parse_date
from mailftp.message.envelope import Budget, envelope, text_of, unstructured
from mailftp.message.fields import Field
from mailftp.message.subject import base_subject

__all__ = [
    "DOT_FREE_SIZE",
    "INDEX_VERSION",
    "Field",
    "MessageIndex",
    "Part",
    "StoredKeys",
    "index_message",
    "stored_dot_free",
    "stored_keys",
    "stored_ready",
    "stored_root",
]

#: Raised whenever this code's answers change: stored indexes of an older version are made again.
INDEX_VERSION = 1

#: RFC 5322 sets none; a thread of this depth is read by nobody.
MAX_REFERENCES = 1000
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,998})>")
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """A MIME part: its header's and its body's offsets, and the parts within it."""

    header: int
    body: int
    end: int
    #: Lower case, "text/plain".
    media_type: str
    #: Lower case, "base64"; "7bit" when there is none.
    encoding: str
    lines: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageIndex:
    fields: tuple[Field, ...]
    root: Part
    #: Ready to send in a FETCH response, RFC 3501 section 7.4.2: ENVELOPE, BODY and BODYSTRUCTURE.
    envelope: bytes
    body: bytes
    bodystructure: bytes
    #: For threads: the message id, and those that it refers to, oldest first, without brackets.
    message_id: str
    references: tuple[str, ...]
    #: RFC 5256 section 2.1.
    base_subject: str
    #: The Date field as seconds since the epoch, or None.
    sent: float | None
    #: No line starts with a dot: POP3 and SMTP may send it without stuffing.
    dot_free: bool
    #: There are octets above 127.
    eightbit: bool
    #: The longest line, without its CRLF.
    longest_line: int
    lines: int

    def encode(self) -> bytes:
        """The form that is stored. Its first octet pair is INDEX_VERSION."""
        return _encode(self)

    @classmethod
    def decode(cls, stored: bytes) -> MessageIndex | None:
        """None when `stored` is of another version, or damaged: it is made again then."""
        try:
            return _decode(stored)
        except (struct.error, ValueError, IndexError):
            return None


def index_message(data: bytes | memoryview) -> MessageIndex:
    """Never fails: broken mail has an index too. Work and memory are bounded (depth 100, 10,000 parts)."""
    data = bytes(data)
    budget = Budget()
    node, fields = mime.walk(data, budget)
    texts = unstructured(data, node.spans, budget)
    body, bodystructure = Writer(data, budget).write(node)
    message_id = _MESSAGE_ID.search((texts[b"message-id"] or b"").decode("utf-8", "replace"))
    date = texts[b"date"]
    return MessageIndex(
        fields=fields,
        root=_part(data, node),
        envelope=envelope(data, node.spans, budget, texts),
        body=body,
        bodystructure=bodystructure,
        message_id=message_id[1] if message_id else "",
        references=_references(data, node.spans.get(b"references"), texts[b"in-reply-to"] or b""),
        base_subject=base_subject(texts[b"subject"] or b""),
        sent=parse_date(date) if date else None,
        dot_free=not data.startswith(b".") and b"\n." not in data,
        eightbit=not data.isascii(),
        longest_line=_longest_line(data),
        lines=data.count(b"\n", 0, node.body) + node.lines,
    )


def _references(data: bytes, spans: list[tuple[int, int]] | None, in_reply_to: bytes) -> tuple[str, ...]:
    """RFC 5256 section 3: the ids in References, or else the first in In-Reply-To."""
    if spans:
        text = text_of(data, spans[-1], Budget()).decode("utf-8", "replace")
        found = dict.fromkeys(_MESSAGE_ID.findall(text))
        if found:
            return tuple(found)[-MAX_REFERENCES:]
    one = _MESSAGE_ID.search(in_reply_to.decode("utf-8", "replace"))
    return (one[1],) if one else ()


def _part(data: bytes, node: mime.Node) -> Part:
    kind = node.content_type
    if node.kind is mime.Kind.MESSAGE:
        media_type = "message/rfc822"
    elif node.kind is mime.Kind.UNOPENED:
        media_type = "application/octet-stream"
    elif kind is None:
        media_type = "text/plain"
    else:
        media_type = f"{kind.maintype.decode('latin-1')}/{kind.subtype.decode('latin-1')}".lower()
    given = encoding(data, node, Budget())
    return Part(
        node.header,
        node.body,
        node.end,
        media_type,
        given.decode("latin-1").lower() if given else "7bit",
        node.lines,
        tuple(_part(data, child) for child in node.nodes),
    )


def _longest_line(data: bytes) -> int:
    """Piece by piece: the lines of 50 MB of empty ones, all at once, would be 3 GB of objects."""
    best = 0
    at = 0
    size = len(data)
    while at < size:
        end = data.rfind(b"\n", at, at + _CHUNK) + 1
        if not end:
            end = data.find(b"\n", at + _CHUNK) + 1 or size
        piece = data[at:end]
        longest = max(piece.split(b"\r\n"), key=len)
        if len(longest) > best:
            if b"\n" in longest:
                longest = max(piece.replace(b"\r\n", b"\n").split(b"\n"), key=len)
            best = max(best, len(longest))
        at = end
    return best


# The stored form. Numbers are little-endian. A header; then the texts whose lengths it gives; then
# what there is many of, as arrays: a list of a thousand FETCHes decodes nothing number by number.
_HEAD = struct.Struct("<H?d??IIIIIIIIIIIIII")
_DOT_FREE = struct.Struct("<H?d?")
#: Octets of the stored form that `stored_dot_free` wants.
DOT_FREE_SIZE = _DOT_FREE.size


def stored_dot_free(stored: bytes) -> bool | None:
    """`dot_free` out of the first DOT_FREE_SIZE octets of the stored form; None for another version.

    RETR asks this of every message, and to search ten thousand octets for a dot takes ten microseconds.
    """
    if len(stored) < DOT_FREE_SIZE:
        return None
    version, _, _, dot_free = _DOT_FREE.unpack_from(stored)
    return bool(dot_free) if version == INDEX_VERSION else None


#: From the version to the sizes of the first three texts, and where those are.
_READY = struct.Struct("<H35xIII")


def stored_ready(stored: bytes, start: int, end: int) -> tuple[bytes, bytes, bytes] | None:
    """ENVELOPE, BODY and BODYSTRUCTURE out of the stored form that lies in `stored` from `start` to `end`.

    A FETCH of ten thousand messages asks for these and nothing else. None for another version.
    """
    if end - start < _HEAD.size:
        return None
    version, envelope_size, body_size, bodystructure_size = _READY.unpack_from(stored, start)
    if version != INDEX_VERSION:
        return None
    body = start + _HEAD.size + envelope_size
    bodystructure = body + body_size
    last = bodystructure + bodystructure_size
    if last > end:
        return None
    return stored[start + _HEAD.size : body], stored[body:bodystructure], stored[bodystructure:last]


def stored_root(stored: bytes) -> Part | None:
    """Where the parts lie, out of the stored form, without its fields; None for another version or a damaged
    one. A search of ten thousand messages asks for nothing else."""
    try:
        if stored[:2] != INDEX_VERSION.to_bytes(2, "little"):
            return None
        *_, n_fields, n_parts, _, a, b, c, d, e, f, g, h = _HEAD.unpack_from(stored)
        at = _HEAD.size + a + b + c + d + e + f + g
        kinds = [kind.split("\r") for kind in stored[at : at + h].decode().split("\n")]
        numbers = struct.unpack_from(f"<{5 * n_parts}I", stored, at + h + 4 * n_fields)
        if len(kinds) != n_parts:
            return None
        return _unflatten(0, kinds, numbers)[0]
    except (struct.error, ValueError, IndexError):
        return None


class StoredKeys(NamedTuple):
    """What messages are sorted and threaded by."""

    envelope: bytes
    message_id: str
    references: tuple[str, ...]
    base_subject: str
    sent: float | None


def stored_keys(stored: bytes, start: int, end: int) -> StoredKeys | None:
    """Out of the stored form that lies in `stored` from `start` to `end`; None for another version."""
    if end - start < _HEAD.size:
        return None
    version, dated, sent, *_, n_references, a, b, c, d, e, f, _, _ = _HEAD.unpack_from(stored, start)
    if version != INDEX_VERSION:
        return None
    envelope = start + _HEAD.size
    message_id = envelope + a + b + c
    references = message_id + d
    subject = references + e
    if subject + f > end:
        return None
    return StoredKeys(
        stored[envelope : envelope + a],
        stored[message_id:references].decode("utf-8", "replace"),
        tuple(stored[references:subject].decode("utf-8", "replace").split("\n")) if n_references else (),
        stored[subject : subject + f].decode("utf-8", "replace"),
        sent if dated else None,
    )


def _encode(index: MessageIndex) -> bytes:
    names = b"\n".join(field.name for field in index.fields)
    ends = [field.end for field in index.fields]
    parts: list[Part] = []
    _flatten(index.root, parts)
    kinds = "\n".join(f"{part.media_type}\r{part.encoding}" for part in parts).encode()
    texts = [
        index.envelope,
        index.body,
        index.bodystructure,
        index.message_id.encode(),
        "\n".join(index.references).encode(),
        index.base_subject.encode(),
        names,
        kinds,
    ]
    numbers = [n for part in parts for n in (part.header, part.body, part.end, part.lines, len(part.parts))]
    head = _HEAD.pack(
        INDEX_VERSION,
        index.sent is not None,
        index.sent or 0.0,
        index.dot_free,
        index.eightbit,
        index.longest_line,
        index.lines,
        index.fields[0].start if index.fields else 0,
        len(index.fields),
        len(parts),
        len(index.references),
        *map(len, texts),
    )
    return b"".join([head, *texts, struct.pack(f"<{len(ends)}I{len(numbers)}I", *ends, *numbers)])


def _flatten(part: Part, out: list[Part]) -> None:
    out.append(part)
    for child in part.parts:
        _flatten(child, out)


def _decode(stored: bytes) -> MessageIndex | None:
    if stored[:2] != INDEX_VERSION.to_bytes(2, "little"):
        return None
    _, dated, sent, dot_free, eightbit, longest_line, lines, first, *counts = _HEAD.unpack_from(stored)
    n_fields, n_parts, n_references, *sizes = counts
    at = _HEAD.size
    texts = []
    for size in sizes:
        texts.append(stored[at : at + size])
        at += size
    if len(stored) != at + 4 * (n_fields + 5 * n_parts):
        raise ValueError("the index is damaged")
    ends = struct.unpack_from(f"<{n_fields}I", stored, at)
    numbers = struct.unpack_from(f"<{5 * n_parts}I", stored, at + 4 * n_fields)
    names = texts[6].split(b"\n") if n_fields else []
    references = tuple(texts[4].decode().split("\n")) if n_references else ()
    kinds = [kind.split("\r") for kind in texts[7].decode().split("\n")]
    if len(names) != n_fields or len(kinds) != n_parts or len(references) != n_references:
        raise ValueError("the index is damaged")
    root, used = _unflatten(0, kinds, numbers)
    if used != n_parts:
        raise ValueError("the index is damaged")
    return MessageIndex(
        fields=tuple(
            Field(name, start, end)
            for name, (start, end) in zip(names, pairwise((first, *ends)), strict=True)
        ),
        root=root,
        envelope=texts[0],
        body=texts[1],
        bodystructure=texts[2],
        message_id=texts[3].decode(),
        references=references,
        base_subject=texts[5].decode(),
        sent=sent if dated else None,
        dot_free=dot_free,
        eightbit=eightbit,
        longest_line=longest_line,
        lines=lines,
    )


def _unflatten(at: int, kinds: list[list[str]], numbers: tuple[int, ...], depth: int = 0) -> tuple[Part, int]:
    """The part at `at` and where the next is; parts were written before those within them."""
    if depth > mime.MAX_DEPTH:
        raise ValueError("the index is damaged")
    header, body, end, lines, count = numbers[5 * at : 5 * at + 5]
    media_type, encoded = kinds[at]
    at += 1
    parts = []
    for _ in range(count):
        part, at = _unflatten(at, kinds, numbers, depth + 1)
        parts.append(part)
    return Part(header, body, end, media_type, encoded, lines, tuple(parts)), at
