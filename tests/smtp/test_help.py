"""HELP says something of each command, and fits in a reply."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.smtp.help import OVERVIEW, TOPICS
from mailftp.smtp.session import VERBS


class HelpTests(SynchronousTestCase):
    def test_every_command(self) -> None:
        """A topic for each verb that is served, and no other; the overview names all but LMTP's own."""
        self.assertEqual(TOPICS.keys(), VERBS.keys())
        self.assertEqual(set(OVERVIEW.splitlines()[0].split()[1:]), VERBS.keys() - {"LHLO"})
        for verb, text in TOPICS.items():
            self.assertEqual(text.split()[0], verb)
            self.assertTrue(all(0 < len(line) < 480 and line.isascii() for line in text.splitlines()), verb)
