"""A folder as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from mailftp.files.home import Entry, Kind, Path
from mailftp.web.conditions import Validators
from mailftp.web.files.paths import shown_name, written

#: The years 1 and 9999.
_FIRST, _LAST = -62135596800, 253402300799


def row(folder: Path, entry: Entry) -> dict[str, object]:
    """What is told of a name. `path` is the one to use: `name` is for people, and two names that are not
    UTF-8 may look the same. Of an upload that was cut and nothing else, `kind` is "part"."""
    is_folder = entry.kind is Kind.FOLDER
    path = (*folder, entry.name) if entry.name else folder
    told: dict[str, object] = {
        "name": shown_name(entry.name),
        "path": written(path, is_folder),
        "kind": entry.kind.value if entry.whole else "part",
        "modified": instant(entry.modified),
    }
    if not is_folder and entry.whole:
        told["size"] = entry.size
        told["etag"] = Validators.of(entry.unique, entry.size, entry.modified).tag
    if entry.arrived is not None:
        told["arrived"] = entry.arrived
    return told


def instant(seconds: float) -> str:
    """UTC with milliseconds (RFC 3339)."""
    # A disk may hold what a client gave by MFMT or what a broken clock left: a year that no date has.
    time = datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def opening(path: Path) -> bytes:
    """The beginning of a listing; its entries and `CLOSING` follow."""
    return f'{{"path":{json.dumps(written(path, folder=True))},"entries":['.encode()


def rows(path: Path, entries: Iterable[Entry]) -> bytes:
    """Some of the entries, a comma between each two; b"" where none of them shows. Cut uploads of which
    nothing else is there are left out, as in every listing."""
    texts = [
        json.dumps(row(path, entry), ensure_ascii=False, separators=(",", ":"))
        for entry in entries
        if entry.whole
    ]
    return ",".join(texts).encode()


CLOSING = b"]}\n"
