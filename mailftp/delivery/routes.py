"""From a domain to the hosts to try: `[delivery] routes`, the smarthost, or MX (RFC 5321 section 5.1).

What must not be called is left out here:

- Ourselves. A host of our own name, or at an address where our own SMTP listens, and all hosts that
  are no better than it: mail would go round (RFC 5321 section 5.1). When nobody is left it is a loop, 5.4.6.
- Addresses that mean this machine (loopback, 0.0.0.0), which anybody can write in a public zone to have us
  talk to services that trust this machine. Where our own SMTP listens on loopback it is a server for trying
  things out, and its peers may be on loopback too. A route and the smarthost are the operator's own words,
  and may be anywhere but at our own SMTP.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import zip_longest
from pathlib import Path

from mailftp.delivery.dane import NoDANE, host_records, vouched
from mailftp.delivery.mta_sts import Policy
from mailftp.delivery.verdict import NotNow
from mailftp.dns.mail import MailHost, NullMX, host_addresses, mail_hosts
from mailftp.dns.resolver import NoSuchData, NoSuchName, ResolutionFault, Resolver, Unresolved
from mailftp.settings import DeliveryRule, Settings
from mailftp.smtp.client_dane import TLSA
from mailftp.wire.journal import Journal

#: Addresses tried of one host, and connections tried in one attempt.
ADDRESSES, HOPS = 2, 8

_HOST_PORT = re.compile(r"(lmtp:)?(?:\[([^\]\s]+)\]|([^:\[\]\s]+)):([0-9]{1,5})", re.ASCII)

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Hop:
    """A host at one of its addresses: what a connection is kept by."""

    host: str
    address: str
    port: int
    lmtp: bool = False
    #: As in mailftp.smtp.client.Target.
    tls: str = "opportunistic"
    username: str = ""
    password: str = field(default="", repr=False)
    #: The local address to call from, or "".
    source: str = ""
    #: Address and port of a SOCKS5 proxy, and the login there.
    socks: tuple[str, int] | None = None
    socks_login: tuple[str, str] | None = field(default=None, repr=False)
    #: As in mailftp.smtp.client.Target, with tls "dane".
    tlsa: tuple[TLSA, ...] = ()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class _Named:
    host: str
    port: int
    lmtp: bool


class Router:
    """`local_addresses` are (address, port) of our own SMTP listeners; it is looked at each time, so that it
    may be filled when they listen."""

    def __init__(
        self,
        settings: Settings,
        resolver: Resolver,
        local_addresses: Collection[Address],
        policies: Callable[[str], Awaitable[Policy | None]] | None = None,
    ) -> None:
        """`policies` gives a domain's MTA-STS policy; without it nobody's counts. Raises ValueError for a
        route, a smarthost, or a file with a password that cannot be read."""
        self._delivery, self._resolver = settings.delivery, resolver
        self._own_names = {settings.hostname.lower(), (settings.delivery.helo or settings.hostname).lower()}
        self._own = local_addresses
        self._policies = policies
        self._dane = settings.delivery.dane and settings.dns.trust_ad
        self._journal = Journal("delivery")
        self._routes = {domain.lower(): _named(text) for domain, text in self._delivery.routes.items()}
        smarthost = self._delivery.smarthost
        self._smarthost = _named(smarthost.host, 587) if smarthost else None
        self._password = _first_line(smarthost.password_file, "smarthost.password_file") if smarthost else ""
        #: By the id of the rule: its password, and its login at the SOCKS proxy.
        self._logins = {id(rule): _logins_of(rule) for rule in self._delivery.rules}

    async def hops(self, domain: str, route: str = "", rule: DeliveryRule | None = None) -> tuple[Hop, ...]:
        """Whom to call for a domain, best first, never empty. `route` is the operator's word for the message,
        "HOST:PORT" or "lmtp:HOST:PORT", and goes before the rest; `rule` is the one that fits. Raises
        NotNow."""
        if route:
            return await self._by_name(_named(route), "opportunistic", "")
        if not domain:
            raise NotNow("5.1.3", "the address has no domain", permanent=True)
        if rule is not None:
            return await self._by_rule(domain, rule)
        named = self._routes.get(domain.lower())
        if named is not None:
            return await self._by_name(named, "opportunistic", "")
        smarthost = self._delivery.smarthost
        if self._smarthost is not None and smarthost is not None:
            # A password is only for who can prove to be the host it is meant for.
            tls = "implicit" if self._smarthost.port == 465 else "required"
            checked = smarthost.username or tls == "implicit"
            return await self._by_name(
                self._smarthost, tls if checked else "opportunistic", smarthost.username, self._password
            )
        return await self._by_mx(domain)

    def leads_home(self, domain: str, rule: DeliveryRule | None) -> bool:
        """Whether `hops` are hosts of the domain, and not a host that takes mail for everybody."""
        if rule is not None:
            return rule.to == "mx"
        return domain.lower() in self._routes or self._smarthost is None

    async def _by_rule(self, domain: str, rule: DeliveryRule) -> tuple[Hop, ...]:
        password, login = self._logins[id(rule)]
        if rule.to == "mx":
            hops = await self._by_mx(domain)
            if rule.tls != "opportunistic":
                hops = tuple(replace(hop, tls=rule.tls) for hop in hops)
        else:
            named = _named(rule.to)
            tls = "required" if rule.username and rule.tls == "opportunistic" else rule.tls
            tls = "implicit" if named.port == 465 and tls != "none" else tls
            hops = await self._by_name(named, tls, rule.username, password)
        socks = await self._proxy(rule.socks) if rule.socks else None
        sources = {":" in source: source for source in rule.source}
        hops = tuple(
            replace(hop, source=sources.get(":" in hop.address, ""), socks=socks, socks_login=login)
            for hop in hops
            if not sources or (":" in hop.address) in sources
        )
        if not hops:
            family = "IPv6" if True in sources else "IPv4"
            raise NotNow("4.4.4", f"the rule calls from {family} alone, and nobody there can be called by it")
        return hops

    async def _proxy(self, text: str) -> tuple[str, int]:
        named = _named(text, 1080)
        try:
            return (await host_addresses(self._resolver, named.host))[0], named.port
        except (ResolutionFault, IndexError) as fault:
            raise NotNow("4.4.4", f"the SOCKS proxy {named.host} cannot be found: {fault}")

    async def _by_name(self, named: _Named, tls: str, username: str, password: str = "") -> tuple[Hop, ...]:
        try:
            addresses = await host_addresses(self._resolver, named.host)
        except ResolutionFault as fault:
            # The operator's mistake, perhaps, and never a reason to return everybody's mail.
            raise NotNow("4.4.4", f"the host that mail is to go by cannot be found: {fault}")
        usable = [address for address in addresses if not self._is_own(address, named.port)]
        if not usable:
            raise NotNow("5.4.6", f"{named.host}:{named.port} is this server itself", permanent=True)
        return tuple(
            Hop(
                named.host,
                address,
                named.port,
                named.lmtp,
                self._plain_here(address, tls),
                username,
                password,
            )
            for address in _alternating(usable)[:HOPS]
        )

    def _plain_here(self, address: str, tls: str) -> str:
        """On loopback nobody listens in, and a proxy there has a certificate for no name that we know."""
        return "opportunistic" if tls == "required" and ip_address(address).is_loopback else tls

    async def _by_mx(self, domain: str) -> tuple[Hop, ...]:
        port = self._delivery.port
        try:
            hosts = await mail_hosts(self._resolver, domain)
        except NullMX as fault:
            raise NotNow("5.1.10", str(fault), permanent=True)
        except NoSuchName as fault:
            raise NotNow("5.1.2", str(fault), permanent=True)
        except NoSuchData as fault:
            raise NotNow("5.4.4", str(fault), permanent=True)
        except Unresolved as fault:
            raise NotNow("4.4.3", str(fault))
        better = self._better_than_us(hosts, port)
        if not better:
            raise NotNow("5.4.6", f"mail for {domain} comes back to this server", permanent=True)
        better, tls = await self._by_policy(domain, better)
        secure = await self._by_dane(domain, better, port)
        hops = [
            Hop(host.name, address, port, tls="dane", tlsa=tlsa, domain=domain)
            if tlsa
            else Hop(host.name, address, port, tls=tls)
            for host, tlsa in secure
            for address in _alternating(filter(self.reachable, host.addresses))[:ADDRESSES]
        ]
        if hops:
            return tuple(hops[:HOPS])
        if any(host.addresses for host in better):
            raise NotNow("5.4.4", f"the mail hosts of {domain} have no public address", permanent=True)
        raise NotNow("4.4.4", f"no address of a mail host of {domain} could be had")

    async def _by_policy(self, domain: str, hosts: list[MailHost]) -> tuple[list[MailHost], str]:
        """RFC 8461 section 5: the hosts that the domain's policy lets us call, and how. Raises NotNow."""
        if self._policies is None or domain.startswith("["):
            return hosts, "opportunistic"
        policy = await self._policies(domain)
        if policy is None or policy.mode == "none":
            return hosts, "opportunistic"
        allowed = [host for host in hosts if policy.allows(host.name)]
        if policy.mode == "enforce":
            if not allowed:
                names = ", ".join(host.name for host in hosts[:5])
                raise NotNow("4.7.0", f"the MTA-STS policy of {domain} allows none of its hosts: {names}")
            return allowed, "required"
        if len(allowed) < len(hosts):
            named = [host.name for host in hosts if host not in allowed]
            self._journal.warn("policy_not_met", domain=domain, hosts=named)
        return hosts, "opportunistic"

    async def _by_dane(
        self, domain: str, hosts: list[MailHost], port: int
    ) -> list[tuple[MailHost, tuple[TLSA, ...]]]:
        """Each host with its TLSA records. Raises NotNow when there is none that may be called."""
        if not self._dane or domain.startswith("[") or not await vouched(self._resolver, domain):
            return [(host, ()) for host in hosts]
        secure, faults = [], []
        for host in hosts:
            try:
                secure.append((host, await host_records(self._resolver, host.name, port)))
            except NoDANE as fault:
                faults.append(str(fault))
        if not secure:
            raise NotNow("4.7.0", f"no host of {domain} may be called: {faults[0]}")
        return secure

    def _better_than_us(self, hosts: Iterable[MailHost], port: int) -> list[MailHost]:
        hosts = list(hosts)
        ours = [
            host.preference
            for host in hosts
            if host.name.lower() in self._own_names
            and not host.implicit
            or any(self._is_own(address, port) for address in host.addresses)
        ]
        limit = min(ours, default=None)
        return [host for host in hosts if limit is None or host.preference < limit]

    def reachable(self, address: str) -> bool:
        """Whether an address that a zone names may be called at all."""
        ip = _unmapped(address)
        if ip.is_unspecified or ip.is_multicast or str(ip) == "255.255.255.255":
            return False
        return not ip.is_loopback or any(_unmapped(own).is_loopback for own, _ in self._own if _is_ip(own))

    def _is_own(self, address: str, port: int) -> bool:
        ip = str(_unmapped(address))
        for own, own_port in self._own:
            if own_port != port or not _is_ip(own):
                continue
            if str(_unmapped(own)) == ip or (_unmapped(own).is_unspecified and _of_this_machine(ip)):
                return True
        return False


def _alternating(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 by turns: the first few must not all be of the family that this machine does not have."""
    six: list[str] = []
    four: list[str] = []
    for address in addresses:
        (six if ":" in address else four).append(address)
    return [address for pair in zip_longest(six, four) for address in pair if address is not None]


def check_route(text: str) -> None:
    """Raises ValueError for what is neither "HOST:PORT" nor "lmtp:HOST:PORT"."""
    _named(text)


def _named(text: str, default_port: int | None = None) -> _Named:
    """ "HOST:PORT", "lmtp:HOST:PORT", "[2001:db8::1]:25"."""
    match = _HOST_PORT.fullmatch(text)
    if match is None and default_port is not None and ":" not in text:
        return _Named(text, default_port, False)
    if match is None or not 0 < int(match[4]) < 65536:
        raise ValueError(f"{text!r} is not a host and its port")
    return _Named(match[2] or match[3], int(match[4]), bool(match[1]))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _unmapped(text: str) -> IPv4Address | IPv6Address:
    ip = ip_address(text.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _of_this_machine(ip: str) -> bool:
    """Only an address of this machine can be bound to; no packet is sent."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError as fault:
        # Anything but "not mine" leaves the question open: then it is better not called.
        return fault.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def _logins_of(rule: DeliveryRule) -> tuple[str, tuple[str, str] | None]:
    """Raises ValueError."""
    login = None
    if rule.socks_login_file is not None:
        name, colon, password = _first_line(rule.socks_login_file, "rules.socks_login_file").partition(":")
        if not colon or not all(0 < len(part.encode()) < 256 for part in (name, password)):
            raise ValueError(f"delivery.rules.socks_login_file: {rule.socks_login_file} has no NAME:PASSWORD")
        login = name, password
    return _first_line(rule.password_file, "rules.password_file"), login


def _first_line(file: Path | None, key: str) -> str:
    """Of a file with a secret; "" without one. Raises ValueError."""
    if file is None:
        return ""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"delivery.{key}: {fault}") from None
    if not lines or not lines[0]:
        raise ValueError(f"delivery.{key}: {file} is empty")
    return lines[0]
