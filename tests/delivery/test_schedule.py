"""When attempts come, when the sender is warned, when it ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.schedule import plan
from mailftp.settings import Delivery

SETTINGS = Delivery(retry=(60.0, 300.0), give_up=3600.0, delay_warning=1200.0)


def at(now: float, number: int = 1, warned: bool = False, chance: float = 0.5):
    return plan(SETTINGS, number=number, accepted=0.0, now=now, warned=warned, chance=chance)


class PlanTests(SynchronousTestCase):
    def test_list(self) -> None:
        """The waits of the list, then its last again and again."""
        self.assertEqual(at(0, 1).next_attempt, 60)
        self.assertEqual(at(100, 2).next_attempt, 400)
        self.assertEqual(at(100, 9).next_attempt, 400)

    def test_jitter(self) -> None:
        """A tenth more or less."""
        self.assertAlmostEqual(at(0, 1, chance=0.0).next_attempt, 54)
        self.assertTrue(65.9 < at(0, 1, chance=0.999).next_attempt < 66)

    def test_warning(self) -> None:
        """There is an attempt when the warning is due; the warning comes once."""
        self.assertEqual(at(1000, 5).next_attempt, 1200)
        self.assertFalse(at(1000, 5).warn)
        self.assertTrue(at(1200, 6).warn)
        self.assertFalse(at(1200, 6, warned=True).warn)
        self.assertEqual(at(1000, 5, warned=True).next_attempt, 1300)

    def test_end(self) -> None:
        """The last attempt is when the time is up; then there is none."""
        self.assertEqual(at(3500, 9, warned=True).next_attempt, 3600)
        self.assertIsNone(at(3600, 9).next_attempt)
        self.assertFalse(at(3600, 9).warn)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.floats(0, 5000), st.integers(0, 30), st.booleans(), st.floats(0, 0.999))
    def test_always(self, now: float, number: int, warned: bool, chance: float) -> None:
        """Whatever comes, the next attempt is later than now and no later than the end."""
        following = at(now, number, warned, chance).next_attempt
        if now >= 3600:
            self.assertIsNone(following)
        else:
            self.assertTrue(now < following <= 3600)
