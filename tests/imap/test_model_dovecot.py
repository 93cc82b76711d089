"""The same lives of several sessions on Dovecot's server and on ours, step by step.

What each client takes to be there is kept from what it is told (`Session`). After a NOOP the two clients have
to believe the same; tagged results and the codes of UIDPLUS have to be the same; and so has, at the end, what
each mailbox has in it.

MAILFTP_MODEL_LIVES in the environment is how many lives there are, and a tenth on SQLite; CI takes 30.
"""

from __future__ import annotations

import os
import random
import re
import select
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.imap.sequence import parse_set
from tests.imap.mailboxes import IMAPTestCase
from tests.imap.on_disk import SQLiteTestCase
from tests.message import dovecot

BOXES = ("INBOX", "Archive")
FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "a", "b")
SESSIONS = 3
STEPS = 60
LIVES = int(os.environ.get("MAILFTP_MODEL_LIVES", "30"))

#: Seconds until a server that says nothing is a fault.
PATIENCE = 60


class Ours:
    """A client of our server."""

    def __init__(self, case: IMAPTestCase) -> None:
        self._client = case.enter()

    def ask(self, data: bytes, end: bytes) -> bytes:
        """Send it; all that was said up to the line that starts with `end`."""
        said = self._client.exchange(data)
        assert b"\r\n" + end in b"\r\n" + said, said
        return said

    def close(self) -> None:
        self._client.drop()


class Theirs:
    """One of Dovecot's processes, logged in."""

    def __init__(self, config: Path, home: Path) -> None:
        environment = {"USER": "oracle", "HOME": str(home), "PATH": "/usr/bin:/bin"}
        self._process = subprocess.Popen(
            [str(dovecot.IMAP), "-c", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        self._said = bytearray()
        self._until(b"* PREAUTH")

    def ask(self, data: bytes, end: bytes) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        return self._until(end)

    def _until(self, end: bytes) -> bytes:
        assert self._process.stdout is not None
        whole = re.compile(rb"(?:^|\r\n)" + re.escape(end) + rb"[^\r\n]*\r\n")
        deadline = time.monotonic() + PATIENCE
        while (found := whole.search(self._said)) is None:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            assert piece, bytes(self._said)
            self._said += piece
        said = bytes(self._said[: found.end()])
        del self._said[: found.end()]
        return said

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait(PATIENCE)


class Session:
    """A client, and what it takes to be there from what it was told."""

    def __init__(self, line: Ours | Theirs) -> None:
        self.line = line
        self.qresync = False
        self.selected = ""
        self.read_only = False
        self.idle = False
        #: In order; None is one whose UID was not told yet.
        self.uids: list[int | None] = []
        self.flags: dict[int, frozenset[str]] = {}
        #: Mailbox -> UIDVALIDITY, HIGHESTMODSEQ and flags by UID, when it knew everything.
        self.kept: dict[str, tuple[int, int, dict[int, frozenset[str]]]] = {}
        #: What the last command was answered with.
        self.said = b""
        self.heard: list[bytes] = []

    def ask(self, command: bytes, end: bytes = b"t ") -> str:
        """Answers the tagged result and code, as far as the RFC says what it is."""
        self.told: set[int] = set()
        self.said = self.line.ask(command + b"\r\n", end)
        self.heard.append(command + b" -> " + self.said)
        for line in self.said.split(b"\r\n"):
            self.take(line)
        if end != b"t ":
            return ""
        word = re.search(rb"(?:^|\r\n)t (OK|NO|BAD)", self.said)
        assert word is not None, self.said
        # RFC 6851 section 4.3: COPYUID of a MOVE is in an untagged OK or in the tagged one.
        code = re.search(rb"\[(?:APPENDUID|COPYUID) \d+ ([0-9:, ]+)\]", self.said)
        return word[1].decode() + (" " + " ".join(map(str, _numbers(code[1]))) if code else "")

    def take(self, line: bytes) -> None:
        found = re.fullmatch(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?", line)
        if found is None:
            gone = re.fullmatch(rb"\* VANISHED (\(EARLIER\) )?([0-9,:]+)", line)
            if gone is not None:
                for uid in _numbers(gone[2])[0]:
                    self.vanished(uid, bool(gone[1]), line)
            return
        number = int(found[1])
        if found[2] == b"EXISTS":
            assert number >= len(self.uids), (line, self.uids)
            self.uids += [None] * (number - len(self.uids))
            return
        assert 1 <= number <= len(self.uids), (line, self.uids)
        if found[2] == b"EXPUNGE":
            uid = self.uids.pop(number - 1)
            if uid is not None:
                self.flags.pop(uid, None)
            return
        told = re.search(rb"UID (\d+)", found[3])
        if told is not None:
            assert self.uids[number - 1] in (None, int(told[1])), (line, self.uids)
            self.uids[number - 1] = int(told[1])
        flags = re.search(rb"FLAGS \(([^)]*)\)", found[3])
        known = self.uids[number - 1]
        if flags is not None and known is not None:
            # RFC 9051 has no \Recent any more.
            self.told.add(known)
            self.flags[known] = frozenset(flags[1].decode().split()) - {"\\Recent"}

    def vanished(self, uid: int, earlier: bool, line: bytes) -> None:
        self.flags.pop(uid, None)
        if uid in self.uids:
            self.uids.remove(uid)
            return
        # RFC 7162 section 3.2.10: EARLIER can name what the client never knew.
        if not earlier:
            # Else it is one of which the number alone was told.
            after = max(
                (at for at, one in enumerate(self.uids, 1) if one is not None and one < uid), default=0
            )
            assert None in self.uids[after:], (line, self.uids)
            del self.uids[self.uids.index(None, after)]

    def learn(self) -> None:
        """The UIDs and flags of what is new, as clients ask for them."""
        unknown = [at for at, uid in enumerate(self.uids, 1) if uid is None or uid not in self.flags]
        if unknown:
            self.ask(b"t FETCH %b (UID FLAGS)" % b",".join(b"%d" % at for at in unknown))

    def refresh(self) -> str:
        result = self.ask(b"t NOOP")
        if self.selected:
            self.learn()
        return result

    def belief(self) -> list[tuple[int | None, list[str]]]:
        return [(uid, sorted(self.flags[uid]) if uid in self.flags else []) for uid in self.uids]

    def open(self, verb: bytes, box: str) -> str:
        kept = self.kept.get(box) if self.qresync else None
        more = b" (QRESYNC (%d %d))" % kept[:2] if kept else b""
        # Of what it knew last time the numbers come with EXISTS.
        self.selected, self.uids, self.flags = box, [], {}
        self.read_only = verb == b"EXAMINE"
        result = self.ask(b"t %b %b%b" % (verb, box.encode(), more))
        if kept:
            known = dict(kept[2])
            for uids in re.findall(rb"VANISHED \(EARLIER\) ([0-9,:]+)", self.said):
                for uid in _numbers(uids)[0]:
                    known.pop(uid, None)
            for uid, flags in re.findall(rb"FETCH \(UID (\d+) FLAGS \(([^)]*)\)", self.said):
                known[int(uid)] = frozenset(flags.decode().split()) - {"\\Recent"}
        validity = re.search(rb"UIDVALIDITY (\d+)", self.said)
        modseq = re.search(rb"HIGHESTMODSEQ (\d+)", self.said)
        assert validity and (modseq or not self.qresync), self.said
        self.learn()
        there = {uid: self.flags[uid] for uid in self.uids if uid is not None}
        if kept:
            # RFC 7162 section 3.2.5: it is synchronised without asking for more.
            assert dict(sorted(known.items())) == there, (known, there)
        if modseq:
            self.kept[box] = int(validity[1]), int(modseq[1]), there
        return result


def _numbers(text: bytes) -> list[list[int]]:
    return [
        [uid for first, last in parse_set(one).ranges for uid in range(first, last + 1)]
        for one in text.split()
    ]


class Life:
    """What several clients do, by chance, on both servers."""

    def __init__(self, seed: int, ours: list[Ours], theirs: list[Theirs], log: list[str]) -> None:
        self.chance = random.Random(seed)
        self.pairs = [(Session(our), Session(their)) for our, their in zip(ours, theirs, strict=True)]
        #: What was done.
        self.log = log
        self.count = 0

    def both(self, pair: tuple[Session, Session], command: bytes, end: bytes = b"t ") -> None:
        """A command whose results have to be the same."""
        self.log.append(f"{self.pairs.index(pair)}: {command.decode()}")
        results = [one.ask(command, end) for one in pair]
        # RFC 9051 section 6.3.3: what EXAMINE opened stays as it is; whether to refuse the command (we) or to
        # take it and do nothing (Dovecot) is left open.
        if pair[0].read_only and re.search(rb"STORE|EXPUNGE", command):
            assert results[0] == "NO", pair[0].said
            return
        assert results[0] == results[1], (results, pair[0].said, pair[1].said)

    def refresh(self, pair: tuple[Session, Session]) -> None:
        self.log.append(f"{self.pairs.index(pair)}: NOOP")
        ours, theirs = (one.refresh() for one in pair)
        assert ours == theirs == "OK"
        self.agree(pair)

    def agree(self, pair: tuple[Session, Session]) -> None:
        beliefs = [one.belief() for one in pair]
        assert beliefs[0] == beliefs[1], (beliefs, pair[0].heard[-6:], pair[1].heard[-6:])

    def open(self, pair: tuple[Session, Session], verb: bytes, box: str) -> None:
        self.log.append(f"{self.pairs.index(pair)}: {verb.decode()} {box}")
        results = [one.open(verb, box) for one in pair]
        assert results == ["OK", "OK"], (results, pair[0].said, pair[1].said)
        self.agree(pair)

    def live(self) -> None:
        for pair in self.pairs:
            if self.chance.random() < 0.5:
                self.both(pair, b"t ENABLE QRESYNC")
                for one in pair:
                    one.qresync = True
        for _ in range(5):
            self.append(self.pairs[0])
        for pair in self.pairs:
            self.open(pair, b"SELECT", "INBOX")
        for _ in range(STEPS):
            self.step()
        for pair in self.pairs:
            if pair[0].idle:
                self.leave_idle(pair)
            self.refresh(pair)
        for box in BOXES:
            for pair in self.pairs:
                self.open(pair, b"EXAMINE", box)
            ours, theirs = (sorted(_contents(one)) for one in self.pairs[0])
            assert ours == theirs, (box, ours, theirs)

    def step(self) -> None:
        chance = self.chance
        pair = chance.choice(self.pairs)
        if pair[0].idle:
            self.leave_idle(pair)
            return
        kind = chance.choices(
            ("append", "noop", "store", "expunge", "copy", "search", "idle", "select", "close"),
            (4, 4, 9, 3, 5, 2, 1, 3, 1),
        )[0]
        if kind in ("store", "expunge", "copy", "search", "close") and not pair[0].selected:
            kind = "select"
        getattr(self, kind)(pair)

    def uids(self, pair: tuple[Session, Session]) -> list[int]:
        """Some that both clients know of, though they may be gone by now."""
        known = sorted({uid for uid in pair[0].uids if uid} & {uid for uid in pair[1].uids if uid})
        return self.chance.sample(known, min(len(known), self.chance.randint(1, 3)))

    def flags(self) -> str:
        return " ".join(self.chance.sample(FLAGS, self.chance.randint(1, 3)))

    def append(self, pair: tuple[Session, Session]) -> None:
        self.count += 1
        message = b"Subject: %d\r\n\r\nx\r\n" % self.count
        flags = self.flags() if self.count > 5 and self.chance.random() < 0.5 else ""
        box = self.chance.choice(BOXES) if self.count > 5 else "INBOX"
        self.both(
            pair,
            b"t APPEND %b (%b) {%d+}\r\n%b" % (box.encode(), flags.encode(), len(message), message),
        )

    def noop(self, pair: tuple[Session, Session]) -> None:
        self.refresh(pair)

    def store(self, pair: tuple[Session, Session]) -> None:
        by_uid = self.chance.random() < 0.6
        if not by_uid:
            self.refresh(pair)
        chosen = self.uids(pair)
        if not chosen:
            return
        sign = self.chance.choice(("+", "-", ""))
        silent = self.chance.random() < 0.5
        flags = self.flags()
        named = chosen if by_uid else [pair[0].uids.index(uid) + 1 for uid in chosen]
        text = ",".join(map(str, named))
        command = f"t {'UID ' * by_uid}STORE {text} {sign}FLAGS{'.SILENT' * silent} ({flags})"
        self.both(pair, command.encode())
        if silent and b"t OK" in pair[0].said:
            given = frozenset(flags.split())
            for one in pair:
                for uid in chosen:
                    if uid in one.flags and uid not in one.told:
                        had = one.flags[uid]
                        one.flags[uid] = had | given if sign == "+" else had - given if sign == "-" else given

    def expunge(self, pair: tuple[Session, Session]) -> None:
        # Dovecot removes what this client was told is \Deleted; we, by RFC 9051 section 6.4.3, all that is.
        self.refresh(pair)
        if self.chance.random() < 0.5:
            self.both(pair, b"t EXPUNGE")
        elif chosen := self.uids(pair):
            self.both(pair, b"t UID EXPUNGE " + ",".join(map(str, chosen)).encode())

    def copy(self, pair: tuple[Session, Session]) -> None:
        # RFC 2180 section 4.4: where another client removed one of the set, Dovecot copies none. We copy
        # those that are there (RFC 9051 section 6.4.9: a UID that does not exist is ignored).
        self.refresh(pair)
        # In what EXAMINE opened Dovecot makes a COPY of a MOVE; we refuse it (RFC 9051 section 6.3.3).
        verb = "COPY" if pair[0].read_only else self.chance.choice(("COPY", "MOVE"))
        if chosen := self.uids(pair):
            text = ",".join(map(str, sorted(chosen)))
            self.both(pair, f"t UID {verb} {text} {self.chance.choice(BOXES)}".encode())

    def search(self, pair: tuple[Session, Session]) -> None:
        self.refresh(pair)
        self.both(
            pair, b"t UID SEARCH " + self.chance.choice((b"SEEN", b"UNDELETED KEYWORD a", b"UID 1:6 FLAGGED"))
        )
        found = [sorted(map(int, re.findall(rb"\d+", one.said.split(b"\r\n")[0]))) for one in pair]
        assert found[0] == found[1], (pair[0].said, pair[1].said)

    def idle(self, pair: tuple[Session, Session]) -> None:
        self.both(pair, b"t IDLE", b"+ ")
        for one in pair:
            one.idle = True

    def leave_idle(self, pair: tuple[Session, Session]) -> None:
        self.both(pair, b"DONE")
        for one in pair:
            one.idle = False
        # RFC 9051 section 6.3.13: the OK after DONE need not bring all; Dovecot looks now and then.
        self.refresh(pair)

    def select(self, pair: tuple[Session, Session]) -> None:
        self.open(pair, self.chance.choice((b"SELECT", b"SELECT", b"EXAMINE")), self.chance.choice(BOXES))

    def close(self, pair: tuple[Session, Session]) -> None:
        self.refresh(pair)
        self.both(pair, self.chance.choice((b"t CLOSE", b"t UNSELECT")))
        for one in pair:
            one.selected, one.read_only, one.uids, one.flags = "", False, [], {}


def _contents(session: Session) -> list[tuple[int, bytes, tuple[bytes, ...]]]:
    """UID, text and flags of each message."""
    if not session.uids:
        return []
    session.ask(b"t UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    out = []
    for one in session.said.split(b"* ")[1:]:
        uid = re.search(rb"UID (\d+)", one)
        flags = re.search(rb"FLAGS \(([^)]*)\)", one)
        text = re.search(rb"Subject: \d+", one)
        if uid is not None:
            assert flags is not None and text is not None, one
            out.append((int(uid[1]), text[0], tuple(sorted({*flags[1].split()} - {b"\\Recent"}))))
    assert len(out) == len(session.uids), session.said
    return out


class DovecotModelTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not dovecot.IMAP.exists():
            raise SkipTest("needs Dovecot (Debian: dovecot-imapd)")

    def _live(self, kind: type[IMAPTestCase], seed: int) -> None:
        case = kind("run")
        case.messages = ()
        case.setUp()
        with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
            config, home = dovecot.furnish(Path(name), "sdbox")
            ours: list[Ours] = []
            theirs: list[Theirs] = []
            log: list[str] = []
            try:
                for _ in range(SESSIONS):
                    ours.append(Ours(case))
                    theirs.append(Theirs(config, home))
                theirs[0].ask(b"t CREATE Archive\r\n", b"t ")
                Life(seed, ours, theirs, log).live()
            except AssertionError as fault:
                raise AssertionError(f"seed {seed}: {fault}\n" + "\n".join(log)) from fault
            finally:
                for one in (*ours, *theirs):
                    one.close()
                case.doCleanups()

    def test_lives(self) -> None:
        for seed in range(LIVES):
            self._live(IMAPTestCase, seed)

    def test_lives_on_sqlite(self) -> None:
        for seed in range(LIVES, LIVES + max(1, LIVES // 10)):
            self._live(SQLiteTestCase, seed)
