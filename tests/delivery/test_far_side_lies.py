"""A far side that stalls, lies about what it knows, speaks out of turn, or says more than anybody may
keep."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from mailftp.smtp.client_reply import printable
from tests.delivery.far_side_case import FarSideCase, scripted_at
from tests.delivery.scripted import MESSAGE, REPLIES, USUAL, House, Script

#: Octets of memory that a flood of ten megabytes may cost at any time.
MOST_MEMORY = 1024 * 1024


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
        house = self.play("small", Script(extensions=("SIZE 10",)), "failed", "552 5.3.4")
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
