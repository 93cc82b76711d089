"""A message with binary parts (RFC 3030) as one of lines: what is kept here has CRLF line ends and no NUL.

POP3 and a server without BINARYMIME could not carry it otherwise. A part that holds lines stays as it is;
one that does not becomes base64. What a signature (DKIM) said of the octets no longer holds; RFC 3030
section 3 knows that.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import find, without
from mailftp.message.line_ends import crlf_only, to_crlf
from mailftp.message.mime import Kind, Node, walk

#: Octets of a part that are encoded at a time: whole lines of 76 characters.
PIECE = 57 * 4096
_ENCODING = "Content-Transfer-Encoding"


class BinaryFault(ValueError):
    """It cannot be made one of lines; the text says why."""


def as_lines(data: bytes) -> Iterator[bytes]:
    """`data` in pieces that no line end is parted by. Raises BinaryFault."""
    root, _ = walk(data, Budget())
    last = b"\r\n"
    for piece in _part(data, root, whole=True):
        last = piece[-2:] or last
        yield piece
    if last != b"\r\n":
        yield b"\r\n"


def _part(data: bytes, node: Node, whole: bool = False) -> Iterator[bytes]:
    header = data[node.header : node.body]
    if b"\0" in header or not crlf_only(header):
        raise BinaryFault("a header holds what is no text")
    encoding = _encoding(data, node)
    if node.nodes or node.kind is not Kind.LEAF:
        # RFC 2045 section 6.4: what holds parts is never encoded itself.
        yield _with_encoding(header, b"8bit", whole) if encoding == b"binary" else header
        at = node.body
        for child in node.nodes:
            yield _lines(data[at : child.header])
            yield from _part(data, child)
            at = child.end
        yield _lines(data[at : node.end])
        return
    body = data[node.body : node.end]
    clean = b"\0" not in body and crlf_only(body)
    if encoding not in (b"", b"7bit", b"8bit", b"binary"):
        # The encoding has lines of its own, and what ends them means nothing.
        yield header
        yield _lines(body)
    elif clean and (encoding != b"binary" or _is_text(node)):
        yield _with_encoding(header, b"8bit", whole) if encoding == b"binary" else header
        yield body
    else:
        yield _with_encoding(header, b"base64", whole)
        yield from _encoded(body)


def _encoding(data: bytes, node: Node) -> bytes:
    spans = node.spans.get(_ENCODING.lower().encode(), ())
    return text_of(data, spans[-1], Budget()).lower() if spans else b""


def _is_text(node: Node) -> bool:
    return node.content_type is None or node.content_type.maintype.lower() in (b"text", b"message")


def _with_encoding(header: bytes, encoding: bytes, whole: bool) -> bytes:
    """Without MIME-Version the field would mean nothing in a message (RFC 2045 section 4)."""
    field = _ENCODING.encode() + b": " + encoding + b"\r\n"
    if whole and find(header, "MIME-Version") is None:
        field = b"MIME-Version: 1.0\r\n" + field
    rest = without(header, (_ENCODING,))
    return field + rest if rest.endswith(b"\r\n") else field + rest + b"\r\n"


def _lines(text: bytes) -> bytes:
    """What stands between parts."""
    if b"\0" in text:
        raise BinaryFault("there is a NUL outside of its parts")
    return to_crlf(text)


def _encoded(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), PIECE):
        text = b64encode(body[start : start + PIECE])
        lines = [text[at : at + 76] for at in range(0, len(text), 76)]
        yield b"\r\n".join(lines)
        if start + PIECE < len(body):
            yield b"\r\n"
