"""What became of a message: its sender, checks, queue, attempts, mailboxes, and whether it was read."""

from __future__ import annotations

from mailftp.operation.queue import described, shown
from mailftp.operation.requests import Answer, Refused, Request
from mailftp.settings import Settings
from mailftp.store.engine import Store
from mailftp.store.queries import QueueList, TraceMail
from mailftp.store.records import QueueFilter, RecipientState, TracedCopy

#: Copies and queued messages of one answer.
LARGEST_TRACE = 1000


async def trace(store: Store, settings: Settings, request: Request) -> Answer:
    """Member `message_id`: `queued` as "queue show" answers, `copies` in mailboxes. Member `address`: both
    for all that the address sent or got, the queued ones in short. Newest first, `limit` of each at most."""
    message_id = request.text("message_id", "").strip().removeprefix("<").removesuffix(">")
    address = request.text("address", "").lower()
    if not message_id and not address:
        raise Refused("the request names neither a message nor an address")
    limit = request.number("limit", LARGEST_TRACE, LARGEST_TRACE)
    wanted = QueueFilter(message_id=message_id, party=address, states=frozenset(RecipientState))
    found = await store.read(QueueList(wanted, limit, newest=True))
    queued = [await shown(store, message) if message_id else described(message) for message in found]
    copies = await store.read(TraceMail(message_id, address, limit))
    return {"queued": queued, "copies": [_copy(copy) for copy in copies]}


def _copy(copy: TracedCopy) -> dict[str, object]:
    return {
        "account": copy.account,
        "mailbox": copy.mailbox,
        "uid": copy.uid,
        "received": copy.received,
        "saved": copy.saved,
        "read": "\\Seen" in copy.flags,
        "flags": sorted(copy.flags),
        "retrieved": copy.retrieved,
        "trace": copy.prefix.decode("utf-8", "replace").replace("\r\n", "\n").strip("\n"),
        "message_id": copy.message_id,
        "subject": copy.subject,
    }
