"""Answers put together from pieces that are ready: what nearly every query gets.

The codec takes some 130 us to read a query, build an answer and write it. But what stands behind the question
in an answer depends on little: the name and type where the name exists; where it does not, only how far the
zone's name stands from the packet's start, because the records point at it there (RFC 1035 section 4.1.4). So
the octets behind the question are made once for each such case, and an answer is the header, the question as
it was asked, and they. A flood of random names finds them ready too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO

import dns.name
import dns.rdatatype
import dns.rrset

from mailftp.dns.answers import EDNS_PAYLOAD
from mailftp.dns.responder import PLAIN_PAYLOAD, STREAM_PAYLOAD, respond
from mailftp.dns.zone import Kind, Reply, Zone, Zones

#: Octets of pieces that are kept, the oldest given up first, however many names a zone has.
HELD = 16 * 1024 * 1024
#: What a piece takes beside its octets.
_OVERHEAD = 400

_HEADER = 12
#: RFC 1035 section 2.3.4, with the root's octet.
_NAME = 255
_IN = b"\0\1"
_ONE_QUESTION = b"\0\1\0\0\0\0"
_OPT = b"\0\0\x29"
_OPT_PLAIN = _OPT + EDNS_PAYLOAD.to_bytes(2, "big") + bytes(6)
_OPT_DO = _OPT + EDNS_PAYLOAD.to_bytes(2, "big") + b"\0\0\x80\0\0\0"
#: Types that are no data: the codec's path knows what to say.
_SPECIAL = frozenset({0, dns.rdatatype.OPT, *range(128, 255)})
_CNAME, _ANY, _NS = int(dns.rdatatype.CNAME), int(dns.rdatatype.ANY), dns.rdatatype.NS
_DS = int(dns.rdatatype.DS)
#: In place of a type: no such type, no such name, a referral.
_NO_DATA, _NO_NAME, _REFERRAL = -1, -2, -3

#: What stands behind a question: the header's flags without RD, its counts without that of the additional
#: section, that one, the octets.
_Piece = tuple[bytes, bytes, int, bytes]
_REFUSED: _Piece = (b"\x80\x05", b"\0\1\0\0\0\0", 0, b"")


@dataclass(slots=True, eq=False)
class _Node:
    """A name of a zone."""

    zone: Zone
    kinds: frozenset[int]
    #: Octets from the start of this name to that of the zone's.
    to_origin: int
    #: The delegation that the name is at or below, and the octets to its name.
    cut: _Node | None = None
    to_cut: int = 0
    #: A DNAME here or above: what is below is another name.
    renames: bool = False
    #: A DNAME above.
    renamed: bool = False
    #: The wildcard below it.
    wild: _Node | None = None
    #: A wildcard whose alias leads back to where it stands, so that what it says depends on who asks.
    turns: bool = False
    #: The zone's origin; itself for that.
    apex: _Node | None = None


class PreparedAnswers:
    """Answers about these zones, which do not change. New zones want a new object; making it takes 10 us for
    each name, so zones that may be large are prepared on a thread."""

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self._nodes: dict[bytes, _Node] = {}
        #: By the node that says it, the type, and the place in the question of the nearest name that all
        #: such questions share.
        self._pieces: dict[tuple[_Node, int, int], _Piece] = {}
        self._held = 0
        origins = [zone.origin for zone in zones]
        for zone in zones:
            self._add(zone, [origin for origin in origins if len(origin) > len(zone.origin)])

    def __len__(self) -> int:
        """Pieces that are ready."""
        return len(self._pieces)

    def respond(self, packet: bytes, *, stream: bool = False) -> bytes | None:
        """As `mailftp.dns.responder.respond`, which is asked for what is not usual."""
        # A query (no QR, opcode 0, no AA, no TC) with one question and at most something additional.
        if len(packet) < 17 or packet[2] & 0xFE or packet[4:10] != _ONE_QUESTION:
            return respond(self.zones, packet, stream=stream)
        at, starts = _HEADER, []
        try:
            while size := packet[at]:
                starts.append(at - _HEADER)
                at += size + 1
        except IndexError:
            return respond(self.zones, packet, stream=stream)
        end = at + 5
        name = packet[_HEADER : at + 1]
        kind = int.from_bytes(packet[at + 1 : at + 3], "big")
        usual = len(name) <= _NAME and kind not in _SPECIAL and packet[at + 3 : end] == _IN
        if not usual or any(packet[_HEADER + start] > 63 for start in starts):
            return respond(self.zones, packet, stream=stream)
        opt, limit = b"", PLAIN_PAYLOAD
        if len(packet) != end or packet[11] or packet[10]:
            extension = _extension(packet, end)
            if extension is None:
                return respond(self.zones, packet, stream=stream)
            opt, limit = extension
        # Octets of length are below 64, and no letter is.
        piece = self._piece(name.lower(), starts, kind)
        if piece is None:
            return respond(self.zones, packet, stream=stream)
        head, counts, additionals, octets = piece
        if end + len(octets) + len(opt) > (STREAM_PAYLOAD if stream else limit):
            # RFC 2181 section 9: TC, and nothing that could be taken for all.
            head, counts, additionals, octets = bytes((head[0] | 2, head[1])), _ONE_QUESTION, 0, b""
        if packet[2]:
            head = bytes((head[0] | 1, head[1]))
        if opt:
            additionals += 1
        return b"".join(
            (packet[:2], head, counts, additionals.to_bytes(2, "big"), packet[_HEADER:end], octets, opt)
        )

    # Finding.

    def _piece(self, name: bytes, starts: list[int], kind: int) -> _Piece | None:
        """None where the codec's path has to look."""
        place = 0
        node = self._nodes.get(name)
        if kind == _DS and node is not None and (node.cut is node or node.apex is node):
            # RFC 4035 section 3.1.4.1: at a cut it is the parent's to tell.
            return None
        if node is not None and node.cut is None:
            if node.renamed:
                return None
            known = kind in node.kinds or kind == _ANY or _CNAME in node.kinds
            key = (node, kind if known else _NO_DATA, 0)
            return self._pieces.get(key) or self._make(key, name, starts, kind)
        if node is None:
            for place in (*starts[1:], len(name) - 1):
                node = self._nodes.get(name[place:])
                if node is not None:
                    break
            else:
                return _REFUSED
        return self._missing(node, place, name, starts, kind)

    def _missing(self, node: _Node, place: int, name: bytes, starts: list[int], kind: int) -> _Piece | None:
        """A name at or below a delegation, or one that is not there. `node`, which stands at `place` in the
        question, is the name itself or the nearest above it that exists."""
        if node.renames:
            return None
        wild = node.wild
        if node.cut is not None:
            # Whatever the name and the type.
            key = (node.cut, _REFERRAL, place + node.to_cut)
        elif wild is None:
            assert node.apex is not None, "set for every node"
            key = (node.apex, _NO_NAME, place + node.to_origin)
        else:
            known = kind in wild.kinds or kind == _ANY or _CNAME in wild.kinds
            if wild.turns:
                return None
            key = (wild, kind if known else _NO_DATA, place + node.to_origin)
        return self._pieces.get(key) or self._make(key, name, starts, kind)

    # Making.

    def _make(self, key: tuple[_Node, int, int], name: bytes, starts: list[int], kind: int) -> _Piece:
        node, what, shared = key
        labels = [*(name[start + 1 : start + 1 + name[start]] for start in starts), b""]
        reply = node.zone.reply(dns.name.Name(labels), Kind(kind))
        places = {
            dns.name.Name(labels[number:]): _HEADER + start
            for number, start in enumerate(starts)
            if start >= shared
        }
        # A wildcard's records are those of whatever name was asked for; a delegation's or an apex's are its
        # own, though somebody may ask for one of them.
        owner = dns.name.Name(labels) if what not in (_NO_NAME, _REFERRAL) else None
        octets = _written(reply, owner, _HEADER + len(name) + 4, places)
        counts = (sum(map(len, section)) for section in (reply.answer, reply.authority))
        piece = (
            bytes((0x84 if reply.authoritative else 0x80, reply.rcode)),
            b"\0\1" + b"".join(count.to_bytes(2, "big") for count in counts),
            sum(map(len, reply.additional)),
            octets,
        )
        self._pieces[key] = piece
        self._held += len(octets) + _OVERHEAD
        while self._held > HELD:
            oldest = self._pieces.pop(next(iter(self._pieces)))
            self._held -= len(oldest[3]) + _OVERHEAD
        return piece

    # Preparing.

    def _add(self, zone: Zone, origins: Iterable[dns.name.Name]) -> None:
        """Every name of a zone; those at and below a longer origin are another zone's to tell of."""
        longer = set(origins)
        nodes: dict[dns.name.Name, _Node] = {}
        apex: _Node | None = None
        kinds: dict[frozenset[int], frozenset[int]] = {}
        for name in sorted(zone.nodes, key=len):
            parent = nodes.get(name.parent()) if name != zone.origin else None
            if name != zone.origin and (parent is None or name in longer):
                continue
            there = frozenset(map(int, zone.nodes[name]))
            there = kinds.setdefault(there, there)
            first = len(name.labels[0]) + 1 if parent is not None else 0
            node = _Node(zone, there, parent.to_origin + first if parent is not None else 0)
            if parent is None:
                apex = node
            else:
                node.cut, node.to_cut = parent.cut, parent.to_cut + first
                node.renamed = node.renames = parent.renames
                if name.is_wild():
                    parent.wild = node
                    node.turns = _CNAME in there and _turns(zone, name)
                if node.cut is None and _NS in there:
                    node.cut, node.to_cut = node, 0
            node.apex = apex
            node.renames = node.renames or dns.rdatatype.DNAME in there
            nodes[name] = self._nodes[(name.to_wire() or b"").lower()] = node


def _turns(zone: Zone, wildcard: dns.name.Name) -> bool:
    """Whether the chain of aliases from a wildcard comes to a name that it may stand for itself."""
    domain = wildcard.parent()
    links = zone.reply(wildcard, dns.rdatatype.A).answer
    return any(rrset.rdtype == _CNAME and rrset[0].target.is_subdomain(domain) for rrset in links)


def _extension(packet: bytes, at: int) -> tuple[bytes, int] | None:
    """Our OPT and the octets that fit, for a query with an OPT of version 0 and nothing else behind the
    question; None for anything else."""
    if packet[10:12] != b"\0\1" or packet[at : at + 3] != _OPT or len(packet) < at + 11 or packet[at + 6]:
        return None
    end = at + 11 + int.from_bytes(packet[at + 9 : at + 11], "big")
    if end != len(packet):
        return None
    place = at + 11
    while place < end:
        # Which options they are is nothing to us; that they are options is.
        place += 4 + int.from_bytes(packet[place + 2 : place + 4], "big")
    if place != end:
        return None
    payload = int.from_bytes(packet[at + 3 : at + 5], "big")
    opt = _OPT_DO if packet[at + 7] & 0x80 else _OPT_PLAIN
    return opt, max(PLAIN_PAYLOAD, min(payload, EDNS_PAYLOAD))


def _written(
    reply: Reply, question: dns.name.Name | None, start: int, places: dict[dns.name.Name, int]
) -> bytes:
    """The records as they stand from `start` on; `places` are names that may be pointed at, and so may the
    `question`, unless that is another one the next time."""
    stream = BytesIO()
    stream.write(bytes(start))
    for section in (reply.answer, reply.authority, reply.additional):
        for rrset in section:
            for record in rrset:
                if rrset.name == question:
                    stream.write(b"\xc0\x0c")
                else:
                    rrset.name.to_wire(stream, places)
                stream.write(rrset.rdtype.to_bytes(2, "big") + _IN + rrset.ttl.to_bytes(4, "big"))
                at = stream.tell()
                stream.write(b"\0\0")
                record.to_wire(stream, places)
                size = stream.tell() - at - 2
                stream.seek(at)
                stream.write(size.to_bytes(2, "big"))
                stream.seek(0, 2)
    return stream.getvalue()[start:]
