"""What the far side says: replies put together line by line, and the dialogue kept for the operator.

A far side is a stranger: its lines, their number and every octet in them are bounded here, so that nothing
it says can fill the memory, forge a line of the log or reach a terminal.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

#: RFC 5321 section 4.5.3.1.5 has 512; four times that for the talkative.
LINE_LIMIT = 2048
LINES_LIMIT = 100
TEXT_LIMIT = 1000
DIALOGUE_LIMIT = 64 * 1024

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245])\.[0-9]{1,3}\.[0-9]{1,3}(?=\s|$)", re.ASCII)


class ReplyFault(Exception):
    """What came is no reply of SMTP; the text says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the far side; `text` has its lines joined by a space, at most 1,000 characters,
    printable."""

    code: int
    #: RFC 3463 "5.1.1", or "" when it gave none.
    status: str
    text: str

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.status, self.text)))


@dataclass(frozen=True, slots=True)
class ReplyLines:
    """A reply as its lines, for EHLO, where each is a keyword."""

    code: int
    lines: tuple[str, ...]

    def joined(self) -> Reply:
        """RFC 2034 section 4: the status leads each line, and its class is that of the code."""
        status, texts = "", []
        for line in self.lines:
            found = _STATUS.match(line)
            if found and found[1] == str(self.code)[0]:
                status = status or found[0]
                line = line[found.end() :]
            texts.append(line.strip())
        return Reply(self.code, status, " ".join(filter(None, texts))[:TEXT_LIMIT])


def printable(octets: bytes) -> str:
    """UTF-8 where it is that; what a terminal or a log would act on becomes a question mark."""
    text = octets.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class ReplyReader:
    """RFC 5321 section 4.2.1: lines of one code, all but the last with a hyphen behind it."""

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[str] = []
        self._code = 0

    @property
    def pending(self) -> bool:
        """Octets came that are not part of a reply given out yet."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> ReplyLines | None:
        """The next whole reply, or None. Raises ReplyFault. A line may end in LF alone, as some hosts
        have it: nothing is decided here by which end it is."""
        while True:
            end = self._buffer.find(b"\n", 0, LINE_LIMIT)
            if end < 0:
                if len(self._buffer) >= LINE_LIMIT:
                    raise ReplyFault(f"a reply line of more than {LINE_LIMIT} octets")
                return None
            line, self._buffer = self._buffer[:end].removesuffix(b"\r"), self._buffer[end + 1 :]
            whole = self._take(line)
            if whole is not None:
                return whole

    def _take(self, line: bytes) -> ReplyLines | None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise ReplyFault(f"not an SMTP reply: {printable(line[:200])}")
        code = int(match[1])
        if self._lines and code != self._code:
            raise ReplyFault(f"a reply with two codes, {self._code} and {code}")
        self._code = code
        self._lines.append(printable(match[3] or b""))
        if match[2] == b"-":
            if len(self._lines) >= LINES_LIMIT:
                raise ReplyFault(f"a reply of more than {LINES_LIMIT} lines")
            return None
        lines, self._lines = tuple(self._lines), []
        return ReplyLines(code, lines)


class Dialogue:
    """ "C: ..." and "S: ..." lines, at most 64 KiB: the first half is kept as it is, of the rest the last."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque()
        self._first_size = self._last_size = 0
        self._cut = False

    def add(self, who: str, text: str) -> None:
        line = f"{who}: {text}"
        size = len(line.encode("utf-8", "replace")) + 1
        if not self._last and self._first_size + size <= DIALOGUE_LIMIT // 2:
            self._first.append(line)
            self._first_size += size
            return
        self._last.append(line)
        self._last_size += size
        # Some octets of the half are for the line that says what is missing.
        while self._last_size > DIALOGUE_LIMIT // 2 - 100 and len(self._last) > 1:
            self._last_size -= len(self._last.popleft().encode("utf-8", "replace")) + 1
            self._cut = True

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # everything here is state of one dialogue

    def __str__(self) -> str:
        missing = ["[lines left out]"] if self._cut else []
        return "\n".join([*self._first, *missing, *self._last])
