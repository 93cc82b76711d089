"""A message of 8-bit text as one of 7 bits, for a far side without 8BITMIME (RFC 6152 section 3).

Text becomes quoted-printable, anything else base64. A signature over the parts (DKIM, OpenPGP) no longer
holds; the house's own is made afterwards.
"""

from __future__ import annotations

from binascii import b2a_qp
from collections.abc import Iterator

from mailftp.message.envelope import Budget
from mailftp.message.mime import Kind, Node, walk
from mailftp.message.part_encoding import base64_lines, encoding_of, is_text, with_encoding

#: Of text with more octets above 127 than one in so many base64 is the shorter form, and no harder to read.
_MOSTLY_ASCII = 4
_HIGH = bytes(range(128, 256))
_NO_EIGHT_BIT = bytes(range(128)) + b"?" * 128


def as_seven_bit(data: bytes) -> bytes:
    """Header fields stay as they are: what is 8-bit in them is not MIME's (RFC 6532), and cannot be said in
    another way without changing what they mean."""
    if data.isascii():
        return data
    root, _ = walk(data, Budget())
    return b"".join(_part(data, root, whole=True))


def _part(data: bytes, node: Node, whole: bool = False) -> Iterator[bytes]:
    header, encoding = data[node.header : node.body], encoding_of(data, node)
    if node.nodes or node.kind is not Kind.LEAF:
        yield with_encoding(header, b"7bit", whole) if encoding in (b"8bit", b"binary") else header
        at = node.body
        for child in node.nodes:
            yield data[at : child.header].translate(_NO_EIGHT_BIT)
            yield from _part(data, child)
            at = child.end
        yield data[at : node.end].translate(_NO_EIGHT_BIT)
        return
    body = data[node.body : node.end]
    if body.isascii():
        yield header
        yield body
    elif encoding not in (b"", b"7bit", b"8bit", b"binary"):
        # It says that it is encoded, and has what no encoding makes: every client leaves that out.
        yield header
        yield body.translate(None, _HIGH)
    elif is_text(node) and _MOSTLY_ASCII * (len(body) - len(body.translate(None, _HIGH))) <= len(body):
        yield with_encoding(header, b"quoted-printable", whole)
        yield b2a_qp(body, istext=True)
    else:
        yield with_encoding(header, b"base64", whole)
        yield from base64_lines(body)
        if body.endswith(b"\r\n"):
            yield b"\r\n"
