"""The MIME tree of a message as offsets: RFC 2045, RFC 2046.

One walk over the octets. Lines are not looked at: what is looked for is the next delimiter of a
multipart that is open, by find(), which passes an attachment of 20 MB in milliseconds.

What broken mail means here (as in Dovecot, which clients are tested against):
- a delimiter of an outer multipart ends all that is open within it;
- a line that starts with a boundary is its delimiter, whatever follows; of several the longest counts;
- a part whose header is not ended by an empty line ends with it at the next delimiter;
- a multipart without a boundary parameter has no parts;
- a message without MIME-Version is MIME when it has a Content-Type.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from mailftp.message import envelope
from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import FIELD, Field, header_bounds
from mailftp.message.parameters import ContentType, parse_content_type

#: Multiparts and messages within each other, the message itself included.
MAX_DEPTH = 100
MAX_PARTS = 10_000
#: Fields that are looked at, of a header that has more.
MAX_FIELDS = 10_000
#: RFC 2046 section 5.1.1 allows 70.
_MOST_BOUNDARY = 80

_MIME_FIELDS = frozenset({
    b"mime-version", b"content-type", b"content-transfer-encoding", b"content-id",
    b"content-description", b"content-md5", b"content-disposition", b"content-language",
    b"content-location",
})  # fmt: skip
_MESSAGE_FIELDS = _MIME_FIELDS | envelope.FIELDS | {b"references"}


class Kind(enum.Enum):
    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"
    #: A multipart or message beyond MAX_DEPTH or MAX_PARTS: what is in it is not looked at.
    UNOPENED = "unopened"


@dataclass(slots=True)
class Node:
    """A part while it is found. `spans` has the fields that IMAP asks for."""

    header: int
    body: int
    end: int
    kind: Kind = Kind.LEAF
    #: None for the default, text/plain.
    content_type: ContentType | None = None
    #: Line ends in the body.
    lines: int = 0
    #: False: no Content-* field means anything (RFC 2045 section 4).
    mime: bool = True
    spans: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.end - self.body


class _Boundary:
    """An open multipart's delimiter, and where it was last found to be next."""

    __slots__ = ("needle", "next", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.needle = b"\n--" + text
        #: Offset of the line; no line between the last look and here is such a delimiter.
        self.next = -1


def walk(data: bytes, budget: Budget) -> tuple[Node, tuple[Field, ...]]:
    """The tree of a whole message, and the fields of its own header."""
    walker = _Walk(data, budget)
    root = walker.part(0, 0, in_multipart=False, digest=False)
    return root, tuple(walker.fields)


class _Walk:
    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._size = len(data)
        self._budget = budget
        self._parts = 1
        #: Of the multiparts that are open, the outermost first.
        self._open: list[_Boundary] = []
        #: Of the message's own header, in their order.
        self.fields: list[Field] = []

    def part(self, start: int, depth: int, *, in_multipart: bool, digest: bool) -> Node:
        """The part whose header begins at `start`, which is the start of a line."""
        data = self._data
        stop = self._next(start)
        fields_end, body = header_bounds(data, start, stop)
        # A header that a delimiter ends has no body: nothing can be opened in it.
        cut = fields_end == body and stop < self._size
        if cut:
            fields_end = body = self._before(stop, start)
        node = Node(start, body, stop)
        is_message = not in_multipart
        self._read_header(node, fields_end, is_message)
        spans = node.spans
        if is_message and b"mime-version" not in spans and b"content-type" not in spans:
            node.mime = False
        elif b"content-type" in spans:
            node.content_type = parse_content_type(text_of(data, spans[b"content-type"][0], self._budget))
        kind = _kind(node, digest)
        nested = depth + 1 < MAX_DEPTH
        if kind is Kind.MULTIPART:
            boundary = node.content_type.parameter(b"boundary") if node.content_type else None
            if boundary is None or cut:
                node.kind = Kind.MULTIPART
                self._close(node, stop)
            elif nested:
                node.kind = Kind.MULTIPART
                self._multipart(node, boundary[:_MOST_BOUNDARY], depth)
            else:
                node.kind = Kind.UNOPENED
                self._close(node, stop)
        elif kind is Kind.MESSAGE and nested and self._parts < MAX_PARTS:
            node.kind = Kind.MESSAGE
            self._parts += 1
            if cut:
                child = Node(body, body, body, mime=False)
            else:
                child = self.part(body, depth + 1, in_multipart=False, digest=False)
            node.nodes.append(child)
            node.end = child.end
        else:
            node.kind = Kind.UNOPENED if kind is Kind.MESSAGE else Kind.LEAF
            self._close(node, stop)
        self._count_lines(node)
        return node

    def _read_header(self, node: Node, fields_end: int, is_message: bool) -> None:
        """One look at each field: indexing a small message is for the most part this loop."""
        wanted = _MESSAGE_FIELDS if is_message else _MIME_FIELDS
        spans = node.spans
        keep = self.fields.append if node.header == 0 and is_message else None
        limit = min(self._budget.fields, MAX_FIELDS)
        seen = 0
        for found in FIELD.finditer(self._data, node.header, fields_end):
            first, last = found.span()
            seen += 1
            if first == last or seen > limit:
                break
            written = found[1]
            name = written.rstrip(b" \t").lower() if written else b""
            if keep:
                keep(Field(name, first, last))
            if name in wanted:
                value = first + len(written) + 1
                if name in spans:
                    spans[name].append((value, last))
                else:
                    spans[name] = [(value, last)]
        self._budget.fields -= seen

    def _close(self, node: Node, stop: int) -> None:
        """A part without parts ends before the delimiter that its header's end has shown, or the next."""
        if stop < node.body:
            stop = self._next(node.body)
        node.end = self._before(stop, node.body) if stop < self._size else self._size

    def _multipart(self, node: Node, boundary: bytes, depth: int) -> None:
        data = self._data
        level = len(self._open)
        self._open.append(_Boundary(boundary))
        subtype = node.content_type.subtype.lower() if node.content_type else b""
        at = floor = node.body
        while True:
            stop = self._next(at)
            if stop >= self._size:
                node.end = self._size
                break
            if self._owner(stop) < level:
                node.end = self._before(stop, floor)
                break
            after = stop + 2 + len(boundary)
            line_end = data.find(b"\n", after)
            if line_end < 0:
                node.end = self._size
                break
            at = floor = line_end + 1
            if data.startswith(b"--", after):
                del self._open[level:]
                stop = self._next(at)
                node.end = self._before(stop, floor) if stop < self._size else self._size
                break
            self._parts += 1
            child = self.part(at, depth + 1, in_multipart=True, digest=subtype == b"digest")
            node.nodes.append(child)
            at = floor = child.end
        del self._open[level:]

    def _next(self, at: int) -> int:
        """Where the next line at or after `at` is that is a delimiter; the size when there is none.

        From the outermost multipart inwards, each looks no further than the nearest found so far: so all
        look-ups together pass an octet once for each level, however many parts there are.
        """
        best = self._size
        if self._parts >= MAX_PARTS:
            return best
        for boundary in self._open:
            if boundary.next < at:
                needle = boundary.needle
                found = self._data.find(needle, at - 1, min(best - 1 + len(needle), self._size))
                boundary.next = found + 1 if found >= 0 else best
            if boundary.next < best:
                best = boundary.next
        return best

    def _owner(self, line: int) -> int:
        """The level whose delimiter the line is: the longest that fits, the innermost of equals."""
        data = self._data
        text = data[line + 2 : line + 2 + _MOST_BOUNDARY + 4].partition(b"\n")[0].removesuffix(b"\r")
        best, size = -1, -1
        for level in range(len(self._open) - 1, -1, -1):
            boundary = self._open[level].text
            if len(boundary) > size and text.startswith(boundary):
                best, size = level, len(boundary)
                if text[size:] in (b"", b"--"):
                    break
        return best

    def _before(self, line: int, floor: int) -> int:
        """Where what stands before a delimiter ends: the line end belongs to the delimiter."""
        if line - 2 >= floor and self._data.startswith(b"\r\n", line - 2):
            return line - 2
        return line - 1 if line - 1 >= floor else line

    def _count_lines(self, node: Node) -> None:
        """Each octet is counted once: a part's count is taken into those that hold it."""
        at = node.body
        count = self._data.count
        for child in node.nodes:
            node.lines += count(b"\n", at, child.body) + child.lines
            at = child.end
        node.lines += count(b"\n", at, node.end)


def _kind(node: Node, digest: bool) -> Kind:
    """What the Content-Type says that the part is."""
    if node.content_type is None:
        # RFC 2046 section 5.1.5, for a part without the field.
        if digest and b"content-type" not in node.spans:
            return Kind.MESSAGE
        return Kind.LEAF
    maintype = node.content_type.maintype.lower()
    if maintype == b"multipart":
        return Kind.MULTIPART
    if maintype == b"message" and node.content_type.subtype.lower() == b"rfc822":
        return Kind.MESSAGE
    return Kind.LEAF
