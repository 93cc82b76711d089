"""Listings that were made before: of a large folder the lines are kept, and only those of names that changed
are made again.

Never stale: the folder is watched (mailftp.files.watches) from before it is read, and whoever asks first has
what changed since looked at anew. What a watch on a folder does not tell is looked at each time: its folders,
whose times change with what is in them, and files that have another name elsewhere. Ten seconds after a
listing was made as a whole it is made as a whole again, for the one thing that nobody tells: a file that got
its second name since, in another folder, and is written to by that one.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock

from mailftp.files.home import Entry, Rendering
from mailftp.files.watches import Watches

#: A folder with fewer names is listed faster than it is remembered; one with more is sent while it is read.
LEAST, MOST = 200, 20_000
#: Folders that are remembered, and octets of all their listings.
FOLDERS, OCTETS = 64, 64 * 1024 * 1024
#: Seconds after which a listing is made as a whole again.
WHOLE = 10.0

#: What a name looks like now; None when it is gone or does not show.
Looked = tuple[os.stat_result, Entry] | None
Look = Callable[[bytes], Looked]


@dataclass(slots=True)
class _Listing:
    """One folder for one kind of reader. `dirty` names are to be looked at again."""

    watch: int | None
    made: float
    until: float
    order: list[bytes]
    lines: dict[bytes, str]
    #: What the watch does not tell of, with what it looked like.
    restless: dict[bytes, tuple[int, ...]]
    dirty: set[bytes] = field(default_factory=set)
    octets: bytes = b""


Key = tuple[int, int, Hashable]


class Remembered:
    """For all homes of a server; called on file threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._watches = Watches()
        self._listings: OrderedDict[Key, _Listing] = OrderedDict()
        #: Those that are being read: what changes meanwhile is theirs too.
        self._making: list[_Listing] = []

    def listing(
        self, folder: int, rendering: Rendering, names: Callable[[], Iterable[bytes]], look: Look
    ) -> bytes | None:
        """The whole listing; None when the folder is too large for that. `names` reads the folder.

        Raises OSError, FileFault.
        """
        found = os.fstat(folder)
        key, now = (found.st_dev, found.st_ino, rendering.key), rendering.now
        with self._lock:
            self._hear()
            known = self._listings.get(key)
            if known is not None and 0 <= now - known.made < WHOLE and now < known.until:
                self._listings.move_to_end(key)
                self._mend(known, look, rendering)
                if known.until:
                    return known.octets
            self._drop(key)
        count = sum(1 for _ in islice(names(), MOST + 1))
        if count > MOST:
            return None
        made = _Listing(None, now, float("inf"), [], {}, {})
        with self._lock:
            if count >= LEAST:
                made.watch = self._watches.add(folder)
            self._making.append(made)
        try:
            for name in names():
                _place(made, name, look(name), rendering, appending=True)
            made.order.sort()
        except BaseException:
            with self._lock:
                self._making.remove(made)
                self._release(made.watch)
            raise
        with self._lock:
            self._making.remove(made)
            self._hear([made])
            self._mend(made, look, rendering)
            self._keep(key, made)
        return made.octets

    def _hear(self, more: Iterable[_Listing] = ()) -> None:
        """Note what changed since the last time."""
        changes = self._watches.changes()
        if not changes.names and not changes.gone and not changes.lost:
            return
        for listing in (*self._listings.values(), *self._making, *more):
            if changes.lost or listing.watch in changes.gone:
                listing.until = 0.0
            elif listing.watch is not None:
                listing.dirty |= changes.names.get(listing.watch, set())

    def _mend(self, known: _Listing, look: Look, rendering: Rendering) -> None:
        """Make the lines of what changed."""
        dirty, known.dirty = known.dirty, set()
        for name, looked in list(known.restless.items()):
            if name not in dirty:
                again = look(name)
                if again is None or _state(again[0]) != looked:
                    dirty.add(name)
        if not dirty and known.octets:
            return
        for name in dirty:
            before, now = name in known.restless, look(name)
            _place(known, name, now, rendering)
            if now is not None and not before and _shared(now[0]):
                # A second name of a file that may be here under its first one too, and nothing told of that.
                known.until = 0.0
        known.octets = "".join(map(known.lines.__getitem__, known.order)).encode("utf-8", "surrogateescape")

    def _keep(self, key: Key, made: _Listing) -> None:
        if made.until <= made.made or len(made.restless) > len(made.order) // 4:
            # More happened than could be followed, or too much would have to be looked at each time.
            self._release(made.watch)
        elif made.watch is not None:
            self._drop(key)
            self._listings[key] = made
            while len(self._listings) > FOLDERS or self._octets() > OCTETS:
                self._drop(next(iter(self._listings)))

    def _octets(self) -> int:
        return sum(len(listing.octets) for listing in self._listings.values())

    def _drop(self, key: Key) -> None:
        gone = self._listings.pop(key, None)
        if gone is not None:
            self._release(gone.watch)

    def _release(self, watch: int | None) -> None:
        """Watches of one folder are one watch to the kernel."""
        others = (*self._listings.values(), *self._making)
        if watch is not None and all(listing.watch != watch for listing in others):
            self._watches.remove(watch)


def _place(
    listing: _Listing,
    name: bytes,
    looked: Looked,
    rendering: Rendering,
    appending: bool = False,
) -> None:
    """Make the line of a name, or take it away."""
    listing.restless.pop(name, None)
    if looked is None:
        if listing.lines.pop(name, None) is not None:
            del listing.order[bisect_left(listing.order, name)]
        return
    found, entry = looked
    if name not in listing.lines:
        if appending:
            listing.order.append(name)
        else:
            insort(listing.order, name)
    listing.lines[name] = rendering.line(entry)
    listing.until = min(listing.until, rendering.until(found.st_mtime))
    if not stat.S_ISREG(found.st_mode) or _shared(found):
        listing.restless[name] = _state(found)


def _shared(found: os.stat_result) -> bool:
    """A file with another name."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink > 1


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_mode, found.st_nlink, found.st_size, found.st_mtime_ns, found.st_ctime_ns
