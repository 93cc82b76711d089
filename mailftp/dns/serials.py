"""The serial of each zone that we serve: it grows whenever the zone's content changes, and at no other time.

Kept in a small file for each zone, so that a restart neither takes it back (secondaries would stay with what
they have) nor raises it (they would fetch the same again).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_KEPT = re.compile(r"([0-9]{1,10}) ([0-9a-f]{64})\n", re.ASCII)
_TOP = 1 << 32


def next_serial(kept: int | None, least: int, day: int) -> int:
    """The serial of changed content after `kept`: the day's first (RFC 1912 section 2.2), or one more where
    that is not newer, and not older than `least`, an operator's own, or 0. `day` is YYYYMMDD."""
    serial = day * 100
    if kept is not None and not newer(serial, kept):
        serial = (kept + 1) % _TOP or 1
    if least and newer(least, serial):
        serial = least
    return serial


def newer(one: int, other: int) -> bool:
    """RFC 1982 section 3.2: serials go round."""
    return one != other and 0 < (one - other) % _TOP < 1 << 31


class Serials:
    """Those of one folder. Blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, zone: str, content: str, least: int, day: int, *, keep: bool) -> int:
        """The serial for `content`, the zone without its serial. With `keep` it is noted. Raises OSError."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        kept, known = self._read(zone)
        if known == digest and kept is not None and not (least and newer(least, kept)):
            return kept
        serial = next_serial(kept, least, day)
        if keep:
            self._write(zone, f"{serial} {digest}\n")
        return serial

    def _read(self, zone: str) -> tuple[int | None, str]:
        try:
            match = _KEPT.fullmatch((self._folder / f"{zone}.serial").read_text("ascii", "replace")[:200])
        except FileNotFoundError:
            match = None
        return (int(match[1]) % _TOP, match[2]) if match else (None, "")

    def _write(self, zone: str, text: str) -> None:
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        file, fresh = self._folder / f"{zone}.serial", self._folder / f"{zone}.serial.new"
        with fresh.open("w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
