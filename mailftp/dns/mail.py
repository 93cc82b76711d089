"""Where a domain's mail goes: RFC 5321 section 5.1."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from twisted.internet.defer import Deferred

from mailftp.dns.answers import address_shaped, name_text
from mailftp.dns.resolver import Answer, NoSuchData, NoSuchName, ResolutionFault, Resolver, Unresolved

#: Hosts whose addresses are asked for, and addresses kept of each. RFC 5321 section 4.5.4.2 asks for at
#: least two tries; a domain with hundreds of hosts would make us ask, and then try, for hours.
HOSTS, ADDRESSES = 16, 8


class NullMX(Exception):
    """The domain says that it takes no mail (RFC 7505)."""


@dataclass(frozen=True, slots=True)
class MailHost:
    name: str
    #: Text forms, AAAA and A. Empty when they could not be had: the host still counts when our own
    #: place among the preferences is looked for.
    addresses: tuple[str, ...]
    preference: int
    implicit: bool = False


def mail_hosts(
    resolver: Resolver, domain: str, shuffle: random.Random | None = None
) -> Deferred[tuple[MailHost, ...]]:
    """The hosts to try, best first, equal preferences shuffled; implicit MX when there is no MX record. An
    address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]") is its own only host.

    Fails with NullMX; NoSuchName or NoSuchData when there is nothing to deliver to (permanent);
    Unresolved (temporary), also
    when all hosts' addresses could not be had. At least one of the hosts has an address.
    """
    return Deferred.fromCoroutine(_mail_hosts(resolver, domain, shuffle or random.SystemRandom()))


def host_addresses(resolver: Resolver, host: str) -> Deferred[tuple[str, ...]]:
    """The addresses of a host, AAAA and A, or of an address written as one, with or without brackets.
    Fails as Resolver.lookup; never empty."""
    return Deferred.fromCoroutine(_host_addresses(resolver, host))


async def _mail_hosts(resolver: Resolver, domain: str, shuffle: random.Random) -> tuple[MailHost, ...]:
    if domain.startswith("["):
        return (MailHost(domain, await _host_addresses(resolver, domain), 0, implicit=True),)
    try:
        answer = await resolver.lookup(domain, "MX")
    except NoSuchData:
        return (MailHost(domain, await _host_addresses(resolver, domain), 0, implicit=True),)
    targets = _targets(answer, domain, shuffle)
    asked = [(name, preference, host_addresses(resolver, name)) for preference, name in targets]
    hosts: list[MailHost] = []
    faults: list[ResolutionFault] = []
    for name, preference, coming in asked:
        addresses: tuple[str, ...] = ()
        try:
            addresses = await coming
        except ResolutionFault as fault:
            faults.append(fault)
        hosts.append(MailHost(name, addresses, preference))
    if any(host.addresses for host in hosts):
        return tuple(hosts)
    for reason in faults:
        if isinstance(reason, Unresolved):
            raise Unresolved(f"no address of a mail host of {domain}: {reason}")
    raise NoSuchData(f"the mail hosts of {domain} have no address: {faults[0]}")


def _targets(answer: Answer, domain: str, shuffle: random.Random) -> list[tuple[int, str]]:
    """Preferences and names, best first. A root target next to others is passed over, and so is an address
    in the place of a name: RFC 1035 section 3.3.9 wants a name, and to look it up would ask the whole
    world for the top-level domain "1"."""
    records = [record for record in answer.records if isinstance(record, MX)]
    named = [(record.preference, name_text(record.exchange)) for record in records]
    if named and all(name == "." for _, name in named):
        raise NullMX(f"{domain} takes no mail (null MX)")
    usable = [(preference, name) for preference, name in named if name != "." and not address_shaped(name)]
    if not usable:
        raise NoSuchData(f"the MX records of {domain} name no host")
    shuffle.shuffle(usable)
    usable.sort(key=lambda target: target[0])
    return usable[:HOSTS]


async def _host_addresses(resolver: Resolver, host: str) -> tuple[str, ...]:
    literal = host.removeprefix("[").removesuffix("]")
    # RFC 5321 section 4.1.3 tags IPv6 literals.
    untagged = literal[5:] if literal[:5].lower() == "ipv6:" else literal
    try:
        return (str(ip_address(untagged)),)
    except ValueError:
        if host.startswith("["):
            raise NoSuchName(f"{host!r} is not an address literal") from None
    asked = [resolver.lookup(host, kind) for kind in ("AAAA", "A")]
    found: list[str] = []
    faults: list[ResolutionFault] = []
    for coming in asked:
        try:
            found.extend(_addresses(await coming))
        except ResolutionFault as fault:
            faults.append(fault)
    if found:
        return tuple(found)
    # Only when both say so is there none: a broken server may answer one type and drop the other.
    raise next((fault for fault in faults if isinstance(fault, Unresolved)), faults[-1])


def _addresses(answer: Answer) -> Iterable[str]:
    return [record.address for record in answer.records if isinstance(record, (A, AAAA))][:ADDRESSES]
