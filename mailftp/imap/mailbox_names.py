"""Names of mailboxes: modified UTF-7 (RFC 3501 section 5.1.3) and UTF-8 (RFC 9051 section 5.1), and what none
may be.

Within the server a name is a str in NFC, its levels parted by `/`.
"""

from __future__ import annotations

import binascii
import re
import unicodedata

from mailftp.store.names import NAME_LIMIT, SEPARATOR

#: Octets of a name in UTF-8, no more than the store has characters for it; and of one of its levels, which is
#: what a client that keeps folders as directories can hold.
MAX_NAME = NAME_LIMIT
MAX_LEVEL = 255

#: What stands for itself in modified UTF-7; & is written as &-.
_SHIFTED = re.compile(r"[^ -~]+")
_SHIFT = re.compile(rb"&([^-]*)-")
_DIRECT = re.compile(rb"[ -~]*\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+,]+\Z")

#: RFC 9051 section 5.1: C0, DEL and C1, and the separators of lines and paragraphs. Surrogates are in no
#: UTF-8, and a byte order mark cannot be seen.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
#: ASCII only: str.upper makes INBOX of a name with a dotless i as well.
_INBOX = re.compile(r"inbox(?=/|\Z)", re.IGNORECASE | re.ASCII)


class NameFault(ValueError):
    """The text says what is wrong with the name, for the client's user."""


def decode_utf7(text: bytes) -> str:
    """Modified UTF-7, of which there is one form for each name. Raises NameFault for any other."""
    if _DIRECT.match(text) is None:
        raise NameFault("a mailbox name has octets that are no ASCII: it is sent in modified UTF-7")
    if b"&" not in text:
        return text.decode("ascii")
    parts: list[bytes | str] = []
    end = 0
    for shift in _SHIFT.finditer(text):
        parts.append(text[end : shift.start()])
        parts.append(_decode_shift(shift[1]))
        end = shift.end()
    parts.append(text[end:])
    if any(b"&" in part for part in parts[::2] if isinstance(part, bytes)):
        raise NameFault("a mailbox name has an & without its -: an & alone is sent as &-")
    name = "".join(part.decode("ascii") if isinstance(part, bytes) else part for part in parts)
    # One form a name, or two names would look the same: superfluous shifts, printable ASCII in BASE64, bits
    # left over that are not 0.
    if encode_utf7(name) != text:
        raise NameFault("a mailbox name is in modified UTF-7, but not in its only form")
    return name


def _decode_shift(text: bytes) -> str:
    if not text:
        return "&"
    if _BASE64.match(text) is None:
        raise NameFault("a mailbox name has no modified BASE64 between & and -")
    try:
        units = binascii.a2b_base64(text.replace(b",", b"/") + b"=" * (-len(text) % 4))
        return units.decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise NameFault("a mailbox name has no UTF-16 in its modified BASE64") from None


def encode_utf7(name: str) -> bytes:
    """Modified UTF-7 of a name that has no lone surrogates."""
    return _SHIFTED.sub(_encode_shift, name.replace("&", "&-")).encode("ascii")


def _encode_shift(found: re.Match[str]) -> str:
    encoded = binascii.b2a_base64(found[0].encode("utf-16-be"), newline=False).rstrip(b"=")
    return f"&{encoded.replace(b'/', b',').decode('ascii')}-"


def read_name(text: bytes, utf8: bool) -> str:
    """The name, or the LIST pattern, that a client sent: UTF-8 once IMAP4rev2 or UTF8=ACCEPT is enabled,
    before that modified UTF-7. In NFC, and INBOX in capitals, as a name and as the first level of one: a
    client may write both in any case (RFC 9051 section 5.1).

    Raises NameFault.
    """
    if utf8:
        try:
            name = text.decode("utf-8")
        except UnicodeDecodeError:
            raise NameFault("a mailbox name is no UTF-8") from None
    else:
        name = decode_utf7(text)
    name = unicodedata.normalize("NFC", name)
    return "INBOX" + name[5:] if _INBOX.match(name) else name


def write_name(name: str, utf8: bool) -> bytes:
    """The name as octets, for a string."""
    return name.encode("utf-8") if utf8 else encode_utf7(name)


def new_name(name: str) -> str:
    """`name`, which was read by `read_name`, as CREATE and RENAME make it: a delimiter at its end only says
    that there will be mailboxes below it (RFC 3501 section 6.3.3) and is taken off.

    Raises NameFault for a name that no mailbox may have.
    """
    name = name.removesuffix(SEPARATOR)
    if not name:
        raise NameFault("a mailbox wants a name")
    if _FORBIDDEN.search(name):
        raise NameFault("a mailbox name may hold no control characters and no line ends")
    if len(name.encode("utf-8")) > MAX_NAME:
        raise NameFault(f"a mailbox name is longer than {MAX_NAME} octets of UTF-8")
    for level in name.split(SEPARATOR):
        if not level:
            raise NameFault(f"a mailbox name has nothing before, or between, its {SEPARATOR}")
        # Clients that keep folders as directories would leave theirs.
        if level in (".", ".."):
            raise NameFault("no level of a mailbox name may be . or ..")
        if len(level.encode("utf-8")) > MAX_LEVEL:
            raise NameFault(f"a level of a mailbox name is longer than {MAX_LEVEL} octets of UTF-8")
    return name
