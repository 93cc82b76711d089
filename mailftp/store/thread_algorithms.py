"""THREAD: RFC 5256 section 3, ORDEREDSUBJECT and REFERENCES.

These are made anew for each command, of the messages that it names; THREADID (mailftp.store.threads) is given
to a message once. No function here calls itself: a thread may be as deep as there are messages.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from mailftp.message.casemap import casemap
from mailftp.message.envelope_reading import read_envelope
from mailftp.message.index import StoredKeys
from mailftp.message.subject import is_reply
from mailftp.store.engine import LimitReached
from mailftp.store.findings import ThreadAlgorithm, Threads


@dataclass(slots=True, eq=False)
class _Node:
    uid: int = 0
    #: SORT's DATE, then the UID; of one that is not there that of the first beneath it.
    when: tuple[float, int] = (0.0, 0)
    subject: bytes = b""
    reply: bool = False
    parent: _Node | None = None
    #: Keys, in their order: one of thousands can leave at once.
    children: dict[_Node, None] = field(default_factory=dict)

    def adopt(self, child: _Node) -> None:
        child.leave()
        child.parent = self
        self.children[child] = None

    def leave(self) -> None:
        if self.parent is not None:
            del self.parent.children[self]
            self.parent = None


class _Loops:
    """Keeps messages from being above themselves."""

    def __init__(self, messages: int) -> None:
        #: Looking up from a message costs what there is above it, which those who wrote them have chosen.
        self._left = _STEPS + 100 * messages

    def would_be(self, parent: _Node, child: _Node) -> bool:
        """Whether `parent` is beneath `child`, or it. Raises LimitReached."""
        if not child.children:
            return parent is child
        at: _Node | None = parent
        while at is not None:
            if at is child:
                return True
            self._left -= 1
            if self._left < 0:
                raise LimitReached("these messages refer to each other in chains that are too long")
            at = at.parent
        return False


_WHEN = attrgetter("when")
#: Looks at messages above others: a second of work.
_STEPS = 20_000_000


class Threader:
    """Takes messages as they are read, in UID order."""

    def __init__(self, algorithm: ThreadAlgorithm) -> None:
        self._algorithm = algorithm
        self._messages: list[tuple[_Node, StoredKeys]] = []

    def take(self, uid: int, received: float, keys: StoredKeys) -> None:
        node = _Node(uid, (received if keys.sent is None else keys.sent, uid), casemap(keys.base_subject))
        self._messages.append((node, keys))

    def result(self) -> Threads:
        if self._algorithm is ThreadAlgorithm.ORDEREDSUBJECT:
            return _flat(_by_subject([node for node, _ in self._messages]))
        for node, keys in self._messages:
            node.reply = is_reply(read_envelope(keys.envelope).subject)
        return _flat(_by_references(self._messages))


def _flat(roots: Iterable[_Node]) -> Threads:
    threads = Threads(array("I"), array("I"))
    waiting = [(node, 0) for node in reversed(list(roots))]
    while waiting:
        node, depth = waiting.pop()
        threads.uids.append(node.uid)
        threads.depths.append(depth)
        waiting += [(child, depth + 1) for child in reversed(node.children)]
    return threads


def _by_subject(nodes: list[_Node]) -> list[_Node]:
    """The first of a subject, and the others beneath it."""
    firsts: dict[bytes, _Node] = {}
    for node in sorted(nodes, key=_WHEN):
        first = firsts.setdefault(node.subject, node)
        if first is not node:
            first.children[node] = None
    # In the order of their first messages, which is that of their first mention.
    return list(firsts.values())


def _by_references(messages: list[tuple[_Node, StoredKeys]]) -> list[_Node]:
    """The steps of RFC 5256, by their numbers."""
    roots = _prune(_link(messages))
    _date(roots)
    roots.sort(key=_WHEN)
    roots = _gather(roots)
    _date(roots)
    _sort(roots)
    return roots


def _link(messages: list[tuple[_Node, StoredKeys]]) -> list[_Node]:
    """Steps 1 and 2: answers those that nothing is above."""
    by_id: dict[str, _Node] = {}
    present = []
    loops = _Loops(len(messages))
    for message, keys in messages:
        known = by_id.get(keys.message_id) if keys.message_id else None
        if known is None:
            node = message
            if keys.message_id:
                by_id[keys.message_id] = node
        elif known.uid:
            # A second message of the same id is a message of its own, of no id.
            node = message
        else:
            node = known
            node.uid, node.when, node.subject, node.reply = (
                message.uid, message.when, message.subject, message.reply,
            )  # fmt: skip
        present.append(node)
        parent = None
        for reference in keys.references:
            at = by_id.get(reference)
            if at is None:
                at = by_id[reference] = _Node()
            # What has a parent keeps it, and nothing becomes its own ancestor.
            if parent is not None and at.parent is None and not loops.would_be(parent, at):
                parent.adopt(at)
            parent = at
        # References of the message itself say more than what others said about it.
        if parent is not None:
            if not loops.would_be(parent, node):
                parent.adopt(node)
        else:
            node.leave()
    return [node for node in dict.fromkeys([*by_id.values(), *present]) if node.parent is None]


def _prune(roots: list[_Node]) -> list[_Node]:
    """Step 3: of those that are not there, only roots with several children stay."""
    order: list[_Node] = []
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += node.children
    for node in reversed(order):
        if any(not child.uid for child in node.children):
            kept: dict[_Node, None] = {}
            for child in node.children:
                for taken in (child,) if child.uid else child.children:
                    taken.parent = node
                    kept[taken] = None
            node.children = kept
    result = []
    for root in roots:
        if root.uid or len(root.children) > 1:
            result.append(root)
        elif root.children:
            (only,) = root.children
            only.parent = None
            result.append(only)
    return result


def _date(roots: list[_Node]) -> None:
    """One that is not there counts as the first beneath it; such ones are roots, or right beneath one."""
    for root in roots:
        for node in (*root.children, root):
            if not node.uid and node.children:
                node.when = min(map(_WHEN, node.children))


def _gather(roots: list[_Node]) -> list[_Node]:
    """Steps 4 and 5: threads of one subject become one."""
    table: dict[bytes, _Node] = {}
    for root in roots:
        subject, _ = _subject_of(root)
        if not subject:
            continue
        there = table.get(subject)
        if there is None or (
            (not root.uid and there.uid) or (there.uid and _subject_of(there)[1] and not _subject_of(root)[1])
        ):
            table[subject] = root
    for root in roots:
        subject, reply = _subject_of(root)
        there = table.get(subject) if subject else None
        if there is None or there is root:
            continue
        if not root.uid and not there.uid:
            for child in root.children:
                child.parent = there
            there.children |= root.children
            root.children = {}
        elif not there.uid or (reply and not _subject_of(there)[1]):
            there.adopt(root)
        else:
            both = table[subject] = _Node()
            both.adopt(there)
            both.adopt(root)
    tops = dict.fromkeys(_top(root) for root in roots)
    return [top for top in tops if top.uid or top.children]


def _top(node: _Node) -> _Node:
    while node.parent is not None:
        node = node.parent
    return node


def _subject_of(root: _Node) -> tuple[bytes, bool]:
    """A thread's subject, and whether it is a reply's: of one that is not there, its first child's."""
    node = root if root.uid else min(root.children, key=_WHEN)
    return node.subject, node.reply


def _sort(roots: list[_Node]) -> None:
    """Step 6."""
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        node.children = dict.fromkeys(sorted(node.children, key=_WHEN))
        waiting += node.children
    roots.sort(key=_WHEN)
