"""A query's octets in, a response's octets out. No sockets and no clock here.

Whatever comes is answered with one packet that is not much larger, or not at all: a response is never
answered, so that two servers cannot be set on each other, and what does not fit is cut to the question, which
sends an honest client to TCP and gives a forged one nothing.
"""

from __future__ import annotations

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from mailftp.dns.answers import EDNS_PAYLOAD
from mailftp.dns.zone import Reply, Zones

#: RFC 1035 section 4.2.1: what a client takes that does not say more.
PLAIN_PAYLOAD = 512
STREAM_PAYLOAD = 65535
_HEADER = 12
#: OPT and TSIG or SIG(0); nothing else belongs in a query's additional section.
_ADDITIONAL = 2
#: Questions about the zone as a whole: mailftp.dns.transfer answers who may ask them.
_TRANSFERS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR})
#: RFC 1035 section 3.2.3 and RFC 6895 section 3.1: no data of a zone has these types.
_NOT_DATA = frozenset(range(128, 255)) - _TRANSFERS


def respond(zones: Zones, packet: bytes, *, stream: bool = False) -> bytes | None:
    """The response to a packet, by datagram or with `stream` by TCP; None where none may be sent."""
    if len(packet) < _HEADER or packet[2] & 0x80:
        return None
    counts = [int.from_bytes(packet[at : at + 2], "big") for at in (4, 6, 8, 10)]
    if packet[2] >> 3 & 0xF != dns.opcode.QUERY:
        return _header(packet, dns.rcode.NOTIMP)
    # RFC 9619: one question. The counts are looked at first, so that no packet makes the codec work long.
    if counts[0] != 1 or counts[1] or counts[2] > 1 or counts[3] > _ADDITIONAL:
        return _header(packet, dns.rcode.FORMERR)
    try:
        query = dns.message.from_wire(packet)
    except dns.message.UnknownTSIGKey:
        # RFC 8945 section 5.2: we share no key with anybody.
        return _header(packet, dns.rcode.NOTAUTH)
    except Exception:
        # A stranger wrote these octets, and the codec trips over them in more ways than it names.
        return _header(packet, dns.rcode.FORMERR)
    if query.authority and query.question[0].rdtype != dns.rdatatype.IXFR:
        # RFC 1995 section 3: the SOA that a secondary has.
        return _header(packet, dns.rcode.FORMERR)
    response = dns.message.make_response(query, our_payload=EDNS_PAYLOAD)
    if query.edns >= 0 and query.ednsflags & dns.flags.DO:
        # RFC 3225 section 3.
        response.ednsflags |= dns.flags.DO
    if query.edns > 0:
        # RFC 6891 section 6.1.3.
        response.set_rcode(dns.rcode.BADVERS)
    else:
        _fill(response, zones)
    limit = STREAM_PAYLOAD if stream else _payload(query)
    return _written(response, limit)


def _fill(response: dns.message.Message, zones: Zones) -> None:
    asked = response.question[0]
    if asked.rdtype == dns.rdatatype.OPT:
        response.set_rcode(dns.rcode.FORMERR)
        return
    if asked.rdtype in _NOT_DATA:
        response.set_rcode(dns.rcode.NOTIMP)
        return
    zone = zones.of(asked.name, asked.rdtype) if asked.rdclass == dns.rdataclass.IN else None
    if zone is None or asked.rdtype in _TRANSFERS:
        response.set_rcode(dns.rcode.REFUSED)
        return
    reply: Reply = zone.reply(asked.name, asked.rdtype)
    response.set_rcode(reply.rcode)
    if reply.authoritative:
        response.flags |= dns.flags.AA
    response.answer, response.authority = reply.answer, reply.authority
    response.additional = reply.additional


def _payload(query: dns.message.Message) -> int:
    """RFC 6891 section 6.2.3: less than 512 means 512; more than fits every path is not sent."""
    return PLAIN_PAYLOAD if query.edns < 0 else max(PLAIN_PAYLOAD, min(query.payload, EDNS_PAYLOAD))


def _written(response: dns.message.Message, limit: int) -> bytes:
    # The client's own limit is in `request_payload`, and would override ours on a stream.
    response.request_payload = limit
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        # RFC 2181 section 9; with glue that does not fit too (RFC 9471 section 3).
        response.flags |= dns.flags.TC
        response.answer, response.authority, response.additional = [], [], []
        return response.to_wire(max_size=limit)


def truncated(packet: bytes) -> bytes | None:
    """The query turned into an answer that says: by TCP (RFC 1035 section 4.1.1, TC). As long as the question
    at the most. None where none may be sent."""
    if len(packet) < _HEADER or packet[2] & 0x80:
        return None
    at = _HEADER
    while at < len(packet) and 0 < packet[at] < 64:
        at += packet[at] + 1
    end = at + 5
    if packet[4:6] != b"\0\1" or end > len(packet) or packet[at]:
        return _header(packet, dns.rcode.FORMERR)
    flags = bytes((0x82 | packet[2] & 0x79, 0))
    return packet[:2] + flags + b"\0\1" + bytes(6) + packet[_HEADER:end]


def _header(packet: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A response of nothing but a header: the id, opcode and RD of the query, and the reason."""
    return packet[:2] + bytes((0x80 | packet[2] & 0x79, rcode)) + bytes(8)
