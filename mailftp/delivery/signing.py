"""DKIM signatures of what leaves, made last, over the octets that leave (RFC 6376 section 5).

A signature says that the house stands for a message. So only what an account submitted is signed, by the
domain of its reverse-path, which was checked, and what we wrote ourselves, by the domain of its From. Mail
that is only sent on keeps its own signatures.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailftp.message.fields import header_bounds
from mailftp.origin.dkim import sign
from mailftp.origin.dkim_canonical import BodyHash
from mailftp.origin.dkim_folder import Key, read_keys, signing
from mailftp.origin.dmarc import AuthorFault, author_domains
from mailftp.smtp.client import OutgoingBody
from mailftp.store.records import Transfer
from mailftp.wire.journal import Journal

#: Seconds for which the keys of a domain are not looked for again.
KEYS_SECONDS = 10.0
#: Messages whose signatures are remembered: one to a thousand domains is signed once.
REMEMBERED = 1000
#: Read from a file at a time.
_PIECE = 256 * 1024
#: The longest header that is signed.
_HEADER = 1024 * 1024

#: Number in the queue, and what tells one form of a message from another.
_MessageKey = tuple[int, bool, int]


class Signer:
    """One for a queue. `folder` has a folder of keys for each domain."""

    def __init__(
        self,
        folder: Path,
        domains: Collection[str],
        reactor: IReactorFromThreads,
        threads: ThreadPool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._domains, self._now = folder, frozenset(domains), now
        self._reactor, self._threads = reactor, threads
        self._lock = Lock()
        #: Domain -> when its keys were read, and they.
        self._keys: dict[str, tuple[float, tuple[Key, ...]]] = {}
        #: Message of the queue -> its signatures, or those who wait for them.
        self._made: OrderedDict[_MessageKey, bytes] = OrderedDict()
        self._waiting: dict[_MessageKey, list[Deferred[bytes]]] = {}
        self._journal = Journal("delivery")

    async def signed(self, message_id: int, transfer: Transfer, body: OutgoingBody) -> OutgoingBody:
        """`body` with signatures on top, where there is somebody to sign; `body` as it is where the keys
        cannot be used, which the log says."""
        if not self._ours(transfer) or self._keyless(transfer):
            return body
        # What was converted for a far side is another message to a verifier.
        key = message_id, body.eightbit, body.size
        fields = self._made.get(key)
        if fields is None:
            waiting: Deferred[bytes] = Deferred()
            others = self._waiting.setdefault(key, [])
            others.append(waiting)
            if len(others) == 1:
                self._begin(key, transfer, body)
            fields = await waiting
        return replace(body, prefix=fields + body.prefix) if fields else body

    def _begin(self, key: _MessageKey, transfer: Transfer, body: OutgoingBody) -> None:
        if body.descriptor >= 0:
            # Whoever asked may give up and close its own while it is read.
            body = replace(body, descriptor=os.dup(body.descriptor))
        made = deferToThreadPool(self._reactor, self._threads, self._sign, transfer, body)
        made.addErrback(self._not_signed, key).addCallback(self._tell, key)

    def _ours(self, transfer: Transfer) -> bool:
        # What we wrote has no Received field yet.
        return transfer.account_id is not None or not transfer.prefix

    def _keyless(self, transfer: Transfer) -> bool:
        """Known without a thread: the domain has no keys, or is not ours."""
        sender = transfer.return_to or transfer.reverse_path
        domain = sender.rpartition("@")[2].lower()
        if not sender or domain not in self._domains:
            return bool(sender)
        known = self._keys.get(domain)
        return known is not None and not known[1] and time.monotonic() - known[0] <= KEYS_SECONDS

    def _not_signed(self, failure: Failure, key: _MessageKey) -> bytes:
        self._journal.warn("not signed", queue=key[0], reason=failure.getErrorMessage())
        return b""

    def _tell(self, fields: bytes, key: _MessageKey) -> None:
        if fields:
            self._made[key] = fields
            if len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        for waiting in self._waiting.pop(key, ()):
            if not waiting.called:
                waiting.callback(fields)

    # On a thread.

    def _sign(self, transfer: Transfer, body: OutgoingBody) -> bytes:
        try:
            return self._fields(transfer, body)
        finally:
            if body.descriptor >= 0:
                os.close(body.descriptor)

    def _fields(self, transfer: Transfer, body: OutgoingBody) -> bytes:
        header, pieces = _parts(body)
        domain = self._domain(transfer, header)
        keys = signing(self._keys_of(domain), self._now()) if domain else ()
        if not keys:
            return b""
        hashed = BodyHash(relaxed=True)
        for piece in pieces:
            hashed.feed(piece)
        digest, _ = hashed.finish()
        now = int(self._now())
        return b"".join(sign(header, digest, domain, key.selector, key.private, now) for key in keys)

    def _domain(self, transfer: Transfer, header: bytes) -> str:
        """Who signs, or ""."""
        sender = transfer.return_to or transfer.reverse_path
        if sender:
            domain = sender.rpartition("@")[2].lower()
            return domain if domain in self._domains else ""
        if transfer.account_id is not None:
            # A notice that somebody's program sends: nobody has checked who its author is.
            return ""
        try:
            authors = author_domains(header)
        except AuthorFault:
            return ""
        return authors[0] if len(authors) == 1 and authors[0] in self._domains else ""

    def _keys_of(self, domain: str) -> tuple[Key, ...]:
        with self._lock:
            now = time.monotonic()
            known = self._keys.get(domain)
            if known is None or now - known[0] > KEYS_SECONDS:
                known = self._keys[domain] = now, read_keys(self._folder / domain)
            return known[1]


def _parts(body: OutgoingBody) -> tuple[bytes, Iterator[bytes]]:
    """The header as it leaves, without the empty line, and what follows that, in pieces. Raises ValueError
    for a header that does not end, and for a file that does too soon."""
    if body.data is not None:
        end, start = header_bounds(body.data)
        return body.prefix + body.data[:end], iter((body.data[start:],))
    read = b""
    while True:
        piece = os.pread(body.descriptor, _PIECE, len(read))
        read += piece
        end, start = header_bounds(read)
        if start < len(read) or not piece:
            return body.prefix + read[:end], _rest(body, read[start:], len(read))
        if len(read) > _HEADER:
            raise ValueError("the header is too long to be signed")


def _rest(body: OutgoingBody, first: bytes, at: int) -> Iterator[bytes]:
    yield first
    while at < body.length:
        piece = os.pread(body.descriptor, min(_PIECE, body.length - at), at)
        if not piece:
            raise ValueError("the file of the message is too short")
        yield piece
        at += len(piece)
