"""DKIM: signing a message and checking a signature (RFC 6376, RFC 8301, RFC 8463).

The body is hashed as it comes; the one costly thing, the RSA or Ed25519 operation, is in a call of its own,
which releases the GIL and belongs on a thread.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from mailftp.message.fields import iter_fields
from mailftp.origin.dkim_canonical import BodyHash, canonical_field
from mailftp.origin.dkim_syntax import Signature, SignatureFault, parse_key

#: Section 5.4.1, and what a reader would believe. Each is signed once more than it is there, so that a
#: second one cannot be added (section 8.15).
SIGNED = (
    *(b"from", b"to", b"cc", b"subject", b"date", b"message-id", b"reply-to", b"sender"),
    *(b"in-reply-to", b"references", b"mime-version", b"content-type", b"content-transfer-encoding"),
)
#: The value of b=, which is no part of what is signed; bh= and others that end in b are not it.
_VALUE = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_FOLDED = 72


def sign(
    header: bytes,
    body_hash: bytes,
    domain: str,
    selector: str,
    key: RSAPrivateKey | Ed25519PrivateKey,
    now: int,
) -> bytes:
    """The DKIM-Signature field, CRLF and all, for the top of `header`: the final fields, CRLF line ends.
    `body_hash` is BodyHash(relaxed=True)'s of the final body. Domain and selector are ASCII."""
    present = [field.name for field in iter_fields(header)]
    names = [name for name in SIGNED for _ in range(present.count(name) + 1)]
    algorithm = b"rsa-sha256" if isinstance(key, RSAPrivateKey) else b"ed25519-sha256"
    lines = [
        b"DKIM-Signature: v=1; a=" + algorithm + b"; c=relaxed/relaxed; t=%d;" % now,
        b"d=" + domain.encode("ascii") + b"; s=" + selector.encode("ascii") + b";",
        *_fold_names(names),
        b"bh=" + base64.b64encode(body_hash) + b";",
        b"b=",
    ]
    field = b"\r\n\t".join(lines)
    octets = _header_octets(header, names, field + b"\r\n", relaxed=True)
    value = base64.b64encode(_signed(octets, key))
    return field + b"\r\n\t".join(value[at : at + _FOLDED] for at in range(0, len(value), _FOLDED)) + b"\r\n"


def verify(
    header: bytes, field: bytes, signature: Signature, body: BodyHash, records: Sequence[str], now: int
) -> None:
    """Whether `signature`, read from `field` (name and CRLF included) of `header`, is good (section 6.1).

    `body` was made with the signature's form and length and fed the whole body; `records` are the TXT of
    <selector>._domainkey.<domain>. Returns when it is; raises SignatureFault, which says why it is not.
    """
    if signature.expires is not None and now > signature.expires:
        raise SignatureFault("the signature has expired", "fail")
    if len(records) != 1:
        raise SignatureFault("no key" if not records else "more than one key record", "permerror")
    key = parse_key(records[0], signature)
    digest, complete = body.finish()
    if signature.length is not None and not complete:
        raise SignatureFault("the body is shorter than l= says", "fail")
    if digest != signature.body_hash:
        raise SignatureFault("the body was changed", "fail")
    name, colon, value = field.partition(b":")
    bare = name + colon + _VALUE.sub(rb"\1", value.removesuffix(b"\r\n"), count=1) + b"\r\n"
    # Section 3.7: a signature never signs itself, whatever h= names.
    signed = _header_octets(header.replace(field, b"", 1), signature.names, bare, signature.relaxed_header)
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature.value, signed, PKCS1v15(), SHA256())
        else:
            # RFC 8463 section 3: Ed25519 signs the hash.
            key.verify(signature.value, hashlib.sha256(signed).digest())
    except InvalidSignature:
        raise SignatureFault("the header was changed, or the key is another's", "fail") from None


def _signed(data: bytes, key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(data, PKCS1v15(), SHA256())
    return key.sign(hashlib.sha256(data).digest())


def _header_octets(header: bytes, names: Iterable[bytes], own: bytes, relaxed: bool) -> bytes:
    """What is hashed for b= (sections 3.7 and 5.4.2): of fields with one name the last first; `own` has an
    empty b= and goes last, without its CRLF."""
    left: dict[bytes, list[bytes]] = {}
    for field in iter_fields(header):
        left.setdefault(field.name, []).append(header[field.start : field.end])
    chosen = [canonical_field(left[name].pop(), relaxed) for name in names if left.get(name)]
    return b"".join(chosen) + canonical_field(own, relaxed).removesuffix(b"\r\n")


def _fold_names(names: Sequence[bytes]) -> list[bytes]:
    lines, line = [], b"h=" + names[0]
    for name in names[1:]:
        if len(line) + len(name) > _FOLDED:
            lines.append(line + b":")
            line = name
        else:
            line += b":" + name
    return [*lines, line + b";"]
