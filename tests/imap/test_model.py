"""Several sessions against a simple model of RFC 9051: two mailboxes as lists of UIDs and flags.

What each client is told is kept by it alone (`Mirror`), as a client would; after each command it has to agree
with what the model says a client may believe.

MAILFTP_MODEL_LIVES in the environment is how many lives there are, and a tenth on SQLite; CI takes 100.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.sequence import parse_set
from mailftp.store.queries import ListStatus
from tests.connector import Client
from tests.imap.mailboxes import IMAPTestCase
from tests.imap.on_disk import SQLiteTestCase

BOXES = ("INBOX", "Archive")
FLAGS = ("\\Seen", "\\Deleted", "a", "b")
SESSIONS = 3
LIVES = int(os.environ.get("MAILFTP_MODEL_LIVES", "100"))

#: RFC 9051 section 7.5.1: in answer to these no EXPUNGE may come.
NO_EXPUNGE = (b"FETCH", b"STORE", b"SEARCH")

flag_sets = st.frozensets(st.sampled_from(FLAGS), min_size=1, max_size=3)
number_sets = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=3)
sessions = st.integers(0, SESSIONS - 1)
boxes = st.sampled_from(BOXES)


@dataclass
class Box:
    """What is there: UID -> flags, in order."""

    there: dict[int, frozenset[str]] = field(default_factory=dict)
    next: int = 1

    def add(self, flags: frozenset[str] = frozenset()) -> int:
        uid, self.next = self.next, self.next + 1
        self.there[uid] = flags
        return uid


@dataclass
class Mirror:
    """What one client knows of its mailbox, from what it was told."""

    client: Client
    selected: str = ""
    read_only: bool = False
    uids: list[int] = field(default_factory=list)
    #: The last UID that can have been told of.
    horizon: int = 0
    idle: bool = False
    #: Flags as it takes them to be, of messages that it was told some of.
    believed: dict[int, frozenset[str]] = field(default_factory=dict)
    #: QRESYNC is enabled.
    qresync: bool = False
    #: Mailbox -> HIGHESTMODSEQ and flags by UID, when it last knew everything.
    kept: dict[str, tuple[int, dict[int, frozenset[str]]]] = field(default_factory=dict)


class Sessions(RuleBasedStateMachine):
    #: The server that is asked.
    kind: type[IMAPTestCase] = IMAPTestCase
    #: Each command happens as it is sent. Else what others did before may be told first, as it was then;
    #: that the client knows all in the end, `current` sees to.
    at_once = True

    @initialize(qresync=st.lists(st.booleans(), min_size=SESSIONS, max_size=SESSIONS))
    def begin(self, qresync: list[bool]) -> None:
        self.case = self.kind("run")
        self.case.messages = ()
        self.case.setUp()
        self.boxes = {name: Box() for name in BOXES}
        self.mirrors = []
        for wanted in qresync:
            mirror = Mirror(self.case.enter(), qresync=wanted)
            if wanted:
                mirror.client.exchange(b"e ENABLE QRESYNC\r\n")
            self.mirrors.append(mirror)
        for _ in range(5):
            self.deliver("INBOX")
        for number in range(SESSIONS):
            self.select(number, "INBOX", False)

    def teardown(self) -> None:
        if not hasattr(self, "mirrors"):
            return
        for mirror in self.mirrors:
            if mirror.idle:
                self.leave_idle(mirror)
            if mirror.selected:
                self.say(mirror, b"NOOP")
                self.current(mirror)
                self.look(mirror)
        self.case.doCleanups()

    # What a client is told.

    #: Sequence numbers of FETCH responses to the last command.
    fetched: set[int]

    def say(self, mirror: Mirror, command: bytes) -> bytes:
        """Send it; check every response; answers what follows the tag."""
        answer = mirror.client.exchange(b"t " + command + b"\r\n")
        return self.hear(mirror, command, answer)

    def hear(self, mirror: Mirror, command: bytes, answer: bytes) -> bytes:
        self.fetched = set()
        lines = answer.split(b"\r\n")
        assert lines.pop() == b"", answer
        tagged = b""
        for line in lines:
            assert not tagged, answer
            if line.startswith(b"t "):
                tagged = line[2:]
            elif line != b"+ idling":
                self.take(mirror, command, line)
        return tagged

    def take(self, mirror: Mirror, command: bytes, line: bytes) -> None:
        found = re.fullmatch(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?", line)
        box = self.boxes.get(mirror.selected, Box())
        if found is None:
            gone = re.fullmatch(rb"\* VANISHED ([0-9,:]+)", line)
            if gone is not None:
                assert mirror.qresync and not command.startswith(NO_EXPUNGE), line
                for first, last in parse_set(gone[1]).ranges:
                    for uid in range(first, last + 1):
                        assert uid not in box.there
                        mirror.uids.remove(uid)
            return
        number = int(found[1])
        if found[2] == b"EXISTS":
            new = [uid for uid in box.there if uid > mirror.horizon]
            if not self.at_once:
                new = new[: max(0, number - len(mirror.uids))]
            mirror.uids += new
            mirror.horizon = box.next - 1 if self.at_once else max([mirror.horizon, *new])
            assert len(mirror.uids) == number, (line, mirror.uids)
            return
        assert 1 <= number <= len(mirror.uids), (line, mirror.uids)
        if found[2] == b"EXPUNGE":
            assert not mirror.qresync and not command.startswith(NO_EXPUNGE), (command, line)
            assert mirror.uids.pop(number - 1) not in box.there, line
            return
        self.fetched.add(number)
        uid = mirror.uids[number - 1]
        told = re.search(rb"UID (\d+)", found[3])
        assert told is None or int(told[1]) == uid, line
        flags = re.search(rb"FLAGS \(([^)]*)\)", found[3])
        if flags is not None:
            mirror.believed[uid] = frozenset(flags[1].decode().split())
            assert not self.at_once or mirror.believed[uid] == box.there[uid], (line, box)

    def look(self, mirror: Mirror) -> None:
        """All flags, after all news."""
        answer = mirror.client.exchange(b"t UID FETCH 1:* (FLAGS)\r\n")
        found = re.findall(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)", answer)
        there = self.boxes[mirror.selected].there
        mirror.believed = {uid: there[uid] for uid in mirror.uids}
        assert [
            (int(number), int(uid), frozenset(flags.decode().split())) for number, uid, flags in found
        ] == [(number, uid, flags) for number, (uid, flags) in enumerate(there.items(), 1)], answer

    # What clients do.

    def numbers(self, mirror: Mirror, wanted: list[tuple[int, int]]) -> tuple[bytes, list[int]]:
        """A set of sequence numbers that the client may use, and the UIDs that it means."""
        count = len(mirror.uids)
        parts, chosen = [], set()
        for start, more in wanted:
            first = (start - 1) % count + 1
            last = min(count, first + more)
            parts.append(b"%d:%d" % (first, last) if more else b"%d" % first)
            chosen.update(mirror.uids[first - 1 : last] if more else mirror.uids[first - 1 : first])
        return b",".join(parts), sorted(chosen)

    def named(self, mirror: Mirror, wanted: list[tuple[int, int]]) -> tuple[bytes, list[int]]:
        """A set of UIDs, which need not be there, and those that the client knows of."""
        parts = [b"%d:%d" % (start, start + more) for start, more in wanted]
        chosen = {uid for start, more in wanted for uid in range(start, start + more + 1)}
        return b",".join(parts), sorted(chosen & set(mirror.uids))

    def ready(self, number: int) -> Mirror | None:
        """A session with messages, out of IDLE."""
        mirror = self.mirrors[number]
        if mirror.idle:
            self.leave_idle(mirror)
        return mirror if mirror.selected and mirror.uids else None

    @rule(box=boxes)
    def deliver(self, box: str) -> None:
        self.boxes[box].add()
        self.case.put(b"Subject: x\r\n\r\n", mailbox=box)

    @rule(number=sessions, box=boxes, flags=flag_sets)
    def append(self, number: int, box: str, flags: frozenset[str]) -> None:
        mirror = self.mirrors[number]
        if mirror.idle:
            self.leave_idle(mirror)
        self.boxes[box].add(flags)
        listed = " ".join(sorted(flags)).encode()
        tagged = self.say(mirror, b"APPEND %b (%b) {2+}\r\nx\n" % (box.encode(), listed))
        assert tagged.startswith(b"OK [APPENDUID "), tagged

    @rule(number=sessions)
    def noop(self, number: int) -> None:
        mirror = self.mirrors[number]
        if mirror.idle:
            self.leave_idle(mirror)
        assert self.say(mirror, b"NOOP") == b"OK done"
        if mirror.selected:
            self.current(mirror)
            self.look(mirror)

    @rule(
        number=sessions,
        wanted=number_sets,
        sign=st.sampled_from((b"+", b"-", b"")),
        flags=flag_sets,
        silent=st.booleans(),
        by_uid=st.booleans(),
    )
    def store(
        self, number: int, wanted: list[tuple[int, int]], sign: bytes, flags: frozenset[str],
        silent: bool, by_uid: bool,
    ) -> None:  # fmt: skip
        mirror = self.ready(number)
        if mirror is None:
            return
        text, chosen = (self.named if by_uid else self.numbers)(mirror, wanted)
        box = self.boxes[mirror.selected]
        listed = " ".join(sorted(flags)).encode()
        if not mirror.read_only:
            for uid in chosen:
                if uid in box.there:
                    had = box.there[uid]
                    box.there[uid] = had | flags if sign == b"+" else had - flags if sign == b"-" else flags
        command = b"%bSTORE %b %bFLAGS%b (%b)" % (
            b"UID " if by_uid else b"", text, sign, b".SILENT" if silent else b"", listed,
        )  # fmt: skip
        gone = not set(chosen) <= box.there.keys()
        answered = {at for at, uid in enumerate(mirror.uids, 1) if uid in chosen and uid in box.there}
        believed = dict(mirror.believed)
        tagged = self.say(mirror, command)
        if not silent and not mirror.read_only:
            assert answered <= self.fetched
        if mirror.read_only:
            assert tagged.startswith(b"NO "), tagged
        elif gone and not by_uid:
            assert tagged.startswith(b"NO [EXPUNGEISSUED]"), tagged
        else:
            assert tagged == b"OK done", tagged
        if silent and not mirror.read_only:
            for uid in chosen:
                if uid in believed:
                    had = believed[uid]
                    had = had | flags if sign == b"+" else had - flags if sign == b"-" else flags
                    # What was told with the command is newer.
                    if mirror.believed.get(uid) == believed[uid]:
                        mirror.believed[uid] = had

    @rule(one=sessions, other=sessions, wanted=number_sets, first=flag_sets, second=flag_sets)
    def both_store(
        self,
        one: int,
        other: int,
        wanted: list[tuple[int, int]],
        first: frozenset[str],
        second: frozenset[str],
    ) -> None:
        """Two that change the same messages and want to hear nothing of their own changes."""
        self.store(one, wanted, b"+", first, True, True)
        # Who is in IDLE is told of each.
        self.store_agrees()
        self.store(other, wanted, b"+", second, True, True)
        self.noop(other)

    @rule(number=sessions, wanted=number_sets, by_uid=st.booleans())
    def fetch(self, number: int, wanted: list[tuple[int, int]], by_uid: bool) -> None:
        mirror = self.ready(number)
        if mirror is not None:
            text, _ = (self.named if by_uid else self.numbers)(mirror, wanted)
            tagged = self.say(mirror, b"%bFETCH %b (UID FLAGS)" % (b"UID " if by_uid else b"", text))
            assert tagged.startswith(b"OK "), tagged

    @rule(number=sessions, wanted=st.none() | number_sets)
    def expunge(self, number: int, wanted: list[tuple[int, int]] | None) -> None:
        mirror = self.ready(number)
        if mirror is None:
            return
        box = self.boxes[mirror.selected]
        doomed = {uid for uid, flags in box.there.items() if "\\Deleted" in flags}
        command = b"EXPUNGE"
        if wanted is not None:
            text, _ = self.named(mirror, wanted)
            command = b"UID EXPUNGE " + text
            # Also those that the client has not been told of: the command brings them first.
            doomed &= {uid for start, more in wanted for uid in range(start, start + more + 1)}
            doomed &= set(mirror.uids)
        if not mirror.read_only:
            box.there = {uid: flags for uid, flags in box.there.items() if uid not in doomed}
        tagged = self.say(mirror, command)
        assert tagged.startswith(b"NO " if mirror.read_only else b"OK "), tagged

    @rule(number=sessions, wanted=number_sets, to=boxes, move=st.booleans(), by_uid=st.booleans())
    def copy(self, number: int, wanted: list[tuple[int, int]], to: str, move: bool, by_uid: bool) -> None:
        mirror = self.ready(number)
        if mirror is None:
            return
        text, chosen = (self.named if by_uid else self.numbers)(mirror, wanted)
        box = self.boxes[mirror.selected]
        there = [uid for uid in chosen if uid in box.there]
        refused = (move and mirror.read_only) or (not by_uid and len(there) < len(chosen))
        if not refused:
            for uid in there:
                self.boxes[to].add(box.there[uid])
            if move:
                for uid in there:
                    del box.there[uid]
        verb = (b"UID " if by_uid else b"") + (b"MOVE" if move else b"COPY")
        tagged = self.say(mirror, b"%b %b %b" % (verb, text, to.encode()))
        assert tagged.startswith(b"NO " if refused else b"OK"), (tagged, refused)

    @rule(number=sessions)
    def enter_idle(self, number: int) -> None:
        mirror = self.mirrors[number]
        if not mirror.idle:
            mirror.idle = True
            self.say(mirror, b"IDLE")
            self.current(mirror)

    def leave_idle(self, mirror: Mirror) -> None:
        mirror.idle = False
        self.hear(mirror, b"IDLE", mirror.client.exchange(b"DONE\r\n"))
        self.current(mirror)

    def current(self, mirror: Mirror) -> None:
        """After a command that brings all news, the client takes things to be as they are."""
        if mirror.selected:
            there = self.boxes[mirror.selected].there
            assert mirror.uids == list(there)
            for uid in mirror.uids:
                assert mirror.believed.get(uid, there[uid]) == there[uid], (uid, mirror.believed, there)

    @rule(number=sessions, box=boxes, read_only=st.booleans())
    def select(self, number: int, box: str, read_only: bool) -> None:
        mirror = self.mirrors[number]
        if mirror.idle:
            self.leave_idle(mirror)
        command = b"%b %b" % (b"EXAMINE" if read_only else b"SELECT", box.encode())
        kept = mirror.kept.get(box)
        if kept is not None and mirror.qresync:
            uidvalidity = self.case.successResultOf(self.case.store.read(_status(self.case, box)))
            command += b" (QRESYNC (%d %d))" % (uidvalidity[0].mailbox.uidvalidity, kept[0])
        answer = mirror.client.exchange(b"t " + command + b"\r\n")
        assert b"t OK [READ-" in answer, answer
        mirror.selected, mirror.read_only = box, read_only
        there = self.boxes[box].there
        mirror.uids, mirror.believed = list(there), {}
        mirror.horizon = self.boxes[box].next - 1
        assert b"* %d EXISTS\r\n" % len(there) in answer, answer
        if kept is not None and mirror.qresync:
            self.resynchronize(mirror, kept[1], answer)
        modseq = re.search(rb"HIGHESTMODSEQ (\d+)", answer)
        assert modseq is not None
        mirror.kept[box] = int(modseq[1]), dict(there)
        self.look(mirror)

    def resynchronize(self, mirror: Mirror, known: dict[int, frozenset[str]], answer: bytes) -> None:
        """What the client had, with what it was told, is what there is (RFC 7162)."""
        gone = re.search(rb"\* VANISHED \(EARLIER\) ([0-9,:]+)\r\n", answer)
        if gone is not None:
            for first, last in parse_set(gone[1]).ranges:
                for uid in range(first, last + 1):
                    known.pop(uid, None)
        for uid, flags in re.findall(rb"FETCH \(UID (\d+) FLAGS \(([^)]*)\)", answer):
            known[int(uid)] = frozenset(flags.decode().split())
        assert dict(sorted(known.items())) == self.boxes[mirror.selected].there, answer

    @rule(number=sessions, expunging=st.booleans())
    def close(self, number: int, expunging: bool) -> None:
        mirror = self.mirrors[number]
        if mirror.idle or not mirror.selected:
            return
        box = self.boxes[mirror.selected]
        if expunging and not mirror.read_only:
            box.there = {uid: flags for uid, flags in box.there.items() if "\\Deleted" not in flags}
        answer = mirror.client.exchange(b"t CLOSE\r\n" if expunging else b"t UNSELECT\r\n")
        assert answer.startswith(b"t OK"), answer
        mirror.selected, mirror.uids, mirror.believed = "", [], {}

    @precondition(lambda self: hasattr(self, "boxes"))
    @invariant()
    def store_agrees(self) -> None:
        """What is there is what the model has, and who is in IDLE knows it already."""
        for name, box in self.boxes.items():
            assert {row.uid: row.flags for row in self.case.rows(name)} == box.there
        for mirror in self.mirrors:
            if mirror.idle:
                self.hear(mirror, b"IDLE", mirror.client.received())
                self.current(mirror)


def _status(case: Any, box: str) -> Any:
    return ListStatus(case.ids["bob"], frozenset({box}))


class SQLiteSessions(Sessions):
    kind = SQLiteTestCase
    at_once = False


class ModelTests(SynchronousTestCase):
    def _live(self, machine: type[Sessions], lives: int) -> None:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=lives,
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_sessions(self) -> None:
        """Many short lives of three sessions."""
        self._live(Sessions, LIVES)

    def test_sqlite(self) -> None:
        """A few on the store that is on a disk, with its threads."""
        self._live(SQLiteSessions, max(1, LIVES // 10))
