"""What JMAP writes: Emails with all their places at once, mailboxes by id, and small objects of an account.

Each unit takes modseqs of the account as every other does, and tells the feed: an IMAP session sees it at
once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mailftp.store.email_listing import combined
from mailftp.store.emails import Place
from mailftp.store.engine import LimitReached, StoreFault
from mailftp.store.flags import changed
from mailftp.store.records import Mailbox
from mailftp.store.units import FlagChange, NewMessage, Unit

#: Mailboxes of one Email, and its flags: RFC 8621 sections 1.3.1 and 4.6 (tooManyMailboxes, tooManyKeywords).
PLACES_LIMIT = 100
FLAGS_LIMIT = 100
#: Objects of one kind that an account has, and octets of one.
OBJECTS_LIMIT = 1_000
OBJECT_OCTETS = 256 * 1024


class StateMismatch(StoreFault):
    """The account is at another modseq than the asker thinks."""


class MailboxHasChild(StoreFault):
    pass


class MailboxHasEmail(StoreFault):
    pass


class RoleTaken(StoreFault):
    """Another mailbox has that use (RFC 8621 section 2: each role once)."""


@dataclass(frozen=True, slots=True)
class MailboxPatch:
    """Ids: `add` alone where `replace`, else with these and without those."""

    add: frozenset[int] = frozenset()
    remove: frozenset[int] = frozenset()
    replace: bool = False

    def of(self, before: Collection[int]) -> set[int]:
        return set(self.add) if self.replace else (set(before) | self.add) - self.remove


@dataclass(frozen=True, slots=True)
class FlagsPatch:
    """As MailboxPatch, of flags, which have no case."""

    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    replace: bool = False

    def of(self, before: frozenset[str]) -> frozenset[str]:
        if self.replace:
            return changed(before, FlagChange.REPLACE, self.add)
        return changed(changed(before, FlagChange.ADD, self.add), FlagChange.REMOVE, self.remove)


@dataclass(frozen=True, slots=True)
class EmailPatch:
    """None: as it is. Mailboxes are ids; flags are set in all places of the Email."""

    email_id: int
    mailboxes: MailboxPatch | None = None
    flags: FlagsPatch | None = None


@dataclass(frozen=True, slots=True)
class EmailsSet:
    #: The account's counter before and after.
    before: int
    modseq: int
    #: Email id -> type of SetError (RFC 8620 section 5.3) of those that were left as they are.
    faults: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class SetEmails(Unit[EmailsSet]):
    """Change Emails and destroy Emails, each as a whole or not at all. Raises StateMismatch,
    NoSuchAccount."""

    account_id: int
    patches: tuple[EmailPatch, ...] = ()
    destroy: tuple[int, ...] = ()
    #: The modseq that the account has to be at.
    state: int | None = None


@dataclass(frozen=True, slots=True)
class PutEmail(Unit[tuple[int, int]]):
    """File a message in mailboxes, by id: one Email. Answers its id and its thread's. Raises NoSuchMailbox,
    OverQuota, MissingBody."""

    account_id: int
    message: NewMessage
    mailbox_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PutMailbox(Unit[Mailbox]):
    """Make a mailbox, or change one by id; what is None stays as it is. Raises NoSuchMailbox, also for the
    parent; MailboxExists, MailboxRefused, RoleTaken, LimitReached."""

    account_id: int
    #: None: a new one.
    mailbox_id: int | None = None
    #: 0: at the top.
    parent_id: int | None = None
    own_name: str | None = None
    special_use: str | None = None
    sort_order: int | None = None
    subscribed: bool | None = None


@dataclass(frozen=True, slots=True)
class RemoveMailbox(Unit[Mailbox]):
    """Raises NoSuchMailbox, MailboxRefused, MailboxHasChild; MailboxHasEmail unless `with_emails`."""

    account_id: int
    mailbox_id: int
    with_emails: bool = False


@dataclass(frozen=True, slots=True)
class ObjectsSet:
    modseq: int
    #: Ids of what was made, in order.
    created: tuple[int, ...]
    #: Ids to be changed or destroyed that are none of the account's.
    missing: frozenset[int]


@dataclass(frozen=True, slots=True)
class SetObjects(Unit[ObjectsSet]):
    """Small objects of a kind that a higher room gives its meaning; values are its text. With `keep`, the
    oldest beyond so many are destroyed. Raises LimitReached, NoSuchAccount."""

    account_id: int
    kind: str
    create: tuple[str, ...] = ()
    update: tuple[tuple[int, str], ...] = ()
    destroy: tuple[int, ...] = ()
    keep: int | None = None


@dataclass(slots=True)
class Plan:
    """What a SetEmails comes to, for an engine to carry out in this order."""

    faults: dict[int, str] = field(default_factory=dict)
    #: Mailbox id -> Email id -> its flags there.
    add: dict[int, dict[int, frozenset[str]]] = field(default_factory=dict)
    #: Mailbox id -> flags -> UIDs that get them.
    flags: dict[int, dict[frozenset[str], list[int]]] = field(default_factory=dict)
    #: Mailbox id -> UIDs.
    remove: dict[int, list[int]] = field(default_factory=dict)


def plan_emails(
    unit: SetEmails,
    places: Mapping[int, Sequence[Place]],
    hidden: Mapping[int, Sequence[Place]],
    mailbox_ids: Collection[int],
    fits: Mapping[int, int],
    left: tuple[int, int],
) -> Plan:
    """`places` are those that JMAP sees, by Email id, `hidden` the others; `fits` the octets of each Email;
    `left` how many octets and messages may come."""
    plan = Plan()
    octets, messages = left
    for patch in unit.patches:
        there = places.get(patch.email_id)
        fault = "notFound" if not there else ""
        if there:
            before = {place.mailbox_id for place in there}
            now = patch.mailboxes.of(before) if patch.mailboxes else before
            flags = combined(place.flags for place in there)
            after = patch.flags.of(flags) if patch.flags else flags
            grown = len(now) - len(there)
            if not now or not now <= set(mailbox_ids) | before:
                fault = "invalidProperties"
            elif len(now) > PLACES_LIMIT:
                fault = "tooManyMailboxes"
            elif len(after) > FLAGS_LIMIT:
                fault = "tooManyKeywords"
            elif grown > 0 and (grown * fits[patch.email_id] > octets or grown > messages):
                fault = "overQuota"
            else:
                octets -= max(0, grown) * fits[patch.email_id]
                messages -= max(0, grown)
                _plan_one(plan, patch, there, before, now, after)
        if fault:
            plan.faults[patch.email_id] = fault
    for email_id in unit.destroy:
        if email_id not in places:
            plan.faults[email_id] = "notFound"
            continue
        for place in (*places[email_id], *hidden.get(email_id, ())):
            plan.remove.setdefault(place.mailbox_id, []).append(place.uid)
    return plan


def _plan_one(
    plan: Plan,
    patch: EmailPatch,
    there: Iterable[Place],
    before: set[int],
    now: set[int],
    flags: frozenset[str],
) -> None:
    for mailbox_id in sorted(now - before):
        plan.add.setdefault(mailbox_id, {})[patch.email_id] = flags
    for place in there:
        if place.mailbox_id not in now:
            plan.remove.setdefault(place.mailbox_id, []).append(place.uid)
        elif patch.flags is not None:
            # A place keeps flags of its own that the patch does not name.
            own = patch.flags.of(place.flags)
            if own != place.flags:
                plan.flags.setdefault(place.mailbox_id, {}).setdefault(own, []).append(place.uid)


def check_objects(unit: SetObjects) -> None:
    """Raises LimitReached."""
    for value in (*unit.create, *(value for _, value in unit.update)):
        if len(value.encode()) > OBJECT_OCTETS:
            raise LimitReached(f"an object has at most {OBJECT_OCTETS} octets")


def check_role(unit: PutMailbox, there: dict[int, Mailbox]) -> None:
    """Raises RoleTaken."""
    for mailbox in there.values():
        if unit.special_use and mailbox.special_use == unit.special_use and mailbox.id != unit.mailbox_id:
            raise RoleTaken(f"{mailbox.name} has that role")
