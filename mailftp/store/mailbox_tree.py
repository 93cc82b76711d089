"""An account's mailboxes as a tree with roles: JMAP's view of names with separators and of special uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mailftp.store.email_listing import EmailListing, MailCounts
from mailftp.store.email_units import PutMailbox
from mailftp.store.emails import CountedMailbox, CountedMailboxes
from mailftp.store.engine import MailboxRefused, NoSuchMailbox
from mailftp.store.names import SEPARATOR, mailbox_name
from mailftp.store.records import Mailbox


def parent_of(name: str, names: Collection[str]) -> str | None:
    """The nearest name above that is a mailbox's. IMAP can have "a/b" without "a"."""
    while SEPARATOR in name:
        name = name.rpartition(SEPARATOR)[0]
        if name in names:
            return name
    return None


def roles_of(mailboxes: Sequence[Mailbox]) -> dict[int, str]:
    """Mailbox id -> role. RFC 8621 section 2: each role once, and RFC 6154's uses in lower case; IMAP allows
    a use twice, so the older mailbox has the role."""
    roles: dict[str, int] = {}
    for mailbox in sorted(mailboxes, key=lambda each: each.id):
        if mailbox.name == "INBOX":
            roles["inbox"] = mailbox.id
        elif mailbox.special_use:
            roles.setdefault(mailbox.special_use.removeprefix("\\").lower(), mailbox.id)
    return {mailbox_id: role for role, mailbox_id in roles.items()}


def counted(listing: EmailListing, mailboxes: tuple[Mailbox, ...]) -> CountedMailboxes:
    ids = {mailbox.name: mailbox.id for mailbox in mailboxes}
    roles = roles_of(mailboxes)
    trash = next((mailbox_id for mailbox_id, role in roles.items() if role == "trash"), 0)
    counts = listing.counts(trash)
    found = []
    for mailbox in mailboxes:
        parent = parent_of(mailbox.name, ids)
        found.append(
            CountedMailbox(
                mailbox,
                ids[parent] if parent is not None else 0,
                mailbox.name if parent is None else mailbox.name[len(parent) + len(SEPARATOR) :],
                roles.get(mailbox.id, ""),
                counts.get(mailbox.id, MailCounts()),
            )
        )
    return CountedMailboxes(listing.modseq, tuple(found))


def path_of(unit: PutMailbox, old: Mailbox | None, there: Mapping[int, Mailbox]) -> str:
    """The whole name that a mailbox is to have. Raises NoSuchMailbox, MailboxRefused."""
    if old is not None and unit.parent_id is None and unit.own_name is None:
        return old.name
    names = {mailbox.name: mailbox for mailbox in there.values()}
    above = parent_of(old.name, names) if old is not None else None
    parent, own = above or "", ""
    if old is not None:
        own = old.name if above is None else old.name[len(above) + len(SEPARATOR) :]
    if unit.parent_id is not None:
        if unit.parent_id and unit.parent_id not in there:
            raise NoSuchMailbox("there is no such parent")
        parent = there[unit.parent_id].name if unit.parent_id else ""
    if unit.own_name is not None:
        own = unit.own_name
        if not own or SEPARATOR in own or any(ord(each) < 32 or ord(each) == 127 for each in own):
            raise MailboxRefused(f"a name has no {SEPARATOR} and no control characters, and is not empty")
    name = mailbox_name(f"{parent}{SEPARATOR}{own}" if parent else own)
    if old is not None and old.name == "INBOX" and name != "INBOX":
        raise MailboxRefused("the inbox cannot be renamed")
    return name
