"""Certificates for tests: an authority of our own, ECDSA keys, nothing that outlives the test's folder."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailftp.settings import TLS
from mailftp.wire.tls import Certificates, ServiceTLS

NAMES = ("mx.example.test", "localhost", "127.0.0.1", "::1")

_DAY = datetime.timedelta(days=1)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Issued:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate, self.key = certificate, key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Authority:
    """Signs certificates; `issue` makes as many as a test wants."""

    def __init__(self, name: str = "Test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.root = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    def issue(
        self,
        names: Sequence[str] = NAMES,
        client: bool = False,
        others: Sequence[x509.GeneralName] = (),
    ) -> Issued:
        """A certificate for DNS names and addresses, or for a client with e-mail addresses; `others` are
        further names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, [*names, "nobody"][0])])
        alternative: list[x509.GeneralName] = list(others)
        alternative += [x509.RFC822Name(n) for n in names] if client else [_general(n) for n in names]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        return Issued(builder.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 30 * _DAY)
        )


def settings(folder: Path | str, authority: Authority | None = None, names: Sequence[str] = NAMES) -> TLS:
    """Write a chain and its key into `folder` (made if need be) and give the `[tls]` that names them."""
    authority = authority or Authority()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    issued = authority.issue(names)
    (folder / "cert.pem").write_bytes(issued.pem + authority.pem)
    (folder / "key.pem").write_bytes(issued.key_pem)
    return TLS(certificate=folder / "cert.pem", key=folder / "key.pem")


def service(folder: Path | str, name: str = "smtp", clients: Authority | None = None) -> ServiceTLS:
    """A service's TLS with a fresh certificate: `service(self.mktemp(), "pop3")`. `clients` signs those of
    clients that may log in."""
    made = settings(folder)
    if clients is not None:
        (Path(folder) / "clients.pem").write_bytes(clients.pem)
        made = replace(made, client_ca=Path(folder) / "clients.pem")
    return Certificates(made).service(name)
