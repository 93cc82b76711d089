"""A MIME message put together from parts: RFC 2045, RFC 2046, RFC 2183, RFC 2387."""

from __future__ import annotations

import quopri
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from mailftp.message.header_writing import FieldFault, check_text, is_token, structured
from mailftp.message.line_ends import to_crlf
from mailftp.message.part_encoding import base64_lines

#: Parts of one message, and how deep they lie in each other.
PARTS_LIMIT, DEPTH_LIMIT = 1_000, 20
_LONGEST_LINE = 998


@dataclass(slots=True)
class NewPart:
    """`type` "text/plain" and the like; a multipart has `parts` and no content."""

    type: str
    #: Text, or octets as they are.
    content: str | bytes | None = None
    parts: list[NewPart] = field(default_factory=list)
    charset: str | None = None
    name: str | None = None
    disposition: str | None = None
    cid: str | None = None
    language: Sequence[str] = ()
    location: str | None = None
    #: Fields of its own, ready.
    fields: bytes = b""

    @property
    def is_multipart(self) -> bool:
        return self.type.startswith("multipart/")


def body_of(text: NewPart | None, html: NewPart | None, attachments: Sequence[NewPart]) -> NewPart:
    """The usual tree (RFC 8621 section 4.6): pictures that the HTML shows lie beside it, the two texts are
    one another's alternative, and what is attached follows."""
    inline = [each for each in attachments if html is not None and each.disposition == "inline" and each.cid]
    rest = [each for each in attachments if each not in inline]
    shown = html
    if shown is not None and inline:
        shown = NewPart("multipart/related", parts=[shown, *inline])
    body = shown
    if text is not None:
        body = text if shown is None else NewPart("multipart/alternative", parts=[text, shown])
    if body is None and not rest:
        body = NewPart("text/plain", "")
    if rest:
        body = NewPart("multipart/mixed", parts=[*([body] if body is not None else []), *rest])
    assert body is not None
    return body


def compose(fields: bytes, body: NewPart, boundary: Callable[[], str]) -> Iterator[bytes]:
    """The message in pieces; `fields` is its header without what MIME adds, `boundary` gives a text that is
    in no part. Raises FieldFault."""
    check_tree(body)
    yield fields + b"MIME-Version: 1.0\r\n"
    yield from _part(body, boundary)


def check_tree(part: NewPart, depth: int = 0) -> int:
    """The number of parts. Raises FieldFault."""
    if depth > DEPTH_LIMIT:
        raise FieldFault(f"parts lie in each other at most {DEPTH_LIMIT} deep")
    major, slash, minor = part.type.partition("/")
    if not slash or not is_token(major) or not is_token(minor):
        raise FieldFault(f"{part.type[:100]!r} is no media type")
    if part.is_multipart and not part.parts:
        raise FieldFault("a multipart has parts")
    count = 1 + sum(check_tree(each, depth + 1) for each in part.parts)
    if count > PARTS_LIMIT:
        raise FieldFault(f"a message has at most {PARTS_LIMIT} parts")
    return count


def _part(part: NewPart, boundary: Callable[[], str]) -> Iterator[bytes]:
    if part.is_multipart:
        mark = boundary()
        parameters = [("boundary", mark)]
        if part.type == "multipart/related":
            # RFC 2387 section 3.1.
            parameters.append(("type", part.parts[0].type))
        yield part.fields + structured("Content-Type", part.type, parameters) + _described(part) + b"\r\n"
        for each in part.parts:
            yield f"--{mark}\r\n".encode()
            yield from _part(each, boundary)
            yield b"\r\n"
        yield f"--{mark}--\r\n".encode()
        return
    parameters = []
    content = part.content or b""
    if isinstance(content, str):
        if part.type.startswith("text/"):
            parameters.append(("charset", "us-ascii" if content.isascii() else "utf-8"))
        octets = to_crlf(content.encode("utf-8", "replace"))
    else:
        octets = content
        if part.charset:
            parameters.append(("charset", part.charset))
    if part.name:
        parameters.append(("name", part.name))
    encoding, encoded = _encoded(part, octets)
    yield (
        part.fields
        + structured("Content-Type", part.type, parameters)
        + (b"Content-Transfer-Encoding: " + encoding + b"\r\n")
        + _described(part)
        + b"\r\n"
    )
    yield from encoded


def _encoded(part: NewPart, octets: bytes) -> tuple[bytes, Iterator[bytes]]:
    """Lines that every server passes on (RFC 2045 section 6), in what is shortest."""
    if part.type in ("message/rfc822", "message/global"):
        # RFC 2046 section 5.2.1: no other encoding is allowed.
        return (b"7bit" if octets.isascii() else b"8bit"), iter([to_crlf(octets)])
    if not isinstance(part.content, str):
        return b"base64", base64_lines(octets)
    lines = octets.split(b"\r\n")
    if octets.isascii() and b"\0" not in octets and max(map(len, lines)) <= _LONGEST_LINE:
        return b"7bit", iter([octets])
    strange = sum(octet > 126 or octet == 61 for octet in octets)
    if strange * 2 > len(octets) // 3:
        return b"base64", base64_lines(octets)
    quoted = quopri.encodestring(octets.replace(b"\r\n", b"\n"), quotetabs=False)
    return b"quoted-printable", iter([quoted.replace(b"\n", b"\r\n")])


def _described(part: NewPart) -> bytes:
    made = b""
    if part.disposition:
        if not is_token(part.disposition):
            raise FieldFault("that is no disposition")
        named = [("filename", part.name)] if part.name else []
        made += structured("Content-Disposition", part.disposition, named)
    if part.cid:
        if any(each in part.cid for each in "<> "):
            raise FieldFault("a cid has no <> and no spaces")
        made += structured("Content-ID", f"<{part.cid}>")
    if part.language:
        if not all(map(is_token, part.language)):
            raise FieldFault("that is no language")
        made += structured("Content-Language", ", ".join(part.language))
    if part.location:
        made += structured("Content-Location", check_text(part.location))
    return made
