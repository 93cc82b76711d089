"""A case of tests.delivery.test_far_side: one script, and what is to become of the messages.

Each case is a house of its own that sends one message to bob and eve by the failing far side and to carol by
a sound one; then the far side is healed and the next attempt is made. In all of them (`Case.check`):

- carol has her copy after the first attempt, once;
- who was delivered was taken by the far side, and once; who was returned never was, and the report says why;
- a second copy is there only where the far side took the message and we could not hear that it did;
- what the queue keeps of the attempt names the reply, or the silence, that it failed by;
- nothing is left open, and no call is left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.client_reply import DIALOGUE_LIMIT
from tests.delivery.scripted import USUAL, House, Script

#: Every cut also by a reset, under TLS, one by one and by LMTP.
LONG = os.environ.get("MAILFTP_FAR_SIDE") == "long"

#: Codes that a far side may say, whatever they mean where it says them.
CODES = (
    *(200, 211, 214, 220, 221, 235, 250, 251, 252, 299, 300, 334, 354, 399),
    *(400, 421, 432, 450, 451, 452, 454, 455, 458, 471, 499),
    *(500, 501, 502, 503, 504, 521, 523, 530, 534, 535, 538, 541, 550, 551, 552, 553, 554, 555, 556, 599),
)
#: What is no reply at all.
NONSENSE = (
    *(b"%03d no such class" % code for code in (0, 1, 99, 100, 150, 199, 600, 650, 700, 999)),
    *(b"-250 minus", b"+250 plus", b"25 short", b"2500 long", b"2", b"", b" ", b"  250 set in", b"\t250 ok"),
    *(b"250\tok", b"250=ok", b"25O ok", b"2 50 ok", b"0x250 ok", b"250.0 ok", b"99999999999999999999 huge"),
    *("２５０ full width".encode(), "²⁵⁰ superior".encode(), "٢٥٠ arabic".encode(), b"\xff\xfe2\x005\x000"),
    *(b"\0" * 50, b"\x00250 ok", b"\x1b[2J250 ok", b"HTTP/1.1 400 Bad Request", b"+OK", b"* OK IMAP4rev1"),
)
BOTH = {"bob", "eve"}


@dataclass
class Case:
    """One script, what is to become of bob and eve at the first attempt, and what explains it."""

    name: str
    script: Script
    #: "delivered", "waiting" (it is tried again) or "failed" (it is returned).
    fate: str | dict[str, str]
    #: A part of what the queue shows; "" where nothing needs an explanation.
    reason: str = ""
    #: The far side may have taken the first without our hearing it.
    twice: bool = False
    smarthost: bool = False
    folder: Path | None = None
    message: bytes | None = None

    def run(self, case: SynchronousTestCase) -> House:
        house = House(self.script, smarthost=self.smarthost, folder=self.folder)
        more = {} if self.message is None else {"message": self.message}
        number = house.send("bob@b.test", "eve@b.test", "carol@c.test", **more)
        house.run()
        try:
            self.check(case, house, number)
        except Exception as fault:
            shown = {
                name: [(a.outcome, a.dialogue) for a in kept] for name, kept in house.attempts(number).items()
            }
            raise AssertionError(f"{self.name}: {fault}\n{self.script}\n{house.states()}\n{shown}") from fault
        return house

    def check(self, case: SynchronousTestCase, house: House, number: int) -> None:
        fate = self.fate if isinstance(self.fate, dict) else dict.fromkeys(BOTH, self.fate)
        case.assertEqual(house.states(), {**fate, "carol": "delivered"})
        case.assertEqual(house.good.copies, {"carol": 1})
        first = dict(house.far.copies)
        returned = {name for name, state in fate.items() if state == "failed"}
        self.check_reason(case, house, number, fate)
        reports = house.inbox()
        case.assertEqual(len(reports), 1 if returned else 0)
        for name in BOTH:
            told = any(b"Final-Recipient: rfc822; %s@b.test" % name.encode() in report for report in reports)
            case.assertEqual(told, name in returned)
        # The far side is healed, and the time of the next attempt comes.
        house.far.script = Script(extensions=self.script.extensions, lmtp=self.script.lmtp)
        house.retry()
        left = {name: "delivered" if state == "waiting" else state for name, state in fate.items()}
        case.assertEqual(house.states(), {**left, "carol": "delivered"})
        for name in BOTH:
            copies = house.far.copies[name]
            most = 2 if self.twice and fate[name] == "waiting" else 1
            wanted = 0 if name in returned else 1
            case.assertTrue(wanted <= copies <= most, f"{name} has {copies} copies, {first} at first")
        case.assertEqual(house.good.copies, {"carol": 1})
        house.stop()

    def check_reason(
        self, case: SynchronousTestCase, house: House, number: int, fate: dict[str, str]
    ) -> None:
        kept = house.attempts(number)
        shown = "".join(attempt.outcome + "\n" + attempt.dialogue for name in BOTH for attempt in kept[name])
        case.assertIn(self.reason, shown)
        for name in BOTH:
            (attempt,) = kept[name]
            case.assertLessEqual(len(attempt.dialogue.encode()), DIALOGUE_LIMIT)
            case.assertLessEqual(len(attempt.outcome), 1500)
            case.assertTrue(attempt.dialogue.replace("\n", "").isprintable(), ascii(attempt.dialogue))
            case.assertTrue(attempt.outcome.isprintable(), ascii(attempt.outcome))
            if fate[name] != "delivered":
                case.assertTrue(attempt.remote.startswith("127.0.0.2 [127.0.0.2]:25"), attempt.remote)


#: Steps -> codes that mean yes there, and what is to come of 4xx and 5xx: by the first digit of the reply.
#: "waiting" for a 5xx is where the reply is about us or the host and not about the message.
YES = {
    "banner": {220},
    "EHLO": {250},
    "HELO": {250},
    "STARTTLS": set(CODES) - {421},
    "EHLO tls": {250},
    "AUTH": {235},
    "MAIL": {code for code in CODES if code < 300},
    "RCPT": {code for code in CODES if code < 300},
    "DATA": {354},
    ".": {code for code in CODES if code < 300},
    "QUIT": set(CODES),
}
#: Steps where a 5xx is said of the message or its recipients.
OF_THE_MESSAGE = ("MAIL", "RCPT", "RCPT bob", "DATA", ".", ". bob")


def fate_of(step: str, code: int) -> str:
    """RFC 5321 section 4.2.1, and section 3.8 for 421."""
    if code in YES[step.removesuffix(" bob")]:
        return "delivered"
    if step == "banner" and code == 521:
        # RFC 7504: it never takes any mail, and there is no other host.
        return "failed"
    if code >= 500 and (step in OF_THE_MESSAGE or step in ("EHLO", "EHLO tls")):
        # To EHLO it means that ESMTP is not known; HELO follows.
        return "failed" if step in OF_THE_MESSAGE else "delivered"
    return "waiting"


def scripted_at(step: str, reply: bytes) -> Script:
    """A far side that says this there."""
    says: dict[str, bytes | None] = {step: reply}
    if step == "HELO":
        says["EHLO"] = b"502 5.5.1 what\r\n"
    extensions = (*USUAL, "AUTH PLAIN") if step == "AUTH" else USUAL
    return Script(says, extensions, tls=step in ("STARTTLS", "EHLO tls"))


class FarSideCase(SynchronousTestCase):
    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return folder

    def play(self, name: str, script: Script, fate: str | dict[str, str], reason: str = "", **more) -> House:
        return Case(name, script, fate, reason, **more).run(self)
