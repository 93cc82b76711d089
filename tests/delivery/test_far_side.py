"""A far side that fails in every way: the fate of each message is right, others go on, the queue says why.

Each case is a house of its own that sends one message to bob and eve by the failing far side and to carol by
a sound one; then the far side is healed and the next attempt is made. In all of them (`Case.check`):

- carol has her copy after the first attempt, once;
- who was delivered was taken by the far side, and once; who was returned never was, and the report says why;
- a second copy is there only where the far side took the message and we could not hear that it did;
- what the queue keeps of the attempt names the reply, or the silence, that it failed by;
- nothing is left open, and no call is left.

MAILFTP_FAR_SIDE=long has every cut also by a reset, under TLS, one by one and by LMTP.
"""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.client_reply import DIALOGUE_LIMIT, printable
from tests.delivery.scripted import MESSAGE, REPLIES, USUAL, House, Script

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
#: Octets of memory that a flood of ten megabytes may cost at any time.
MOST_MEMORY = 1024 * 1024


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


class CodeTests(FarSideCase):
    def steps(self):
        """(step, what else its cases need)"""
        login = {"smarthost": True, "folder": self.folder()}
        return [(step, login if step == "AUTH" else {}) for step in YES]

    def test_codes(self) -> None:
        """Each code at each verb: yes, another time, or returned; a code that means nothing there is a fault
        of the far side, and the message is tried again."""
        for step, more in self.steps():
            for code in CODES:
                reason = "" if step == "QUIT" else f"{code} said at {step}"
                script = scripted_at(step, b"%d said at %s\r\n" % (code, step.encode()))
                twice = step == "." and 300 <= code < 400
                self.play(f"{code} at {step}", script, fate_of(step, code), reason, twice=twice, **more)

    def test_one_by_one(self) -> None:
        """The same of the transaction's verbs where the far side has no PIPELINING."""
        for step in ("MAIL", "RCPT", "DATA", "."):
            for code in CODES:
                script = scripted_at(step, b"%d said at %s\r\n" % (code, step.encode()))
                script = replace(script, extensions=("SIZE", "8BITMIME"))
                self.play(f"{code} at {step}", script, fate_of(step, code), f"{code} said at {step}")

    def test_for_one(self) -> None:
        """Each code for the first of two recipients, to RCPT and by LMTP to the message: the other one has
        it."""
        for step, lmtp in (("RCPT bob", False), (". bob", True)):
            for code in CODES:
                fate = {"bob": fate_of(step, code), "eve": "delivered"}
                broken = 300 <= code < 400 or code == 421
                if broken:
                    # It is out of step, or goes: nothing that it says after that counts.
                    fate["eve"] = "waiting"
                script = replace(scripted_at(step, b"%d said at %s\r\n" % (code, step.encode())), lmtp=lmtp)
                self.play(f"{code} at {step}", script, fate, f"{code} said at {step}", twice=lmtp and broken)

    def test_nonsense(self) -> None:
        """What is no reply, at each verb: the connection is given up, the message is tried again; where TLS
        was asked for, at once and without it."""
        for step, more in self.steps():
            for line in NONSENSE:
                fate = "delivered" if step in ("QUIT", "STARTTLS", "EHLO tls") else "waiting"
                reason = printable(line[:60]) if fate == "waiting" else ""
                self.play(f"{line!r} at {step}", scripted_at(step, line + b"\r\n"), fate, reason, **more)

    def test_two_codes(self) -> None:
        """Lines of one reply with different codes: no reply at all, whichever of the two would do."""
        for step, more in self.steps():
            for first, second in ((250, 550), (550, 250), (354, 250), (220, 421), (250, 251)):
                fate = "delivered" if step in ("QUIT", "STARTTLS", "EHLO tls") else "waiting"
                script = scripted_at(step, b"%d-one\r\n%d two\r\n" % (first, second))
                reason = f"two codes, {first} and {second}" if fate == "waiting" else ""
                self.play(f"{first}-{second} at {step}", script, fate, reason, **more)

    def test_bare_lf(self) -> None:
        """Replies whose lines end in LF alone, as some hosts have them, are replies."""
        for step, more in self.steps():
            usual = REPLIES.get(step, b"250-far.test\r\n250 SIZE\r\n").replace(b"\r\n", b"\n")
            self.play(f"LF at {step}", scripted_at(step, usual), "delivered", **more)
            self.play(
                f"LF in {step}", scripted_at(step, b"550-5.1.1 no\n550 no\n"), fate_of(step, 550), **more
            )

    def test_old_codes_only(self) -> None:
        """A reply may be its three digits (RFC 5321 section 4.2)."""
        for step, code in (("banner", 220), ("MAIL", 250), ("RCPT", 250), ("DATA", 354), (".", 250)):
            self.play(f"{code} at {step}", scripted_at(step, b"%d\r\n" % code), "delivered")

    def test_octets(self) -> None:
        """Octets that a terminal or a log would act on, NUL, and what is no UTF-8, in the text of a reply:
        shown without them, the code counts."""
        text = b"\x00\x07\x1b[31mred\x9b\xff\xfe\xe2\x80\xae" + "grün".encode() + b"\x0b\x0c\x85\rC: DATA"
        for code in (250, 450, 550):
            self.play("octets", scripted_at(".", b"%d %s\r\n" % (code, text)), fate_of(".", code), "red")


class KeptConnectionTests(FarSideCase):
    """The second message over a connection that has carried one."""

    def second(self, says: dict[str, bytes | None], first: bytes, hangs_up_at: str = "") -> House:
        """A house whose second message was tried, where the first had this reply to its recipient."""
        house = House(Script({"RCPT": first}))
        house.send("bob@b.test")
        house.run()
        house.far.script.says = says
        house.far.script.hangs_up_at = hangs_up_at
        self.second_number = house.send("eve@b.test")
        house.run()
        return house

    def test_reset(self) -> None:
        """Each code, and nonsense, to RSET behind a message that was refused: the second one has its own
        fate, by this connection or a new one."""
        for line in (*(b"%d at RSET" % code for code in CODES), *NONSENSE):
            house = self.second({"RSET": line + b"\r\n"}, b"550 5.1.1 no\r\n")
            self.assertEqual(house.states(), {"bob": "failed", "eve": "delivered"}, line)
            self.assertEqual(house.far.copies, {"eve": 1}, line)
            yes = line.startswith(b"2") and line.endswith(b"at RSET")
            self.assertEqual(house.far.connections, 1 if yes else 2, line)
            house.stop()

    def test_tired_of_us(self) -> None:
        """421 to the second sender, or no word and the connection closed: a new connection at once. Where
        that is told the same, another time."""
        usual = REPLIES["RCPT"]
        house = self.second({}, usual, hangs_up_at="MAIL")
        self.assertEqual(house.states(), {"bob": "delivered", "eve": "waiting"})
        self.assertEqual(house.far.connections, 2)
        house.stop()
        house = self.second({"MAIL": b"421 4.7.0 enough\r\n"}, usual)
        self.assertEqual(house.states(), {"bob": "delivered", "eve": "waiting"})
        self.assertEqual(house.far.connections, 2)
        self.assertIn("421 4.7.0 enough", house.attempts(self.second_number)["eve"][0].outcome)
        house.far.script = Script()
        house.retry()
        self.assertEqual(house.far.copies, {"bob": 1, "eve": 1})
        house.stop()

    def test_at_rest(self) -> None:
        """What it says while nothing is asked ends the connection, and costs the next message nothing."""
        for line in (b"421 4.4.2 idle too long", b"250 what", b"nonsense", b"2" * 3000, b"\0"):
            house = House(Script({".": REPLIES["."] + line + b"\r\n"}))
            house.send("bob@b.test")
            house.run()
            house.far.script = Script()
            house.send("eve@b.test")
            house.run()
            self.assertEqual(house.states(), {"bob": "delivered", "eve": "delivered"})
            self.assertEqual((house.far.copies, house.far.connections), ({"bob": 1, "eve": 1}, 2), line[:20])
            house.stop()


class CutTests(FarSideCase):
    """Connections that end at any octet."""

    #: What a dialogue is made of in these: both forms of it, LMTP, TLS.
    forms = {
        "pipelined": Script(),
        "one by one": Script(extensions=("SIZE", "8BITMIME")),
        "lmtp": Script(lmtp=True),
        "tls": Script(tls=True),
    }

    def dialogue(self, script: Script) -> tuple[bytes, bytes]:
        """What both sides say when nothing is cut."""
        house = House(script)
        house.send("bob@b.test", "eve@b.test")
        house.run()
        house.stop()
        return house.far.said, house.far.heard

    def cuts(self):
        for form, script in self.forms.items():
            said, heard = self.dialogue(script)
            for reset in (False, True):
                if LONG or form == "pipelined" and not reset:
                    yield f"{form}, reset" if reset else form, replace(script, reset=reset), said, heard

    def test_of_its_octets(self) -> None:
        """It hangs up after each octet that it says."""
        for form, script, said, _ in self.cuts():
            for cut in range(len(said) + 1):
                fate, twice = self.after(script, self.last_words(script, said, cut))
                reason = "the connection was lost" if fate == "waiting" else ""
                self.play(f"{form}, {cut}", replace(script, cut_saying=cut), fate, reason, twice=twice)

    def last_words(self, script: Script, said: bytes, cut: int) -> bytes:
        """Of the connection that decides: where TLS fails as it begins, another in the clear, cut
        likewise."""
        if script.tls:
            asked, begun = said.index(b"STARTTLS\r\n") + 10, said.index(REPLIES["MAIL"])
            if asked <= cut < begun:
                said = said[:asked] + said[begun:]
        return said[:cut]

    def after(self, script: Script, said: bytes) -> tuple[str | dict[str, str], bool]:
        """What has become of the message when so much was said, and whether it may have been taken unheard:
        by the replies that came whole."""
        replies = [line for line in said.split(b"\r\n")[:-1] if line[3:4] == b" "]
        finals = [line for line in replies if line.endswith(b"taken")]
        asked = any(line.startswith(b"354") for line in replies)
        if script.lmtp and finals:
            fate = {"bob": "delivered", "eve": "delivered" if len(finals) == 2 else "waiting"}
            return fate, len(finals) == 1
        return "delivered" if finals else "waiting", asked and not finals

    def test_of_our_octets(self) -> None:
        """It hangs up after each octet that it hears."""
        for form, script, _, heard in self.cuts():
            end = heard.find(b"\r\n.\r\n") + 5
            for cut in range(1, end + 1):
                # At the last octet of the message it is taken, and said to be, before the connection ends.
                fate = "delivered" if cut == end else "waiting"
                reason = "the connection was lost" if fate == "waiting" else ""
                self.play(f"{form}, {cut}", replace(script, cut_hearing=cut), fate, reason, twice=cut == end)
            self.play(f"{form}, QUIT", replace(script, cut_hearing=end + 2), "delivered")

    def test_at_each_step(self) -> None:
        """It hangs up in place of an answer, and behind it."""
        for form, script in self.forms.items():
            final = ". eve" if script.lmtp else "."
            steps = [
                "banner",
                "LHLO" if script.lmtp else "EHLO",
                "MAIL",
                "RCPT bob",
                "RCPT eve",
                "DATA",
                final,
            ]
            for step in steps:
                for reset in (False, True):
                    one = (
                        {"bob": "delivered", "eve": "waiting"} if script.lmtp and step == final else "waiting"
                    )
                    broken = replace(script, hangs_up_at=step, reset=reset)
                    self.play(
                        f"{form}, at {step}", broken, one, "the connection was lost", twice=step == final
                    )
                    after = replace(script, hangs_up_after=step, reset=reset)
                    fate = "delivered" if step == final else "waiting"
                    self.play(f"{form}, after {step}", after, fate, twice=step == final)

    def test_starting_tls(self) -> None:
        """STARTTLS, the handshake, or the first that is said under TLS fails: it is had in the clear, at
        once."""
        script = self.forms["tls"]
        for broken in (
            replace(script, hangs_up_at="STARTTLS"),
            replace(script, hangs_up_at="STARTTLS", reset=True),
            replace(script, hangs_up_after="STARTTLS"),
            replace(script, silent_at="STARTTLS"),
            replace(script, hangs_up_at="EHLO tls"),
            replace(script, silent_at="EHLO tls"),
            replace(script, tls=False, extensions=(*USUAL, "STARTTLS")),
        ):
            house = self.play("TLS", broken, "delivered")
            self.assertEqual(house.far.connections, 2, broken)
            self.assertEqual(house.far.taken[0][0], ("bob", "eve"))
            self.assertIn("*: in the clear, TLS failed: ", house.attempts(1)["bob"][0].dialogue)


class StallTests(FarSideCase):
    """A far side that says nothing, or too slowly, or reads nothing."""

    steps = ("banner", "EHLO", "MAIL", "RCPT bob", "RCPT eve", "DATA", ".")

    def test_silent(self) -> None:
        """Silence at each step: the time of RFC 5321 section 4.5.3.2 runs out, and the queue says where."""
        for extensions in (USUAL, ("SIZE",)):
            for step in self.steps:
                script = Script(extensions=extensions, silent_at=step)
                self.play(f"silent at {step}", script, "waiting", "no reply in", twice=step == ".")
        self.play("silent at QUIT", Script(silent_at="QUIT"), "delivered")

    def test_dripping(self) -> None:
        """A reply that comes octet by octet holds us no longer than one that does not come."""
        for step in self.steps:
            script = Script(drips=step, drip_seconds=100.0)
            self.play(f"drips at {step}", script, "waiting", "no reply in", twice=step == ".")

    def test_dripping_lines(self) -> None:
        """Nor do line after line of a reply without an end."""
        for step in self.steps:
            endless = b"".join(b"250-line %d\r\n" % number for number in range(80))
            script = replace(scripted_at(step, endless), drips=step, drip_seconds=10.0)
            self.play(f"drips at {step}", script, "waiting", "no reply in", twice=step == ".")

    def test_deaf(self) -> None:
        """It reads nothing any more: what we have to send is not kept for ever."""
        for step in self.steps[:-1]:
            self.play(f"deaf after {step}", Script(deaf_after=step), "waiting", "no reply in")


class LieTests(FarSideCase):
    """A far side that offers what it then does not know, or does not offer what it needs."""

    def test_offered_and_refused(self) -> None:
        """Extensions whose parameters it refuses at MAIL: the message is returned, with its words."""
        eightbit = MESSAGE + "grün\r\n".encode()
        for reply in (b"555 5.5.4 unknown parameter\r\n", b"501 5.5.4 syntax\r\n"):
            script = Script({"MAIL": reply}, (*USUAL, "SMTPUTF8", "DSN", "LIMITS RCPTMAX=5"))
            self.play("parameters", script, "failed", printable(reply.strip()), message=eightbit)

    def test_pipelining(self) -> None:
        """It offers PIPELINING and then answers the first command alone, forgetting the others."""
        for forgotten in (("RCPT", "DATA"), ("RCPT bob",), ("RCPT eve",), ("DATA",), ("MAIL",)):
            script = Script(dict.fromkeys(forgotten))
            # The answers that do come are taken for those of earlier commands, and fit none of them.
            reason = "no reply in" if "DATA" in forgotten else "out of place: 354"
            self.play(f"forgets {forgotten}", script, "waiting", reason)

    def test_limits(self) -> None:
        """LIMITS that are no numbers, or are nothing, or are too many, limit nothing; those of one do."""
        nonsense = "RCPTMAX= RCPTMAX=0 RCPTMAX=-1 RCPTMAX=x MAILMAX=99999999999999999999 =5 MAILMAX ="
        for words in (nonsense, "", "RCPTMAX=1000000 " * 40, "\u00b2"):
            house = self.play("limits", Script(extensions=(*USUAL, f"LIMITS {words}")), "delivered")
            self.assertEqual(len(house.far.taken), 1, words)
        house = self.play("one", Script(extensions=(*USUAL, "LIMITS RCPTMAX=1 MAILMAX=1")), "delivered")
        self.assertEqual([names for names, _ in house.far.taken], [("bob",), ("eve",)])
        self.assertEqual(house.far.connections, 2)

    def test_size(self) -> None:
        """SIZE that is no number is no limit; one that is too small returns the message without a word
        said."""
        for size in ("", "x", "-1", "0", "99999999999999999999", "1e3", "\u0663"):
            self.play(f"SIZE {size}", Script(extensions=("PIPELINING", f"SIZE {size}")), "delivered")
        house = Case("small", Script(extensions=("SIZE 10",)), "failed", "552 5.3.4").run(self)
        self.assertNotIn(b"MAIL", b"".join(house.far.lines))

    def test_recipients_without_a_sender(self) -> None:
        """It refuses the sender, and takes recipients and DATA all the same: it is not sent an empty message,
        which it would deliver."""
        for code in (450, 550):
            script = Script({"MAIL": b"%d no\r\n" % code})
            house = House(script)
            house.send("bob@b.test", "eve@b.test")
            house.run()
            self.assertEqual(house.far.taken, [])
            house.stop()

    def test_extensions_of_nonsense(self) -> None:
        """Keywords of nonsense, twice, with NULs, and a hundred of them."""
        for words in (
            ("", " ", "=", "==", "PIPELINING PIPELINING", "SIZE SIZE SIZE", "SIZE=5", "AUTH=", "AUTH"),
            ("\0", "\0PIPELINING", "PIPELINING\0", "\x1b[2J", "SIZE \0", "\udcff" * 100),
            tuple(f"X-{number} {'y' * 1000}" for number in range(98)),
            (*USUAL, *USUAL, *USUAL),
        ):
            self.play(f"{words[:3]}", Script(extensions=words), "delivered")


class SpeakingOutOfTurnTests(FarSideCase):
    """Replies that come before the command, or beside TLS."""

    def test_with_the_greeting(self) -> None:
        """All the replies of a delivery at once, before anything was asked: nothing is taken to be
        delivered."""
        ahead = b"220 hi\r\n250 hi\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"
        script = Script({"banner": ahead}, extensions=())
        self.play("ahead", script, "waiting", "a reply to nothing: 250 ok")

    def test_one_more_reply(self) -> None:
        """A reply too many at any step: the message is tried again, never counted by the wrong reply."""
        for step in ("banner", "EHLO", "MAIL", "RCPT bob", "RCPT eve"):
            reply = REPLIES.get(step.split(" ")[0], b"250-far.test\r\n250 SIZE\r\n")
            for more in (
                b"250 2.0.0 more\r\n",
                b"250 2.0.0 more\r\n250 2.0.0 more\r\n",
                b"550 5.0.0 more\r\n",
            ):
                house = House(Script({step: reply + more}))
                house.send("bob@b.test", "eve@b.test")
                house.run()
                delivered = {name for name, state in house.states().items() if state == "delivered"}
                self.assertLessEqual(delivered, set(house.far.copies), (step, more))
                house.stop()

    def test_after_the_end(self) -> None:
        """It took the message, and then says more, or nonsense: it was taken all the same, once."""
        for more in (b"250 more\r\n", b"550 no\r\n", b"nonsense\r\n", b"421 bye\r\n", b"250-", b"\0" * 4000):
            script = Script({".": b"250 2.0.0 taken\r\n" + more})
            self.play(f"taken, {more[:10]!r}", script, "delivered")

    def test_injected_before_tls(self) -> None:
        """What came in the clear behind the reply to STARTTLS is not taken for said under TLS, and does not
        lead to a delivery in the clear."""
        for more in (b"250 x\r\n", b"2", b"\r\n", b"250-x\r\n250 SIZE 5\r\n", b"\x16\x03\x01\x00\x01\x01"):
            script = Script({"STARTTLS": REPLIES["STARTTLS"] + more}, tls=True)
            house = House(script)
            number = house.send("bob@b.test")
            house.run()
            self.assertEqual(house.states(), {"bob": "waiting"}, more)
            self.assertIn("somebody may be in between", house.attempts(number)["bob"][0].outcome)
            self.assertEqual((house.far.connections, house.far.taken), (1, []))
            house.stop()

    def test_injected_after_tls(self) -> None:
        """Octets that somebody puts into the stream under TLS end the connection; none of them is a reply."""
        for octets in (b"250 taken\r\n", b"\x17\x03\x03\x00\x05hello", b"\x15\x03\x03\x00\x02\x02\x28"):
            house = House(Script(tls=True, beside_tls=("EHLO tls", octets)))
            number = house.send("bob@b.test", "eve@b.test")
            house.run()
            self.assertEqual(house.states(), {"bob": "waiting", "eve": "waiting"}, octets)
            self.assertIn("the connection was lost", house.attempts(number)["bob"][0].outcome)
            self.assertEqual(house.far.taken, [])
            house.far.script = Script(tls=True)
            house.retry()
            self.assertEqual(house.far.copies, {"bob": 1, "eve": 1})
            house.stop()


class FloodTests(FarSideCase):
    """More octets than anybody may keep."""

    #: Ten megabytes each: of a line without an end, of lines without an end, of a text, of NULs.
    floods = {
        "a line": b"250 " + b"x" * 10_000_000 + b"\r\n",
        "no line": b"2" * 10_000_000,
        "lines": b"250-more of it\r\n" * 625_000 + b"250 end\r\n",
        "NULs": b"\0" * 10_000_000,
        "ends of lines": b"\r\n" * 5_000_000,
    }

    def test_floods(self) -> None:
        """Ten megabytes as a reply, at each step: the connection is given up, and neither the queue nor the
        process keeps much of it."""
        for step in ("banner", "EHLO", "MAIL", "."):
            for name, flood in self.floods.items():
                fate, reason = "waiting", "reply"
                house = House(scripted_at(step, flood))
                number = house.send("bob@b.test", "eve@b.test", "carol@c.test")
                tracemalloc.start()
                try:
                    house.run()
                    # What the network itself holds of the flood is there before, in the script.
                    _, peak = tracemalloc.get_traced_memory()
                finally:
                    tracemalloc.stop()
                self.assertLess(peak, MOST_MEMORY, f"{name} at {step}")
                states = house.states()
                self.assertEqual(states, {"bob": fate, "eve": fate, "carol": "delivered"}, name)
                (attempt,) = house.attempts(number)["bob"]
                self.assertIn(reason, attempt.outcome)
                self.assertLess(len(attempt.dialogue) + len(attempt.outcome), 5000)
                house.stop()

    def test_many_replies(self) -> None:
        """Replies without number, each in its own right: the first that belongs to nothing is the last."""
        flood = b"250 2.0.0 again\r\n" * 500_000
        for step in ("banner", "MAIL"):
            house = House(scripted_at(step, REPLIES[step] + flood))
            house.send("bob@b.test", "eve@b.test")
            house.run()
            self.assertEqual(house.states(), {"bob": "waiting", "eve": "waiting"})
            self.assertEqual(house.far.copies, {})
            house.stop()

    def test_slow_flood(self) -> None:
        """An endless greeting, line by line, is given up at its hundredth line or when its time is over."""
        for lines in (99, 150):
            banner = b"".join(b"220-line %d\r\n" % number for number in range(lines))
            self.play(f"{lines} lines", Script({"banner": banner}), "waiting", "repl")
