"""What has changed in an account since a modseq: Emails, threads, mailboxes (RFC 8620 section 5.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mailftp.store.changes import EmailNow, Facts, emails_changed, mailboxes_changed, threads_changed
from mailftp.store.emails import Changed, EmailsSince, MailboxesSince, ThreadsSince
from mailftp.store.sqlite.reading import View, modseq_of

# Places that are new or changed; what left one place or appeared; what lay in a mailbox that is gone and
# whose places are still being removed. Email id and modseq of each.
_TOUCHED = (
    "SELECT mm.email_id, mm.modseq FROM mailboxes AS m CROSS JOIN mailbox_messages AS mm"
    " INDEXED BY mailbox_messages_by_modseq ON mm.mailbox_id = m.id"
    " WHERE m.account_id = ?1 AND m.modseq > ?2 AND mm.modseq > ?2"
    " UNION ALL SELECT id, modseq FROM destroyed WHERE account_id = ?1 AND modseq > ?2"
    " AND kind IN ('left', 'shown')"
    " UNION ALL SELECT mm.email_id, d.modseq FROM destroyed AS d CROSS JOIN removed_mailboxes AS r ON r.id ="
    " d.id"
    " CROSS JOIN mailbox_messages AS mm ON mm.mailbox_id = r.id"
    " WHERE d.account_id = ?1 AND d.modseq > ?2 AND d.kind = 'mailbox'"
)
_NOW = (
    "EXISTS (SELECT 1 FROM mailbox_messages AS p CROSS JOIN mailboxes AS b ON b.id = p.mailbox_id"
    " WHERE p.email_id = e.id AND NOT instr(' ' || p.flags || ' ', ' \\Deleted '))"
)


def touched_emails(view: View, account_id: int, since: int, most: int) -> set[int] | None:
    """Ids of all Emails of which anything changed, gone ones too; None where that is not known, or there are
    more than `most`."""
    if not known_since(view, account_id, since):
        return None
    rows = view.all(
        f"SELECT DISTINCT email_id FROM ({_TOUCHED} UNION ALL SELECT id, modseq FROM destroyed"
        " WHERE account_id = ?1 AND modseq > ?2 AND kind = 'email') LIMIT ?3",
        (account_id, since, most + 1),
    )
    return {email_id for (email_id,) in rows} if len(rows) <= most else None


def known_since(view: View, account_id: int, since: int) -> bool:
    modseq = modseq_of(view, account_id)
    row = view.one("SELECT horizon FROM accounts WHERE id = ?", (account_id,))
    assert row is not None  # Or there would be no modseq.
    return bool(row[0] <= since <= modseq)


def _facts(view: View, account_id: int, since: int) -> Facts | None:
    if not known_since(view, account_id, since):
        return None
    touched = [
        EmailNow(*row)
        for row in view.all(
            f"SELECT e.id, e.thread_id, e.created_modseq, t.modseq, {_NOW} FROM"
            f" (SELECT email_id, max(modseq) AS modseq FROM ({_TOUCHED}) GROUP BY email_id) AS t"
            " CROSS JOIN emails AS e ON e.id = t.email_id",
            (account_id, since),
        )
    ]
    gone = [
        EmailNow(row[0], row[1], row[2], row[3], False)
        for row in view.all(
            "SELECT id, thread_id, created_modseq, modseq FROM destroyed"
            " WHERE account_id = ? AND modseq > ? AND kind = 'email'",
            (account_id, since),
        )
    ]
    shown = view.all(
        "SELECT id, min(modseq) FROM destroyed WHERE account_id = ? AND modseq > ? AND kind = 'shown' GROUP"
        " BY id",
        (account_id, since),
    )
    return Facts(modseq_of(view, account_id), since, touched + gone, dict(shown))


def emails_since(view: View, query: EmailsSince) -> Changed | None:
    facts = _facts(view, query.account_id, query.since)
    return None if facts is None else emails_changed(facts)


def threads_since(view: View, query: ThreadsSince) -> Changed | None:
    facts = _facts(view, query.account_id, query.since)
    if facts is None:
        return None
    return threads_changed(
        facts, _emails_of(view, query.account_id, {each.thread_id for each in facts.touched})
    )


def _emails_of(view: View, account_id: int, thread_ids: Iterable[int]) -> list[EmailNow]:
    rows = view.all(
        f"SELECT e.id, e.thread_id, e.created_modseq, 0, {_NOW} FROM json_each(?)"
        " CROSS JOIN emails AS e ON e.thread_id = value WHERE e.account_id = ?",
        (json.dumps(sorted(thread_ids)), account_id),
    )
    return [EmailNow(*row) for row in rows]


def mailboxes_since(view: View, query: MailboxesSince) -> Changed | None:
    facts = _facts(view, query.account_id, query.since)
    if facts is None:
        return None
    mailboxes = view.all(
        "SELECT id, created_modseq, changed_modseq, modseq FROM mailboxes WHERE account_id = ?",
        (query.account_id,),
    )
    gone = view.all(
        "SELECT id, created_modseq, modseq FROM destroyed WHERE account_id = ? AND modseq > ? AND kind ="
        " 'mailbox'",
        (query.account_id, query.since),
    )
    # An Email that is read changes in each mailbox whether the thread is unread.
    beside = view.all(
        "SELECT DISTINCT p.mailbox_id, e.thread_id FROM json_each(?) CROSS JOIN emails AS e ON e.thread_id ="
        " value"
        " CROSS JOIN mailbox_messages AS p ON p.email_id = e.id WHERE e.account_id = ?",
        (json.dumps(sorted({each.thread_id for each in facts.touched})), query.account_id),
    )
    return mailboxes_changed(facts, mailboxes, gone, beside)
