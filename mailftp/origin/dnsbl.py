"""DNS blocklists: whether an address is in one (RFC 5782)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from mailftp.origin.spf import Asking, Question, TemporaryFault

_ENTRIES = ip_network("127.0.0.0/8")
#: How Spamhaus and others say that a question was refused; to take it for an entry would refuse all mail.
_REFUSALS = ip_network("127.255.255.0/24")
#: Characters of a list's own words.
_REASON = 200


@dataclass(frozen=True, slots=True)
class Listing:
    zone: str
    #: What the list says of it, printable ASCII; "" where it says nothing.
    reason: str


def look_up(address: IPv4Address | IPv6Address, zone: str) -> Asking[Listing | None]:
    """Sections 2.1 and 2.4. None also where the list does not answer: its trouble is not the client's."""
    # The octets or nibbles turned round, without "in-addr.arpa" or "ip6.arpa".
    name = f"{address.reverse_pointer.rsplit('.', 2)[0]}.{zone}"
    try:
        found = yield Question(name, "A")
    except TemporaryFault:
        return None
    # A zone that somebody else has bought answers with an address of his for every name.
    if not any(_entry(text) for text in found):
        return None
    try:
        texts = yield Question(name, "TXT")
    except TemporaryFault:
        texts = ()
    said = texts[0][:_REASON] if texts else ""
    return Listing(zone, said if said.isascii() and said.isprintable() else "")


def _entry(text: str) -> bool:
    address = ip_address(text)
    return address in _ENTRIES and address not in _REFUSALS
