"""One message held against tests of its header and its text: what an engine's `SearchMessages` does on its
threads."""

from __future__ import annotations

from collections.abc import Sequence

from mailftp.message.index import Part
from mailftp.message.search_text import (
    casemap_header,
    field_values,
    found_in,
    headers,
    needle,
    sent_day,
    texts,
)
from mailftp.store.criteria import BodyHas, HeaderHas, HeaderTest, Sent, TextHas, TextTest


class Inspection:
    """Of many messages by the same tests. `hits` has a list of UIDs for each test, in their order."""

    def __init__(self, tests: Sequence[HeaderTest | TextTest]) -> None:
        self.hits: list[list[int]] = [[] for _ in tests]
        self._sent = [(at, test) for at, test in enumerate(tests) if isinstance(test, Sent)]
        self._fields: dict[bytes, list[tuple[int, bytes]]] = {}
        #: As it is in a text, and as it is in a header -> its places among the tests.
        self._in_text: dict[tuple[bytes, bytes], list[int]] = {}
        self._in_body: dict[bytes, list[int]] = {}
        for at, test in enumerate(tests):
            if isinstance(test, HeaderHas):
                wanted = needle(test.text, header=True)
                self._fields.setdefault(test.name, []).append((at, wanted))
            elif isinstance(test, TextHas):
                both = needle(test.text), needle(test.text, header=True)
                self._in_text.setdefault(both, []).append(at)
            elif isinstance(test, BodyHas):
                self._in_body.setdefault(needle(test.text), []).append(at)
        self._longest = max(map(len, (*(word for word, _ in self._in_text), *self._in_body)), default=0)

    @property
    def header_only(self) -> bool:
        """`header` alone has to be told of each message; else `text` too."""
        return not self._in_text and not self._in_body

    def header(self, uid: int, header: bytes) -> None:
        """A message's header with its prefix; it may go on behind its end."""
        for name, wanted in self._fields.items():
            values = None
            for at, word in wanted:
                if values is None:
                    values = [casemap_header(value) for value in field_values(header, name)]
                if any(word in value for value in values):
                    self.hits[at].append(uid)
        if self._sent:
            day = sent_day(header)
            for at, test in self._sent:
                if (
                    day is not None
                    and (test.since is None or day >= test.since)
                    and (test.before is None or day < test.before)
                ):
                    self.hits[at].append(uid)

    def text(self, uid: int, prefix: bytes, data: bytes | memoryview, root: Part) -> None:
        """A whole message; `root` is its index's."""
        found: frozenset[bytes] = frozenset()
        if self._in_text:
            found = found_in(headers(prefix, data, root), [in_header for _, in_header in self._in_text])
        left = dict.fromkeys(word for word, in_header in self._in_text if in_header not in found)
        left.update(dict.fromkeys(self._in_body))
        in_body = found_in(texts(data, root, self._longest), tuple(left)) if left else frozenset()
        for (word, in_header), places in self._in_text.items():
            if in_header in found or word in in_body:
                for at in places:
                    self.hits[at].append(uid)
        for word, places in self._in_body.items():
            if word in in_body:
                for at in places:
                    self.hits[at].append(uid)
