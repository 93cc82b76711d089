"""iprev: whether a client's name leads back to its address (RFC 8601 section 3)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from mailftp.origin.findings import Finding
from mailftp.origin.spf import Asking, Question, TemporaryFault

#: Names of one address that are looked up.
NAMES = 10


def iprev(address: IPv4Address | IPv6Address) -> Asking[Finding]:
    """A finding whose `reason` is the name that leads back, or what is wrong."""
    told = (("policy.iprev", str(address)),)
    try:
        names = yield Question(address.reverse_pointer, "PTR")
    except TemporaryFault as fault:
        return Finding("iprev", "temperror", str(fault), told)
    if not names:
        return Finding("iprev", "permerror", "the address has no name", told)
    trouble = ""
    for name in names[:NAMES]:
        try:
            found = yield Question(name, "A" if address.version == 4 else "AAAA")
        except TemporaryFault as fault:
            trouble = str(fault)
            continue
        if address in map(ip_address, found):
            return Finding("iprev", "pass", name.removesuffix("."), told)
    if trouble:
        return Finding("iprev", "temperror", trouble, told)
    return Finding("iprev", "fail", "its name has another address", told)
