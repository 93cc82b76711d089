"""The key records of a domain's DKIM keys (RFC 6376 section 3.6.1, RFC 8463 section 4)."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

#: RFC 6376 section 3.1: labels of a host name, dots between.
_SELECTOR = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII
)


class KeyFault(ValueError):
    """A file that is no DKIM key; the text names it."""


def key_record(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The TXT record for a signing key."""
    public = key.public_key()
    if isinstance(key, RSAPrivateKey):
        octets, algorithm = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "rsa"
    else:
        octets, algorithm = public.public_bytes(Encoding.Raw, PublicFormat.Raw), "ed25519"
    return f"v=DKIM1; k={algorithm}; p={base64.b64encode(octets).decode()}"


def key_records(folder: Path) -> dict[str, str]:
    """Selector -> key record, of each <selector>.pem in the folder; {} where there is none. Blocks on the
    disk. Raises KeyFault and OSError."""
    found = {}
    for file in sorted(folder.glob("*.pem")):
        if _SELECTOR.fullmatch(file.stem) is None:
            raise KeyFault(f"{file}: its name is no DKIM selector (letters, digits and hyphens)")
        try:
            key = load_pem_private_key(file.read_bytes(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFault(f"{file} is no private key without a passphrase, PEM") from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise KeyFault(f"{file}: DKIM knows RSA and Ed25519 keys")
        found[file.stem.lower()] = key_record(key)
    return found
