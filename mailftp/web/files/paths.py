"""Paths of homes in addresses of the web."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

from mailftp.files.home import Path
from mailftp.files.policy import DEPTH_LIMIT, NAME_LIMIT


class PathFault(Exception):
    """No path of a home; the text is for people."""


def parse_path(segments: Sequence[bytes]) -> tuple[Path, bool]:
    """A home's path from the segments behind "/files/", escapes undone, and whether it ends in a slash, so
    that it names a folder. Raises PathFault."""
    names = list(segments)
    folder = not names or names[-1] == b""
    if names and folder:
        names.pop()
    if len(names) > DEPTH_LIMIT:
        raise PathFault(f"at most {DEPTH_LIMIT} folders within each other")
    for name in names:
        # An escaped slash would be a second, unseen way to write a path (and "%2e%2e%2f" the old trick).
        if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
            raise PathFault("a name in the path is empty, a dot or two, or has a slash or NUL in it")
        if len(name) > NAME_LIMIT:
            raise PathFault(f"a name has at most {NAME_LIMIT} octets")
    return tuple(name.decode("utf-8", "surrogateescape") for name in names), folder


def parse_target(text: str) -> Path:
    """A path given in a body, "/a/b%20c", escaped as in an address. Raises PathFault."""
    if not text.startswith("/"):
        raise PathFault('a path begins with "/", the top of the account\'s files')
    path, _ = parse_path([unquote_to_bytes(name) for name in text[1:].split("/")])
    return path


def written(path: Path, folder: bool = False) -> str:
    """As it stands in an address: "/a/b%20c"."""
    names = [quote(name.encode("utf-8", "surrogateescape"), safe="") for name in path]
    return "/" + "/".join(names) + ("/" if folder and names else "")


def shown_name(name: str) -> str:
    """For people: what is not UTF-8 is replaced, since JSON cannot hold it (RFC 7493 section 2.1)."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
