"""Whole zones for secondaries: AXFR (RFC 5936), and IXFR answered by all of it (RFC 1995 section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dns.message
import dns.name
import dns.opcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mailftp.dns.answers import EDNS_PAYLOAD
from mailftp.dns.serials import newer
from mailftp.dns.zone import Kind, Zone

#: Octets after which a message is full: a few milliseconds of work, and what a buffer may hold.
MESSAGE = 16 * 1024
_KINDS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
#: The question's name, which is the zone's origin, in a message: the owners point at it.
_ORIGIN = b"\xc0\x0c"


@dataclass(frozen=True, slots=True)
class TransferRequest:
    id: int
    name: dns.name.Name
    kind: Kind
    recursion_desired: bool
    extended: bool
    #: What the client has, in IXFR.
    serial: int | None

    @classmethod
    def read(cls, packet: bytes) -> TransferRequest | None:
        """None for what is no request for a transfer, or none that can be read."""
        # The type is looked for before the codec is: most of what comes is something else.
        if len(packet) < 17 or packet[4:6] != b"\0\1" or packet[2] & 0xF8:
            return None
        if not any(kind.to_bytes(2, "big") + b"\0\1" in packet[13:] for kind in _KINDS):
            return None
        try:
            query = dns.message.from_wire(packet)
        except Exception:
            # A stranger wrote these octets; the responder says what is wrong with them.
            return None
        if len(query.question) != 1 or query.question[0].rdclass != dns.rdataclass.IN or query.edns > 0:
            return None
        asked = query.question[0]
        if asked.rdtype not in _KINDS or query.answer or query.had_tsig:
            return None
        serial = None
        if asked.rdtype == dns.rdatatype.IXFR:
            held = [rrset for rrset in query.authority if rrset.rdtype == dns.rdatatype.SOA]
            if len(held) != 1:
                return None
            serial = int(held[0][0].serial)
        recursion = bool(packet[2] & 1)
        return cls(query.id, asked.name, asked.rdtype, recursion, query.edns == 0, serial)


def messages(zone: Zone, request: TransferRequest) -> Iterator[bytes]:
    """The messages of a transfer, made one by one as they are asked for."""
    question = (request.name.to_wire() or b"") + request.kind.to_bytes(2, "big") + b"\0\1"
    soa = _wire(zone, zone.soa)
    current = request.serial is not None and not newer(zone.serial, request.serial)
    records = iter(soa) if current else _records(zone, soa)
    first = True
    body: list[bytes] = []
    size = 0
    for record in records:
        if size + len(record) > MESSAGE and body:
            yield _message(request, question, body, first and request.extended)
            first, body, size = False, [], 0
        body.append(record)
        size += len(record)
    yield _message(request, question, body, first and request.extended)


def _records(zone: Zone, soa: list[bytes]) -> Iterator[bytes]:
    """RFC 5936 section 2.2: the SOA, everything else, the SOA."""
    yield from soa
    for rrsets in zone.nodes.values():
        for kind, rrset in rrsets.items():
            if kind != dns.rdatatype.SOA:
                yield from _wire(zone, rrset)
    yield from soa


def _wire(zone: Zone, rrset: dns.rrset.RRset) -> list[bytes]:
    """A record each; the owner points at the question."""
    labels = rrset.name.labels[: len(rrset.name.labels) - len(zone.origin.labels)]
    owner = b"".join(bytes((len(label),)) + label for label in labels) + _ORIGIN
    head = owner + rrset.rdtype.to_bytes(2, "big") + b"\0\1" + rrset.ttl.to_bytes(4, "big")
    found = []
    for record in rrset:
        data = record.to_wire() or b""
        found.append(head + len(data).to_bytes(2, "big") + data)
    return found


def _message(request: TransferRequest, question: bytes, body: list[bytes], extended: bool) -> bytes:
    flags = bytes((0x84 | request.recursion_desired, 0))
    counts = b"\0\1" + len(body).to_bytes(2, "big") + bytes(2) + extended.to_bytes(2, "big")
    # Section 2.2.5: an OPT in the first message.
    opt = b"\0\0\x29" + EDNS_PAYLOAD.to_bytes(2, "big") + bytes(6) if extended else b""
    return request.id.to_bytes(2, "big") + flags + counts + question + b"".join(body) + opt
