"""UIDLs from another server, as an operator sets them (RFC 1939 section 7).

The command line knows which UIDL a message had there, and asks here by what it can be recognised; then it
says which UID gets which. Both go in pieces: a maildrop of a hundred thousand messages is no one request.
"""

from __future__ import annotations

import hashlib
import re

from mailftp.message.fields import header_end
from mailftp.operation.requests import Answer, Refused, Request, any_address
from mailftp.settings import Settings
from mailftp.store.engine import Store
from mailftp.store.queries import AccountWithVerifier, ListMaildrop, ReadMessages
from mailftp.store.records import MaildropListing
from mailftp.store.units import SetUidls

#: Messages of one answer: their headers are read and hashed while nobody else is served.
PAGE = 250
#: UIDLs of one request.
MOST_SET = 1000

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^<>\s]{1,998}>)", re.IGNORECASE | re.MULTILINE)


async def _maildrop(store: Store, settings: Settings, request: Request) -> tuple[int, MaildropListing]:
    """(account id, its mailbox)."""
    address = any_address(settings, request.text("address"))
    found = await store.read(AccountWithVerifier(address.key))
    if found is None:
        raise Refused(f"no such account: {address.key}; `mailftp account list` shows them")
    folder = request.text("folder", "INBOX")
    listing = await store.read(ListMaildrop(found[0].id, folder))
    if listing is None:
        raise Refused(f"{address.key} has no folder {folder}")
    return found[0].id, listing


async def identify_messages(store: Store, settings: Settings, request: Request) -> Answer:
    """[UID, SHA-256 of the header, message id or ""] of the next messages behind the UID `after`."""
    account_id, listing = await _maildrop(store, settings, request)
    after = request.number("after", 0, 2**32 - 1, 0)
    uids = tuple(uid for uid in listing.uids if uid > after)[:PAGE]
    if not uids:
        return []
    found = await store.read(ReadMessages(account_id, listing.mailbox.id, uids, header_only=True))
    if found is None:
        raise Refused("the folder is gone")
    identified = []
    for uid, prefix, text in zip(found.uids, found.prefix_sizes, found.texts, strict=True):
        # Without what this server put in front, which the message did not have elsewhere.
        header = _header(bytes(text[prefix:]))
        message_id = _MESSAGE_ID.search(header)
        identified.append(
            [
                uid,
                hashlib.sha256(header).hexdigest(),
                message_id[1].decode("utf-8", "replace") if message_id else "",
            ]
        )
    return identified


def _header(text: bytes) -> bytes:
    """Its lines with CRLF between them: what TOP n 0 gives, whatever a server makes of its end."""
    return text[: header_end(text)].rstrip(b"\r\n")


async def set_uidls(store: Store, settings: Settings, request: Request) -> Answer:
    """How many of the messages were there. `uidls` is pairs of UID and UIDL."""
    _, listing = await _maildrop(store, settings, request)
    pairs = request.pairs("uidls", MOST_SET)
    try:
        uidls = tuple((uid, uidl.encode("ascii")) for uid, uidl in pairs)
    except UnicodeEncodeError:
        raise Refused("a UIDL is ASCII (RFC 1939 section 7)")
    found = await store.commit(SetUidls(listing.mailbox.id, uidls))
    return len(found)
