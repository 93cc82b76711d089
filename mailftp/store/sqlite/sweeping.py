"""What is removed later: bodies that nothing names, mail of removed mailboxes, the queue's old history,
what was expunged long ago.

Units of the store's own, run by the writer like any other, a bounded piece at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from mailftp.store.records import Change
from mailftp.store.sqlite.blobs import Blobs
from mailftp.store.sqlite.expunging import drop_emails, forget_expunged, note_taken
from mailftp.store.sqlite.mailboxes import next_modseq
from mailftp.store.sqlite.transaction import Transaction
from mailftp.store.sqlite.uploads import forget_uploads
from mailftp.store.units import Unit

#: Rows of each kind that one sweep looks at.
PIECE = 500


@dataclass(frozen=True, slots=True)
class Sweep(Unit[bool]):
    """Answers whether there is more to do at once."""

    #: Seconds that an unnamed body is kept (a session may be reading it), and queue history.
    grace: float
    history: float
    blobs: Blobs
    #: The one of the 256 blob folders to look through for files that no row names.
    folder: int


@dataclass(frozen=True, slots=True)
class KeepIndex(Unit[None]):
    """An index that was made again, of a body that may be gone by now."""

    body_id: int
    stored: bytes


def keep_index(tx: Transaction, unit: KeepIndex) -> None:
    tx.run("UPDATE body_indexes SET stored = ? WHERE body_id = ?", (unit.stored, unit.body_id))


def sweep(tx: Transaction, unit: Sweep) -> bool:
    removed = _remove_mail(tx)
    forgotten = tx.run(
        "DELETE FROM queue_messages WHERE id IN"
        " (SELECT id FROM queue_messages WHERE finished <= ? ORDER BY finished LIMIT ?)",
        (tx.now - unit.history, PIECE),
    )
    dropped = _drop_bodies(tx, unit)
    _drop_strays(tx, unit)
    return PIECE in (removed, forgotten, dropped, forget_expunged(tx, PIECE), forget_uploads(tx, PIECE))


def _remove_mail(tx: Transaction) -> int:
    row = tx.one("SELECT id FROM removed_mailboxes LIMIT 1")
    if row is None:
        return 0
    gone = tx.all(
        "DELETE FROM mailbox_messages WHERE (mailbox_id, uid) IN"
        " (SELECT mailbox_id, uid FROM mailbox_messages WHERE mailbox_id = ? LIMIT ?) RETURNING email_id",
        (row[0], PIECE),
    )
    _destroy(tx, row[0], [email_id for (email_id,) in gone])
    if len(gone) < PIECE:
        tx.run("DELETE FROM tombstones WHERE mailbox_id = ?", row)
        tx.run("DELETE FROM removed_mailboxes WHERE id = ?", row)
        # There may be another mailbox.
        return PIECE
    return len(gone)


def _destroy(tx: Transaction, mailbox_id: int, left: list[int]) -> None:
    """Where only the mailbox was removed and not the account, its emails are noted as destroyed."""
    owner = tx.one(
        "SELECT accounts.id FROM accounts JOIN emails ON account_id = accounts.id"
        " WHERE emails.id = (SELECT max(value) FROM json_each(?))",
        (json.dumps(left),),
    )
    if owner is None:
        drop_emails(tx, left)
        return
    modseq = next_modseq(tx, owner[0])
    note_taken(tx, owner[0], modseq, left)
    tx.changes.append(Change("mail", owner[0], mailbox_id, modseq))


def _drop_bodies(tx: Transaction, unit: Sweep) -> int:
    """The mark may be old news: whether something names the body is asked again here."""
    marked = tx.all(
        "SELECT body_id, EXISTS (SELECT 1 FROM emails WHERE emails.body_id = u.body_id)"
        " OR EXISTS (SELECT 1 FROM queue_messages AS q WHERE q.body_id = u.body_id)"
        " OR EXISTS (SELECT 1 FROM uploads AS b WHERE b.body_id = u.body_id)"
        " FROM unused_bodies AS u WHERE since <= ? LIMIT ?",
        (tx.now - unit.grace, PIECE),
    )
    for body_id, named in marked:
        tx.run("DELETE FROM unused_bodies WHERE body_id = ?", (body_id,))
        if not named:
            row = tx.one("DELETE FROM bodies WHERE id = ? RETURNING sha256, data IS NULL", (body_id,))
            if row is not None and row[1]:
                tx.after.append(_remover(unit.blobs, row[0]))
    return len(marked)


def _drop_strays(tx: Transaction, unit: Sweep) -> None:
    """Files that got their name just before a crash took the row away."""
    for sha256, changed in list(unit.blobs.named(unit.folder)):
        if changed <= tx.now - unit.grace and not tx.one("SELECT 1 FROM bodies WHERE sha256 = ?", (sha256,)):
            tx.after.append(_remover(unit.blobs, sha256))


def _remover(blobs: Blobs, sha256: bytes) -> Callable[[], None]:
    return lambda: blobs.remove(sha256)
