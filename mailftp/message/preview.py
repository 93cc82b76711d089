"""The first words of a message, for a list of messages: PREVIEW (RFC 8970), and JMAP's `preview`.

Made when it is asked for, of the first octets of the first text: that takes 30 microseconds, and a delivery
would pay more to keep it ready.
"""

from __future__ import annotations

import html
import re

from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import get
from mailftp.message.index import Part
from mailftp.message.parameters import parse_content_type
from mailftp.message.transfer_encoding import decode
from mailftp.message.words import decode_charset

#: RFC 8970 section 3.1: at most 256 characters, 200 are recommended.
CHARACTERS = 200
#: Octets of the text, encoded, that are looked at; of HTML the start is for the most part style.
LOOKED_AT = 4096
LOOKED_AT_HTML = 32 * 1024
#: Octets of a part's header; in a longer one its charset is not looked for.
MOST_HEADER = 64 * 1024

_SPACE = re.compile(r"[\s\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f]+")
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(
    r"<(style|script|head|title)\b[^<>]*+>.*?(?:</\1\s*+>|\Z)|<!--.*?(?:-->|\Z)", re.I | re.S
)
_TAG = re.compile(r"<[^>]*+(?:>|\Z)")


def preview_part(root: Part) -> Part | None:
    """The part whose text is shown: the first text, plain where there is a choice; None when there is none.
    What is in an attached message is not looked for."""
    if not root.media_type.startswith("multipart/"):
        return root if root.media_type.startswith("text/") else None
    found = [part for part in map(preview_part, root.parts) if part is not None]
    if root.media_type == "multipart/alternative":
        # The plain one; it may be empty where there is only HTML in truth.
        plain = [part for part in found if part.media_type == "text/plain" and part.end > part.body + 2]
        found = plain or found
    return found[0] if found else None


def looked_at(part: Part) -> tuple[int, int]:
    """The octets of the stored body that `preview_of` wants: the part's header, unless it is absurd, and the
    start of its text."""
    most = LOOKED_AT_HTML if part.media_type == "text/html" else LOOKED_AT
    start = part.header if part.body - part.header <= MOST_HEADER else part.body
    return start, min(part.end, part.body + most)


def preview_of(part: Part, octets: bytes) -> str:
    """Of `looked_at`'s octets; perhaps "". At most CHARACTERS, in one line and without control characters."""
    size = part.body - looked_at(part)[0]
    header, body = octets[:size], octets[size:]
    decoded = decode(body, part.encoding)
    text = decode_charset(body if decoded is None else decoded, _charset(header))
    if part.media_type == "text/html":
        text = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text)))
    else:
        text = _without_quotes(text)
    return _CONTROL.sub("", _SPACE.sub(" ", text)).strip()[:CHARACTERS].rstrip()


def _without_quotes(text: str) -> str:
    """What somebody else wrote comes last; where there is nothing else, it is what is shown."""
    lines = text.split("\n")
    own = [line for line in lines if not line.startswith(">")]
    return "\n".join(own if any(map(str.strip, own)) else lines)


def _charset(header: bytes) -> bytes:
    value = get(header, "Content-Type")
    if value is None:
        return b""
    kind = parse_content_type(text_of(value, (0, len(value)), Budget()))
    return (kind.parameter(b"charset") or b"") if kind else b""
