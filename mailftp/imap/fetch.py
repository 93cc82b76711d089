"""FETCH and UID FETCH: RFC 9051 sections 6.4.5 and 6.4.9 (RFC 3501 section 6.4.5), RFC 7162, 9394, 9586.

A reply is made in pieces of about 256 KiB: what the next one needs is read on the store's threads while the
client takes the last, and nothing is made that the client has no room for.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.imap.chosen import choose
from mailftp.imap.commands import Bad, Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.fetch_data import PLACES, READY, Column, There, heads, lines, of_places, of_state
from mailftp.imap.fetch_items import Datum, FetchRequest, Text, parse_fetch
from mailftp.imap.fetch_texts import (
    Opened,
    TextItem,
    decodable,
    header_only,
    send_large,
    small,
    with_index,
)
from mailftp.imap.output import PIECE
from mailftp.imap.selected import SelectedView
from mailftp.imap.vanished import vanished_since
from mailftp.message.index import MessageIndex
from mailftp.store.engine import SMALL_BODY, StoreFull
from mailftp.store.queries import Indexes, ListPlaces, OpenBody, ReadMessages, ReadReady
from mailftp.store.records import MessageTexts, Places, ReadyTexts
from mailftp.store.units import FlagChange, StoreFlags

SEEN = "\\Seen"

#: Items of a message that are put together in memory, each at most SMALL_BODY.
TOGETHER = 4
#: Messages in a piece: of lines made of what is in memory, of what is kept ready, of octets.
LINES, READY_LINES, TEXTS = 4096, 512, 512
#: Pieces that are read before they are needed: on a busy machine a thread is not there at once.
AHEAD = 2
#: Octets of messages in a piece, those above SMALL_BODY taken for so many: of what is kept ready, which is
#: less than the messages are, and of headers; whole messages are bounded by the piece itself.
READY_OCTETS, HEADER_OCTETS = 4 * 1024 * 1024, 1024 * 1024


@dataclass(slots=True)
class _Found:
    """What the store has told of a piece."""

    ready: ReadyTexts | None = None
    places: Places | None = None
    texts: MessageTexts | None = None

    @property
    def answers(self) -> list[ReadyTexts | Places | MessageTexts]:
        return [answer for answer in (self.ready, self.places, self.texts) if answer is not None]


async def fetch(context: Context, request: FetchRequest) -> Ok:
    """FETCH and UID FETCH."""
    chosen = choose(context, request.messages, by_uid=request.uid)
    if request.vanished and not context.qresync:
        raise Bad("VANISHED wants QRESYNC to be enabled")
    if request.changed_since is not None or Datum.MODSEQ in request.items:
        context.enable_condstore()
    if request.vanished:
        # RFC 7162 section 3.2.6: before anything else is told.
        gone = await vanished_since(context, request.changed_since or 0, request.messages)
        if gone:
            context.respond(b"VANISHED (EARLIER) " + gone)
    uids = chosen.uids
    if request.changed_since is not None:
        uids = _changed(context.selected, uids, request.changed_since)
    if request.partial is not None:
        uids = uids[_part(len(uids), *request.partial)]
    work = _Fetch(context, request)
    if uids:
        await work.send(_numbers(context.selected, uids), array("I", uids))
    if work.unknown_encoding:
        raise No("a part has an encoding that nobody knows", b"UNKNOWN-CTE")
    if work.missing or (chosen.gone and not request.uid):
        # As Dovecot does, and not NO: what was sent stands.
        return Ok("some of the messages were expunged", b"EXPUNGEISSUED")
    return Ok()


# Which messages.


def _numbers(view: SelectedView, uids: list[int]) -> Sequence[int]:
    """Their sequence numbers, which stay while the command runs."""
    beginning = view.stretch(uids)
    if beginning is not None:
        return range(beginning[0], beginning[0] + len(uids))
    return [number for number in map(view.number_of, uids) if number is not None]


def _changed(view: SelectedView, uids: list[int], modseq: int) -> list[int]:
    """RFC 7162 section 3.1.4.1: those with a higher mod-sequence."""
    there = There(view.state, uids, array("I", uids))
    modseqs = there.column(view.state.modseqs)
    return [uid for uid, value in zip(there.uids, modseqs, strict=True) if value > modseq]


def _part(count: int, first: int, last: int) -> slice:
    """RFC 9394 section 3.3: of so many messages, those from the first to the last, or from the end."""
    low, high = sorted((abs(first), abs(last)))
    return slice(low - 1, high) if first > 0 else slice(max(0, count - high), max(0, count - low + 1))


def _as_asked(numbers: Sequence[int], uids: array[int]) -> range | tuple[int, ...]:
    """As queries take them. A stretch of the mailbox is read as it lies: no other message is between."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return range(uids[0], uids[-1] + 1)
    return tuple(uids)


# The reply.


class _Fetch:
    """One command's reply."""

    def __init__(self, context: Context, request: FetchRequest) -> None:
        self._context = context
        self._view = context.selected
        self._output = context.output
        items = request.items
        if context.uidonly:
            # RFC 9586 section 3.3: the number is the UID.
            self._start = b"* %d UIDFETCH ("
            items = tuple(item for item in items if item is not Datum.UID or request.uid_named)
        else:
            self._start = b"* %d FETCH ("
        self._items: tuple[TextItem, ...] = items
        self._texts = tuple(item for item in items if isinstance(item, Text) or item is Datum.PREVIEW)
        self._data = tuple(item for item in items if isinstance(item, Datum) and item is not Datum.PREVIEW)
        self._ready = tuple(dict.fromkeys(READY[item] for item in self._data if item in READY))
        self._places = any(item in PLACES for item in self._data)
        self._header_only = header_only(self._texts)
        self._with_index = with_index(self._texts)
        self._seen = request.seen and not context.read_only
        #: What was asked for and is gone; and what cannot be decoded.
        self.missing = self.unknown_encoding = False

    async def send(self, numbers: Sequence[int], uids: array[int]) -> None:
        pieces = self._pieces(uids)
        ahead: deque[tuple[slice, Deferred[_Found]]] = deque()
        try:
            while True:
                for piece in islice(pieces, AHEAD + 1 - len(ahead)):
                    ahead.append((piece, self._read(numbers[piece], uids[piece])))
                if not ahead:
                    return
                piece, read = ahead[0]
                seen = self._seen and await self._mark_seen(uids[piece])
                found = await read
                ahead.popleft()
                await self._send_piece(numbers[piece], uids[piece], found, seen)
                await self._output.room()
        finally:
            # They may still be under way when the client has gone; nobody asks for them.
            for _, read in ahead:
                read.addErrback(lambda failure: None)

    def _pieces(self, uids: array[int]) -> Iterator[slice]:
        """What is read and sent together; at least one."""
        if not self._texts and not self._ready:
            yield from (slice(start, start + LINES) for start in range(0, len(uids), LINES))
            return
        count = TEXTS if self._texts else READY_LINES
        octets = READY_OCTETS
        if self._texts:
            octets = HEADER_OCTETS if self._header_only else PIECE
        start = held = 0
        for at, size in enumerate(self._sizes(uids)):
            size = min(size, SMALL_BODY)
            if at - start >= count or (held + size > octets and at > start):
                yield slice(start, at)
                start, held = at, 0
            held += size
        yield slice(start, len(uids))

    def _sizes(self, uids: array[int]) -> Sequence[int]:
        state = self._view.state
        there = There(state, uids, uids)
        if len(there.uids) == len(uids):
            return there.column(state.sizes)
        places = map(state.index, uids)
        return [0 if place is None else state.sizes[place] for place in places]

    def _read(self, numbers: Sequence[int], uids: array[int]) -> Deferred[_Found]:
        return Deferred.fromCoroutine(self._read_all(numbers, uids))

    async def _read_all(self, numbers: Sequence[int], uids: array[int]) -> _Found:
        found = _Found()
        store, account = self._context.store, self._context.account.id
        mailbox = self._view.state.mailbox.id
        asked = _as_asked(numbers, uids)
        if self._ready:
            found.ready = await store.read(ReadReady(account, mailbox, asked, self._ready))
        if self._places:
            found.places = await store.read(ListPlaces(account, mailbox, asked))
        if self._texts:
            query = ReadMessages(account, mailbox, asked, self._header_only, self._with_index)
            found.texts = await store.read(query)
        if len(found.answers) < bool(self._ready) + self._places + bool(self._texts):
            raise No("the mailbox is gone", b"NONEXISTENT")
        return found

    async def _mark_seen(self, uids: array[int]) -> bool:
        """RFC 9051 section 6.4.5: a section without .PEEK sets \\Seen. Whether any was set."""
        view, context = self._view, self._context
        there = There(view.state, uids, uids)
        unseen = [number for number, flags in enumerate(view.state.flag_sets) if SEEN not in flags]
        if not unseen:
            return False
        new = frozenset(unseen)
        numbers = there.column(view.state.flag_numbers)
        wanted = tuple(uid for uid, number in zip(there.uids, numbers, strict=True) if number in new)
        if not wanted:
            return False
        unit = StoreFlags(
            context.account.id, view.state.mailbox.id, wanted, FlagChange.ADD, frozenset({SEEN})
        )
        try:
            flagged = await context.store.commit(unit)
        except StoreFull:
            # Mail can be read on a full disk.
            return False
        await context.refresh()
        view.forget(wanted, flagged.modseq)
        return True

    async def _send_piece(self, numbers: Sequence[int], uids: array[int], found: _Found, seen: bool) -> None:
        there = There(self._view.state, numbers, uids)
        while len(there.uids) < len(uids) or any(answer.uids != uids for answer in found.answers):
            # Another session has expunged some of them.
            self.missing = True
            rest = set(there.uids).intersection(*(answer.uids for answer in found.answers))
            kept = [at for at, uid in enumerate(uids) if uid in rest]
            numbers, uids = [numbers[at] for at in kept], array("I", [uids[at] for at in kept])
            if not uids:
                return
            found = await self._read_all(numbers, uids)
            there = There(self._view.state, numbers, uids)
        columns = self._columns(there, found, seen)
        called = uids if self._context.uidonly else numbers
        if found.texts is None:
            self._output.write(lines(self._start, called, columns))
        else:
            await self._send_texts(heads(self._start, called, columns), found.texts, bool(columns))

    def _columns(self, there: There, found: _Found, seen: bool) -> list[Column]:
        data = self._data
        if seen:
            # RFC 9051 section 6.4.5: the change is told with it; RFC 7162 section 3.2: with its mod-sequence.
            told = (Datum.FLAGS, Datum.MODSEQ) if self._context.condstore else (Datum.FLAGS,)
            data = tuple(dict.fromkeys((*data, *told)))
        columns = []
        for datum in data:
            if datum in READY:
                assert found.ready is not None
                texts = found.ready.texts[self._ready.index(READY[datum])]
                columns.append(Column(datum.value + b" %b", texts))
            elif datum in PLACES:
                assert found.places is not None
                columns.append(of_places(datum, found.places))
            else:
                columns.append(of_state(datum, there))
        return columns

    async def _send_texts(self, starts: list[bytes], texts: MessageTexts, has_data: bool) -> None:
        out: list[bytes] = []
        for at, start in enumerate(starts):
            opened = await self._open(texts, at)
            items = self._texts
            if self._with_index:
                items = tuple(item for item in items if decodable(opened, item))
                self.unknown_encoding = self.unknown_encoding or len(items) < len(self._texts)
                if not items and not has_data:
                    continue
            head = start + b" " if has_data and items else start
            if opened.whole and len(items) <= TOGETHER:
                out.append(head)
                out.append(b" ".join([small(opened, item) for item in items]))
                out.append(b")\r\n")
                continue
            self._output.write(b"".join(out))
            out.clear()
            await self._send_alone(opened, head, items)
        self._output.write(b"".join(out))

    async def _send_alone(self, opened: Opened, head: bytes, items: tuple[TextItem, ...]) -> None:
        """A message that is in a file, or of which very much is asked for."""
        if opened.whole:
            with self._output.torn():
                self._output.write(head)
                for number, item in enumerate(items):
                    self._output.write((b" " if number else b"") + small(opened, item))
                    await self._output.room()
                self._output.write(b")\r\n")
            return
        descriptor = await self._context.store.read(OpenBody(opened.body))
        try:
            await send_large(self._output, opened, head, items, descriptor)
        finally:
            os.close(descriptor)
        await self._output.room()

    async def _open(self, texts: MessageTexts, at: int) -> Opened:
        text, prefix, body = texts.texts[at], texts.prefix_sizes[at], texts.bodies[at]
        # A header that is not over by then is looked for in the file.
        whole = len(text) < prefix + SMALL_BODY if self._header_only and body.large else not body.large
        index = None
        if self._with_index or not whole:
            index = MessageIndex.decode(texts.indexes[at]) if texts.indexes else None
            if index is None:
                (index,) = await self._context.store.read(Indexes((body,)))
        head = len(text) if self._header_only else None
        return Opened(text, prefix, body, index, whole=whole, head=head)


# The commands.


def _command(name: bytes, *, uid: bool) -> Command[FetchRequest]:
    # RFC 9051 section 7.5.1: no EXPUNGE while the client counts by sequence numbers.
    return Command(name, State.SELECTED, partial(parse_fetch, uid=uid), fetch, expunges=uid)


COMMANDS: tuple[Command[Any], ...] = (_command(b"FETCH", uid=False), _command(b"UID FETCH", uid=True))
