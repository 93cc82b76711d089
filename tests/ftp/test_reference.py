"""The pages about FTP say what the code does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.ftp.commands import COMMANDS
from mailftp.ftp.reference import feature_lines, origin, render

DOCS = Path(__file__).parents[2] / "docs"

#: What a server has without a word in FEAT: RFC 959, 775, 1123, 2389, and those whose line is another's.
UNSAID = frozenset(
    "ABOR ACCT ALLO APPE CDUP CWD DELE FEAT HELP LIST MKD MODE NLST NOOP OPTS PASS PASV P@SW PORT PWD QUIT"
    " REIN RETR RMD RNFR RNTO SITE SMNT STAT STOR STOU STRU SYST TYPE USER XCUP XCWD XMKD XPWD XRMD"
    # FEAT says REST STREAM, and MLST for both; RFC 1639 is older than FEAT.
    " MLSD LPRT LPSV".split()
)
#: Lines that are no command of their own.
NO_COMMANDS = frozenset({"TVFS", "UTF8"})


class Commands(SynchronousTestCase):
    def test_page(self) -> None:
        """docs/reference/ftp.rst is what the table of commands makes today."""
        page = DOCS / "reference" / "ftp.rst"
        self.assertEqual(page.read_text(), render(), "python -m mailftp.ftp.reference docs/reference/ftp.rst")

    def test_origins(self) -> None:
        """Each says the section of the RFC or draft that it is of, or that there is none."""
        for name, command in COMMANDS.items():
            self.assertRegex(origin(command), r"RFC \d+ (section|appendix) |draft-|(?i:in no RFC)", name)

    def test_features(self) -> None:
        """RFC 2389 section 3.2: FEAT has a line for each command that is an extension, and none for what is
        not there."""
        said = {line.split()[0] for line in feature_lines()}
        self.assertEqual(said - NO_COMMANDS - COMMANDS.keys(), set())
        self.assertEqual(COMMANDS.keys() - said - UNSAID, set())
        self.assertEqual(UNSAID & said - {"MODE", "SITE"}, set())


class Peers(SynchronousTestCase):
    def test_features(self) -> None:
        """Each row of the table of features names a test that is there, or says that we do not have it, and
        why."""
        text = (DOCS / "explanation" / "ftp.rst").read_text()
        rows = re.findall(r"(?m)^   \* - (.+)\n     - (.+)\n     - (.+)$", text)
        self.assertEqual(len(rows), text.count("   * - "))
        self.assertGreater(len(rows), 60)
        for feature, _, shown in rows:
            if feature == "feature" or shown.startswith("no: "):
                continue
            names = re.findall(r"``([a-z0-9_.]+?)(?:\.([A-Z]\w+)(?:\.(test_\w+))?)?``", shown)
            self.assertTrue(names, feature)
            for module, case, method in names:
                found = importlib.import_module(f"tests.{module}")
                for name in filter(None, (case, method)):
                    found = getattr(found, name, None)
                self.assertIsNotNone(found, (feature, shown))
