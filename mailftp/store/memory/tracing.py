"""What is known of a message wherever it is."""

from __future__ import annotations

from mailftp.store.memory.state import Box, Holder, State
from mailftp.store.queries import TraceMail
from mailftp.store.records import Message, TracedCopy


def trace_mail(state: State, query: TraceMail) -> tuple[TracedCopy, ...]:
    found = [
        (message.email_id, box.mailbox.id, _copy(state, holder, box, message))
        for holder in state.holders.values()
        for box in holder.boxes.values()
        for message in box.messages.values()
        if _is_of(holder, message, query.address.lower())
    ]
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    copies = [copy for _, _, copy in found if query.message_id in ("", copy.message_id)]
    return tuple(copies[: query.limit])


def _is_of(holder: Holder, message: Message, address: str) -> bool:
    sent_by = f"return-path: <{address}>".encode("utf-8", "surrogateescape")
    return address in ("", holder.account.address) or sent_by in message.prefix.lower()


def _copy(state: State, holder: Holder, box: Box, message: Message) -> TracedCopy:
    index = state.bodies[message.body.id].index
    return TracedCopy(
        account=holder.account.address,
        mailbox=box.mailbox.name,
        uid=message.uid,
        received=message.received,
        saved=message.saved,
        flags=message.flags,
        retrieved=box.retrieved.get(message.uid),
        prefix=message.prefix,
        message_id=index.message_id,
        subject=index.base_subject,
    )
