"""A resolver of plain values, for tests of what is done with answers."""

from __future__ import annotations

import dns.rdata
from twisted.internet.defer import Deferred, fail, succeed

from mailftp.dns.resolver import Answer, NoSuchData, NoSuchName


class Table:
    """Answers lookups from a dictionary: (name, kind) -> texts, or a fault; else the name does not exist."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], object] = {}
        self.asked: list[tuple[str, str]] = []
        #: What the answers' AD bit says.
        self.authentic = False

    def put(self, name: str, kind: str, *texts: str | Exception) -> Table:
        self.entries[name, kind] = texts
        return self

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        self.asked.append((name, kind))
        texts = self.entries.get((name, kind))
        if texts is None:
            known = any(name == other for other, _ in self.entries)
            return fail(NoSuchData(name) if known else NoSuchName(name))
        if isinstance(texts[0], Exception):
            return fail(texts[0])
        records = tuple(dns.rdata.from_text("IN", kind, text) for text in texts)
        return succeed(Answer(records, name, 60, self.authentic))
