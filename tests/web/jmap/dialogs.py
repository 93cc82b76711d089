"""Transcripts of JMAP as tests: a folder of text files, each a dialogue.

    # anything                          a comment
    X: words                            the test does something: its method do_<first word>, with the others
    C: Core/echo {"hello": [1, 2]}      a method call; those that follow each other are one request
    S: Core/echo {"hello": "*"}         the responses, in their order

JSON goes on in lines that begin with a space. "accountId" is put in where it is not said; a call's id is its
number. In strings of what is answered "*" stands for anything and "$name" for a value that is kept, or
compared where it is known already; of what is asked, "$name" is that value. {"...": 0} lets more members be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Turn:
    actions: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    answers: list[tuple[str, Any]] = field(default_factory=list)


@dataclass
class Dialog:
    name: str
    turns: list[Turn]


def load(folder: Path, name: str = "*") -> Iterator[Dialog]:
    files = sorted(folder.glob(f"{name}.txt"))
    if not files:
        raise AssertionError(f"no dialogues in {folder}")
    for file in files:
        yield Dialog(file.stem, _turns(file))


def _turns(file: Path) -> list[Turn]:
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            lines[-1] += "\n" + line
        elif line and not line.startswith("#"):
            lines.append(line)
    turns = [Turn()]
    for line in lines:
        kind, text = line[:3], line[3:]
        if kind != "S: " and turns[-1].answers:
            turns.append(Turn())
        turn = turns[-1]
        if kind == "X: ":
            turn.actions.append(text)
            continue
        name, _, given = text.partition(" ")
        try:
            read = (name, json.loads(given))
        except ValueError as fault:
            raise AssertionError(f"{file.name}: {line}: {fault}") from None
        {"C: ": turn.calls, "S: ": turn.answers}[kind].append(read)
    return turns


def play(
    dialog: Dialog,
    account_id: str,
    ask: Callable[[list[list[Any]]], list[Any]],
    act: Callable[[str], None],
    there: Callable[[], dict[str, str]],
) -> None:
    """`there` are values that have a name of their own."""
    known: dict[str, Any] = {"account": account_id}
    for turn in dialog.turns:
        for action in turn.actions:
            act(action)
        known.update(there())
        calls = [
            [
                name,
                _filled({"accountId": account_id, **given} if name != "Core/echo" else given, known),
                str(at),
            ]
            for at, (name, given) in enumerate(turn.calls)
        ]
        if not calls:
            continue
        answers = ask(calls)
        where = f"{dialog.name}: {json.dumps(calls)[:500]}\nanswered {json.dumps(answers, indent=1)}"
        if [name for name, *_ in answers] != [name for name, _ in turn.answers]:
            raise AssertionError(f"{where}\nother responses than {[name for name, _ in turn.answers]}")
        for (name, told, _), (_, wanted) in zip(answers, turn.answers, strict=True):
            if name != "error" and name != "Core/echo":
                wanted = {"accountId": account_id, **wanted}
            compare(told, wanted, known, where)


def _filled(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("$") and value[1:] in known:
        return known[value[1:]]
    if isinstance(value, str) and "/$" in value:
        # The last step of a patch's path.
        path, _, name = value.rpartition("/$")
        return f"{path}/{known[name]}" if name in known else value
    if isinstance(value, list):
        return [_filled(each, known) for each in value]
    if isinstance(value, dict):
        return {_filled(key, known): _filled(each, known) for key, each in value.items()}
    return value


def compare(told: Any, wanted: Any, known: dict[str, Any], where: str) -> None:
    """Raises AssertionError."""
    if wanted == "*":
        return
    if isinstance(wanted, str) and wanted.startswith("$"):
        if known.setdefault(wanted[1:], told) != told:
            raise AssertionError(f"{where}\n{told!r} is not {wanted}, {known[wanted[1:]]!r}")
    elif isinstance(wanted, dict) and isinstance(told, dict):
        wanted = {_filled(key, known): value for key, value in wanted.items()}
        more = "..." in wanted
        wanted.pop("...", None)
        if not wanted.keys() <= told.keys() or not more and wanted.keys() != told.keys():
            raise AssertionError(f"{where}\n{sorted(told)} is not {sorted(wanted)}")
        for key, value in wanted.items():
            compare(told[key], value, known, f"{where}\n{key}:")
    elif isinstance(wanted, list) and isinstance(told, list):
        if len(wanted) != len(told):
            raise AssertionError(f"{where}\n{told!r} is not {wanted!r}")
        for each, value in zip(told, wanted, strict=True):
            compare(each, value, known, where)
    elif told != wanted or isinstance(told, bool) != isinstance(wanted, bool):
        raise AssertionError(f"{where}\n{told!r} is not {wanted!r}")
