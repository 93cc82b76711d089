"""The files of the pages: read and compressed once, under an address that names what is in them.

All of them stand below one folder whose name is a digest of them all, so that a module that imports another
by a relative name gets the one of its own release, and a browser need never ask whether one has changed.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources

from mailftp.web.pages import Answer, Page, Visit

KINDS = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: What is fetched under a name with its digest never changes.
_FOR_EVER = "public, max-age=31536000, immutable"

#: Trusted types: no script of ours, however wrong, can make text into markup. Pictures of mails come as
#: blobs, mails themselves as documents of their own (mailftp.web.webmail.documents) with a policy of theirs.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "frame-src 'self' blob:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class Files:
    #: Of all of them.
    digest: str
    contents: Mapping[str, bytes]


@cache
def files() -> Files:
    """Those of the package. Read when the server starts, before it gives its privileges up."""
    folder = resources.files("mailftp.web.webmail") / "static"
    there = sorted(folder.iterdir(), key=lambda file: file.name)
    contents = {file.name: file.read_bytes() for file in there if file.name.rpartition(".")[2] in KINDS}
    digest = hashlib.sha256()
    for name, octets in contents.items():
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(octets), octets))
    return Files(digest.hexdigest()[:16], contents)


class Asset(Page):
    """One file, in the form that the browser takes."""

    def __init__(self, octets: bytes, kind: str, caching: str = _FOR_EVER, **headers: str) -> None:
        self._plain, self._kind = octets, kind
        # The same octets each time: the time stands in a header of gzip's.
        self._compressed = gzip.compress(octets, 9, mtime=0)
        self._tag = hashlib.sha256(octets).hexdigest()[:24]
        self._headers = {
            "Cache-Control": caching,
            "Vary": "Accept-Encoding",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    def answer(self, visit: Visit) -> Answer:
        small = len(self._compressed) < len(self._plain) and _takes_gzip(visit)
        # RFC 9110 section 8.8.3.3: another coding is another representation, and has another tag.
        tag = f'"{self._tag}{"-gzip" if small else ""}"'
        headers = {**self._headers, "ETag": tag}
        if _knows(visit, tag):
            return Answer(b"", self._kind, HTTPStatus.NOT_MODIFIED, headers)
        if small:
            return Answer(self._compressed, self._kind, headers={**headers, "Content-Encoding": "gzip"})
        return Answer(self._plain, self._kind, headers=headers)


def _takes_gzip(visit: Visit) -> bool:
    """RFC 9110 section 12.5.3."""
    for coding in visit.fields.get("accept-encoding", "").lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _knows(visit: Visit, tag: str) -> bool:
    """RFC 9110 section 13.1.2: by weak comparison."""
    known = visit.fields.get("if-none-match", "")
    return known.strip() == "*" or tag in (one.strip().removeprefix("W/") for one in known.split(","))


def shell(name: str = "index.html") -> Asset:
    """A document of the pages, asked for each time, so that the names in it are those of this release."""
    there = files()
    document = there.contents[name].replace(b"{assets}", f"pages/{there.digest}".encode())
    return Asset(document, KINDS["html"], "no-cache", Content_Security_Policy=POLICY)


def assets() -> Mapping[str, Asset]:
    """By their paths."""
    there = files()
    return {
        f"/pages/{there.digest}/{name}": Asset(octets, KINDS[name.rpartition(".")[2]])
        for name, octets in there.contents.items()
        if not name.endswith(".html")
    }
