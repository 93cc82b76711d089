"""Replies that anybody may have written, and what is remembered of them."""

from __future__ import annotations

import dns.message
import dns.rdatatype
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.answers import Question, domain_name, name_text
from mailftp.dns.cache import Remembered
from mailftp.dns.servers import parse_server


class HostileTests(SynchronousTestCase):
    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.binary(max_size=300))
    def test_any_octets(self, octets: bytes) -> None:
        """No octets after a right id raise anything."""
        question = Question.of(domain_name("a.test"), dns.rdatatype.MX)
        question.read(question.wire[:2] + octets)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.integers(0, 200), st.integers(0, 255))
    def test_any_octet_changed(self, place: int, octet: int) -> None:
        """A good reply with an octet changed is a reply or none, and raises nothing."""
        question = Question.of(domain_name("a.test"), dns.rdatatype.MX)
        reply = dns.message.make_response(dns.message.from_wire(question.wire))
        reply.answer.append(dns.rrset.from_text("a.test.", 9, "IN", "MX", "5 mx.a.test.", "6 b.test."))
        wire = bytearray(reply.to_wire())
        wire[place % len(wire)] = octet
        question.read(bytes(wire))

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(max_size=80))
    def test_any_name(self, text: str) -> None:
        """Any text is a name or a ValueError; a name reads the same when it is read again."""
        try:
            name = domain_name(text)
        except ValueError:
            return
        if b"\\" not in b"".join(name.labels) and name_text(name).isascii():
            self.assertEqual(name.is_absolute(), True)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.text(alphabet="[]:.0123456789abf%x", max_size=30))
    def test_any_server(self, text: str) -> None:
        """Any text is a server or a ValueError; a server's text form is read as the same server."""
        try:
            server = parse_server(text)
        except ValueError:
            return
        self.assertEqual(parse_server(str(server)), server)


class RememberedTests(SynchronousTestCase):
    def test_entries(self) -> None:
        """Beyond its entries the least recently used is forgotten."""
        cache: Remembered[str] = Remembered(entries=2)
        cache.put("a", 1, 1, 10, 0)
        cache.put("b", 2, 1, 10, 0)
        cache.get("a", 1)
        cache.put("c", 3, 1, 10, 0)
        self.assertEqual([cache.get(key, 1) for key in "abc"], [(1, 9), None, (3, 9)])

    def test_octets(self) -> None:
        """Beyond its octets too; one that alone is too large is not kept."""
        cache: Remembered[str] = Remembered(octets=100)
        cache.put("a", 1, 60, 10, 0)
        cache.put("b", 2, 60, 10, 0)
        cache.put("c", 3, 101, 10, 0)
        self.assertEqual([cache.get(key, 1) for key in "abc"], [None, (2, 9), None])

    def test_expired_gives_back_its_octets(self) -> None:
        """What is replaced or has expired no longer counts."""
        cache: Remembered[str] = Remembered(octets=100)
        for now in range(50):
            cache.put("a", now, 60, 1, now)
            cache.get("a", now + 2)
        cache.put("b", 1, 100, 1, 0)
        self.assertEqual(len(cache), 1)
