"""Log lines: one event is one line, and nothing that a client sends can make another."""

from __future__ import annotations

import json
import re

from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailftp.operation.log_lines import LONGEST_VALUE, LineObserver, json_line, text_line
from mailftp.wire import journal as wire_journal
from mailftp.wire.journal import Journal


def event(name: str, /, **fields: object) -> dict[str, object]:
    return {
        "log_time": 1.5,
        "log_level": LogLevel.info,
        "mailftp_event": name,
        "mailftp_context": "smtp-5f2a9c01",
        "mailftp_fields": fields,
    }


class Unspeakable:
    def __str__(self) -> str:
        raise ValueError("no")


class Lines(SynchronousTestCase):
    def test_text(self) -> None:
        """A line reads: time, level, context, event, fields."""
        self.assertEqual(
            text_line(event("login", name="bob@a.test", peer="127.0.0.1:2", ok=True, why=None)),
            "1970-01-01T00:00:01.500Z info     smtp-5f2a9c01 login "
            "name=bob@a.test peer=127.0.0.1:2 ok=True why=None\n",
        )

    def test_json(self) -> None:
        """One JSON object a line, numbers as numbers."""
        entry = json.loads(json_line(event("accepted", size=12, secure=True, recipients=("a", "b"))))
        self.assertEqual(
            entry,
            {
                "time": "1970-01-01T00:00:01.500Z",
                "level": "info",
                "context": "smtp-5f2a9c01",
                "event": "accepted",
                "size": 12,
                "secure": True,
                "recipients": "a,b",
            },
        )

    @given(strategies.text(), strategies.binary())
    @hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
    def test_one_line(self, text: str, octets: bytes) -> None:
        """Whatever a field holds, there is one line, and it is printable."""
        for render in (text_line, json_line):
            line = render(event("login", name=text, octets=octets))
            self.assertTrue(line.endswith("\n"))
            self.assertTrue(line[:-1].isprintable(), repr(line))

    @given(strategies.text(alphabet='ab "\\=\n', max_size=12))
    @hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
    def test_no_forged_field(self, text: str) -> None:
        """A value cannot look like another field: outside quotes there is one `name=` only."""
        line = text_line(event("login", name=text))
        rest = line.partition(" login ")[2].rstrip("\n")
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", rest)
        self.assertEqual(re.findall(r"(\S+)=", bare), ["name"], line)
        self.assertNotIn(" ", bare)

    def test_known_forgeries(self) -> None:
        """Line ends of every kind, terminal sequences and bidirectional controls are escaped."""
        for trick in (
            "\n",
            "\r",
            "\x0b",
            "\x0c",
            "\x85",
            "\u2028",
            "\u2029",
            "\x1b[2J",
            "\u202e",
            "\x00",
            "\udc80",
        ):
            for render in (text_line, json_line):
                self.assertNotIn(trick, render(event("login", name=f"bob{trick}x"))[:-1])

    def test_reserved_members(self) -> None:
        """A field cannot take the place of the event's own members."""
        entry = json.loads(json_line(event("login", time="never", event="forged", level="x")))
        self.assertEqual((entry["event"], entry["level"]), ("login", "info"))
        self.assertEqual((entry["time_"], entry["event_"]), ("never", "forged"))

    def test_long_values(self) -> None:
        """A value has a longest length, so a client cannot make lines without end."""
        self.assertLess(len(text_line(event("login", name="x" * 10**6))), LONGEST_VALUE + 200)

    def test_nan(self) -> None:
        """What JSON cannot say as a number is text."""
        self.assertEqual(json.loads(json_line(event("x", a=float("nan"), b=1.5)))["b"], 1.5)


class Observing(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[str] = []
        self.observer = LineObserver(self.lines.append)
        self.log = Logger(namespace="elsewhere", observer=LogPublisher(self.observer))

    def test_level(self) -> None:
        """What is below the level is not written, and the level can change while it runs."""
        self.log.debug("one")
        self.log.emit(LogLevel.warn, "two")
        self.observer.set("debug", "json")
        self.log.debug("three")
        self.assertEqual(len(self.lines), 2)
        self.assertEqual(json.loads(self.lines[1])["text"], "three")

    def test_ports(self) -> None:
        """Twisted's lines about each port that it opens and closes are for whoever debugs; its warnings and
        errors of the same old kind are not lost."""
        old = Logger(namespace="log_legacy", observer=self.log.observer)
        old.info("(TCP Port 2121 Closed)")
        self.assertEqual(self.lines, [])
        old.critical("Unhandled Error")
        self.assertEqual(len(self.lines), 1)
        self.observer.set("debug", "text")
        old.info("(TCP Port 2121 Closed)")
        self.assertIn(" debug ", self.lines[1])

    def test_other_events(self) -> None:
        """An event of Twisted or a library is one line too."""
        self.log.info("hello {who}", who="a\nb\u2028c")
        self.assertEqual(self.lines[0].count("\n"), 1)
        self.assertTrue(self.lines[0].endswith("elsewhere hello a\\nb\\u2028c\n"))

    def test_traceback(self) -> None:
        """A failure's traceback follows in lines that only a traceback can have."""
        try:
            raise ValueError("first\n1970-01-01T00:00:01.500Z info forged\rx")
        except ValueError:
            self.log.failure("broken", failure=Failure())
        first, *rest = self.lines[0].rstrip("\n").split("\n")
        self.assertIn("broken", first)
        self.assertTrue(rest)
        self.assertTrue(all(line.startswith("    | ") and line.isprintable() for line in rest))

    def test_unspeakable(self) -> None:
        """A field that cannot be written costs neither the line nor the logging."""
        self.observer(event("login", name=Unspeakable()))
        self.assertIn("event could not be written", self.lines[0])
        self.assertIn("name=login", self.lines[0])

    def test_journal(self) -> None:
        """What the journal records arrives with its context."""
        journal = Journal.new("ftp")
        self.patch(wire_journal, "_LOG", self.log)
        journal.record("stored", name="a b")
        self.assertRegex(self.lines[0], r'info     ftp-[0-9a-f]{8} stored name="a b"\n\Z')
