"""Whether a request that carries the session's cookie was made by our own pages.

A browser sends the cookie whoever made the request: a page of somebody else's, too, where nothing but the
cookie's SameSite stands before it. Three things are asked of a request that changes something, each of which
another site's page cannot have:

- a header of ours, which a form cannot send and a script of another origin only after a preflight that we
  refuse;
- Sec-Fetch-Site "same-origin" (Fetch Metadata), which no page can set. A sibling below the same domain is
  "same-site" and not ours: SameSite would let it in;
- from a browser that does not send it, an Origin that is ours (RFC 6454 section 7).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from mailftp.web.pages import Visit

#: What our pages send with everything that changes something.
MARK = "x-requested-with"

_SAFE = frozenset({"GET", "HEAD"})


def from_our_pages(visit: Visit) -> bool:
    """Whether the cookie of this request counts."""
    site = visit.fields.get("sec-fetch-site")
    if visit.method in _SAFE:
        # "none": typed, bookmarked. What only reads can be seen by nobody else's script.
        return site in (None, "same-origin", "none")
    if visit.fields.get(MARK, "").lower() != "mailftp":
        return False
    if site is not None:
        return site == "same-origin"
    origin = visit.fields.get("origin")
    # The host alone: a proxy that does not say that it speaks TLS makes the scheme another one.
    return origin is None or urlsplit(origin).netloc.lower() == str(visit.host)
