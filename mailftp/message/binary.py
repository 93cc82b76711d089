"""A message with binary parts (RFC 3030) as one of lines: what is kept here has CRLF line ends and no NUL.

POP3 and a server without BINARYMIME could not carry it otherwise. A part that holds lines stays as it is;
one that does not becomes base64. What a signature (DKIM) said of the octets no longer holds; RFC 3030
section 3 knows that.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailftp.message.envelope import Budget
from mailftp.message.line_ends import crlf_only, to_crlf
from mailftp.message.mime import Kind, Node, walk
from mailftp.message.part_encoding import base64_lines, encoding_of, is_text, with_encoding


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
    encoding = encoding_of(data, node)
    if node.nodes or node.kind is not Kind.LEAF:
        # RFC 2045 section 6.4: what holds parts is never encoded itself.
        yield with_encoding(header, b"8bit", whole) if encoding == b"binary" else header
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
    elif clean and (encoding != b"binary" or is_text(node)):
        yield with_encoding(header, b"8bit", whole) if encoding == b"binary" else header
        yield body
    else:
        yield with_encoding(header, b"base64", whole)
        yield from base64_lines(body)


def _lines(text: bytes) -> bytes:
    """What stands between parts."""
    if b"\0" in text:
        raise BinaryFault("there is a NUL outside of its parts")
    return to_crlf(text)
