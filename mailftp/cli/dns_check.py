"""Asking the world about a mail domain: each record, the names of the addresses, the mail host's port."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import dns.rdata
from cryptography import x509
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from twisted.internet.defer import Deferred, gatherResults

from mailftp.dns.answers import domain_name
from mailftp.dns.comparison import Finding, Group, Status, groups
from mailftp.dns.mail import host_addresses
from mailftp.dns.mail_zone import Wanted, authority_records
from mailftp.dns.resolver import NoSuchData, NoSuchName, ResolutionFault, Resolver
from mailftp.dns.zone import Zones
from mailftp.origin.iprev import iprev
from mailftp.origin.lookups import answer_check
from mailftp.origin.spf import check_host
from mailftp.settings import Settings
from mailftp.zones import site_of, wanted_records

#: Seconds for connecting to the mail host, and for each of its replies.
PATIENCE = 10.0
_REPLY = re.compile(rb"([0-9]{3})([ -])(.*)")


async def check_domain(
    settings: Settings, domain: str, zones: Zones, resolver: Resolver, reactor: Any
) -> list[Finding]:
    """A finding for each record and each address. `zones` are those that we serve: what an operator's file
    put in the place of a record is right."""
    wanted = wanted_records(settings, domain)
    site = site_of(settings)
    if domain in settings.dns.zones:
        wanted = [record for record in authority_records(site, domain, 0) if record.kind == "NS"] + wanted
    asked = [_record(settings, group, zones, resolver, reactor) for group in groups(wanted)]
    asked += [_reverse(settings, address, resolver, reactor) for address in site.addresses]
    if not site.addresses:
        note = "no address of this server is known; give dns.addresses"
        return [*await _all(asked), Finding(Status.MISSING, settings.hostname, "A", "the host", (), note)]
    return await _all(asked)


async def _all(asked: Sequence[Any]) -> list[Finding]:
    found: list[Finding] = await gatherResults(map(Deferred.fromCoroutine, asked), consumeErrors=True)
    return found


async def _record(
    settings: Settings, group: Group, zones: Zones, resolver: Resolver, reactor: Any
) -> Finding:
    if group.kind == "CNAME":
        return await _alias(settings, group, resolver)
    try:
        answer = await resolver.lookup(group.name, group.kind)
    except (NoSuchName, NoSuchData):
        return group.compare(())
    except ResolutionFault as fault:
        return group.finding(Status.UNKNOWN, note=str(fault))
    texts = [_text(record) for record in answer.records]
    finding = group.compare(texts)
    if finding.status is Status.WRONG and sorted(texts) == _served(group, zones):
        return group.finding(Status.RIGHT, finding.found, "as your zone file has it")
    if group.sort == "v=spf1" and len(finding.found) == 1:
        return await _spf(settings, group, finding, resolver, reactor)
    return finding


def _served(group: Group, zones: Zones) -> list[str] | None:
    """What our own zone says, with the operator's records in it."""
    name = domain_name(group.name)
    kind = dns.rdatatype.from_text(group.kind)
    zone = zones.of(name, kind)
    if zone is None:
        return None
    return sorted(_text(record) for rrset in zone.reply(name, kind).answer for record in rrset)


async def _alias(settings: Settings, group: Group, resolver: Resolver) -> Finding:
    """A name that leads to the host: by a CNAME, or by addresses of its own."""
    try:
        found = await host_addresses(resolver, group.name)
        wanted = await host_addresses(resolver, settings.hostname)
    except (NoSuchName, NoSuchData):
        return group.finding(Status.MISSING, note="it is not there")
    except ResolutionFault as fault:
        return group.finding(Status.UNKNOWN, note=str(fault))
    if set(found) & set(wanted):
        return group.finding(Status.RIGHT, sorted(found))
    return group.finding(Status.WRONG, sorted(found), "it leads to another host")


async def _spf(
    settings: Settings, group: Group, finding: Finding, resolver: Resolver, reactor: Any
) -> Finding:
    """However the record is written: does the mail that we send pass?"""
    smarthost = settings.delivery.smarthost
    senders: Sequence[str] = site_of(settings).addresses
    if smarthost is not None and group.name in settings.domains:
        try:
            senders = await host_addresses(resolver, smarthost.host.rpartition(":")[0] or smarthost.host)
        except ResolutionFault as fault:
            return group.finding(Status.UNKNOWN, finding.found, str(fault))
    for address in senders:
        check = check_host(ip_address(address), f"postmaster@{group.name}", settings.hostname)
        verdict = await answer_check(check, resolver, reactor)
        if verdict.result == "temperror":
            return group.finding(Status.UNKNOWN, finding.found, verdict.reason)
        if verdict.result != "pass":
            words = f"mail from {address} does not pass ({verdict.result}: {verdict.reason})"
            return group.finding(Status.WRONG, finding.found, words)
    return group.finding(Status.RIGHT, finding.found)


async def _reverse(settings: Settings, address: str, resolver: Resolver, reactor: Any) -> Finding:
    """PTR, forward-confirmed: many servers refuse mail from an address without."""
    number = ip_address(address)
    name = number.reverse_pointer
    wanted = Group((Wanted(f"{name}.", "PTR", f"{settings.hostname}.", "the name of the address"),))
    found = await answer_check(iprev(number), resolver, reactor)
    if found.result == "pass":
        if found.reason.lower() == settings.hostname:
            return wanted.finding(Status.RIGHT, (f"{found.reason}.",))
        return wanted.finding(Status.WRONG, (f"{found.reason}.",), "it is another name than `hostname`")
    if not number.is_global:
        note = f"{address} is no public address, nobody else reaches it"
        return Finding(Status.SKIPPED, name, "PTR", "the name of the address", note=note, optional=True)
    if found.result == "temperror":
        return wanted.finding(Status.UNKNOWN, note=found.reason)
    status = Status.MISSING if found.result == "permerror" else Status.WRONG
    return wanted.finding(status, note=f"{found.reason}; whoever gave you {address} sets it")


def _text(record: dns.rdata.Rdata) -> str:
    if isinstance(record, TXT):
        return b"".join(record.strings).decode("latin-1")
    return record.address if isinstance(record, A | AAAA) else record.to_text()


# The mail host's port. These block: the command has nothing else to do.


def check_port(settings: Settings, host: str, address: str) -> Finding:
    """Whether the MX answers, offers STARTTLS, and has a certificate for its name."""
    # The world calls 25; where the world does not come, it is the listener itself.
    port = 25 if ip_address(address).is_global else site_of(settings).ports.get("smtp", 25)
    why = f"the mail host answers on {address} port {port}"

    def finding(status: Status, note: str = "", optional: bool = False) -> Finding:
        return Finding(status, host, "smtp", why, note=note, optional=optional)

    try:
        _handshake(host, address, port, settings.hostname, ssl.create_default_context())
        return finding(Status.RIGHT)
    except ssl.SSLCertVerificationError as fault:
        words = fault.verify_message
    except _Unwelcome as fault:
        return finding(Status.WRONG, str(fault))
    except (OSError, ValueError) as fault:
        return finding(Status.WRONG, f"it cannot be reached: {fault}")
    return _own_certificate(settings, host, (address, port), finding, words)


def _own_certificate(
    settings: Settings, host: str, where: tuple[str, int], finding: Callable[..., Finding], words: str
) -> Finding:
    """Not from an authority that this machine trusts: is it at least for the name, and valid?"""
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    try:
        octets = _handshake(host, *where, settings.hostname, lax)
    except (OSError, ValueError, _Unwelcome) as fault:
        return finding(Status.WRONG, f"no TLS: {fault}")
    certificate = x509.load_der_x509_certificate(octets)
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return finding(Status.WRONG, "its certificate is not valid now")
    names = tuple(_names(certificate))
    if not any(_covers(name, host) for name in names):
        listed = ", ".join(names[:10]) or "no name"
        return finding(Status.WRONG, f"its certificate is for {listed}")
    note = f"its certificate is for the name, but not trusted here ({words})"
    return finding(Status.WRONG, note, optional=True)


class _Unwelcome(Exception):
    """What it said that it should not."""


def _handshake(host: str, address: str, port: int, helo: str, context: ssl.SSLContext) -> bytes:
    """The certificate, DER. Raises _Unwelcome, OSError, and of those ssl.SSLCertVerificationError."""
    with socket.create_connection((address, port), PATIENCE) as plain:
        stream = plain.makefile("rb")
        _expect(stream, b"220", "greeting")
        plain.sendall(b"EHLO " + helo.encode("ascii") + b"\r\n")
        if not any(line.upper().strip() == b"STARTTLS" for line in _expect(stream, b"250", "EHLO")):
            raise _Unwelcome("it does not offer STARTTLS")
        plain.sendall(b"STARTTLS\r\n")
        _expect(stream, b"220", "STARTTLS")
        with context.wrap_socket(plain, server_hostname=host) as secure:
            octets = secure.getpeercert(binary_form=True) or b""
            secure.sendall(b"QUIT\r\n")
            return octets


def _expect(stream: Any, code: bytes, what: str) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < 100:
        line = stream.readline(2048)
        match = _REPLY.fullmatch(line.rstrip(b"\r\n"))
        if match is None or match[1] != code:
            said = line.decode("ascii", "replace").strip()[:200] or "nothing"
            raise _Unwelcome(f"to {what} it said: {said}")
        lines.append(match[3])
        if match[2] == b" ":
            return lines
    raise _Unwelcome(f"its reply to {what} does not end")


def _names(certificate: x509.Certificate) -> Iterable[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return extension.value.get_values_for_type(x509.DNSName)


def _covers(name: str, host: str) -> bool:
    """RFC 9525 section 6.3: a wildcard is the whole first label."""
    name, host = name.lower(), host.lower()
    return name == host or name.startswith("*.") and host.partition(".")[2] == name[2:]
