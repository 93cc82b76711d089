"""Octets of messages in FETCH responses: BODY[...], RFC822, BINARY, PREVIEW.

What is in memory is cut out of it. Of a large body, which is a file, only what is asked for is read, and sent
as it is read: a part of 20 KB of a message of 30 MB costs what it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from mailftp.imap.fetch_items import Datum, Form, Text
from mailftp.imap.output import PIECE, Output
from mailftp.imap.sections import Kind, Section, Span, find_part, locate, partial, select, split
from mailftp.message.fields import header_bounds
from mailftp.message.imap_strings import nstring
from mailftp.message.index import MessageIndex, Part
from mailftp.message.preview import looked_at, preview_of, preview_part
from mailftp.message.transfer_encoding import decode, decoder
from mailftp.store.records import BodyRef

TextItem = Text | Datum

#: Octets of a large body's header in which HEADER.FIELDS looks for fields.
MOST_HEADER = 1024 * 1024

#: Of a message without parts, and of its whole header: nothing else of it has to be known.
_HEADERS = frozenset({Kind.HEADER, Kind.FIELDS, Kind.FIELDS_NOT})


def header_only(items: Sequence[TextItem]) -> bool:
    """Nothing but the message's own header is wanted."""
    return all(
        isinstance(item, Text)
        and item.form is Form.RAW
        and not item.section.numbers
        and item.section.kind in _HEADERS
        for item in items
    )


def with_index(items: Sequence[TextItem]) -> bool:
    """It has to be known where parts are."""
    return any(
        not isinstance(item, Text) or item.form is not Form.RAW or bool(item.section.numbers)
        for item in items
    )


class Opened:
    """One message that is looked into. `text` is its prefix and its body, the prefix alone of a large body,
    or prefix and header where that is all that is wanted."""

    __slots__ = ("_head", "_index", "body", "prefix", "text", "whole")

    def __init__(
        self,
        text: bytes,
        prefix: int,
        body: BodyRef,
        index: MessageIndex | None,
        *,
        whole: bool,
        head: int | None = None,
    ) -> None:
        """`head` is where the header ends, when that is known."""
        self._head = head
        self.text = text
        self.prefix = prefix
        self.body = body
        self._index = index
        #: All of it is in `text`.
        self.whole = whole

    @property
    def index(self) -> MessageIndex:
        assert self._index is not None, "asked for where an item needs it"
        return self._index

    @property
    def size(self) -> int:
        return self.prefix + self.body.size

    def span(self, section: Section) -> Span | None:
        """Where a section is; of HEADER.FIELDS, the header."""
        if section.numbers or not self.whole:
            return locate(self.index, self.prefix, section)
        if section.kind is Kind.WHOLE:
            return Span(0, len(self.text))
        start = self._head
        if start is None:
            start = self._head = header_bounds(self.text, self.prefix)[1]
        return Span(start, len(self.text)) if section.kind is Kind.TEXT else Span(0, start)

    def part(self, section: Section) -> Part | None:
        return find_part(self.index.root, section.numbers)


def literal(name: bytes, data: bytes, *, binary: bool = False) -> bytes:
    """A literal, or "" for nothing; a literal8 for what has a NUL, RFC 9051 section 4.3."""
    if not data:
        return name + b' ""'
    if binary and b"\0" in data:
        return b"%b ~{%d}\r\n%b" % (name, len(data), data)
    return b"%b {%d}\r\n%b" % (name, len(data), data)


def _fields(header: bytes, section: Section) -> bytes:
    return select(header, section.names, excluding=section.kind is Kind.FIELDS_NOT)


def cut(data: bytes, item: Text) -> bytes:
    """`<origin.octets>` of it, where that is asked for."""
    if item.partial is None:
        return data
    span = partial(Span(0, len(data)), *item.partial)
    return data[span.start : span.end]


def coded(opened: Opened, item: Text) -> tuple[Span, str]:
    """Where the octets of a BINARY item are, and their Content-Transfer-Encoding. RFC 9051 section 6.4.5: of
    leaf parts; whatever has parts is given as it is."""
    span = opened.span(item.section)
    if span is None:
        return Span(0, 0), "binary"
    part = opened.part(item.section)
    if part is None or not item.section.numbers or part.parts or part.media_type.startswith("multipart/"):
        return span, "binary"
    return span, part.encoding


def decodable(opened: Opened, item: TextItem) -> bool:
    """Whether it can be given: RFC 3516 section 4.3, BINARY of an encoding that nobody knows cannot."""
    return isinstance(item, Datum) or item.form is Form.RAW or decoder(coded(opened, item)[1]) is not None


def small(opened: Opened, item: TextItem) -> bytes:
    """A `decodable` item of a message that is in memory, with its name."""
    if isinstance(item, Datum):
        part = preview_part(opened.index.root)
        if part is None:
            return b"PREVIEW NIL"
        start, end = looked_at(part)
        return _preview(part, opened.text[opened.prefix + start : opened.prefix + end])
    section = item.section
    if item.form is Form.RAW:
        if not section.numbers and section.kind is Kind.WHOLE:
            return literal(item.name, cut(opened.text, item))
        span = opened.span(section)
        if span is None:
            return item.name + b' ""'
        data = opened.text[span.start : span.end]
        if section.names:
            data = _fields(data, section)
        return literal(item.name, cut(data, item))
    span, encoding = coded(opened, item)
    found = decode(opened.text[span.start : span.end], encoding)
    assert found is not None
    if item.form is Form.DECODED_SIZE:
        return b"%b %d" % (item.name, len(found))
    return literal(item.name, cut(found, item), binary=True)


def _preview(part: Part, octets: bytes) -> bytes:
    return b"PREVIEW " + nstring(preview_of(part, octets).encode())


class LargeTexts:
    """The items of one message whose body is a file."""

    def __init__(self, output: Output, opened: Opened, descriptor: int) -> None:
        """The caller closes the descriptor."""
        self._output = output
        self._opened = opened
        self._descriptor = descriptor

    async def send(self, item: TextItem) -> None:
        """A `decodable` one, with its name."""
        output, opened = self._output, self._opened
        if isinstance(item, Datum):
            part = preview_part(opened.index.root)
            if part is None:
                output.write(b"PREVIEW NIL")
            else:
                start, end = looked_at(part)
                output.write(_preview(part, await self._read(start, end)))
        elif item.form is not Form.RAW:
            await self._send_decoded(item)
        elif item.section.names:
            span = opened.span(item.section)
            data = b"" if span is None else _fields(await self._octets(span, MOST_HEADER), item.section)
            output.write(literal(item.name, cut(data, item)))
        else:
            span = opened.span(item.section) or Span(0, 0)
            if item.partial is not None:
                span = partial(span, *item.partial)
            await self._send_span(item.name, span)

    async def _send_span(self, name: bytes, span: Span) -> None:
        output, opened = self._output, self._opened
        if span.start == span.end:
            output.write(name + b' ""')
            return
        prefix, body = split(span, opened.prefix)
        output.write(b"%b {%d}\r\n" % (name, span.end - span.start))
        output.write(opened.text[prefix.start : prefix.end])
        if body.end - body.start <= PIECE:
            output.write(await self._read(body.start, body.end))
        else:
            await output.file(self._descriptor, body.start, body.end - body.start)

    async def _octets(self, span: Span, most: int) -> bytes:
        prefix, body = split(span, self._opened.prefix)
        end = min(body.end, body.start + most)
        return self._opened.text[prefix.start : prefix.end] + await self._read(body.start, end)

    async def _read(self, start: int, end: int) -> bytes:
        """All of it. Raises EOFError."""
        return b"".join([piece async for piece in self._pieces(start, end)])

    async def _pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            piece = await self._output.read(self._descriptor, start, min(PIECE, end - start))
            if not piece:
                raise EOFError(f"the body ends before its octet {end}")
            start += len(piece)
            yield piece

    async def _send_decoded(self, item: Text) -> None:
        """Twice over the part: how many octets they are is said before the first of them."""
        span, encoding = coded(self._opened, item)
        octets, nul = 0, False
        async for piece in self._decoded(span, encoding):
            octets += len(piece)
            nul = nul or b"\0" in piece
        if item.form is Form.DECODED_SIZE:
            self._output.write(b"%b %d" % (item.name, octets))
            return
        wanted = Span(0, octets) if item.partial is None else partial(Span(0, octets), *item.partial)
        if wanted.start == wanted.end:
            self._output.write(item.name + b' ""')
            return
        tilde = b"~" if nul else b""
        self._output.write(b"%b %b{%d}\r\n" % (item.name, tilde, wanted.end - wanted.start))
        at = 0
        async for piece in self._decoded(span, encoding):
            self._output.write(piece[max(0, wanted.start - at) : max(0, wanted.end - at)])
            at += len(piece)
            await self._output.room()
            if at >= wanted.end:
                break

    async def _decoded(self, span: Span, encoding: str) -> AsyncIterator[bytes]:
        work = decoder(encoding)
        assert work is not None
        prefix, body = split(span, self._opened.prefix)
        yield work.feed(self._opened.text[prefix.start : prefix.end])
        async for piece in self._pieces(body.start, body.end):
            yield work.feed(piece)
        yield work.finish()


async def send_large(
    output: Output, opened: Opened, head: bytes, items: Sequence[TextItem], descriptor: int
) -> None:
    """The whole response of a message whose body is a file; `head` ends where the first item stands."""
    texts = LargeTexts(output, opened, descriptor)
    with output.torn():
        output.write(head)
        for number, item in enumerate(items):
            if number:
                output.write(b" ")
            await texts.send(item)
        output.write(b")\r\n")
