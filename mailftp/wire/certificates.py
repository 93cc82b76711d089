"""Certificate files: read, checked, and described by the names that they are for. No TLS context yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailftp.settings import TLS

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

#: The largest PEM file that is read, in octets; a chain is some 10 KiB.
FILE_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Certified:
    """A key, the certificate for it, and the certificates that lead from there to the root."""

    key: PrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def names(self) -> frozenset[str]:
        """The DNS names in lower case, with "*." where the certificate has it, and IP addresses as text."""
        try:
            alternative = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return frozenset()
        names = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]
        addresses: list[object] = list(alternative.get_values_for_type(x509.IPAddress))
        names += [str(ip) for ip in addresses if isinstance(ip, IPv4Address | IPv6Address)]
        return frozenset(names)


def certified(certificate: Path, key: Path) -> Certified:
    """Read a chain and its key. Raises ValueError, naming the file, when they cannot be used."""
    chain = authorities(certificate)
    try:
        private = load_pem_private_key(_read(key), password=None)
    except TypeError:
        raise ValueError(f"{key}: the private key is encrypted; it must be readable without a passphrase")
    except ValueError:
        raise ValueError(f"{key}: no private key in PEM form")
    if not isinstance(private, PrivateKey):
        raise ValueError(f"{key}: a private key of a kind that TLS does not use")
    if private.public_key() != chain[0].public_key():
        raise ValueError(f"{key}: not the key of the first certificate in {certificate}")
    return Certified(private, tuple(chain))


def authorities(file: Path) -> list[x509.Certificate]:
    """Every certificate of a PEM file. Raises ValueError when there is none."""
    try:
        return x509.load_pem_x509_certificates(_read(file))
    except ValueError as error:
        if str(error).startswith(str(file)):
            raise
        raise ValueError(f"{file}: no certificate in PEM form")


def folder(path: Path) -> Iterator[tuple[Path, Path]]:
    """Pairs of (chain file, key file) in a folder, in the order of their names.

    Both layouts that people have: `*.pem` files with the key in the same file, and certbot's
    `live/<name>/fullchain.pem` with `privkey.pem` beside it. Raises ValueError when it cannot be read.
    """
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}")
    for entry in entries:
        chain = entry / "fullchain.pem"
        if entry.suffix == ".pem" and entry.is_file():
            yield entry, entry
        elif chain.is_file():
            yield chain, entry / "privkey.pem"


def files(settings: TLS) -> Iterator[Path]:
    """Every file that the settings name or that is in the folder they name."""
    yield settings.certificate
    yield settings.key
    if settings.client_ca is not None:
        yield settings.client_ca
    if settings.certificates is not None:
        for chain, key in folder(settings.certificates):
            yield chain
            if key != chain:
                yield key


def stamp(settings: TLS) -> frozenset[tuple[str, int, int, int]]:
    """What changes when any of the files does: names, inodes, sizes and times.

    A file that is missing for a moment, because it is being replaced, is left out of it.
    """
    seen = set()
    try:
        for file in files(settings):
            try:
                status = os.stat(file)
            except OSError:
                continue
            seen.add((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    except ValueError:
        pass
    return frozenset(seen)


def _read(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            data = stream.read(FILE_LIMIT + 1)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}")
    if len(data) > FILE_LIMIT:
        raise ValueError(f"{file}: more than {FILE_LIMIT} octets is no certificate file")
    return data
