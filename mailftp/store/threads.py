"""Which messages belong together (RFC 8474 section 5.2, RFC 8621 section 3).

Two messages are of one thread when they share a message id (in Message-ID, In-Reply-To or References)
and their base subjects are equal; a changed subject starts a thread. Both go into one short key, so
that the look-up is by equality and a message id of any length costs the same.

An Email's thread id never changes, as RFC 8621 section 3 allows: a message that refers to two threads
joins the one it answers most directly, and the two stay apart.
"""

from __future__ import annotations

from hashlib import blake2b

from mailftp.message.index import MessageIndex

#: References looked at: the nearest ones, and the first, which names the root. A message of a
#: thousand references must not cost a thousand rows.
MAX_REFERENCES = 32


def thread_keys(index: MessageIndex) -> tuple[bytes, ...]:
    """16-octet keys, the most telling first: what it answers, older references, the message itself
    (an answer to it may have come before it). Empty when the message has no ids."""
    references = index.references
    if len(references) > MAX_REFERENCES:
        references = (references[0], *references[1 - MAX_REFERENCES :])
    ids = dict.fromkeys(reversed(references))
    if index.message_id:
        ids[index.message_id] = None
    subject = index.base_subject.encode("utf-8", "surrogateescape")
    return tuple(
        blake2b(
            subject + b"\0" + name.encode("utf-8", "surrogateescape"), digest_size=16, usedforsecurity=False
        ).digest()
        for name in ids
    )
