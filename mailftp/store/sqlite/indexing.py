"""Keeps the full-text indexes up to date, behind the store's back: on one thread, when the store is quiet.

A search is complete without it: what is not indexed is read. So nothing here is in anybody's way: the work is
done in small jobs, each followed by a rest as long, and begins when nothing was written for a second, or at
last when an index is ten minutes behind.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailftp.message.index import stored_root
from mailftp.store.engine import SMALL_BODY
from mailftp.store.records import Change
from mailftp.store.sqlite.index_folder import IndexFolder
from mailftp.store.sqlite.listing import numbers
from mailftp.store.sqlite.reading import View, state_of
from mailftp.store.sqlite.text_index import MOST_TEXT, Content, Outdated, TextIndex, content_of
from mailftp.wire.journal import Journal

#: Seconds without a commit after which the work begins, and after which it begins in any case: on a server
#: that is never quiet, with a tenth of the time.
QUIET = 1.0
LAG = 600.0
#: Messages that an account has at least when it gets an index; fewer are read as fast.
WORTH_IT = 300
#: What one job takes at most: messages, octets of their bodies.
JOB_MESSAGES = 100
JOB_OCTETS = 2 << 20
#: Encoded bodies beyond this are not looked into: their texts are too much, too, or pictures.
MOST_BODY = 16 * MOST_TEXT


class Pass:
    """One account's index brought up to date, a job at a time, each on the indexing thread."""

    def __init__(self, folder: IndexFolder, account_id: int, wanted: bool = True) -> None:
        """Where it is not `wanted`, it is removed."""
        self._folder = folder
        self.account_id = account_id
        self._wanted = wanted
        self._jobs: Generator[None, View, None] | None = None

    def step(self, view: View) -> bool:
        """One job; whether there is more to do. `view` is of the database as it is now."""
        try:
            if self._jobs is None:
                self._jobs = self._work(view)
                next(self._jobs)
            else:
                self._jobs.send(view)
        except StopIteration:
            return False
        return True

    def close(self) -> None:
        """It is left as it is, and can be gone on with by another; idempotent."""
        if self._jobs is not None:
            self._jobs.close()

    def _work(self, view: View) -> Generator[None, View, None]:
        row = view.one("SELECT modseq, horizon FROM accounts WHERE id = ?", (self.account_id,))
        if row is None or not self._wanted:
            self._folder.remove(self.account_id)
            return
        modseq, horizon = row
        index = self._open()
        if index is not None and not index.fits(*state_of(view, self.account_id)):
            # The database is older than the index: a backup that was put back.
            index.close()
            self._folder.remove(self.account_id)
            index = None
        if index is None:
            if len(self._emails(view, 0, 0)) < WORTH_IT:
                return
            self._folder.prepare()
            index = TextIndex.create(self._folder.path(self.account_id))
        try:
            if index.modseq == modseq:
                return
            for gone in _pieces(self._gone(view, index, horizon)):
                index.remove(gone)
                view = yield
            emails = self._emails(view, index.modseq, index.done)
            at = 0
            while at < len(emails):
                at += self._add(view, index, emails[at : at + JOB_MESSAGES])
                view = yield
            index.note_modseq(modseq)
        finally:
            index.close()

    def _open(self) -> TextIndex | None:
        try:
            return TextIndex.open(self._folder.path(self.account_id), writable=True)
        except Outdated:
            self._folder.remove(self.account_id)
            return None

    def _emails(self, view: View, modseq: int, done: int) -> array[int]:
        """Ids of the account's emails above `done`, ascending; they came after `modseq`."""
        row = view.one(
            "SELECT group_concat(email_id) FROM (SELECT DISTINCT email_id FROM mailboxes AS m CROSS JOIN"
            " mailbox_messages AS mm INDEXED BY mailbox_messages_by_modseq ON mm.mailbox_id = m.id"
            " WHERE m.account_id = ? AND mm.modseq > ? AND email_id > ?)",
            (self.account_id, modseq, done),
        )
        assert row is not None
        return array("Q", sorted(numbers("Q", row[0])))

    def _gone(self, view: View, index: TextIndex, horizon: int) -> list[int]:
        if not index.modseq:
            # It was never finished: what went meanwhile is found as what is there and should not be.
            return sorted(index.email_ids().difference(self._emails(view, 0, 0))) if index.done else []
        if index.modseq < horizon:
            return sorted(index.email_ids().difference(self._emails(view, 0, 0)))
        row = view.one(
            "SELECT group_concat(id) FROM destroyed WHERE account_id = ? AND modseq > ? AND kind = 'email'",
            (self.account_id, index.modseq),
        )
        assert row is not None
        return list(numbers("Q", row[0]))

    def _add(self, view: View, index: TextIndex, emails: array[int]) -> int:
        """Answers how many of these it took."""
        contents: list[Content] = []
        unkept: list[int] = []
        octets = taken = 0
        for email_id in emails:
            if octets >= JOB_OCTETS:
                break
            taken += 1
            row = view.one(
                "SELECT prefix, e.body_id, body_size, data, stored FROM emails AS e"
                " JOIN bodies AS b ON b.id = e.body_id JOIN body_indexes AS i ON i.body_id = e.body_id"
                " WHERE e.id = ?",
                (email_id,),
            )
            if row is None:
                continue  # Gone since.
            octets += row[2]
            content = self._content(view, email_id, row)
            if content is None:
                unkept.append(email_id)
            else:
                contents.append(content)
        index.add(contents, unkept, emails[taken - 1])
        return taken

    def _content(
        self, view: View, email_id: int, row: tuple[bytes, int, int, bytes | None, bytes]
    ) -> Content | None:
        prefix, body_id, size, data, stored = row
        root = stored_root(stored)
        if root is None or size > MOST_BODY:
            return None
        if data is None:
            if size <= SMALL_BODY:
                return None
            data = _file(view, body_id)
        return content_of(email_id, prefix, data, root)


def _pieces(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + JOB_MESSAGES] for start in range(0, len(ids), JOB_MESSAGES))


def _file(view: View, body_id: int) -> bytes:
    row = view.one("SELECT sha256 FROM bodies WHERE id = ?", (body_id,))
    assert row is not None
    with open(view.blobs.open(row[0]), "rb") as file:
        return file.read()


class Indexing:
    """`step` runs one job on the indexing thread, within a read of the database, and answers whether there is
    more."""

    def __init__(
        self,
        folder: IndexFolder,
        step: Callable[[Pass], bool],
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        wanted: bool = True,
    ) -> None:
        self._folder = folder
        self._wanted = wanted
        self._step = step
        self._reactor = reactor
        self._clock = clock
        self._thread = ThreadPool(0, 1, "store-index")
        self._journal = Journal("store")
        #: Accounts whose indexes are behind, and since when; the one that is worked on is not among them.
        self._behind: OrderedDict[int, float] = OrderedDict()
        self._now: tuple[Pass, float] | None = None
        self._last_commit = 0.0
        self._next: IDelayedCall | None = None
        self._working = False
        self._stopping = False

    # The reactor's thread.

    def start(self, accounts: Iterable[int]) -> None:
        """All may be behind, and some that have an index may be no more."""
        if self._stopping:
            return
        self._thread.start()
        now = self._clock.seconds()
        for account_id in sorted(self._folder.accounts().union(accounts)):
            self._behind.setdefault(account_id, now)
        self._schedule(QUIET)

    def stop(self) -> None:
        """No new job begins."""
        self._stopping = True
        if self._next is not None and self._next.active():
            self._next.cancel()

    def join(self) -> None:
        """After `stop`, on any thread but the reactor's: wait for the job that runs."""
        if self._thread.started:
            self._thread.stop()
        if self._now is not None:
            self._now[0].close()

    def heard(self, changes: Iterable[Change]) -> None:
        """Of a commit."""
        now = self._last_commit = self._clock.seconds()
        for change in changes:
            if change.kind in ("mail", "account"):
                self._behind.setdefault(change.account_id, now)
        self._schedule(QUIET)

    def damaged(self, account_id: int, reason: str) -> None:
        """An index cannot be used: it is made again."""
        self._journal.warn("text-index-damaged", account=account_id, reason=reason)
        self._folder.remove(account_id)
        self._behind.setdefault(account_id, self._clock.seconds())
        self._schedule(LAG)

    def _schedule(self, after: float) -> None:
        waiting = self._next is not None and self._next.active()
        if self._thread.started and not (self._stopping or self._working or waiting):
            if self._now is not None or self._behind:
                self._next = self._clock.callLater(after, self._begin)

    def _begin(self) -> None:
        now = self._clock.seconds()
        since = self._now[1] if self._now is not None else next(iter(self._behind.values()))
        if now - self._last_commit < QUIET and now - since < LAG:
            self._schedule(QUIET)
            return
        if self._now is None:
            account_id, since = self._behind.popitem(last=False)
            self._now = Pass(self._folder, account_id, self._wanted), since
        self._working = True
        job: Deferred[bool] = deferToThreadPool(self._reactor, self._thread, self._step, self._now[0])
        job.addCallbacks(self._worked, self._failed, callbackArgs=(now,))

    def _worked(self, more: bool, began: float) -> None:
        self._working = False
        if not more:
            self._now = None
        took = max(self._clock.seconds() - began, 0.0)
        busy = self._clock.seconds() - self._last_commit < QUIET
        self._schedule(9 * took if busy else took)

    def _failed(self, failure: Failure) -> None:
        self._working = False
        assert self._now is not None
        work, _ = self._now
        self._now = None
        work.close()
        self.damaged(work.account_id, failure.getErrorMessage())
