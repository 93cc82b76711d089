"""What a command that failed is answered: response codes of RFC 9051 section 7.1, RFC 5530, RFC 9208."""

from __future__ import annotations

from mailftp.imap.commands import Bad, No
from mailftp.imap.parser import SyntaxFault
from mailftp.store.engine import (
    LimitReached,
    MailboxExists,
    MailboxRefused,
    NoSuchAccount,
    NoSuchMailbox,
    NoSuchMessage,
    OverQuota,
    StoreFault,
    StoreFull,
)

_CODES: tuple[tuple[type[StoreFault], bytes], ...] = (
    (NoSuchMailbox, b"NONEXISTENT"),
    (MailboxExists, b"ALREADYEXISTS"),
    (MailboxRefused, b"CANNOT"),
    (NoSuchMessage, b"EXPUNGEISSUED"),
    (LimitReached, b"LIMIT"),
    (OverQuota, b"OVERQUOTA"),
    (StoreFull, b"UNAVAILABLE"),
    (NoSuchAccount, b"UNAVAILABLE"),
)


def refusal(error: Exception) -> tuple[bytes, bytes, str]:
    """NO or BAD, the response code or b"", and words; words "" for what nobody has foreseen."""
    if isinstance(error, No):
        return b"NO", error.code, str(error)
    if isinstance(error, Bad):
        return b"BAD", error.code, str(error)
    if isinstance(error, SyntaxFault):
        return b"BAD", b"", str(error)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return b"NO", code, str(error) or "refused"
    return b"NO", b"", ""
