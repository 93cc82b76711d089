"""The record of a DKIM key (RFC 6376 section 3.6.1, RFC 8463 section 4)."""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: RFC 6376 section 3.1: labels of a host name, dots between.
SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII)


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
