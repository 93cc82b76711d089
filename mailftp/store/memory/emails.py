"""Emails with all their places, threads, and what has changed, of the plain engine."""

from __future__ import annotations

from mailftp.store.changes import EmailNow, Facts, emails_changed, mailboxes_changed, threads_changed
from mailftp.store.email_listing import EmailListing, EmailPlaces, combined, hidden
from mailftp.store.emails import (
    Changed,
    CountedMailboxes,
    CountMailboxes,
    Email,
    EmailsById,
    EmailsSince,
    FoundEmails,
    FoundThreads,
    ListEmails,
    MailboxesSince,
    Place,
    ThreadsById,
    ThreadsSince,
)
from mailftp.store.mailbox_tree import counted
from mailftp.store.memory.state import Holder, State
from mailftp.store.records import Message


def _places(holder: Holder) -> dict[int, list[Message]]:
    """Email id -> where it lies, by mailbox and UID; hidden places too."""
    places: dict[int, list[Message]] = {}
    for box in holder.boxes.values():
        for message in box.messages.values():
            places.setdefault(message.email_id, []).append(message)
    for there in places.values():
        there.sort(key=lambda message: (message.mailbox_id, message.uid))
    return dict(sorted(places.items()))


def _visible(holder: Holder) -> dict[int, list[Message]]:
    shown = {
        email_id: [message for message in there if not hidden(message.flags)]
        for email_id, there in _places(holder).items()
    }
    return {email_id: there for email_id, there in shown.items() if there}


def emails_by_id(state: State, query: EmailsById) -> FoundEmails:
    holder = state.holder(query.account_id)
    visible = _visible(holder)
    asked = dict.fromkeys(query.email_ids)
    return FoundEmails(holder.modseq, tuple(_email(visible[each]) for each in asked if each in visible))


def _email(there: list[Message]) -> Email:
    first = there[0]
    return Email(
        first.email_id,
        first.thread_id,
        first.body,
        first.prefix,
        first.received,
        tuple(Place(each.mailbox_id, each.uid, each.modseq, each.flags, each.saved) for each in there),
    )


def threads_by_id(state: State, query: ThreadsById) -> FoundThreads:
    holder = state.holder(query.account_id)
    rows = sorted(
        (there[0].thread_id, there[0].received, email_id) for email_id, there in _visible(holder).items()
    )
    threads: dict[int, tuple[int, ...]] = {}
    for thread_id, _, email_id in rows:
        if thread_id in query.thread_ids:
            threads[thread_id] = (*threads.get(thread_id, ()), email_id)
    return FoundThreads(holder.modseq, threads)


def list_emails(state: State, query: ListEmails) -> EmailListing:
    holder = state.holder(query.account_id)
    return EmailListing.of(
        holder.modseq,
        [
            EmailPlaces(
                email_id,
                there[0].thread_id,
                max(each.modseq for each in there),
                there[0].size,
                there[0].received,
                combined(each.flags for each in there),
                tuple(sorted({each.mailbox_id for each in there})),
            )
            for email_id, there in _visible(holder).items()
        ],
    )


def count_mailboxes(state: State, query: CountMailboxes) -> CountedMailboxes:
    holder = state.holder(query.account_id)
    mailboxes = tuple(holder.boxes[name].mailbox for name in sorted(holder.boxes))
    return counted(list_emails(state, ListEmails(query.account_id)), mailboxes)


# What has changed.


def _facts(holder: Holder, since: int) -> Facts | None:
    if not holder.horizon <= since <= holder.modseq:
        return None
    notes = [note for note in holder.notes if note.modseq > since]
    latest: dict[int, int] = {}
    for email_id, there in _places(holder).items():
        latest[email_id] = max(message.modseq for message in there)
    for note in notes:
        if note.kind in ("left", "shown") and note.id in latest:
            latest[note.id] = max(latest[note.id], note.modseq)
    now = {email.id: email for email in _now(holder)}
    touched = [now[email_id]._replace(modseq=modseq) for email_id, modseq in latest.items() if modseq > since]
    touched += (
        EmailNow(note.id, note.thread_id, note.created_modseq, note.modseq, False)
        for note in notes
        if note.kind == "email"
    )
    shown = {note.id: note.modseq for note in reversed(notes) if note.kind == "shown"}
    return Facts(holder.modseq, since, touched, shown)


def _now(holder: Holder) -> list[EmailNow]:
    visible = _visible(holder)
    return [
        EmailNow(email_id, there[0].thread_id, holder.created[email_id], 0, email_id in visible)
        for email_id, there in _places(holder).items()
    ]


def emails_since(state: State, query: EmailsSince) -> Changed | None:
    facts = _facts(state.holder(query.account_id), query.since)
    return None if facts is None else emails_changed(facts)


def threads_since(state: State, query: ThreadsSince) -> Changed | None:
    holder = state.holder(query.account_id)
    facts = _facts(holder, query.since)
    if facts is None:
        return None
    touched = {email.thread_id for email in facts.touched}
    return threads_changed(facts, [email for email in _now(holder) if email.thread_id in touched])


def mailboxes_since(state: State, query: MailboxesSince) -> Changed | None:
    holder = state.holder(query.account_id)
    facts = _facts(holder, query.since)
    if facts is None:
        return None
    touched = {email.thread_id for email in facts.touched}
    return mailboxes_changed(
        facts,
        [
            (box.mailbox.id, box.created_modseq, box.changed_modseq, box.mailbox.modseq)
            for box in holder.boxes.values()
        ],
        [
            (note.id, note.created_modseq, note.modseq)
            for note in holder.notes
            if note.kind == "mailbox" and note.modseq > query.since
        ],
        [
            (message.mailbox_id, message.thread_id)
            for box in holder.boxes.values()
            for message in box.messages.values()
            if message.thread_id in touched
        ],
    )
