"""Names as every engine reads them."""

from __future__ import annotations

import re

from mailftp.store.engine import StoreFault

#: RFC 1939 section 7.
_UIDL = re.compile(rb"[!-~]{1,70}\Z")

#: What SetAccount may set.
ACCOUNT_FIELDS = frozenset({"disabled", "mail_quota", "files_quota"})


def mailbox_name(name: str) -> str:
    """INBOX has no case (RFC 9051 section 5.1); every other name is taken as it is."""
    return "INBOX" if name.upper() == "INBOX" else name


def check_uidl(uidl: bytes, uidvalidity: int) -> str:
    """A UIDL that a message may be given in a mailbox of this UIDVALIDITY. Raises StoreFault."""
    if _UIDL.match(uidl) is None:
        raise StoreFault(f"{uidl!r} is no UIDL")
    if uidl.startswith(b"%d." % uidvalidity):
        raise StoreFault(f"{uidl!r} has the form of the store's own UIDLs")
    return uidl.decode("ascii")


def domain_of(address: str) -> str:
    """Where mail for `address` goes, for the queue: what follows the last @, lower case."""
    return address.rpartition("@")[2].lower()
