"""What a session that said NOTIFY SET is told of, and how it is found out: RFC 5465.

The store's feed says which mailboxes changed. What changed there follows from comparing what is with what the
client was told last, so a notice that is lost, or ten that are one, make no difference.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mailftp.imap.mailbox_names import write_name
from mailftp.imap.responses import quoted
from mailftp.imap.tree import Tree
from mailftp.store.names import SEPARATOR
from mailftp.store.records import Change, Mailbox, MailboxStatus


class Event(enum.Enum):
    """RFC 5465 section 5. AnnotationChange is not among them: messages have no annotations here."""

    MESSAGE_NEW = b"MessageNew"
    MESSAGE_EXPUNGE = b"MessageExpunge"
    FLAG_CHANGE = b"FlagChange"
    MAILBOX_NAME = b"MailboxName"
    SUBSCRIPTION_CHANGE = b"SubscriptionChange"
    MAILBOX_METADATA_CHANGE = b"MailboxMetadataChange"
    SERVER_METADATA_CHANGE = b"ServerMetadataChange"


#: Changed annotations that wait for one client to read what it was told before.
MOST_ENTRIES = 1000

#: What a mailbox's messages do; the others are about mailboxes.
OF_MESSAGES = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})


class Filter(enum.Enum):
    """RFC 5465 section 6."""

    SELECTED = b"SELECTED"
    SELECTED_DELAYED = b"SELECTED-DELAYED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    MAILBOXES = b"MAILBOXES"


OF_SELECTED = frozenset({Filter.SELECTED, Filter.SELECTED_DELAYED})


@dataclass(frozen=True, slots=True)
class Group:
    """Events of some mailboxes."""

    filter: Filter
    events: frozenset[Event]
    names: tuple[str, ...] = ()

    def holds(self, name: str, subscribed: frozenset[str]) -> bool:
        if self.filter is Filter.INBOXES:
            # The one that mail is delivered to.
            return name == "INBOX"
        if self.filter is Filter.SUBSCRIBED:
            return name in subscribed
        if self.filter is Filter.MAILBOXES:
            return name in self.names
        if self.filter is Filter.SUBTREE:
            return any(name == top or name.startswith(top + SEPARATOR) for top in self.names)
        return self.filter is Filter.PERSONAL


class Watch:
    """The groups of one NOTIFY SET, and what the client knows of the account's mailboxes."""

    def __init__(self, groups: Iterable[Group], stir: Callable[[], None]) -> None:
        """`stir` is called when something is `pending`."""
        self._groups = tuple(group for group in groups if group.filter not in OF_SELECTED)
        self.selected = next((group for group in groups if group.filter in OF_SELECTED), None)
        self._stir = stir
        #: Something has changed that was not looked at.
        self.pending = False
        self._mailboxes: dict[int, Mailbox] = {}
        self._subscribed: frozenset[str] = frozenset()
        #: Mailbox id -> as last told.
        self._statuses: dict[int, MailboxStatus] = {}
        #: Mailbox id, 0 for the account -> annotations that changed and were not told.
        self._entries: dict[int, set[str]] = {}
        #: More changed than is kept: there is no telling what.
        self.overflown = False

    def changed(self, change: Change) -> None:
        """The feed says that something of the account changed."""
        if change.kind == "mail" and self._groups:
            self.stir()
        elif change.kind == "metadata" and self._wants_metadata(change.mailbox_id):
            self._entries.setdefault(change.mailbox_id, set()).update(change.entries)
            if sum(map(len, self._entries.values())) > MOST_ENTRIES:
                self._entries.clear()
                self.overflown = True
            self.stir()

    def _wants_metadata(self, mailbox_id: int) -> bool:
        """Whether any group does; which one holds the mailbox is seen when its name is known."""
        event = Event.MAILBOX_METADATA_CHANGE if mailbox_id else Event.SERVER_METADATA_CHANGE
        return not self.overflown and any(event in group.events for group in self._groups)

    def stir(self) -> None:
        """There is something to look at."""
        self.pending = True
        self._stir()

    def events(self, name: str) -> frozenset[Event]:
        """Of the first group that holds the mailbox (RFC 5465 section 3.1)."""
        for group in self._groups:
            if group.holds(name, self._subscribed):
                return group.events
        return frozenset()

    @property
    def others(self) -> bool:
        """Not only the selected mailbox is watched."""
        return bool(self._groups)

    def know(self, tree: Tree) -> None:
        """The mailboxes as they are at the NOTIFY SET."""
        self._mailboxes = {mailbox.id: mailbox for mailbox in tree.mailboxes.values()}
        self._subscribed = tree.subscribed

    def watched(self, selected_id: int) -> frozenset[str]:
        """Names of those whose messages are watched, the selected one not among them."""
        return frozenset(
            mailbox.name
            for mailbox in self._mailboxes.values()
            if mailbox.id != selected_id and self.events(mailbox.name) & OF_MESSAGES
        )

    # What to tell.

    def mailbox_lines(self, tree: Tree, *, utf8: bool) -> list[bytes]:
        """LIST responses for mailboxes that were made, renamed, deleted, subscribed to (RFC 5465 sections 5.4
        and 5.5); what they say is known from now on."""
        before, subscribed = self._mailboxes, self._subscribed
        self.know(tree)
        lines = []
        for mailbox in self._mailboxes.values():
            old = before.get(mailbox.id)
            renamed = old is not None and old.name != mailbox.name
            if (old is None or renamed) and self._names(mailbox.name, old):
                lines.append(_list_line(tree, mailbox.name, utf8, old.name if renamed and old else ""))
        for mailbox_id, old in before.items():
            if mailbox_id not in self._mailboxes and old.name not in tree.mailboxes:
                self._statuses.pop(mailbox_id, None)
                if self._names(old.name, None):
                    lines.append(_list_line(tree, old.name, utf8))
        for name in sorted(subscribed ^ tree.subscribed):
            if Event.SUBSCRIPTION_CHANGE in self.events(name):
                lines.append(_list_line(tree, name, utf8))
        return lines

    def changed_entries(self) -> list[tuple[str, list[str]]]:
        """Names of mailboxes, "" for the account, and their annotations that changed (RFC 5465 sections 5.6
        and 5.7); they count as told from now on."""
        changed, self._entries = self._entries, {}
        found = []
        for mailbox_id, entries in changed.items():
            mailbox = self._mailboxes.get(mailbox_id)
            if mailbox is not None and Event.MAILBOX_METADATA_CHANGE in self.events(mailbox.name):
                found.append((mailbox.name, sorted(entries)))
            elif not mailbox_id:
                found.append(("", sorted(entries)))
        return found

    def _names(self, name: str, old: Mailbox | None) -> bool:
        """Whether a change of the name is to be told, by the name that is or the one that was."""
        if Event.MAILBOX_NAME in self.events(name):
            return True
        return old is not None and Event.MAILBOX_NAME in self.events(old.name)

    def keep(self, statuses: Iterable[MailboxStatus]) -> None:
        """These are known to the client."""
        self._statuses.update((status.mailbox.id, status) for status in statuses)

    def changed_mailboxes(self, selected_id: int) -> frozenset[str]:
        """Names of those watched that have a higher modseq than was told."""
        told = self._statuses
        return frozenset(
            mailbox.name
            for mailbox in self._mailboxes.values()
            if mailbox.id != selected_id
            and (mailbox.id not in told or told[mailbox.id].mailbox.modseq < mailbox.modseq)
            and self.events(mailbox.name) & OF_MESSAGES
        )

    def news_of(self, status: MailboxStatus) -> bool:
        """Whether something happened there that the client wants to know; it is known from now on."""
        old, self._statuses[status.mailbox.id] = self._statuses.get(status.mailbox.id), status
        wanted = self.events(status.mailbox.name) & OF_MESSAGES
        if old is None:
            return bool(wanted) and bool(status.messages)
        came = status.mailbox.uidnext - old.mailbox.uidnext
        went = old.messages + came - status.messages
        happened = {Event.MESSAGE_NEW: came > 0, Event.MESSAGE_EXPUNGE: went > 0}
        # A name or a subscription moves the modseq too: rather one STATUS too many than one too few.
        happened[Event.FLAG_CHANGE] = (
            not came and not went and status.mailbox.modseq > old.mailbox.modseq
        ) or status.unseen != old.unseen
        return any(happened[event] for event in wanted)

    def items(self, name: str, *, condstore: bool) -> tuple[bytes, ...]:
        """What a STATUS about the mailbox tells (RFC 5465 section 5)."""
        items: tuple[bytes, ...] = (b"MESSAGES", b"UIDNEXT", b"UIDVALIDITY")
        if Event.FLAG_CHANGE in self.events(name):
            items += (b"UNSEEN",)
        return (*items, b"HIGHESTMODSEQ") if condstore else items


def _list_line(tree: Tree, name: str, utf8: bool, old: str = "") -> bytes:
    attributes = tree.attributes(name)
    if name in tree.subscribed:
        attributes.append("\\Subscribed")
    line = b'LIST (%b) "/" %b' % (" ".join(attributes).encode("ascii"), quoted(write_name(name, utf8)))
    return line + b' ("OLDNAME" (%b))' % quoted(write_name(old, utf8)) if old else line
