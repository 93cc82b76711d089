"""What a listing looks like on a terminal. Nothing that somebody else sent can move its cursor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mailftp.operation.log_lines import escaped


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns, two spaces apart; ends in a line end."""
    cells = [list(head), *([escaped(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def amount(octets: int) -> str:
    """Octets for people: "12.3 MB"."""
    if octets < 1000:
        return f"{octets} B"
    size, units = octets / 1000, ["kB", "MB", "GB", "TB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def when(moment: float) -> str:
    """A time for people, in this machine's zone."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
