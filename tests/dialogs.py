"""Transcripts as tests: a folder of text files that read like the dialogues in an RFC.

A file holds one dialogue. Lines:

    # anything                 a comment
    C: MAIL FROM:<a@b.test>    what the client sends, with CRLF; lines that follow each other leave
    in one write
    C> partial                 the same without CRLF
    S: 250 2.1.0 ok            what the server answers, a line; "*" in it stands for anything
    S! closed                  the server closes the connection
    --                         the client's writes before and after are two

Escapes in C and S lines: \\r \\n \\t \\0 \\xNN \\\\ and \\* for a star itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Turn:
    """What the client writes, and the lines that the server must answer to it."""

    writes: tuple[bytes, ...]
    answers: tuple[str, ...]
    closed: bool


@dataclass(frozen=True)
class Dialog:
    name: str
    turns: tuple[Turn, ...]


def load(folder: Path) -> Iterator[Dialog]:
    """Every dialogue in a folder; an empty folder is an error, so that a moved one does not pass unseen."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise AssertionError(f"no dialogues in {folder}")
    for file in files:
        yield Dialog(file.stem, tuple(_turns(file)))


def _unescape(text: str) -> bytes:
    return re.sub(
        rb"\\(x[0-9a-fA-F]{2}|.)",
        lambda m: (
            bytes([int(m[1][1:], 16)])
            if len(m[1]) == 3
            else {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}.get(m[1], m[1])
        ),
        text.encode(),
    )


def _turns(file: Path) -> Iterator[Turn]:
    writes: list[bytes] = []
    answers: list[str] = []
    closed = split = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        kind, text = line[:2], line[3:]
        if not line or kind.startswith("#"):
            continue
        if kind in ("C:", "C>") and (answers or closed):
            yield Turn(tuple(writes), tuple(answers), closed)
            writes, answers, closed, split = [], [], False, False
        if kind == "--":
            split = True
        elif kind in ("C:", "C>"):
            data = _unescape(text) + (b"\r\n" if kind == "C:" else b"")
            if writes and not split:
                writes[-1] += data
            else:
                writes.append(data)
            split = False
        elif kind == "S:":
            answers.append(text)
        elif line == "S! closed":
            closed = True
        else:
            raise AssertionError(f"{file.name}:{number}: neither C:, C>, S:, S! nor #: {line!r}")
    yield Turn(tuple(writes), tuple(answers), closed)


def _matches(pattern: str, line: bytes) -> bool:
    parts = re.split(r"(?<!\\)\*", pattern)
    return re.fullmatch(b".*".join(re.escape(_unescape(p)) for p in parts), line, re.DOTALL) is not None


def play(
    dialog: Dialog,
    exchange: Callable[[bytes], bytes],
    closed: Callable[[], bool],
    piece: int | None = None,
) -> None:
    """Play a dialogue against `exchange`, which takes octets and gives what was answered to them.

    The first call is with b"" and gives the greeting. With `piece` every write is cut into pieces
    of that many
    octets: 1 shows that nothing depends on where the network cuts.
    """
    for turn in dialog.turns:
        where = f"{dialog.name}: after {turn.writes!r}"
        got = b"" if turn.writes else exchange(b"")
        for write in turn.writes:
            step = piece or len(write)
            for start in range(0, len(write), step):
                got += exchange(write[start : start + step])
        lines = got.split(b"\r\n")
        if lines.pop() != b"":
            raise AssertionError(f"{dialog.name}: an answer that does not end in CRLF: {got!r}")
        for expected, line in zip(turn.answers, lines, strict=False):
            if not _matches(expected, line):
                raise AssertionError(
                    f"{dialog.name}: after {turn.writes!r} expected {expected!r}, got {line!r}"
                )
        if len(lines) != len(turn.answers):
            raise AssertionError(
                f"{dialog.name}: after {turn.writes!r} expected {turn.answers!r}, got {lines!r}"
            )
        if turn.closed != closed():
            raise AssertionError(f"{where} closed is {closed()}")
