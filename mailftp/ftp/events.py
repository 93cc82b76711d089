"""What an application may hear of files: a call for each login, upload, download, and change.

Each call comes when the thing has happened: an upload when the file has its name (and is on the disk, with
`ftp.durable`). Nobody waits for what is called, and a fault of it is its own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from mailftp.files.home import IHome, Path
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer


class What(enum.Enum):
    """What happened; the values are the names of the methods of IFileWatcher."""

    LOGIN = "login"
    LOGOUT = "logout"
    UPLOADED = "uploaded"
    DOWNLOADED = "downloaded"
    #: A transfer that was cut, or refused after it had begun.
    FAILED = "failed"
    RENAMED = "renamed"
    COPIED = "copied"
    DELETED = "deleted"
    FOLDER_MADE = "folder_made"
    FOLDER_REMOVED = "folder_removed"


@dataclass(frozen=True, slots=True)
class Event:
    what: What
    #: The full login name; "anonymous".
    account: str
    peer: Peer
    #: "ftp" or "ftps", and the context under which the log has this session.
    service: str
    context: str
    #: The account's home: what was uploaded can be read from it.
    home: IHome
    path: Path = ()
    #: The new name, or the name of the copy.
    to: Path | None = None
    #: Of a transfer: octets that moved on the wire, and seconds that it took.
    octets: int = 0
    seconds: float = 0.0
    #: Of a transfer that failed: "up" or "down", and why.
    direction: str = ""
    reason: str = ""


class IFileWatcher(Interface):
    """A method for each kind of event. What it gives back is waited for by nobody; a Deferred that fails, and
    an exception, are logged."""

    def login(event: Event) -> object: ...

    def logout(event: Event) -> object: ...

    def uploaded(event: Event) -> object:
        """The file is whole and has its name, `event.path`."""

    def downloaded(event: Event) -> object: ...

    def failed(event: Event) -> object: ...

    def renamed(event: Event) -> object: ...

    def copied(event: Event) -> object: ...

    def deleted(event: Event) -> object: ...

    def folder_made(event: Event) -> object: ...

    def folder_removed(event: Event) -> object: ...


@implementer(IPlugin, IFileWatcher)
class FileWatcher:
    """A watcher that is not interested; one's own overrides what it wants."""

    def login(self, event: Event) -> object:
        return None

    def logout(self, event: Event) -> object:
        return None

    def uploaded(self, event: Event) -> object:
        return None

    def downloaded(self, event: Event) -> object:
        return None

    def failed(self, event: Event) -> object:
        return None

    def renamed(self, event: Event) -> object:
        return None

    def copied(self, event: Event) -> object:
        return None

    def deleted(self, event: Event) -> object:
        return None

    def folder_made(self, event: Event) -> object:
        return None

    def folder_removed(self, event: Event) -> object:
        return None


class Counters:
    """How much of everything there was since the server started; for all of its FTP services."""

    def __init__(self) -> None:
        self.counts = {each.value: 0 for each in What}
        self.octets = {"uploaded": 0, "downloaded": 0}

    def note(self, event: Event) -> None:
        self.counts[event.what.value] += 1
        if event.what.value in self.octets:
            self.octets[event.what.value] += event.octets

    def as_json(self) -> dict[str, int]:
        """A flat table of numbers that only grow."""
        return {**self.counts, **{f"{name}_octets": octets for name, octets in self.octets.items()}}


class Watchers:
    """All that are interested."""

    def __init__(self, watchers: Sequence[object] = ()) -> None:
        self._watchers = tuple(watchers)
        #: Our own, by the settings.
        self.own: tuple[object, ...] = ()
        self.counters = Counters()

    def tell(self, event: Event) -> None:
        self.counters.note(event)
        for watcher in (*self.own, *self._watchers):
            try:
                answer = getattr(watcher, event.what.value)(event)
            except Exception:
                _failed(Failure(), event)  # type: ignore[no-untyped-call]  # upstream
            else:
                if isinstance(answer, Deferred):
                    answer.addErrback(_failed, event)


def _failed(failure: Failure, event: Event) -> None:
    journal = Journal(event.context)
    journal.fault("file watcher failed", failure, what=event.what.value)
