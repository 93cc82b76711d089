"""EmailBodyPart, and which parts are a message's text, HTML and attachments: RFC 8621 section 4.1.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from mailftp.message.index import Part
from mailftp.message.parameters import Parameters, parse_content_type, parse_disposition
from mailftp.message.words import decode_charset, decode_words
from mailftp.web.jmap.headers import HeaderField, as_raw, fields_of, header_property, unfolded

#: Of a part; `subParts` and "header:..." beside these.
PROPERTIES = (
    "partId",
    "blobId",
    "size",
    "headers",
    "name",
    "type",
    "charset",
    "disposition",
    "cid",
    "language",
    "location",
    "subParts",
)
#: Section 4.2.
USUAL = ("partId", "blobId", "size", "name", "type", "charset", "disposition", "cid", "language", "location")

#: Octets of a part's header that are looked at.
MOST_HEADER = 256 * 1024


@dataclass(slots=True)
class BodyPart:
    """A part of a message, of which `number` is its place among all in depth first order."""

    number: int
    part: Part
    fields: Sequence[HeaderField]
    parts: list[BodyPart] = field(default_factory=list)
    type: str = ""
    charset: str | None = None
    disposition: str | None = None
    name: str | None = None

    @property
    def is_multipart(self) -> bool:
        return self.type.startswith("multipart/")

    def value(self, key: bytes) -> bytes | None:
        found = [each.value for each in self.fields if each.key == key]
        return unfolded(found[-1]) if found else None

    def walk(self) -> Iterator[BodyPart]:
        """Itself and all within."""
        yield self
        for each in self.parts:
            yield from each.walk()


def read_parts(root: Part, header_of: Any) -> BodyPart:
    """`header_of(part)` gives the octets of a part's header."""
    numbers = iter(range(1_000_000))

    def read(part: Part) -> BodyPart:
        made = BodyPart(next(numbers), part, fields_of(header_of(part)))
        _describe(made)
        if part.media_type.startswith("multipart/"):
            made.parts = [read(each) for each in part.parts]
        return made

    return read(root)


def _describe(made: BodyPart) -> None:
    text = made.value(b"content-type")
    kind = parse_content_type(text) if text is not None else None
    made.type = made.part.media_type
    parameters: Parameters = kind.parameters if kind is not None else ()
    disposition_text = made.value(b"content-disposition")
    disposition = parse_disposition(disposition_text) if disposition_text is not None else None
    if disposition is not None:
        made.disposition = disposition[0].decode("latin-1").lower()
        made.name = parameter_text(disposition[1], b"filename")
    if made.name is None:
        made.name = parameter_text(parameters, b"name")
    charset = kind.parameter(b"charset") if kind is not None else None
    if charset is not None:
        made.charset = charset.decode("latin-1")
    elif made.type.startswith("text/"):
        made.charset = "us-ascii"


def parameter_text(parameters: Parameters, name: bytes) -> str | None:
    """A parameter's value, RFC 2231's form before the plain one, in which many write encoded words."""
    plain = None
    for key, value in parameters:
        lower = key.lower()
        if lower == name + b"*":
            charset, quote, rest = value.partition(b"'")
            text = rest.partition(b"'")[2] if quote else value
            return decode_charset(unquote_to_bytes(text), charset if quote else b"")
        if lower == name and plain is None:
            plain = value
    return None if plain is None else decode_words(plain)


def part_object(each: BodyPart, names: Sequence[str], blob_id: str | None, size: int) -> dict[str, Any]:
    """An EmailBodyPart with these properties, without subParts."""
    made: dict[str, Any] = {}
    for name in names:
        if name == "partId":
            made[name] = None if each.is_multipart else str(each.number)
        elif name == "blobId":
            made[name] = None if each.is_multipart else blob_id
        elif name == "size":
            made[name] = size
        elif name == "headers":
            made[name] = headers_object(each.fields)
        elif name in ("name", "type", "charset", "disposition"):
            made[name] = getattr(each, name)
        elif name == "cid":
            cid = each.value(b"content-id")
            made[name] = None if cid is None else cid.decode("utf-8", "replace").strip("<> \t")
        elif name == "language":
            language = each.value(b"content-language")
            made[name] = None if language is None else _listed(language)
        elif name == "location":
            location = each.value(b"content-location")
            made[name] = None if location is None else "".join(decode_words(location).split())
        elif name != "subParts":
            asked = header_property(name)
            assert asked is not None, "it was looked at before"
            made[name] = asked.of(each.fields)
    return made


def _listed(value: bytes) -> list[str]:
    return [each for each in (one.strip() for one in value.decode("utf-8", "replace").split(",")) if each]


def headers_object(fields: Sequence[HeaderField]) -> list[Mapping[str, str]]:
    """EmailHeader objects, in their order."""
    return [{"name": as_raw(each.name), "value": as_raw(each.value)} for each in fields]


@dataclass(slots=True)
class Bodies:
    text: list[BodyPart] = field(default_factory=list)
    html: list[BodyPart] = field(default_factory=list)
    attachments: list[BodyPart] = field(default_factory=list)

    @property
    def has_attachment(self) -> bool:
        return any(each.disposition != "inline" for each in self.attachments)


def split_bodies(root: BodyPart) -> Bodies:
    """textBody, htmlBody and attachments: the algorithm of section 4.1.4."""
    found = Bodies()
    _split([root], "mixed", False, found.html, found.text, found.attachments)
    return found


def _is_media(kind: str) -> bool:
    return kind.startswith(("image/", "audio/", "video/"))


def _is_inline(each: BodyPart, at: int, multipart: str) -> bool:
    shown = each.type in ("text/plain", "text/html") or _is_media(each.type)
    first = at == 0 or multipart != "related" and (_is_media(each.type) or not each.name)
    return each.disposition != "attachment" and shown and first


def _split(
    parts: Sequence[BodyPart],
    multipart: str,
    in_alternative: bool,
    html: list[BodyPart] | None,
    text: list[BodyPart] | None,
    attachments: list[BodyPart],
) -> None:
    text_length = len(text) if text is not None else -1
    html_length = len(html) if html is not None else -1
    for at, each in enumerate(parts):
        if each.is_multipart:
            kind = each.type.partition("/")[2]
            _split(each.parts, kind, in_alternative or kind == "alternative", html, text, attachments)
        elif _is_inline(each, at, multipart):
            if multipart == "alternative":
                chosen = {"text/plain": text, "text/html": html}.get(each.type, attachments)
                if chosen is not None:
                    chosen.append(each)
                continue
            if in_alternative:
                html = None if each.type == "text/plain" else html
                text = None if each.type == "text/html" else text
            if text is not None:
                text.append(each)
            if html is not None:
                html.append(each)
            if (text is None or html is None) and _is_media(each.type):
                attachments.append(each)
        else:
            attachments.append(each)
    if multipart == "alternative" and text is not None and html is not None:
        if text_length == len(text) and html_length != len(html):
            text.extend(html[html_length:])
        elif html_length == len(html) and text_length != len(text):
            html.extend(text[text_length:])
