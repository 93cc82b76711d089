"""The table of attacks names tests that exist."""

from __future__ import annotations

import importlib
import re

from twisted.trial.unittest import SynchronousTestCase

import tests.hostile

_NAME = re.compile(r"\b([a-z0-9]+\.test_\w+)\.(\w+)(?:\.(test_\w+))?")


class TableTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Every test of the table is there under its name."""
        assert tests.hostile.__doc__ is not None
        named = _NAME.findall(tests.hostile.__doc__)
        self.assertGreater(len(named), 60)
        missing = []
        for module, case, method in named:
            found = getattr(importlib.import_module(f"tests.{module}"), case, None)
            if found is None or (method and not hasattr(found, method)):
                missing.append(f"{module}.{case}.{method}")
        self.assertEqual(missing, [])

    def test_lines(self) -> None:
        """Every class of the table has a test."""
        assert tests.hostile.__doc__ is not None
        entries = re.split(r"(?m)^ (?=F?\d+ )", tests.hostile.__doc__)[1:]
        self.assertGreater(len(entries), 40)
        for entry in entries:
            self.assertRegex(entry, _NAME)
