"""Reverse-paths of mail that is sent on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.intake.srs import DAYS, SenderRewriting, is_rewritten
from mailftp.message.address import LOCAL_OCTETS, Address, parse_address
from tests.intake.houses import NOW

DAY = 86400.0


class RewritingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rewriting = SenderRewriting(b"x" * 32)

    def there_and_back(self, sender: str, changed: str = "") -> Address | None:
        made = self.rewriting.rewrite(parse_address(sender), "example.test", NOW)
        self.assertEqual(made.return_to, "")
        # As a far side sees it.
        address = parse_address(str(made.reverse_path))
        self.assertTrue(is_rewritten(address))
        restored = self.rewriting.restore(address, NOW + 5 * DAY)
        return restored and restored.sender

    def test_sender(self) -> None:
        """What is made of a sender gives that sender back, odd ones too."""
        for sender in ("ann@far.test", "A.b+c=d@far.test", '"a b"@far.test', "jürgen@far.test"):
            self.assertEqual(self.there_and_back(sender), parse_address(sender), sender)

    def test_sender_that_is_one(self) -> None:
        """One that another server made, or a chain of them, goes back to the first that made it."""
        first = "SRS0=AbCd=T4=far.test=ann@one.test"
        self.assertEqual(self.there_and_back(first), parse_address(first))
        for chained in ("SRS1=WxYz=one.test==AbCd=T4=f.t=ann@two.test",):
            self.assertEqual(
                self.there_and_back(chained), parse_address("SRS0=AbCd=T4=f.t=ann@one.test"), chained
            )
        other = SenderRewriting(b"y" * 32)
        made = other.rewrite(parse_address("SRS0=Ab=T4=f.t=ann@one.test"), "two.test", NOW).reverse_path
        self.assertEqual(self.there_and_back(str(made)), parse_address("SRS0=Ab=T4=f.t=ann@one.test"))

    def test_long_sender(self) -> None:
        """One that does not fit into a local part, or has an address literal, is kept elsewhere."""
        long = "bounces-12345678-9abc-bob=example.test@newsletters.far.test"
        for sender in (long, "ann@[192.0.2.1]", "SRS1=strange@far.test"):
            made = self.rewriting.rewrite(parse_address(sender), "example.test", NOW)
            self.assertEqual(made.return_to, sender)
            self.assertLessEqual(len(made.reverse_path.local), LOCAL_OCTETS)
            for seen in (str(made.reverse_path), str(made.reverse_path).lower()):
                restored = self.rewriting.restore(parse_address(seen), NOW)
                assert restored is not None
                self.assertEqual((restored.sender, restored.kept), (None, str(made.reverse_path)))

    def test_all_lengths(self) -> None:
        """Whatever the length, what is made is an address and is understood."""
        for length in range(1, 65):
            for domain in ("far.test", "a" * 40 + ".far.test"):
                sender = Address("x" * length, domain)
                made = self.rewriting.rewrite(sender, "example.test", NOW)
                restored = self.rewriting.restore(parse_address(str(made.reverse_path)), NOW)
                assert restored is not None
                self.assertEqual(made.return_to or str(restored.sender), str(sender))

    def test_capitals(self) -> None:
        """A server on the way that changes capitals does no harm but to the sender's own."""
        made = self.rewriting.rewrite(parse_address("ann@far.test"), "example.test", NOW).reverse_path
        for local in (made.local.upper(), made.local.lower()):
            restored = self.rewriting.restore(Address(local, "example.test"), NOW)
            assert restored is not None and restored.sender is not None
            self.assertEqual(restored.sender.key, "ann@far.test")

    def test_forged(self) -> None:
        """With another sender, day, proof or secret it is nobody's."""
        made = self.rewriting.rewrite(parse_address("ann@far.test"), "example.test", NOW).reverse_path
        _, proof, day, rest = made.local.split("=", 3)
        flip = "b" if proof[0] == "a" else "a"
        for local in (
            f"SRS0={proof}={day}=far.test=bob",
            f"SRS0={flip}{proof[1:]}={day}={rest}",
            f"SRS1={proof}={day}={rest}",
            f"SRS0={proof}=aa={rest}",
            f"SRS0={proof}={rest}",
            "SRS0=",
        ):
            self.assertIsNone(self.rewriting.restore(Address(local, "example.test"), NOW), local)
        self.assertIsNone(SenderRewriting(b"y" * 32).restore(made, NOW))

    def test_old(self) -> None:
        """It holds for as long as a report may take, over the turn of the days' cycle too."""
        for start in (NOW, (1024 * 20 - 1) * DAY):
            made = self.rewriting.rewrite(parse_address("ann@far.test"), "example.test", start).reverse_path
            self.assertIsNotNone(self.rewriting.restore(made, start + DAYS * DAY))
            self.assertIsNone(self.rewriting.restore(made, start + (DAYS + 1) * DAY))
            self.assertIsNone(self.rewriting.restore(made, start - 2 * DAY))
