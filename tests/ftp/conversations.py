"""Transcripts with data connections: what a client and the server say on both, from login to QUIT.

Lines of a file:

    # anything             a comment
    F: name = octets       a file that is in alice's home before; a name that ends in "/" is a folder
    C: RETR f              what the client sends; lines that follow each other leave in one write
    S: 226 *               what the server answers to them, a line
    D+                     the client connects to the port that PASV or its kin told, or takes the call that
                           PORT asked for
    D> octets              the client sends them on the data connection
    D| (nothing)           and closes it
    D< octets              the server has sent them and closed; "*" stands for anything
    H: name = octets       what is in alice's home afterwards; "H: name -" for what is not there
    S! closed              the server closes the control connection

Escapes are those of tests.dialogs, whose lines C and S these are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.connector import Client, connect
from tests.dialogs import _matches, _unescape


class Conversation:
    """One file, played against a `MemoryCase`."""

    def __init__(self, case: Any, file: Path) -> None:
        self.case, self.file = case, file
        self.data: Client | None = None
        #: Answers that no S line has claimed.
        self.lines: list[bytes] = []
        self.partial = b""
        self.unsent = b""

    def play(self) -> None:
        self._hear()
        for number, line in enumerate(self.file.read_text(encoding="utf-8").splitlines(), 1):
            self.where = f"{self.file.name}:{number}: {line}"
            if line and not line.startswith("#"):
                self._line(line[:2], line[3:])
        self._say()
        if self.lines:
            raise AssertionError(f"{self.file.name}: more answers at the end: {self.lines!r}")

    def _line(self, kind: str, text: str) -> None:
        if kind == "C:":
            self.unsent += _unescape(text) + b"\r\n"
            return
        self._say()
        if kind == "F:":
            self._file(text)
        elif kind == "S:":
            self._answer(text)
        elif kind == "S!":
            self.case.assertTrue(self.case.client.closed, self.where)
        elif kind == "H:":
            self._home(text)
        elif kind.startswith("D"):
            self._on_data(kind[1], text)
        else:
            raise AssertionError(f"no such line: {self.where}")

    def _say(self) -> None:
        data, self.unsent = self.unsent, b""
        if data:
            self.case.client.send(data)
        self._hear()

    def _hear(self) -> None:
        for _ in range(4):
            self.case.clock.advance(0.002)
            for one in self.case.data_clients:
                one.pump()
            *lines, self.partial = (self.partial + self.case.client.received()).split(b"\r\n")
            self.lines += lines

    def _answer(self, pattern: str) -> None:
        if not self.lines:
            raise AssertionError(f"nothing is answered: {self.where}")
        line = self.lines.pop(0)
        if not _matches(pattern, line):
            raise AssertionError(f"{self.where}, and not {line!r}")

    def _file(self, text: str) -> None:
        name, _, content = f"{text} ".partition(" = ")
        content = content.removesuffix(" ")
        path = self.case.home / _unescape(name).decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(_unescape(content))

    def _home(self, text: str) -> None:
        name, equals, content = text.partition(" = ")
        if not equals:
            self.case.assertFalse((self.case.home / name.removesuffix(" -")).exists(), self.where)
        else:
            found = (self.case.home / _unescape(name).decode()).read_bytes()
            self.case.assertTrue(_matches(content, found), f"{self.where}, and not {found!r}")

    def _on_data(self, kind: str, text: str) -> None:
        if kind == "+":
            self._connect()
            return
        assert self.data is not None, self.where
        if kind == ">":
            self.data.send(_unescape(text))
        elif kind == "|":
            self.data.end()
        elif kind == "<":
            found = self.data.received()
            if not _matches(text, found):
                raise AssertionError(f"{self.where}, and not {found!r}")
            self.case.assertTrue(self.data.closed, self.where)
        self._hear()

    def _connect(self) -> None:
        calls = [call for call in self.case.network.calls if not call.given_up]
        if calls and calls[-1] is not getattr(self, "_called", None):
            self._called = calls[-1]
            self.data = connect(
                calls[-1].caller,
                peer=(calls[-1].host, calls[-1].port),
                host=self.case.host,
                clock=self.case.clock,
            )
            self.case.data_clients.append(self.data)
        else:
            self.data = self.case.arrive()


def conversations(folder: Path) -> list[Path]:
    """The files of a folder; one without any is an error, so that a moved one does not pass unseen."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise AssertionError(f"no conversations in {folder}")
    return files
