"""The mailboxes of an account as a tree, and what LIST and LSUB say of each: RFC 9051 section 6.3.9, RFC
5258, RFC 6154. Pure functions over what the store has."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mailftp.imap.patterns import Matches
from mailftp.store.names import SEPARATOR
from mailftp.store.records import Mailbox


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a LIST asks for."""

    patterns: tuple[Matches, ...]
    #: A pattern ends in %: levels that are no mailboxes are told too.
    levels: bool = False
    subscribed: bool = False
    special_use: bool = False
    #: Also what has something that is wanted beneath it.
    recursive: bool = False
    #: With \\Subscribed, also where `subscribed` does not ask for it.
    tell_subscribed: bool = False

    def matches(self, name: str) -> bool:
        return any(matches(name) for matches in self.patterns)


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    #: None for a name that is no mailbox.
    mailbox: Mailbox | None
    #: "\\HasChildren" and so on, in the order of telling.
    attributes: tuple[str, ...]
    #: Something subscribed is beneath it that is not listed itself: CHILDINFO.
    child_info: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    mailboxes: Mapping[str, Mailbox]
    subscribed: frozenset[str]
    _there: list[str] = field(init=False)
    _subscribed_keys: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_there", sorted(map(_key, self.mailboxes)))
        object.__setattr__(self, "_subscribed_keys", sorted(map(_key, self.subscribed)))

    def matching(self, wanted: Wanted) -> Iterator[Listed]:
        """In the order of the tree. Lazily: who takes them can let others have their turn."""
        names = set(self.mailboxes)
        if wanted.subscribed:
            names |= self.subscribed
        for name in _with_levels(sorted(names, key=_key)):
            if wanted.matches(name):
                listed = self._listed(name, wanted)
                if listed is not None:
                    yield listed

    def _listed(self, name: str, wanted: Wanted) -> Listed | None:
        mailbox = self.mailboxes.get(name)
        use = mailbox.special_use if mailbox is not None else ""
        meets = self._meets(name, mailbox, use, wanted)
        below = wanted.recursive and self._wanted_below(name, wanted)
        if not meets and not below:
            return None
        attributes = self.attributes(name)
        if (wanted.subscribed or wanted.tell_subscribed) and name in self.subscribed:
            attributes.append("\\Subscribed")
        return Listed(name, mailbox, tuple(attributes), below)

    def attributes(self, name: str) -> list[str]:
        """Without \\Subscribed."""
        mailbox = self.mailboxes.get(name)
        attributes = [] if mailbox is not None else ["\\NonExistent", "\\Noselect"]
        attributes.append("\\HasChildren" if _beneath(self._there, name) else "\\HasNoChildren")
        if mailbox is not None and mailbox.special_use:
            attributes.append(mailbox.special_use)
        return attributes

    def _meets(self, name: str, mailbox: Mailbox | None, use: str, wanted: Wanted) -> bool:
        if wanted.special_use and not use:
            return False
        if wanted.subscribed:
            return name in self.subscribed
        return mailbox is not None or wanted.levels

    def _wanted_below(self, name: str, wanted: Wanted) -> bool:
        """RFC 5258 section 3.5: what is listed itself need not be told here."""
        if not wanted.subscribed:
            return False
        return any(not wanted.matches(below) for below in _below(self._subscribed_keys, name))

    def lsub(self, wanted: Wanted) -> Iterator[Listed]:
        """RFC 3501 section 6.3.9: with %, a level that is not subscribed and has something beneath it that is
        has \\Noselect, whatever it is itself."""
        for name in _with_levels(sorted(self.subscribed, key=_key)):
            if not wanted.matches(name):
                continue
            if name in self.subscribed:
                yield Listed(name, self.mailboxes.get(name), ())
            elif wanted.levels:
                yield Listed(name, None, ("\\Noselect",))


def _key(name: str) -> str:
    """Sorted by it, what is beneath a name follows it directly."""
    return name.replace(SEPARATOR, "\0")


def _name(key: str) -> str:
    return key.replace("\0", SEPARATOR)


def _beneath(keys: Sequence[str], name: str) -> bool:
    start = _key(name) + "\0"
    at = bisect_left(keys, start)
    return at < len(keys) and keys[at].startswith(start)


def _below(keys: Sequence[str], name: str) -> Iterator[str]:
    start = _key(name) + "\0"
    at = bisect_left(keys, start)
    while at < len(keys) and keys[at].startswith(start):
        yield _name(keys[at])
        at += 1


def _with_levels(names: Sequence[str]) -> Iterator[str]:
    """Names in the order of the tree, and before each those of its levels that are none of them. Levels that
    the name before has as well were given already, so none is kept."""
    before: list[str] = []
    for name in names:
        levels = name.split(SEPARATOR)
        shared = 0
        while shared < min(len(before), len(levels)) and before[shared] == levels[shared]:
            shared += 1
        for depth in range(shared + 1, len(levels)):
            yield SEPARATOR.join(levels[:depth])
        yield name
        before = levels
