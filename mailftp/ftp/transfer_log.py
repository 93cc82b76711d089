"""A line for each transfer in a file of its own, as xferlog(5) or as JSON, for what reads such files already.

Lines are gathered while one is written, on a file thread. The file is opened for each, so that whoever
rotates it needs to tell nobody.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailftp.files.threads import Runner
from mailftp.ftp.events import Event, FileWatcher, What
from mailftp.wire.journal import Journal

#: xferlog's fields stand between spaces.
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")
#: Lines that wait for a disk that takes none; then they are lost, and the log says so.
_MOST = 10_000


def xferlog(event: Event, now: float) -> str:
    """xferlog(5): time, seconds, host, octets, name, type, action, direction, access, user, service,
    authentication, its user, and whether it is complete."""
    direction = {What.UPLOADED: "i", What.DOWNLOADED: "o", What.DELETED: "d"}.get(
        event.what, "i" if event.direction == "up" else "o"
    )
    access = "a" if event.account == "anonymous" else "r"
    fields = (
        time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(now)),
        str(max(0, round(event.seconds))),
        str(event.peer.address or "local"),
        str(event.octets),
        _UNFIT.sub("_", "/" + "/".join(event.path)),
        "b",
        "_",
        direction,
        access,
        _UNFIT.sub("_", event.account),
        event.service,
        "0",
        "*",
        "i" if event.what is What.FAILED else "c",
    )
    return " ".join(fields) + "\n"


def as_json(event: Event, now: float) -> str:
    """One object; every character that could end a line is escaped."""
    members = {
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "event": event.what.value,
        "account": event.account,
        "peer": str(event.peer.address or "local"),
        "service": event.service,
        "context": event.context,
        "path": "/" + "/".join(event.path),
        "octets": event.octets,
        "seconds": round(event.seconds, 3),
    }
    if event.what is What.FAILED:
        members |= {"direction": event.direction, "reason": event.reason}
    return json.dumps(members) + "\n"


class TransferLog(FileWatcher):
    """A watcher that writes."""

    def __init__(self, file: Path, form: str, threads: Runner) -> None:
        self._file, self._threads = file, threads
        self._line = xferlog if form == "xferlog" else as_json
        self._journal = Journal("transfer-log")
        self._waiting: list[str] = []
        self._writing = False
        self._finishing: list[Deferred[None]] = []

    def _note(self, event: Event) -> None:
        if len(self._waiting) >= _MOST:
            self._journal.warn("transfer log behind", lost=len(self._waiting))
            self._waiting.clear()
        self._waiting.append(self._line(event, time.time()))
        if not self._writing:
            self._write()

    uploaded = downloaded = failed = deleted = _note

    def finish(self) -> Deferred[None]:
        """Fires when nothing waits to be written."""
        done: Deferred[None] = Deferred()
        self._finishing.append(done)
        if not self._writing:
            self._write()
        return done

    def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        self._writing = bool(lines)
        if not lines:
            finishing, self._finishing = self._finishing, []
            for one in finishing:
                one.callback(None)
        else:
            octets = "".join(lines).encode("utf-8", "backslashreplace")
            self._threads.run(lambda: self._append(octets)).addErrback(self._failed).addCallback(
                lambda _: self._write()
            )

    def _append(self, octets: bytes) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            while octets:
                octets = octets[os.write(descriptor, octets) :]
        finally:
            os.close(descriptor)

    def _failed(self, failure: Failure) -> None:
        self._journal.warn(
            "transfer log not written", file=str(self._file), reason=failure.getErrorMessage()[:200]
        )
