"""Small objects of an account."""

from __future__ import annotations

import json

from mailftp.store.changes import object_changes
from mailftp.store.email_units import OBJECTS_LIMIT, ObjectsSet, SetObjects, check_objects
from mailftp.store.emails import Changed, FoundObjects, Objects, ObjectsSince
from mailftp.store.engine import LimitReached
from mailftp.store.records import Change
from mailftp.store.sqlite.changing import known_since
from mailftp.store.sqlite.expunging import Gone, note_destroyed
from mailftp.store.sqlite.mailboxes import next_modseq
from mailftp.store.sqlite.reading import View, modseq_of
from mailftp.store.sqlite.transaction import Transaction


def set_objects(tx: Transaction, unit: SetObjects) -> ObjectsSet:
    check_objects(unit)
    modseq = next_modseq(tx, unit.account_id)
    created = tuple(
        tx.insert(
            "INSERT INTO objects (account_id, kind, created_modseq, modseq, value) VALUES (?, ?, ?, ?, ?)",
            (unit.account_id, unit.kind, modseq, modseq, value),
        )
        for value in unit.create
    )
    missing = set()
    for number, value in unit.update:
        if not tx.run(
            "UPDATE objects SET value = ?, modseq = ? WHERE id = ? AND account_id = ? AND kind = ?",
            (value, modseq, number, unit.account_id, unit.kind),
        ):
            missing.add(number)
    gone = _remove(tx, unit, unit.destroy)
    missing.update(set(unit.destroy).difference(each.id for each in gone))
    (count,) = tx.all(
        "SELECT count(*) FROM objects WHERE account_id = ? AND kind = ?", (unit.account_id, unit.kind)
    )[0]
    if unit.keep is not None and count > unit.keep:
        oldest = tx.all(
            "SELECT id FROM objects WHERE account_id = ? AND kind = ? ORDER BY id LIMIT ?",
            (unit.account_id, unit.kind, count - unit.keep),
        )
        gone += _remove(tx, unit, tuple(number for (number,) in oldest))
    elif count > OBJECTS_LIMIT and created:
        raise LimitReached(f"there are at most {OBJECTS_LIMIT} of these: remove some first")
    note_destroyed(tx, unit.account_id, modseq, unit.kind, gone)
    tx.changes.append(Change("object", unit.account_id, 0, modseq, frozenset({unit.kind})))
    return ObjectsSet(modseq, created, frozenset(missing))


def _remove(tx: Transaction, unit: SetObjects, numbers: tuple[int, ...]) -> list[Gone]:
    rows = tx.all(
        "DELETE FROM objects WHERE account_id = ? AND kind = ? AND id IN (SELECT value FROM json_each(?))"
        " RETURNING id, created_modseq",
        (unit.account_id, unit.kind, json.dumps(numbers)),
    )
    return [Gone(number, created) for number, created in rows]


def objects(view: View, query: Objects) -> FoundObjects:
    rows = view.all(
        "SELECT id, value FROM objects WHERE account_id = ? AND kind = ? ORDER BY id",
        (query.account_id, query.kind),
    )
    return FoundObjects(modseq_of(view, query.account_id), dict(rows))


def objects_since(view: View, query: ObjectsSince) -> Changed | None:
    if not known_since(view, query.account_id, query.since):
        return None
    there = view.all(
        "SELECT id, created_modseq, modseq FROM objects WHERE account_id = ? AND kind = ? AND modseq > ?",
        (query.account_id, query.kind, query.since),
    )
    gone = view.all(
        "SELECT id, created_modseq, modseq FROM destroyed WHERE account_id = ? AND modseq > ? AND kind = ?",
        (query.account_id, query.since, query.kind),
    )
    return object_changes(modseq_of(view, query.account_id), query.since, there, gone)
