"""A far side that fails in every way: codes, nonsense, connections that end at any octet.

MAILFTP_FAR_SIDE=long has all nonsense at each step, and every cut also by a reset, under TLS, one by one and
by LMTP."""

from __future__ import annotations

from dataclasses import replace

from mailftp.smtp.client_reply import printable
from tests.delivery.far_side_case import CODES, LONG, NONSENSE, YES, FarSideCase, fate_of, scripted_at
from tests.delivery.scripted import REPLIES, USUAL, House, Script


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
        for number, (step, more) in enumerate(self.steps()):
            # Each line at some steps, and at each step some; in the long form all.
            for line in NONSENSE if LONG else NONSENSE[number % 3 :: 3]:
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
