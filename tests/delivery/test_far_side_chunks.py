"""A far side that offers CHUNKING (RFC 3030), and fails."""

from __future__ import annotations

from dataclasses import replace

from tests.delivery.far_side_case import CODES, FarSideCase, fate_of, scripted_at
from tests.delivery.scripted import MESSAGE, PREFIX, USUAL, House, Script

CHUNKING = (*USUAL, "CHUNKING")


class ChunkTests(FarSideCase):
    def test_codes(self) -> None:
        """Each code at each verb of the transaction, with the piece behind the envelope and one by one: 500
        and 502 to the piece alone have it sent again, with DATA."""
        for extensions in (CHUNKING, ("CHUNKING", "SIZE")):
            for step in ("MAIL", "RCPT", "."):
                for code in CODES:
                    said = b"%d said at %s\r\n" % (code, step.encode())
                    script = replace(scripted_at(step, said), extensions=extensions)
                    fate = fate_of(step, code)
                    if step == "MAIL" and extensions is CHUNKING and code >= 400 and code != 421:
                        # It refused the sender, and took the recipients and the message.
                        fate = "delivered"
                    # What it says before the piece, and cannot be: it has the piece, and takes it.
                    twice = 300 <= code < 400 or code == 421
                    self.play(f"{code} at {step}", script, fate, said.decode().strip(), twice=twice)

    def test_one_of_two(self) -> None:
        """Who is refused is returned, and the other one has the message, unstuffed and once."""
        script = Script({"RCPT bob": b"550 5.1.1 nobody\r\n"}, CHUNKING)
        house = self.play("one", script, {"bob": "failed", "eve": "delivered"}, "550 5.1.1 nobody")
        ((names, message),) = house.far.taken
        self.assertEqual((names, message), (("eve",), PREFIX + MESSAGE))
        self.assertIn(f"C: BDAT {len(PREFIX + MESSAGE)} LAST", house.attempts(1)["bob"][0].dialogue)

    def test_all_refused(self) -> None:
        """The piece is refused with them, and the connection carries the next message."""
        house = House(Script({"RCPT bob": b"550 5.1.1 nobody\r\n"}, CHUNKING))
        house.send("bob@b.test")
        house.run()
        house.send("eve@b.test")
        house.run()
        self.assertEqual(house.states(), {"bob": "failed", "eve": "delivered"})
        self.assertEqual(house.far.connections, 1)
        self.assertIn(b"RSET", house.far.lines)
        house.stop()

    def test_overwritten(self) -> None:
        """Something on the way makes nothing of BDAT and takes the message for commands: by a new connection
        it is sent with DATA, at once, and the queue says why."""
        house = self.play("overwritten", Script(extensions=CHUNKING, overwrites_bdat=True), "delivered")
        self.assertEqual(
            [message for _, message in house.far.taken], [(PREFIX + MESSAGE).replace(b"\n.", b"\n..")]
        )
        self.assertEqual(house.far.connections, 2)
        self.assertIn("*: with DATA: CHUNKING", house.attempts(1)["bob"][0].dialogue)

    def test_cut(self) -> None:
        """It hangs up after each octet that it hears, and that it says: nothing is lost."""
        house = House(Script(extensions=CHUNKING))
        house.send("bob@b.test", "eve@b.test")
        house.run()
        house.stop()
        said, heard = house.far.said, house.far.heard
        whole = heard.index(MESSAGE) + len(MESSAGE)
        for cut in range(1, whole + 1):
            fate = "delivered" if cut == whole else "waiting"
            self.play(f"heard {cut}", Script(extensions=CHUNKING, cut_hearing=cut), fate, twice=cut == whole)
        taken = said.index(b"taken\r\n") + 7
        for cut in range(said.index(b"250 2.1.0"), taken + 1):
            fate = "delivered" if cut == taken else "waiting"
            self.play(f"said {cut}", Script(extensions=CHUNKING, cut_saying=cut), fate, twice=True)
