"""The TLSA records of mail hosts, where the resolver vouches for the answers (RFC 7672 section 2)."""

from __future__ import annotations

from dns.rdtypes.ANY.TLSA import TLSA as Record

from mailftp.dns.resolver import NoSuchData, NoSuchName, ResolutionFault, Resolver
from mailftp.smtp.client_dane import TLSA

#: Records of a host that are looked at.
RECORDS = 32


class NoDANE(Exception):
    """Whether a host has TLSA records cannot be found out: it must not be called (section 2.2)."""


async def vouched(resolver: Resolver, domain: str) -> bool:
    """Whether the answer that named the domain's hosts was validated (section 2.2.1)."""
    try:
        return (await resolver.lookup(domain, "MX")).authentic
    except ResolutionFault:
        return False


async def host_records(resolver: Resolver, host: str, port: int) -> tuple[TLSA, ...]:
    """() for a host without any, or in a zone that is not signed. Raises NoDANE."""
    if not await _signed(resolver, host):
        return ()
    name = f"_{port}._tcp.{host}"
    try:
        answer = await resolver.lookup(name, "TLSA")
    except (NoSuchName, NoSuchData):
        return ()
    except ResolutionFault as fault:
        raise NoDANE(f"TLSA of {name}: {fault}")
    if not answer.authentic:
        return ()
    records = [record for record in answer.records if isinstance(record, Record)]
    return tuple(TLSA(r.usage, r.selector, r.mtype, bytes(r.cert)) for r in records[:RECORDS])


async def _signed(resolver: Resolver, host: str) -> bool:
    """Section 2.2.2: whose addresses are not validated is not asked for TLSA records: some servers answer
    that with nothing at all."""
    for kind in ("A", "AAAA"):
        try:
            if (await resolver.lookup(host, kind)).authentic:
                return True
        except ResolutionFault:
            continue
    return False
