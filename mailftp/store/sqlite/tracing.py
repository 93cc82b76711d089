"""What is known of a message wherever it is: for an operator, who may wait for a walk over all mail."""

from __future__ import annotations

from mailftp.message.index import MessageIndex
from mailftp.store import flags as flag_sets
from mailftp.store.queries import TraceMail
from mailftp.store.records import TracedCopy
from mailftp.store.sqlite.reading import View, remake

#: An index holds the ids of its message, and the trace header fields name the sender. What an index has may
#: be another message's id that this one answers, so it is looked at again below.
_COPIES = (
    "SELECT a.address, b.name, m.uid, e.received, m.saved, m.flags, r.since, e.prefix, e.body_id, i.stored"
    " FROM emails AS e JOIN body_indexes AS i ON i.body_id = e.body_id"
    " JOIN mailbox_messages AS m ON m.email_id = e.id JOIN mailboxes AS b ON b.id = m.mailbox_id"
    " JOIN accounts AS a ON a.id = b.account_id"
    " LEFT JOIN retrieved AS r ON r.mailbox_id = m.mailbox_id AND r.uid = m.uid"
    " WHERE (?1 = x'' OR instr(i.stored, ?1)) AND (?2 = '' OR a.address = ?2"
    " OR instr(lower(CAST(e.prefix AS TEXT)), 'return-path: <' || ?2 || '>'))"
    " ORDER BY e.id DESC, m.mailbox_id"
)


def trace_mail(view: View, query: TraceMail) -> tuple[TracedCopy, ...]:
    found: list[TracedCopy] = []
    values = (query.message_id.encode("utf-8", "surrogateescape"), query.address.lower())
    for *row, body_id, stored in view.connection.execute(_COPIES, values):
        index = MessageIndex.decode(stored) or remake(view, body_id)
        if query.message_id not in ("", index.message_id):
            continue
        account, mailbox, uid, received, saved, flags, retrieved, prefix = row
        found.append(
            TracedCopy(
                account, mailbox, uid, received, saved, flag_sets.from_text(flags), retrieved, prefix,
                index.message_id, index.base_subject,
            )
        )  # fmt: skip
        if len(found) == query.limit:
            break
    return tuple(found)
