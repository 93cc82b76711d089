"""CAPABILITY: RFC 9051 section 6.1.1. What is offered in which state."""

from __future__ import annotations

from mailftp.imap.commands import State
from mailftp.imap.context import Offer

#: In every state.
_ALWAYS = (b"IMAP4rev1", b"IMAP4rev2", b"LITERAL+", b"ID", b"ENABLE", b"SASL-IR")
#: Of those who have logged in. A group of commands that offers more adds it here when it is complete.
_LOGGED_IN: tuple[bytes, ...] = (
    b"IDLE",
    b"UNSELECT",
    b"UIDPLUS",
    b"MOVE",
    b"CONDSTORE",
    b"QRESYNC",
    b"PREVIEW",
    b"UNAUTHENTICATE",
    b"NAMESPACE",
    b"CHILDREN",
    b"LIST-EXTENDED",
    b"LIST-STATUS",
    b"SPECIAL-USE",
    b"CREATE-SPECIAL-USE",
    b"STATUS=SIZE",
    b"OBJECTID",
    b"QUOTA",
    b"QUOTA=RES-STORAGE",
    b"QUOTA=RES-MESSAGE",
    b"METADATA",
    b"NOTIFY",
    b"UTF8=ACCEPT",
    b"UIDONLY",
    b"MULTIAPPEND",
    b"COMPRESS=DEFLATE",
    b"BINARY",
    b"REPLACE",
    b"ESEARCH",
    b"SEARCHRES",
    b"WITHIN",
    b"PARTIAL",
    b"INPROGRESS",
    b"SAVEDATE",
    b"SORT",
    b"SORT=DISPLAY",
    b"ESORT",
    b"THREAD=ORDEREDSUBJECT",
    b"THREAD=REFERENCES",
    # RFC 5255 section 4: texts are compared by i;unicode-casemap.
    b"I18NLEVEL=1",
)


def capabilities(state: State, offer: Offer) -> bytes:
    """Their names, spaces between."""
    if state is not State.NOT_AUTHENTICATED:
        # RFC 7889 section 2: one limit for all mailboxes.
        return b" ".join((*_ALWAYS, *_LOGGED_IN, b"APPENDLIMIT=%d" % offer.append_limit))
    names = list(_ALWAYS)
    if offer.starttls:
        names.append(b"STARTTLS")
    if not offer.plaintext:
        names.append(b"LOGINDISABLED")
    names.extend(b"AUTH=%b" % name.encode("ascii") for name in offer.sasl)
    return b" ".join(names)
