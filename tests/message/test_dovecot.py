"""ENVELOPE, BODY and BODYSTRUCTURE compared with Dovecot's, on sound messages and on spoilt ones."""

from __future__ import annotations

import random
import re
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from mailftp.message.index import index_message
from tests.message import dovecot

PIECES = [
    b'"', b"(", b")", b"<", b">", b"@", b",", b";", b":", b"\\", b"--", b"\r\n", b"\r\n\r\n", b" ", b"\t",
    b"=", b"/", b".", b"\xc3\xa4", b"[", b"]", b"*0*=", b"%20", b"multipart/", b"message/rfc822",
    b"text/plain", b"Content-Type: ", b"\r\n ", b"boundary=", b"\r\n--BOUNDARY\r\n",
]  # fmt: skip
ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
LOCAL = re.compile(ATOM + rb"(\." + ATOM + rb")*\Z")
HOST = re.compile(ATOM + rb"(\." + ATOM + rb")*\Z|\[[^\]\[]+\]\Z")
PLACEHOLDERS = (b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"SYNTAX_ERROR")


def samples() -> list[bytes]:
    folders = dovecot.sample_folders()
    if not folders:
        raise SkipTest("needs the standard library's test messages: libpython3.11-testsuite")
    if not dovecot.IMAP.exists():
        raise SkipTest("needs dovecot-imapd")
    files = sorted(folders[0].glob("msg_*.txt"))
    return [re.sub(rb"\r\n|\r|\n", b"\r\n", file.read_bytes()) for file in files]


def spoil(message: bytes, source: random.Random) -> bytes:
    """One to four small accidents, half of them in the header."""
    for _ in range(source.choice((1, 1, 2, 4))):
        head = max(message.find(b"\r\n\r\n"), 1)
        at = source.randrange(head if source.random() < 0.5 else max(len(message), 1))
        what = source.random()
        if what < 0.35:
            message = message[:at] + source.choice(PIECES) + message[at:]
        elif what < 0.55:
            message = message[:at] + message[at + source.randrange(1, 12) :]
        elif what < 0.65:
            message = message[:at] + bytes([source.randrange(1, 256)]) + message[at + 1 :]
        else:
            lines = message.split(b"\r\n")
            one, other = source.randrange(len(lines)), source.randrange(len(lines))
            if what < 0.8:
                lines.insert(one, lines[other])
            else:
                lines[one], lines[other] = lines[other], lines[one]
            message = b"\r\n".join(lines)
    return re.sub(rb"\r\n|\r|\n", b"\r\n", message) or b"\r\n"


def well_formed(entries: Any) -> bool:
    return entries is None or all(
        (LOCAL.match(mailbox or b"x") if host is None else LOCAL.match(mailbox or b"") and HOST.match(host))
        and not (mailbox in PLACEHOLDERS or host in PLACEHOLDERS)
        for _, _, mailbox, host in entries
    )


def named_alike(ours: Any, theirs: Any) -> bool:
    """False when Dovecot has no name for an address where we have one: it drops a comment behind rubbish."""
    return not any(
        one[1:] == other[1:] and one[0] and other[0] is None
        for one, other in zip(ours or (), theirs or (), strict=False)
    )


def spaced(value: bytes | None) -> bytes | None:
    """Space around a value is no part of it; Dovecot leaves what is at the end and what a fold made."""
    return None if value is None else re.sub(rb"[ \t]+", b" ", value).strip(b" ")


class Comparison:
    """Collects where the two differ; `excused` counts what differs for a reason that is written here."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.excused = 0

    def check(self, where: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            self.faults.append(f"{where}: ours {ours!r}, Dovecot's {theirs!r}")

    def envelope(self, where: str, ours: Any, theirs: Any) -> None:
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if 2 <= number <= 7:
                if one != other and not (well_formed(one) and well_formed(other) and named_alike(one, other)):
                    # Against RFC 5322's grammar each shows the remains as it can.
                    self.excused += 1
                    continue
            else:
                one, other = spaced(one), spaced(other)
            self.check(f"{where}.envelope[{number}]", one, other)

    def part(self, where: str, ours: Any, theirs: Any) -> None:
        if isinstance(theirs[0], list) or isinstance(ours[0], list):
            self.multipart(where, ours, theirs)
            return
        octets = [b"application", b"octet-stream"]
        if theirs[1] == b"" or (theirs[:2] == octets and ours[:2] == [b"text", b"plain"]):
            # A Content-Type without type and subtype: Dovecot writes empty strings or octet-stream,
            # RFC 2045 section 5.2 wants text/plain.
            self.excused += 1
            self.check(where, [part.lower() for part in ours[:2]], [b"text", b"plain"])
            return
        self.check(f"{where} type", ours[:2], theirs[:2])
        self.parameters(f"{where} parameters", ours[2], theirs[2])
        self.check(f"{where} id, description", [*map(spaced, ours[3:5])], [*map(spaced, theirs[3:5])])
        # Dovecot writes 7bit in lower case when all else is the default.
        self.check(f"{where} encoding", ours[5].lower(), theirs[5].lower())
        if [part.lower() for part in ours[:2]] != [b"message", b"rfc822"]:
            self.check(f"{where} size", ours[6], theirs[6])
            self.check(f"{where} the rest", ours[7:8], theirs[7:8])
            self.extension(where, ours[8:], theirs[8:])
            return
        if ours[6] != theirs[6]:
            # Where a delimiter ends the header within, Dovecot counts the delimiter's line end in.
            self.excused += 1
            self.check(
                f"{where} size", [int(ours[6]) + 2, int(ours[9]) + 1], [int(theirs[6]), int(theirs[9])]
            )
        self.envelope(where, ours[7], theirs[7])
        self.part(f"{where}.message", ours[8], theirs[8])
        self.extension(where, ours[10:], theirs[10:])

    def multipart(self, where: str, ours: Any, theirs: Any) -> None:
        mine = [part for part in ours if isinstance(part, list)]
        count = next((n for n, part in enumerate(theirs) if not isinstance(part, list)), len(theirs))
        own = next((n for n, part in enumerate(ours) if not isinstance(part, list)), len(ours))
        if own != count:
            # The parts are unlike when Dovecot lost the boundary behind a broken parameter (below).
            lost = len(theirs) > count + 1 and b"boundary" not in map(bytes.lower, theirs[count + 1] or ())
            self.excused += lost
            if not lost:
                self.check(f"{where} number of parts", own, count)
            return
        for number, (one, other) in enumerate(zip(mine[:count], theirs[:count], strict=True), 1):
            self.part(f"{where}.{number}", one, other)
        self.check(f"{where} subtype", ours[count], theirs[count])
        if len(theirs) > count + 1:
            self.parameters(f"{where} parameters", ours[count + 1], theirs[count + 1])
            self.extension(where, ours[count + 2 :], theirs[count + 2 :])

    def parameters(self, where: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            # Dovecot has nameless parameters, and after a broken one it passes over the next as well.
            self.excused += 1
            pairs = list(zip(theirs[::2], theirs[1::2], strict=True)) if theirs else []
            mine = list(zip(ours[::2], ours[1::2], strict=True)) if ours else []
            default = (b"charset", b"us-ascii")
            for pair in pairs:
                if pair[0] and pair != default and pair not in mine:
                    self.faults.append(f"{where}: ours {ours!r}, Dovecot's {theirs!r}")

    def extension(self, where: str, ours: Any, theirs: Any) -> None:
        def plain(value: Any) -> Any:
            # Dovecot shows a disposition that is empty.
            return None if value == [b"", None] else spaced(value) if isinstance(value, bytes) else value

        for one, other in zip(ours, theirs, strict=True):
            if isinstance(one, list) and len(one) == 2 and isinstance(one[1], list | None) and other is None:
                # Dovecot drops a disposition whose comment does not end.
                self.excused += 1
            elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other) == 2:
                self.check(f"{where} disposition", one[0], other[0])
                self.parameters(f"{where} disposition", one[1], other[1])
            else:
                self.check(f"{where} extension", plain(one), plain(other))


class DovecotTests(SynchronousTestCase):
    def _compare(self, messages: list[bytes], excuses: int) -> None:
        comparison = Comparison()
        for number, (message, theirs) in enumerate(zip(messages, dovecot.fetch(messages), strict=True)):
            index = index_message(message)
            [envelope] = dovecot.parse_values(index.envelope)
            [body] = dovecot.parse_values(index.body)
            [structure] = dovecot.parse_values(index.bodystructure)
            comparison.envelope(str(number), envelope, theirs[b"ENVELOPE"])
            excused = comparison.excused
            comparison.part(f"{number} BODYSTRUCTURE", structure, theirs[b"BODYSTRUCTURE"])
            if excused == comparison.excused:
                comparison.part(f"{number} BODY", body, theirs[b"BODY"])
        self.assertEqual(comparison.faults, [])
        self.assertLessEqual(comparison.excused, excuses)

    def test_samples(self) -> None:
        """The standard library's test messages, many of them broken in ways that were met: one differs."""
        self._compare(samples(), excuses=2)

    def test_spoilt(self) -> None:
        """Hundreds of messages with accidents: the trees are the same to the octet."""
        sources = samples()
        source = random.Random(5322)
        messages = [spoil(source.choice(sources), source) for _ in range(600)]
        self._compare(messages, excuses=300)
