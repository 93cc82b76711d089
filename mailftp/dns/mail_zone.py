"""The records that a mail domain needs, from what the server is and where it listens.

One list serves three readers: the zone that we answer from, the zone file for who hosts it elsewhere, and the
check that asks the world. What only a higher floor knows, DKIM's public keys, is handed in as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import dns.name

from mailftp.dns.answers import domain_name
from mailftp.dns.zone_file import DEFAULT_TTL, Nodes, laid_over, read_zone_file

#: SOA: how often a secondary looks, and again after a failure; how long it answers alone; how long a "no"
#: holds. NOTIFY tells of changes at once, so these are for when it gets lost (RIPE-203 and RFC 1912
#: section 2.2, with a shorter refresh).
REFRESH, RETRY, EXPIRE, NEGATIVE = 7200, 900, 1209600, 300
#: Octets of one character-string of a TXT record (RFC 1035 section 3.3).
_STRING = 255
#: Where a web server is found that speaks for the domain; RFC 8461 section 3.3, and mail programs' own names.
_WEB_NAMES = {"autoconfig": ("http", "https"), "autodiscover": ("https",), "mta-sts": ("https",)}
#: (service, label, priority): RFC 6186 section 3 and RFC 8314 section 5.1, TLS from the first octet
#: preferred.
_SERVICES = (
    ("submissions", "_submissions._tcp", 0),
    ("submission", "_submission._tcp", 10),
    ("imaps", "_imaps._tcp", 0),
    ("imap", "_imap._tcp", 10),
    ("pop3s", "_pop3s._tcp", 20),
    ("pop3", "_pop3._tcp", 30),
)
_MORE_SERVICES = (
    ("ftp", "_ftp._tcp", 0),
    ("ftps", "_ftps._tcp", 0),
    ("https", "_autodiscover._tcp", 0),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One record: its name in full, with the last dot, and what it is for."""

    name: str
    kind: str
    data: str
    why: str
    #: Mail works without it, less well.
    optional: bool = False
    ttl: int = DEFAULT_TTL

    @property
    def line(self) -> str:
        """As a zone file has it."""
        return f"{self.name} {self.ttl} IN {self.kind} {self.data}"


@dataclass(frozen=True, slots=True)
class Site:
    """What all domains of one server share."""

    hostname: str
    #: Where the host is reached, text forms of IPv4 and IPv6.
    addresses: tuple[str, ...]
    #: Who answers for the zones, the first of them with authority over the others.
    nameservers: tuple[str, ...]
    domains: tuple[str, ...]
    #: Service -> the port that clients call.
    ports: Mapping[str, int] = field(default_factory=dict)
    #: SPF mechanisms for who sends our mail beside the host itself: "a:smtp.example.net".
    senders: tuple[str, ...] = ()
    #: Certificate authorities that may issue for the domains, "letsencrypt.org".
    authorities: tuple[str, ...] = ()


def mail_records(site: Site, domain: str, dkim: Mapping[str, str]) -> list[Wanted]:
    """What the domain itself needs, wherever it is hosted. `dkim` is selector -> key record."""
    at, host = f"{domain}.", f"{site.hostname}."
    postmaster = f"mailto:postmaster@{domain}"
    spf = " ".join(("v=spf1", "mx", *site.senders, "~all"))
    found = [
        Wanted(at, "MX", f"10 {host}", "where the domain's mail goes"),
        Wanted(at, "TXT", quoted(spf), "SPF: who sends the domain's mail"),
    ]
    for selector, record in sorted(dkim.items()):
        found.append(Wanted(f"{selector}._domainkey.{at}", "TXT", quoted(record), "DKIM: the signing key"))
    dmarc = f"v=DMARC1; p=quarantine; rua={postmaster}"
    found.append(Wanted(f"_dmarc.{at}", "TXT", quoted(dmarc), "DMARC: what to do with forgeries"))
    found.append(
        Wanted(
            f"_smtp._tls.{at}",
            "TXT",
            quoted(f"v=TLSRPTv1; rua={postmaster}"),
            "TLSRPT: reports about TLS",
            optional=True,
        )
    )
    if "https" in site.ports:
        identifier = policy_id(sts_policy(site.hostname))
        found.append(
            Wanted(f"_mta-sts.{at}", "TXT", quoted(f"v=STSv1; id={identifier}"), "MTA-STS: TLS is to be used")
        )
    for name, services in _WEB_NAMES.items():
        taken = (site.hostname, *site.domains, *site.nameservers)
        if any(service in site.ports for service in services) and f"{name}.{domain}" not in taken:
            found.append(Wanted(f"{name}.{at}", "CNAME", host, "where programs find their settings", True))
    found += _service_records(site, at, host)
    found += [
        Wanted(at, "CAA", f'0 issue "{authority}"', "who may issue certificates", True)
        for authority in site.authorities
    ]
    iodef = f'0 iodef "{postmaster}"'
    found.append(Wanted(at, "CAA", iodef, "who is told of a refused certificate", True))
    return found


def _service_records(site: Site, at: str, host: str) -> Iterable[Wanted]:
    for service, label, priority in _SERVICES:
        port = site.ports.get(service)
        if port is None:
            # RFC 6186 section 3.4: a single dot says that there is no such service.
            yield Wanted(f"{label}.{at}", "SRV", "0 0 0 .", f"{service} is not offered", True)
        else:
            yield Wanted(f"{label}.{at}", "SRV", f"{priority} 1 {port} {host}", f"where {service} is", True)
    port = site.ports.get("https")
    # RFC 8620 section 2.2: JMAP is found by https alone.
    where = "0 0 0 ." if port is None else f"0 1 {port} {host}"
    words = "jmap is not offered" if port is None else "where jmap is"
    yield Wanted(f"_jmap._tcp.{at}", "SRV", where, words, True)
    for service, label, priority in _MORE_SERVICES:
        port = site.ports.get(service)
        if port is not None:
            yield Wanted(f"{label}.{at}", "SRV", f"{priority} 1 {port} {host}", f"where {service} is", True)


def host_records(site: Site) -> list[Wanted]:
    """What the host's own name needs."""
    host = f"{site.hostname}."
    found = [
        Wanted(host, "AAAA" if ":" in address else "A", address, "where the server is reached")
        for address in site.addresses
    ]
    if site.hostname not in site.domains and site.addresses:
        # RFC 7208 section 2.3: bounces have no sender, and the name in EHLO is checked in its place.
        found.append(Wanted(host, "TXT", quoted("v=spf1 a -all"), "SPF: the host's own bounces", True))
    return found


def reverse_records(site: Site, zone: str) -> list[Wanted]:
    """The PTR of each address whose reverse name is in the zone."""
    found = []
    for address in site.addresses:
        name = ip_address(address).reverse_pointer
        if name == zone or name.endswith(f".{zone}"):
            found.append(Wanted(f"{name}.", "PTR", f"{site.hostname}.", "the name of the address"))
    return found


def authority_records(site: Site, zone: str, serial: int) -> list[Wanted]:
    """SOA and NS."""
    # RFC 2142 section 7 says hostmaster; the postmaster's mail is sure to be read by somebody here.
    owner = next((domain for domain in site.domains if _within(domain, zone)), site.domains[0])
    times = f"{REFRESH} {RETRY} {EXPIRE} {NEGATIVE}"
    soa = f"{site.nameservers[0]}. postmaster.{owner}. {serial} {times}"
    found = [Wanted(f"{zone}.", "SOA", soa, "who answers for the zone")]
    found += [Wanted(f"{zone}.", "NS", f"{name}.", "who answers for the zone") for name in site.nameservers]
    return found


def zone_records(
    site: Site, zone: str, serial: int, dkim: Mapping[str, Mapping[str, str]], others: Sequence[str] = ()
) -> list[Wanted]:
    """Every record of a zone of ours. `others` are the other zones of this server: one below this one is
    delegated to the same servers."""
    below = [other for other in others if other != zone and _within(other, zone)]

    def ours(name: str) -> bool:
        return _within(name, zone) and not any(_within(name, other) for other in below)

    found = authority_records(site, zone, serial)
    for domain in site.domains:
        if ours(domain):
            found += mail_records(site, domain, dkim.get(domain, {}))
    # A name below a delegation is kept too: it is the glue.
    if _within(site.hostname, zone):
        found += host_records(site)
    primary = site.nameservers[0]
    if primary != site.hostname and _within(primary, zone):
        found += [
            Wanted(f"{primary}.", "AAAA" if ":" in address else "A", address, "the name server's address")
            for address in site.addresses
        ]
    found += reverse_records(site, zone)
    for other in below:
        found += [Wanted(f"{other}.", "NS", f"{name}.", "delegation") for name in site.nameservers]
    return found


def zone_nodes(origin: dns.name.Name, wanted: Iterable[Wanted], theirs: Nodes) -> Nodes:
    """The records as a Zone takes them, an operator's laid over."""
    ours = read_zone_file(origin, "".join(f"{record.line}\n" for record in wanted))
    return laid_over(ours, theirs)


def _within(name: str, zone: str) -> bool:
    return domain_name(name).is_subdomain(domain_name(zone))


def quoted(text: str) -> str:
    """A TXT record's data: strings of at most 255 octets, each in quotes."""
    pieces = [text[at : at + _STRING] for at in range(0, len(text), _STRING)] or [""]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


def sts_policy(hostname: str) -> str:
    """The policy that https://mta-sts.<domain>/.well-known/mta-sts.txt gives (RFC 8461 section 3.2)."""
    lines = ("version: STSv1", "mode: enforce", f"mx: {hostname}", "max_age: 604800")
    return "".join(f"{line}\r\n" for line in lines)


def policy_id(policy: str) -> str:
    """RFC 8461 section 3.1: another one for another policy, at most 32 letters and digits."""
    return hashlib.sha256(policy.encode()).hexdigest()[:20]
