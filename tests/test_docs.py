"""The reference pages say what the code does: each RFC that it names, event that it logs, and command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli.command import Command
from mailftp.operation import admin
from mailftp.tap import Options as TwistdOptions

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted((ROOT / "mailftp").rglob("*.py"))

#: Options that Twisted gives to every command.
_EVERYWHERE = {"help", "version"}


def page(name: str) -> str:
    return (ROOT / "docs/reference" / name).read_text(encoding="utf-8")


def listed(name: str, pattern: str) -> set[str]:
    return set(re.findall(pattern, page(name)))


def recorded() -> Iterator[tuple[str, str, list[str | None]]]:
    """(event, file, names of fields; None stands for a mapping) of each call of a journal."""
    for file in CODE:
        where = str(file.relative_to(ROOT))
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            first = call.args[0]
            if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
                continue
            called, fields = call.func, [keyword.arg for keyword in call.keywords]
            journal = isinstance(called, ast.Attribute) and ast.unparse(called.value).endswith("journal")
            # A method of the journal under a name of its own, chosen by the level.
            chosen = isinstance(called, ast.Name) and called.id == "note"
            if journal or chosen:
                yield first.value, where, fields
    for operation in admin.OPERATIONS.keys() - admin._READS:
        yield operation, "mailftp/operation/admin.py", []


def commands(options: Any = Command, name: str = "") -> Iterator[tuple[str, Any]]:
    """(words, options) of each command that does something."""
    for word, _, inner, _ in options.subCommands:
        whole = f"{name} {word}".strip()
        if inner.subCommands:
            yield from commands(inner, whole)
        else:
            yield whole, inner()


class ReferenceTests(SynchronousTestCase):
    def test_every_rfc_of_the_code_is_in_the_table(self) -> None:
        """The table has a row for each RFC that a comment or docstring cites, and for no other."""
        cited: dict[str, str] = {}
        for file in CODE:
            for words in re.findall(r"RFCs? (\d{3,5}(?:(?:, | and | to |/)\d{3,5})*)", file.read_text()):
                for number in re.findall(r"\d+", words):
                    cited.setdefault(number, str(file.relative_to(ROOT)))
        table = listed("rfc.rst", r"(?m)^   \* - (\d{3,5})$")
        self.assertEqual({n: where for n, where in cited.items() if n not in table}, {})
        self.assertEqual(table - cited.keys(), set())

    def test_rows_of_the_rfcs_are_whole(self) -> None:
        """Each says Yes or Partly, and what is done in part says how far."""
        rows = re.findall(
            r"(?m)^   \* - (\d+)\n     - (.+)\n     - (.+)\n     -(.*)\n     - ``.+``$", page("rfc.rst")
        )
        self.assertEqual(len(rows), page("rfc.rst").count("   * - ") - 1)
        for number, _, done, note in rows:
            self.assertIn(done, ("Yes", "Partly"), number)
            self.assertTrue(done == "Yes" or note.strip(), number)

    def test_every_event_of_the_code_is_in_the_table(self) -> None:
        """An operator finds each line that the log can hold."""
        events = {event: where for event, where, _ in recorded()}
        self.assertGreater(len(events), 50)
        table = listed("log.rst", r"(?m)^   \* - ``([^`]+)``$")
        self.assertEqual({e: where for e, where in events.items() if e not in table}, {})
        self.assertEqual(table - events.keys(), set())

    def test_every_field_of_an_event_is_in_its_row(self) -> None:
        """What an event brings is named beside it."""
        rows = dict(re.findall(r"(?m)^   \* - ``([^`]+)``\n     - .+\n     -(.*)$", page("log.rst")))
        for event, where, fields in recorded():
            named = re.findall(r"``([^`]+)``", rows[event])
            for field in fields:
                if field is not None:
                    self.assertIn(field, named, f"{event} in {where}")

    def test_every_command_is_on_the_page(self) -> None:
        """Each command has a section, with each of its options, and nothing more."""
        text = page("commands.rst")
        sections = dict(re.findall(r"(?m)^mailftp (.+)\n-+\n((?:.*\n)*?)(?=^\S.*\n-+\n|\Z)", text))
        there = dict(commands())
        self.assertEqual(sections.keys(), there.keys())
        for name, options in there.items():
            known = {option.rstrip("=") for option in options.longOpt} - _EVERYWHERE
            told = set(re.findall(r"--([a-z][a-z-]*)", sections[name]))
            self.assertEqual(told, known, name)

    def test_the_options_of_twistd_are_on_the_page(self) -> None:
        """And those of the plugin."""
        text = page("commands.rst")
        for option in TwistdOptions().longOpt:  # type: ignore[no-untyped-call]  # untyped upstream
            if option.rstrip("=") not in _EVERYWHERE:
                self.assertIn(f"--{option.rstrip('=')}", text)
