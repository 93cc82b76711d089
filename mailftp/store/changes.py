"""How what is known of an account's Emails becomes lists of what was created, updated and destroyed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mailftp.store.emails import Changed, Dated


class EmailNow(NamedTuple):
    id: int
    thread_id: int
    created_modseq: int
    #: When it last changed.
    modseq: int
    #: JMAP sees it.
    visible: bool


@dataclass(frozen=True, slots=True)
class Facts:
    modseq: int
    since: int
    #: Emails that changed since, gone ones too.
    touched: Sequence[EmailNow]
    #: Email id -> modseq of those that JMAP did not see for a while, and when they appeared.
    shown: Mapping[int, int]

    def is_new(self, email: EmailNow) -> bool:
        """At `since` JMAP did not see it."""
        return email.created_modseq > self.since or email.id in self.shown


def emails_changed(facts: Facts) -> Changed:
    created, updated, destroyed = [], [], []
    for email in facts.touched:
        if not email.visible:
            # One that was shown and hidden again may have been seen; one that is new may not.
            if email.created_modseq <= facts.since:
                destroyed.append((email.modseq, email.id))
        elif facts.is_new(email):
            created.append((facts.shown.get(email.id, email.created_modseq), email.id))
        else:
            updated.append((email.modseq, email.id))
    return Changed(facts.modseq, Dated.of(created), Dated.of(updated), Dated.of(destroyed))


def threads_changed(facts: Facts, there: Iterable[EmailNow]) -> Changed:
    """`there` is all Emails of the threads of `facts.touched` that are not gone."""
    #: Thread id -> when Emails last came into it or left it.
    when: dict[int, int] = {}
    was: set[int] = set()
    for email in facts.touched:
        if not email.thread_id:
            # It went before that was noted.
            continue
        if not email.visible or facts.is_new(email):
            when[email.thread_id] = max(when.get(email.thread_id, 0), email.modseq)
        if email.created_modseq <= facts.since and not (email.visible and email.id in facts.shown):
            was.add(email.thread_id)
    touched = {email.id for email in facts.touched}
    now: set[int] = set()
    for email in there:
        if email.visible:
            now.add(email.thread_id)
            if email.id not in touched:
                was.add(email.thread_id)
    created: list[tuple[int, int]] = []
    updated: list[tuple[int, int]] = []
    destroyed: list[tuple[int, int]] = []
    for thread_id, modseq in when.items():
        if thread_id in now:
            (updated if thread_id in was else created).append((modseq, thread_id))
        elif thread_id in was:
            destroyed.append((modseq, thread_id))
    return Changed(facts.modseq, Dated.of(created), Dated.of(updated), Dated.of(destroyed))


def mailboxes_changed(
    facts: Facts,
    mailboxes: Iterable[tuple[int, int, int, int]],
    gone: Iterable[tuple[int, int, int]],
    beside: Iterable[tuple[int, int]],
) -> Changed:
    """`mailboxes` are (id, modseq at which it was made, its properties changed, anything changed); `gone`
    (id, modseq at which it was made, was destroyed); `beside` (mailbox id, thread id) of threads of
    `facts.touched`."""
    threads: dict[int, int] = {}
    for email in facts.touched:
        threads[email.thread_id] = max(threads.get(email.thread_id, 0), email.modseq)
    counts: dict[int, int] = {}
    for mailbox_id, thread_id in beside:
        counts[mailbox_id] = max(counts.get(mailbox_id, 0), threads[thread_id])
    created: list[tuple[int, int]] = []
    updated: list[tuple[int, int]] = []
    properties: set[int] = set()
    for mailbox_id, made, changed, modseq in mailboxes:
        latest = max(changed, modseq, counts.get(mailbox_id, 0))
        if made > facts.since:
            created.append((made, mailbox_id))
        elif latest > facts.since:
            updated.append((latest, mailbox_id))
            if changed > facts.since:
                properties.add(mailbox_id)
    destroyed = [(modseq, mailbox_id) for mailbox_id, made, modseq in gone if made <= facts.since]
    return Changed(
        facts.modseq, Dated.of(created), Dated.of(updated), Dated.of(destroyed), frozenset(properties)
    )


def object_changes(
    modseq: int, since: int, there: Iterable[tuple[int, int, int]], gone: Iterable[tuple[int, int, int]]
) -> Changed:
    """Both are (id, modseq at which it was made, last changed or destroyed), of those newer than `since`."""
    created, updated = [], []
    for number, made, changed in there:
        if made > since:
            created.append((made, number))
        else:
            updated.append((changed, number))
    destroyed = [(at, number) for number, made, at in gone if made <= since]
    return Changed(modseq, Dated.of(created), Dated.of(updated), Dated.of(destroyed))
