"""Small objects of an account, of the plain engine."""

from __future__ import annotations

from mailftp.store.changes import object_changes
from mailftp.store.email_units import OBJECTS_LIMIT, ObjectsSet, SetObjects, check_objects
from mailftp.store.emails import Changed, FoundObjects, Objects, ObjectsSince
from mailftp.store.engine import LimitReached
from mailftp.store.memory.state import Note, State
from mailftp.store.records import Change


def set_objects(state: State, unit: SetObjects) -> ObjectsSet:
    check_objects(unit)
    holder = state.holder(unit.account_id)
    there = holder.objects.setdefault(unit.kind, {})
    staying = there.keys() - set(unit.destroy)
    if unit.keep is None and unit.create and len(staying) + len(unit.create) > OBJECTS_LIMIT:
        raise LimitReached(f"there are at most {OBJECTS_LIMIT} of these: remove some first")
    holder.modseq += 1
    created = []
    for value in unit.create:
        created.append(state.next_id("object"))
        there[created[-1]] = (holder.modseq, holder.modseq, value)
    missing = {number for number, _ in unit.update} - there.keys()
    for number, value in unit.update:
        if number in there:
            there[number] = (there[number][0], holder.modseq, value)
    missing |= set(unit.destroy) - there.keys()
    gone = sorted(set(unit.destroy) & there.keys())
    if unit.keep is not None:
        left = sorted(there.keys() - set(gone))
        gone += left[: max(0, len(left) - unit.keep)]
    for number in gone:
        made, _, _ = there.pop(number)
        holder.notes.append(Note(holder.modseq, unit.kind, number, made, since=state.now()))
    state.changes.append(Change("object", unit.account_id, 0, holder.modseq, frozenset({unit.kind})))
    return ObjectsSet(holder.modseq, tuple(created), frozenset(missing))


def objects(state: State, query: Objects) -> FoundObjects:
    holder = state.holder(query.account_id)
    there = holder.objects.get(query.kind, {})
    return FoundObjects(holder.modseq, {number: value for number, (_, _, value) in sorted(there.items())})


def objects_since(state: State, query: ObjectsSince) -> Changed | None:
    holder = state.holder(query.account_id)
    if not holder.horizon <= query.since <= holder.modseq:
        return None
    there = [
        (number, made, changed)
        for number, (made, changed, _) in holder.objects.get(query.kind, {}).items()
        if changed > query.since
    ]
    gone = [
        (note.id, note.created_modseq, note.modseq)
        for note in holder.notes
        if note.kind == query.kind and note.modseq > query.since
    ]
    return object_changes(holder.modseq, query.since, there, gone)
