"""DKIM's tag lists: signatures (RFC 6376 section 3.5) and key records (section 3.6.1)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

#: Octets of a signature field or key record, and names in its h=. A 4096-bit signature has some 1,000.
TAG_LIST, NAMES = 8192, 200
#: RFC 8301 section 3.2 asks for 1024 to 4096; an exponent of thousands of bits would cost the verifier dear.
RSA_BITS, RSA_EXPONENT = (1024, 4096), 1 << 33

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z", re.ASCII)
_BLANKS = " \t\r\n"
_NUMBER = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\Z", re.ASCII)
_FORMS = ("simple", "relaxed")


class SignatureFault(Exception):
    """The signature or its key cannot be used; the text says why, `result` what RFC 8601 section 2.7.1 calls
    it: "neutral" for what cannot be read, "permerror" for a key that cannot be had, "policy" for one that we
    do not take, "fail" for a signature that is wrong."""

    def __init__(self, text: str, result: str = "neutral") -> None:
        super().__init__(text)
        self.result = result


@dataclass(frozen=True, slots=True)
class Signature:
    #: "rsa" or "ed25519".
    algorithm: str
    #: Lower case.
    domain: str
    selector: str
    #: The domain of i=, lower case.
    identity_domain: str
    relaxed_header: bool
    relaxed_body: bool
    #: Lower case, in the order of h=.
    names: tuple[bytes, ...]
    body_hash: bytes
    value: bytes
    #: Octets of the body that were signed; None is all of it.
    length: int | None
    #: Seconds since the epoch.
    expires: int | None


def parse_signature(value: bytes) -> Signature:
    """`value` follows the colon of a DKIM-Signature field. Raises SignatureFault."""
    tags = _tags(value)
    missing = {"v", "a", "b", "bh", "d", "h", "s"} - tags.keys()
    if missing:
        raise SignatureFault(f"no {sorted(missing)[0]}= in the signature")
    if tags["v"] != "1":
        raise SignatureFault("unknown version")
    algorithm, _, digest = tags["a"].lower().partition("-")
    if digest != "sha256" or algorithm not in ("rsa", "ed25519"):
        # RFC 8301 section 3.1: rsa-sha1 does not count.
        raise SignatureFault("unknown or outdated algorithm", "policy")
    header_form, _, body_form = tags.get("c", "simple").lower().partition("/")
    if header_form not in _FORMS or (body_form or "simple") not in _FORMS:
        raise SignatureFault("unknown canonicalisation")
    names = tuple(name.strip().lower().encode() for name in tags["h"].split(":"))
    if len(names) > NAMES or b"from" not in names:
        raise SignatureFault("h= has too many names, or no From")
    domain, selector = tags["d"].lower(), tags["s"].lower()
    identity = tags.get("i", "@" + domain).rpartition("@")[2].lower()
    if not _DOMAIN.match(domain) or not _DOMAIN.match(selector):
        raise SignatureFault("malformed domain or selector")
    if identity != domain and not identity.endswith("." + domain):
        raise SignatureFault("i= is not below d=")
    if "dns/txt" not in [method.strip() for method in tags.get("q", "dns/txt").split(":")]:
        raise SignatureFault("unknown q=")
    made, expires = _number(tags, "t"), _number(tags, "x")
    if made is not None and expires is not None and expires <= made:
        raise SignatureFault("x= is not after t=")
    return Signature(
        algorithm,
        domain,
        selector,
        identity,
        header_form == "relaxed",
        body_form == "relaxed",
        names,
        _base64(tags["bh"]),
        _base64(tags["b"]),
        _number(tags, "l"),
        expires,
    )


def parse_key(text: str, signature: Signature) -> RSAPublicKey | Ed25519PublicKey:
    """The key of a TXT record that may check this signature (section 6.1.2). Raises SignatureFault."""
    tags = _tags(text.encode("latin-1"))
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise SignatureFault("not a DKIM key record", "permerror")
    if tags.get("k", "rsa").lower() != signature.algorithm:
        raise SignatureFault("the key is of another algorithm", "permerror")
    if "sha256" not in _words(tags.get("h", "sha256")) or not {"*", "email"} & _words(tags.get("s", "*")):
        raise SignatureFault("the key is not for this", "permerror")
    if "s" in _words(tags.get("t", "")) and signature.identity_domain != signature.domain:
        raise SignatureFault("the key is not for subdomains", "permerror")
    if not tags.get("p"):
        raise SignatureFault("the key is revoked" if "p" in tags else "no p= in the key", "permerror")
    return _public_key(_base64(tags["p"]), signature.algorithm)


@lru_cache(maxsize=512)
def _public_key(octets: bytes, algorithm: str) -> RSAPublicKey | Ed25519PublicKey:
    try:
        if algorithm == "ed25519":
            # RFC 8463 section 4: the 32 octets themselves.
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureFault("malformed key", "permerror") from None
    if not isinstance(key, RSAPublicKey) or key.public_numbers().e > RSA_EXPONENT:
        raise SignatureFault("malformed key", "permerror")
    if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        raise SignatureFault(f"an RSA key of {key.key_size} bits", "policy")
    return key


def _tags(value: bytes) -> dict[str, str]:
    """Section 3.2: a tag that comes twice spoils the list."""
    if len(value) > TAG_LIST:
        raise SignatureFault("the tag list is too long")
    tags: dict[str, str] = {}
    parts = value.decode("latin-1").split(";")
    for part in parts[:-1] if not parts[-1].strip() else parts:
        # By strip(): an expression with blanks at both ends of a value is quadratic in a stranger's blanks.
        name, equals, text = part.partition("=")
        name = name.strip(_BLANKS)
        if not equals or not _TAG.match(name) or name in tags:
            raise SignatureFault("malformed tag list")
        tags[name] = text.strip(_BLANKS)
    return tags


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(":")}


def _number(tags: dict[str, str], name: str) -> int | None:
    if name not in tags:
        return None
    if _NUMBER.match(tags[name]) is None:
        raise SignatureFault(f"malformed {name}=")
    return int(tags[name])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"[ \t\r\n]+", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureFault("malformed base64") from None
