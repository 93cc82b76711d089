"""Login names: what somebody types, and the one form in which the account is kept."""

from __future__ import annotations

from functools import lru_cache

from mailftp.message.address import AddressFault, parse_address

#: Octets of a login name: the longest address (RFC 5321 section 4.5.3.1), and no more before a login.
LONGEST_NAME = 320


def split_folder(username: bytes) -> tuple[bytes, bytes]:
    """(the login name, the folder that it asks for or b""): "bob@example.test#Archive".

    Only behind a domain: a local part may hold a "#" of its own (RFC 5321 section 4.1.2).
    """
    at = username.rfind(b"@", 0, LONGEST_NAME)
    name, mark, folder = username[at:].partition(b"#")
    return (username[:at] + name, folder) if at >= 0 and mark else (username, b"")


def full_name(username: bytes, domains: tuple[str, ...]) -> str | None:
    """The account's address for a login name: a full address, or, where there is one domain, its local part.

    A folder that follows the address is left out. None when no account can have that name; the checker then
    still takes as long as for one that has.
    """
    username, _ = split_folder(username)
    return _full_name(username, domains) if 0 < len(username) <= LONGEST_NAME else None


# Remembered: a login needs it twice, and the same clients come again and again.
@lru_cache(maxsize=1024)
def _full_name(username: bytes, domains: tuple[str, ...]) -> str | None:
    try:
        text = username.decode("utf-8")
        if "@" not in text and len(domains) == 1:
            text = f"{text}@{domains[0]}"
        return parse_address(text).key
    except (UnicodeDecodeError, AddressFault):
        return None


def unescape_saslname(name: bytes) -> bytes:
    """RFC 5801 section 4: "," and "=" stand as =2C and =3D in a name."""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")


def shown_name(username: bytes, domains: tuple[str, ...]) -> str:
    """A login name for a log line: the full form where there is one, else what was sent, cut short."""
    name = full_name(username, domains)
    return username[:LONGEST_NAME].decode("utf-8", "backslashreplace") if name is None else name
