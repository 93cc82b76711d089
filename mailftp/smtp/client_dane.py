"""Whether a host is the one that its zone says: TLSA records against certificates (RFC 6698, RFC 7672)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname


@dataclass(frozen=True, slots=True)
class TLSA:
    """RFC 6698 section 2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        """RFC 7672 section 3.1: DANE-TA and DANE-EE; the other two mean nothing to SMTP."""
        sizes = {1: 32, 2: 64}
        sized = self.matching == 0 or len(self.data) == sizes.get(self.matching, -1)
        return self.usage in (2, 3) and self.selector in (0, 1) and sized

    def matches(self, certificate: x509.Certificate) -> bool:
        if self.selector == 0:
            octets = certificate.public_bytes(Encoding.DER)
        else:
            octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = {1: sha256, 2: sha512}.get(self.matching)
        return (digest(octets).digest() if digest else octets) == self.data


def authenticates(records: Iterable[TLSA], chain: Sequence[x509.Certificate], names: Iterable[str]) -> bool:
    """`chain` as the host sent it, its own certificate first; `names` that it may have (RFC 7672 section
    3.2.2). Without a usable record nobody is authenticated, and TLS alone is enough (section 2.2)."""
    usable = [record for record in records if record.usable]
    if not usable:
        return True
    if not chain:
        return False
    own = [record for record in usable if record.usage == 3]
    if any(record.matches(chain[0]) for record in own):
        # RFC 7672 section 3.1.1: neither the name nor the dates count.
        return True
    for anchor in _anchors([record for record in usable if record.usage == 2], chain):
        if _leads_to(anchor, chain) and any(_is_named(chain[0], name) for name in names):
            return True
    return False


def chain_of(connection: SSL.Connection) -> list[x509.Certificate]:
    return [certificate.to_cryptography() for certificate in connection.get_peer_cert_chain() or ()]


def _anchors(records: list[TLSA], chain: Sequence[x509.Certificate]) -> Iterable[x509.Certificate]:
    """Certificates that a record names: of the chain, or in the record itself (RFC 7672 section 3.1.2)."""
    for record in records:
        yield from (certificate for certificate in chain[1:] if record.matches(certificate))
        if record.selector == 0 and record.matching == 0:
            try:
                yield x509.load_der_x509_certificate(record.data)
            except ValueError:
                continue


def _leads_to(anchor: x509.Certificate, chain: Sequence[x509.Certificate]) -> bool:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.add_cert(crypto.X509.from_cryptography(anchor))
    leaf, *others = map(crypto.X509.from_cryptography, chain)
    try:
        crypto.X509StoreContext(store, leaf, others).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def _is_named(certificate: x509.Certificate, name: str) -> bool:
    try:
        verify_certificate_hostname(certificate, name)
    except (CertificateError, VerificationError, ValueError):
        return False
    return True
