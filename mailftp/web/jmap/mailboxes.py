"""Mailbox: RFC 8621 section 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailftp.message.casemap import casemap
from mailftp.store.emails import Changed, CountedMailbox, CountMailboxes, MailboxesSince
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.datatypes import Changed as ToldChanges
from mailftp.web.jmap.datatypes import Changing, Gettable, Wanted, cannot_calculate
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.ids import MAILBOX, number_of, spell
from mailftp.web.jmap.querying import (
    Comparator,
    Found,
    Operator,
    Queryable,
    Sought,
    Touched,
    unsupported_sort,
)
from mailftp.web.jmap.states import mail_state, modseq_in, told

COUNTS = ("totalEmails", "unreadEmails", "totalThreads", "unreadThreads")
_SORTED_BY = ("sortOrder", "name", "parentId")


@dataclass(frozen=True, slots=True)
class _Condition:
    """A FilterCondition (section 2.3), of those that were given."""

    tests: tuple[tuple[str, Any], ...]


class MailboxType(Gettable, Changing, Queryable):
    name = "Mailbox"
    properties = (
        "id",
        "name",
        "parentId",
        "role",
        "sortOrder",
        *COUNTS,
        "myRights",
        "isSubscribed",
    )

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    # Mailbox/get, section 2.1.

    async def get(self, context: Context, wanted: Wanted) -> Mapping[str, Mapping[str, Any]]:
        there = {spell(MAILBOX, each.mailbox.id): each for each in await _all(context)}
        if wanted.ids is None and len(there) > wanted.most:
            raise MethodError("requestTooLarge", f"there are {len(there)} mailboxes: ask for them by id")
        ids = tuple(there) if wanted.ids is None else wanted.ids
        return {each: mailbox_object(there[each]) for each in ids if each in there}

    # Mailbox/changes, section 2.2.

    async def changes(self, context: Context, since: str, most: int | None) -> ToldChanges:
        changed = await context.store.read(MailboxesSince(context.account.id, modseq_in(since)))
        return told(MAILBOX, changed, most, _updated_properties)

    # Mailbox/query, sections 2.3 and 2.4.

    def read_query_arguments(self, arguments: Arguments) -> Any:
        """(sortAsTree, filterAsTree)."""
        return arguments.boolean("sortAsTree", False), arguments.boolean("filterAsTree", False)

    def read_condition(self, context: Context, condition: Arguments) -> _Condition:
        tests: list[tuple[str, Any]] = []
        for name in ("parentId", "role"):
            if name in condition:
                tests.append((name, condition.string(name, nullable=True)))
        if "name" in condition:
            tests.append(("name", casemap(condition.string("name"))))
        for name in ("hasAnyRole", "isSubscribed"):
            if name in condition:
                tests.append((name, condition.boolean(name)))
        return _Condition(tuple(tests))

    def read_comparator(self, name: str, comparator: Arguments) -> None:
        if name not in _SORTED_BY:
            raise unsupported_sort(name)

    async def query(self, context: Context, sought: Sought) -> Found:
        # The state before what it is of.
        state = await self.state(context)
        mailboxes = list(await _all(context))
        as_tree, filter_as_tree = sought.extra
        for comparator in reversed(sought.sort or (Comparator("sortOrder"), Comparator("name"))):
            mailboxes.sort(key=_SORT_KEYS[comparator.property], reverse=not comparator.ascending)
        if as_tree:
            mailboxes = list(_tree(mailboxes))
        passing = {each.mailbox.id for each in mailboxes if _passes(sought.filter, each)}
        if filter_as_tree:
            passing = _connected(mailboxes, passing)
        ids = [each.mailbox.id for each in mailboxes if each.mailbox.id in passing]
        return Found(state, ids, _spell, _number, can_calculate=not (as_tree or filter_as_tree))

    async def touched(self, context: Context, sought: Sought, since: str) -> Touched:
        if any(sought.extra):
            # A mailbox moves with those above it, of which it is not told that it changed.
            raise cannot_calculate("of a tree the changes are not told")
        changed = await context.store.read(MailboxesSince(context.account.id, modseq_in(since)))
        if changed is None:
            raise cannot_calculate()
        # Nothing is filtered or sorted by counts.
        updated = changed.properties & set(changed.updated.ids)
        created = set(changed.created.ids)
        return Touched(created | updated | set(changed.destroyed.ids), created)


def mailbox_object(each: CountedMailbox) -> Mapping[str, Any]:
    mailbox, counts = each.mailbox, each.counts
    return {
        "id": spell(MAILBOX, mailbox.id),
        "name": each.own_name,
        "parentId": spell(MAILBOX, each.parent_id) if each.parent_id else None,
        "role": each.role or None,
        "sortOrder": mailbox.sort_order,
        "totalEmails": counts.emails,
        "unreadEmails": counts.unread_emails,
        "totalThreads": counts.threads,
        "unreadThreads": counts.unread_threads,
        "myRights": rights_of(each),
        "isSubscribed": mailbox.subscribed,
    }


def rights_of(each: CountedMailbox) -> Mapping[str, bool]:
    """Its owner's. INBOX is there always, by that name (RFC 9051 section 5.1)."""
    own = each.mailbox.name != "INBOX"
    return {
        "mayReadItems": True,
        "mayAddItems": True,
        "mayRemoveItems": True,
        "maySetSeen": True,
        "maySetKeywords": True,
        "mayCreateChild": True,
        "mayRename": own,
        "mayDelete": own,
        "maySubmit": True,
    }


async def _all(context: Context) -> tuple[CountedMailbox, ...]:
    return (await context.store.read(CountMailboxes(context.account.id))).mailboxes


def _updated_properties(changed: Changed, up_to: int) -> Mapping[str, Any]:
    """Section 2.2: None where more than counts may have changed."""
    only_counts = not (changed.properties & set(changed.updated.ids))
    return {"updatedProperties": list(COUNTS) if only_counts and changed.updated.ids else None}


def _spell(number: int) -> str:
    return spell(MAILBOX, number)


def _number(text: str) -> int | None:
    return number_of(MAILBOX, text)


_SORT_KEYS: Mapping[str, Any] = {
    "sortOrder": lambda each: each.mailbox.sort_order,
    "name": lambda each: casemap(each.own_name),
    "parentId": lambda each: each.parent_id,
}


def _passes(condition: Any, each: CountedMailbox) -> bool:
    if condition is None:
        return True
    if isinstance(condition, Operator):
        if condition.operator == "AND":
            return all(_passes(one, each) for one in condition.conditions)
        some = any(_passes(one, each) for one in condition.conditions)
        return some if condition.operator == "OR" else not some
    return all(_TESTS[name](each, value) for name, value in condition.tests)


_TESTS: Mapping[str, Any] = {
    "parentId": lambda each, value: each.parent_id == (0 if value is None else number_of(MAILBOX, value)),
    "name": lambda each, value: value in casemap(each.own_name),
    "role": lambda each, value: each.role == (value or ""),
    "hasAnyRole": lambda each, value: bool(each.role) == value,
    "isSubscribed": lambda each, value: each.mailbox.subscribed == value,
}


def _tree(mailboxes: Sequence[CountedMailbox]) -> Iterable[CountedMailbox]:
    """Each after its parent; siblings stay in their order. Names are of a bounded length, so is the depth."""
    below: dict[int, list[CountedMailbox]] = {}
    for each in mailboxes:
        below.setdefault(each.parent_id, []).append(each)
    waiting = below.get(0, [])[::-1]
    while waiting:
        each = waiting.pop()
        yield each
        waiting.extend(below.get(each.mailbox.id, [])[::-1])


def _connected(mailboxes: Iterable[CountedMailbox], passing: set[int]) -> set[int]:
    """filterAsTree, section 2.3: only those whose parents pass as well."""
    parents = {each.mailbox.id: each.parent_id for each in mailboxes}
    found = set()
    for each in passing:
        at = each
        while at and at in passing:
            at = parents[at]
        if not at:
            found.add(each)
    return found
