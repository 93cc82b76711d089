"""Annotations, of the plain engine."""

from __future__ import annotations

from mailftp.store.engine import NoSuchMailbox
from mailftp.store.memory.mail import find_box
from mailftp.store.memory.state import Holder, State
from mailftp.store.names import check_annotations, entry_name
from mailftp.store.queries import Metadata
from mailftp.store.records import Change
from mailftp.store.units import SetMetadata


def set_metadata(state: State, unit: SetMetadata) -> None:
    holder = state.holder(unit.account_id)
    old, mailbox_id = holder.metadata, 0
    if unit.mailbox is not None:
        box = find_box(state, unit.account_id, unit.mailbox)
        if box is None:
            raise NoSuchMailbox(f"there is no mailbox {unit.mailbox}")
        old, mailbox_id = box.metadata, box.mailbox.id
    new = dict(old)
    for entry, value in unit.entries:
        new.pop(entry_name(entry), None)
        if value is not None:
            new[entry_name(entry)] = value
    octets = _octets(holder) - sum(map(len, old.values())) + sum(map(len, new.values()))
    check_annotations(unit.entries, len(new), octets)
    old.clear()
    old.update(new)
    changed = frozenset(entry_name(entry) for entry, _ in unit.entries)
    state.changes.append(Change("metadata", unit.account_id, mailbox_id, entries=changed))


def _octets(holder: Holder) -> int:
    kept = [holder.metadata, *(box.metadata for box in holder.boxes.values())]
    return sum(len(value) for metadata in kept for value in metadata.values())


def read_metadata(state: State, query: Metadata) -> tuple[tuple[str, bytes], ...] | None:
    if query.mailbox is None:
        holder = state.holders.get(query.account_id)
        return tuple(sorted(holder.metadata.items())) if holder else ()
    box = find_box(state, query.account_id, query.mailbox)
    return None if box is None else tuple(sorted(box.metadata.items()))
