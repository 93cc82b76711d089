"""Mailbox/set: RFC 8621 section 2.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailftp.store.email_units import (
    MailboxHasChild,
    MailboxHasEmail,
    PutMailbox,
    RemoveMailbox,
    RoleTaken,
)
from mailftp.store.engine import LimitReached, MailboxExists, MailboxRefused, NoSuchMailbox, StoreFault
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import SetError
from mailftp.web.jmap.ids import MAILBOX, number_of, spell
from mailftp.web.jmap.setting import Outcome, Sets, Settable
from mailftp.web.jmap.states import mail_state

#: Roles that a client may give (RFC 6154's uses that are kept in mailboxes of their own).
ROLES = {"archive": "\\Archive", "drafts": "\\Drafts", "junk": "\\Junk", "sent": "\\Sent", "trash": "\\Trash"}
_SETTABLE = ("name", "parentId", "role", "sortOrder", "isSubscribed")
#: Those that a client may send back with a new one, where they say what is so.
_MOST_ORDER = 2**31 - 1


class MailboxSetting(Settable):
    name = "Mailbox"
    properties = ("id", *_SETTABLE)

    async def state(self, context: Context) -> str:
        return await mail_state(context)

    def read_set_arguments(self, arguments: Arguments) -> bool:
        return arguments.boolean("onDestroyRemoveEmails", False)

    async def set(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        for name, given in _parents_first(sets.create):
            try:
                unit = _unit(context, given, outcome, None)
                made = await _commit(context, unit)
            except SetError as error:
                outcome.not_created[name] = error
                continue
            context.created_ids[name] = spell(MAILBOX, made.id)
            outcome.created[name] = _created(made)
        for mailbox_id, patch in sets.update.items():
            try:
                unit = _unit(context, patch, outcome, _number(mailbox_id))
                await _commit(context, unit)
                outcome.updated[mailbox_id] = None
            except SetError as error:
                outcome.not_updated[mailbox_id] = error
        await self._destroy(context, sets, outcome)

    async def _destroy(self, context: Context, sets: Sets, outcome: Outcome) -> None:
        left = list(sets.destroy)
        while left:
            held: dict[str, SetError] = {}
            for mailbox_id in left:
                try:
                    await _commit(context, RemoveMailbox(context.account.id, _number(mailbox_id), sets.extra))
                    outcome.destroyed.append(mailbox_id)
                except SetError as error:
                    held[mailbox_id] = error
            children = [each for each, error in held.items() if error.kind == "mailboxHasChild"]
            if len(children) == len(left) or not children:
                outcome.not_destroyed.update(held)
                return
            # What was beneath it went in this round, perhaps.
            outcome.not_destroyed.update({each: held[each] for each in held if each not in children})
            left = children


def _parents_first(create: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Those whose parent is made by the same call come after it (RFC 8620 section 5.3)."""
    ordered: dict[str, Mapping[str, Any]] = {}
    for name in create:
        chain = []
        at: str | None = name
        while at is not None and at not in ordered and at not in chain:
            chain.append(at)
            parent = create[at].get("parentId")
            at = parent[1:] if isinstance(parent, str) and parent.startswith("#") else None
            at = at if at in create else None
        for each in reversed(chain):
            ordered[each] = create[each]
    return list(ordered.items())


def _created(made: Any) -> Mapping[str, Any]:
    """What the client does not know (section 2)."""
    rights = (
        "mayReadItems",
        "mayAddItems",
        "mayRemoveItems",
        "maySetSeen",
        "maySetKeywords",
        "mayCreateChild",
        "mayRename",
        "mayDelete",
        "maySubmit",
    )
    return {
        "id": spell(MAILBOX, made.id),
        "sortOrder": made.sort_order,
        "isSubscribed": made.subscribed,
        "totalEmails": 0,
        "unreadEmails": 0,
        "totalThreads": 0,
        "unreadThreads": 0,
        "myRights": dict.fromkeys(rights, True),
    }


def _number(mailbox_id: str) -> int:
    """Raises SetError."""
    number = number_of(MAILBOX, mailbox_id)
    if number is None:
        raise SetError("notFound")
    return number


def _unit(context: Context, given: Mapping[str, Any], outcome: Outcome, number: int | None) -> PutMailbox:
    """Raises SetError."""
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the mailbox")
    unknown = [name for name in given if name not in _SETTABLE]
    if unknown:
        raise SetError("invalidProperties", "these cannot be set", properties=unknown)
    name = values.string("name") if number is None or "name" in values else None
    parent_id = _parent(context, values) if "parentId" in values else (0 if number is None else None)
    use = None
    if "role" in values:
        role = values.string("role", nullable=True)
        if role is not None and role not in ROLES:
            raise SetError("invalidProperties", "that role cannot be given", properties=["role"])
        use = ROLES[role] if role is not None else ""
    order = values.unsigned("sortOrder", None, nullable=True)
    if order is not None and order > _MOST_ORDER:
        raise SetError("invalidProperties", "sortOrder is too large", properties=["sortOrder"])
    if number is not None and order is None and "sortOrder" in given:
        order = 0
    subscribed = values.boolean("isSubscribed") if "isSubscribed" in values else None
    return PutMailbox(context.account.id, number, parent_id, name, use, order, subscribed)


def _parent(context: Context, values: Arguments) -> int:
    given = values.string("parentId", nullable=True)
    if given is None:
        return 0
    name = context.resolved(given)
    number = number_of(MAILBOX, name) if name is not None else None
    if number is None:
        raise SetError("invalidProperties", "there is no such parent", properties=["parentId"])
    return number


async def _commit(context: Context, unit: Any) -> Any:
    """Raises SetError."""
    try:
        return await context.store.commit(unit)
    except NoSuchMailbox as fault:
        if "parent" in str(fault):
            raise SetError("invalidProperties", str(fault), properties=["parentId"]) from None
        raise SetError("notFound") from None
    except MailboxExists as fault:
        raise SetError("invalidProperties", str(fault), properties=["name"]) from None
    except RoleTaken as fault:
        raise SetError("invalidProperties", str(fault), properties=["role"]) from None
    except MailboxHasChild as fault:
        raise SetError("mailboxHasChild", str(fault)) from None
    except MailboxHasEmail as fault:
        raise SetError("mailboxHasEmail", str(fault)) from None
    except MailboxRefused as fault:
        if isinstance(unit, RemoveMailbox):
            raise SetError("forbidden", str(fault)) from None
        raise SetError("invalidProperties", str(fault), properties=["name"]) from None
    except LimitReached as fault:
        raise SetError("overQuota", str(fault)) from None
    except StoreFault as fault:
        context.journal.warn("method failed", method="Mailbox/set", reason=str(fault))
        raise SetError("serverFail", str(fault)) from None
