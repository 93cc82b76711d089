"""The zones of this server, put together from the settings, the signing keys and the operator's own files."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from ipaddress import ip_address

from mailftp.dns.answers import domain_name
from mailftp.dns.mail_zone import Site, Wanted, host_records, mail_records, zone_nodes, zone_records
from mailftp.dns.serials import Serials
from mailftp.dns.zone import Zone, Zones
from mailftp.dns.zone_file import Nodes, ZoneFault, read_zone_file, with_serial, written
from mailftp.origin.dkim_folder import key_records
from mailftp.origin.dkim_keys import KeyFault
from mailftp.settings import Settings
from mailftp.settings.endpoints import called_ports, listening_address

#: The largest zone file of an operator's that is read.
LARGEST_FILE = 64 * 1024 * 1024
#: Nothing is sent to these: the kernel only says by which of our addresses it would go there.
_FAR = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def load_zones(settings: Settings, *, keep: bool) -> Zones:
    """The zones of `dns.zones`; with `keep` their serials are noted. Reads files. Raises ZoneFault, KeyFault,
    or ValueError in words."""
    return Zones(tuple(_load(settings, zone, keep) for zone in settings.dns.zones))


def zone_text(settings: Settings, zone: str) -> str:
    """The zone as a zone file; for a domain of ours that is in no zone of ours too. Raises as load_zones."""
    origin = domain_name(zone)
    return written(origin, _load(settings, zone, False).nodes)


def wanted_records(settings: Settings, domain: str) -> list[Wanted]:
    """What the world should find for a mail domain and for the host's name. Raises KeyFault."""
    site = site_of(settings)
    return [*mail_records(site, domain, _dkim(settings, domain)), *host_records(site)]


def _load(settings: Settings, zone: str, keep: bool) -> Zone:
    origin, site = domain_name(zone), site_of(settings)
    try:
        theirs = _own_file(settings, zone)
        dkim = {domain: _dkim(settings, domain) for domain in settings.domains}
        wanted = zone_records(site, zone, 0, dkim, settings.dns.zones)
        nodes = with_serial(origin, zone_nodes(origin, wanted, theirs), 0)
        least = _serial_of(theirs, origin)
        day = int(time.strftime("%Y%m%d", time.gmtime()))
        serials = Serials(settings.data / "dns")
        serial = serials.of(zone, written(origin, nodes), least, day, keep=keep)
    except OSError as fault:
        raise ZoneFault(f"zone {zone}: {fault.filename}: {fault.strerror}") from None
    return Zone(origin, with_serial(origin, nodes, serial))


def _own_file(settings: Settings, zone: str) -> Nodes:
    file = settings.dns.zone_files.get(zone)
    if file is None:
        return {}
    with file.open("rb") as stream:
        octets = stream.read(LARGEST_FILE + 1)
    if len(octets) > LARGEST_FILE:
        raise ZoneFault(f"zone {zone}: {file} is larger than {LARGEST_FILE} octets")
    try:
        return read_zone_file(domain_name(zone), octets.decode())
    except UnicodeDecodeError:
        raise ZoneFault(f"zone {zone}: {file} is not UTF-8") from None
    except ZoneFault as fault:
        raise ZoneFault(f"{file}: {fault}") from None


def _serial_of(theirs: Nodes, origin: object) -> int:
    for name, records in theirs.items():
        for rrset in records.values() if name == origin else ():
            if hasattr(rrset[0], "serial"):
                return int(rrset[0].serial)
    return 0


def _dkim(settings: Settings, domain: str) -> dict[str, str]:
    try:
        return key_records(settings.data / "dkim" / domain)
    except OSError as fault:
        raise KeyFault(f"{fault.filename}: {fault.strerror}") from None


def site_of(settings: Settings) -> Site:
    smarthost = settings.delivery.smarthost
    senders = (f"a:{_host(smarthost.host)}",) if smarthost is not None else ()
    return Site(
        hostname=settings.hostname,
        addresses=settings.dns.addresses or own_addresses(settings),
        nameservers=settings.dns.nameservers or (settings.hostname,),
        domains=settings.domains,
        ports=called_ports(settings),
        senders=tuple(sender for sender in senders if "[" not in sender),
        authorities=settings.dns.certificate_authorities,
    )


def _host(text: str) -> str:
    return text.rpartition(":")[0] or text


def own_addresses(settings: Settings) -> tuple[str, ...]:
    """The addresses that the listeners are bound to, or this machine's own where they are bound to all.
    Those of loopback only where there are no others. May be empty."""
    found: dict[str, None] = {}
    for endpoints in settings.listen.values():
        for endpoint in endpoints:
            found.update(dict.fromkeys(_addresses_of(endpoint)))
    abroad = tuple(address for address in found if not ip_address(address).is_loopback)
    return abroad or tuple(found)


def _addresses_of(endpoint: str) -> Iterable[str]:
    given = listening_address(endpoint)
    if given is None:
        return
    bound = ip_address(given.partition("%")[0]) if given else None
    if bound is not None and not bound.is_unspecified:
        yield str(bound)
        return
    for family, far in _FAR:
        # "::" is both families.
        if family == socket.AF_INET or bound is not None and bound.version == 6:
            yield from _address_towards(family, far)


def _address_towards(family: socket.AddressFamily, far: str) -> Iterable[str]:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
        except OSError:
            return
        yield probe.getsockname()[0]
