"""The Content-Transfer-Encoding of a part: what it is, and another one in its place (RFC 2045 section 6)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import find, without
from mailftp.message.mime import Node

#: Octets of a part that are encoded at a time: whole lines of 76 characters.
PIECE = 57 * 4096
_ENCODING = "Content-Transfer-Encoding"


def encoding_of(data: bytes, node: Node) -> bytes:
    """In lower case; b"" without one."""
    spans = node.spans.get(_ENCODING.lower().encode(), ())
    return text_of(data, spans[-1], Budget()).lower() if spans else b""


def is_text(node: Node) -> bool:
    return node.content_type is None or node.content_type.maintype.lower() in (b"text", b"message")


def with_encoding(header: bytes, encoding: bytes, whole: bool) -> bytes:
    """`whole`: it is the message's own header, where without MIME-Version the field would mean nothing (RFC
    2045 section 4)."""
    field = _ENCODING.encode() + b": " + encoding + b"\r\n"
    if whole and find(header, "MIME-Version") is None:
        field = b"MIME-Version: 1.0\r\n" + field
    rest = without(header, (_ENCODING,))
    return field + rest if rest.endswith(b"\r\n") else field + rest + b"\r\n"


def base64_lines(body: bytes) -> Iterator[bytes]:
    """The last line without its end."""
    for start in range(0, len(body), PIECE):
        text = b64encode(body[start : start + PIECE])
        lines = [text[at : at + 76] for at in range(0, len(text), 76)]
        yield b"\r\n".join(lines)
        if start + PIECE < len(body):
            yield b"\r\n"
