"""The session's cookie (RFC 6265, and its revision for SameSite and the prefix of the name)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from mailftp.web.pages import Visit

#: What a token looks like: 32 octets in base64url.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_NAME = "mailftp"
#: A browser takes a name with this prefix from the host itself alone, over TLS, for all of its paths: no
#: sibling below the domain and no page under another path can set one of its own in its place.
_HOST_NAME = "__Host-mailftp"


def token_of(visit: Visit) -> str | None:
    """The token that the request carries; of two cookies of the name none: one of them is somebody else's."""
    name, _ = _name_and_path(visit)
    found = [
        value.strip()
        for key, _, value in (pair.partition("=") for pair in visit.fields.get("cookie", "").split(";"))
        if key.strip() == name
    ]
    return found[0] if len(found) == 1 and _TOKEN.fullmatch(found[0]) else None


def setting(visit: Visit, token: str, seconds: float | None) -> str:
    """Set-Cookie; `seconds` None: until the browser ends."""
    name, path = _name_and_path(visit)
    parts = [f"{name}={token}", f"Path={path}", "HttpOnly", "SameSite=Strict"]
    if visit.origin.secure:
        parts.append("Secure")
    if seconds is not None:
        parts.append(f"Max-Age={int(seconds)}")
    return "; ".join(parts)


def removing(visit: Visit) -> str:
    return setting(visit, "", 0)


def _name_and_path(visit: Visit) -> tuple[str, str]:
    path = urlsplit(visit.base).path
    return (_HOST_NAME if visit.origin.secure and path == "/" else _NAME), path
