"""EmailBodyValue: the text of a part (RFC 8621 section 4.1.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mailftp.message.transfer_encoding import decode
from mailftp.message.words import decode_charset, known_charset
from mailftp.web.jmap.body_parts import BodyPart

#: Octets of UTF-8 of one value, whatever the client would take.
LONGEST = 1 << 20

_OPEN_TAG = re.compile(r"<[^<>]*\Z")


def body_value(part: BodyPart, octets: bytes, most: int, whole: bool = True) -> Mapping[str, Any]:
    """Of the part's body as it lies in the message; `most` octets of UTF-8, or LONGEST where it is 0. Without
    `whole` the octets are only the first."""
    decoded = decode(octets, part.part.encoding)
    problem = decoded is None
    plain = octets if decoded is None else decoded
    charset = (part.charset or "").encode("utf-8", "replace")
    known = known_charset(charset) if charset.isascii() else ""
    text = decode_charset(plain, charset if charset.isascii() else b"")
    if whole:
        problem = problem or not known or _damaged(plain, known)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    limit = min(most, LONGEST) if most else LONGEST
    value = _cut(text, limit, html=part.type == "text/html")
    return {
        "value": value,
        "isEncodingProblem": problem,
        "isTruncated": not whole or len(value) != len(text),
    }


def _damaged(octets: bytes, charset: str) -> bool:
    # Mail that says nothing is read as UTF-8, which is more than it promised.
    name = "utf-8" if charset in ("us_ascii", "ascii") else charset
    try:
        octets.decode(name)
    except (UnicodeDecodeError, LookupError, ValueError):
        return True
    return False


def _cut(text: str, most: int, html: bool) -> str:
    """Not in a character, nor in a tag."""
    if len(text) * 4 <= most:
        return text
    octets = text.encode("utf-8", "replace")
    if len(octets) <= most:
        return text
    cut = octets[:most].decode("utf-8", "ignore")
    return _OPEN_TAG.sub("", cut) if html else cut
