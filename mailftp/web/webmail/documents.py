"""A mail's HTML as a document of its own, for a frame without scripts and without an origin.

It is fetched by the frame and not handed to it by the page: a document that a page writes has the policy of
that page, which lets no style of a mail in. The frame's requests come from nowhere (an opaque origin), so
that the browser sends them no cookie: what a mail brings with it, the pictures that it shows by `cid:`,
stands in the document itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from mailftp.message.envelope import Budget, text_of
from mailftp.message.fields import get
from mailftp.message.index import Part, index_message
from mailftp.message.parameters import parse_content_type
from mailftp.message.transfer_encoding import decode
from mailftp.message.words import decode_charset
from mailftp.web.webmail.cleaning import LONGEST, clean

#: Octets of all pictures that a document has in it, and of a part's header that is looked at.
INLINE = 10 * 1024 * 1024
HEADER = 64 * 1024

_PICTURES = frozenset({"image/png", "image/gif", "image/jpeg", "image/webp"})

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Message</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light"><meta name="referrer" content="no-referrer">
<style>
html { background: #fff; color: #1b1f2a; overflow-wrap: anywhere; }
body { margin: 0; padding: 16px; font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
img { max-width: 100%; height: auto; }
table { max-width: 100%; }
pre { white-space: pre-wrap; }
blockquote { margin: 0 0 0 4px; padding-left: 12px; border-left: 3px solid #c9d0de; }
a { color: #1d4ec2; }
</style></head><body>
"""


@dataclass(frozen=True, slots=True)
class Document:
    octets: bytes
    #: Pictures of elsewhere that the mail would show.
    remote: int


def policy(pictures: bool) -> str:
    """Of the frame. `sandbox` makes it what the attribute of the frame makes it, also where somebody opens
    the address by itself; popups are how a link opens in a window of its own."""
    sources = "data: http: https:" if pictures else "data:"
    return "; ".join(
        (
            "default-src 'none'",
            f"img-src {sources}",
            "style-src 'unsafe-inline'",
            "sandbox allow-popups allow-popups-to-escape-sandbox",
            "form-action 'none'",
            "base-uri 'none'",
            "frame-ancestors 'self'",
        )
    )


def document_of(message: bytes, *, pictures: bool = False) -> Document | None:
    """None for a mail that has no HTML to be shown. It may take a second: call it in a thread."""
    root = index_message(message).root
    shown = list(_html(message, root))
    if not shown:
        return None
    text = "\n<hr>\n".join(_text(message, part) for part in shown)
    cleaned = clean(text, _inline(message, root), pictures=pictures)
    return Document(f"{_HEAD}{cleaned.html}\n</body></html>\n".encode("utf-8", "replace"), cleaned.remote)


def _html(message: bytes, part: Part) -> Iterator[Part]:
    """RFC 8621 section 4.1.4, of what is HTML: the last alternative, each of a mixture, the root of what is
    related. What is attached is not shown, and what is in an attached mail is that mail's."""
    if part.media_type == "text/html":
        yield part
    elif part.media_type == "multipart/alternative":
        for child in reversed(part.parts):
            found = list(_html(message, child))
            if found:
                yield from found
                return
    elif part.media_type.startswith("multipart/"):
        for child in part.parts[:1] if part.media_type == "multipart/related" else part.parts:
            disposition = get(_header(message, child), "Content-Disposition") or b""
            if not disposition.strip().lower().startswith(b"attachment"):
                yield from _html(message, child)


def _header(message: bytes, part: Part) -> bytes:
    return message[part.header : min(part.body, part.header + HEADER)]


def _text(message: bytes, part: Part) -> str:
    octets = decode(message[part.body : part.end], part.encoding) or b""
    value = get(_header(message, part), "Content-Type")
    kind = parse_content_type(text_of(value, (0, len(value)), Budget())) if value is not None else None
    return decode_charset(octets[:LONGEST], (kind.parameter(b"charset") or b"") if kind else b"")


def _inline(message: bytes, root: Part) -> dict[str, str]:
    """The data: addresses of the pictures that have a Content-ID (RFC 2392)."""
    found: dict[str, str] = {}
    left = INLINE
    for part in _leaves(root):
        if part.media_type not in _PICTURES:
            continue
        value = get(_header(message, part), "Content-ID")
        if value is None or (part.end - part.body) > left:
            continue
        octets = decode(message[part.body : part.end], part.encoding)
        if octets is not None:
            left -= len(octets)
            name = value.strip().strip(b"<>").decode("utf-8", "replace")
            found[name] = f"data:{part.media_type};base64,{base64.b64encode(octets).decode()}"
    return found


def _leaves(part: Part) -> Iterator[Part]:
    if not part.parts:
        yield part
    for child in part.parts:
        yield from _leaves(child)
