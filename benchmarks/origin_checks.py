"""What SPF and DKIM cost: python -m benchmarks.origin_checks. CPU microseconds a message, without DNS."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailftp.origin.dkim import sign, verify
from mailftp.origin.dkim_canonical import BodyHash
from mailftp.origin.dkim_syntax import parse_signature
from mailftp.origin.spf import check_host

ROUNDS = 500
HEADER = b"From: a@e.test\r\nTo: b@f.test\r\nSubject: figures\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
LINE = b"x" * 37 + b" " + b"y" * 38 + b"\r\n"
RECORDS = {
    "e.test": ("v=spf1 include:i.test a mx ip4:192.0.2.1 -all",),
    "i.test": ("v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ~all",),
}


def cost(work: Callable[[], object]) -> float:
    work()
    start = time.process_time()
    for _ in range(ROUNDS):
        work()
    return (time.process_time() - start) / ROUNDS * 1e6


def spf() -> None:
    check = check_host(ip_address("192.0.2.1"), "a@e.test", "mx.e.test")
    question = next(check)
    try:
        while True:
            question = check.send(RECORDS.get(question.name, ()) if question.kind == "TXT" else ())
    except StopIteration as end:
        assert end.value.result == "pass"


def signed(body: bytes, key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    hashed = BodyHash(relaxed=True)
    hashed.feed(body)
    return sign(HEADER, hashed.finish()[0], "e.test", "sel", key, 0)


def verified(body: bytes, field: bytes, record: str) -> None:
    signature = parse_signature(field.partition(b":")[2])
    hashed = BodyHash(signature.relaxed_body, signature.length)
    hashed.feed(body)
    verify(field + HEADER, field, signature, hashed, [record], 0)


def record_of(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    if isinstance(key, RSAPrivateKey):
        octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return "v=DKIM1; k=rsa; p=" + base64.b64encode(octets).decode()
    octets = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return "v=DKIM1; k=ed25519; p=" + base64.b64encode(octets).decode()


def main() -> None:
    print(f"SPF, 5 terms: {cost(spf):.0f}")
    for name, key in (
        ("RSA 2048", generate_private_key(65537, 2048)),
        ("Ed25519", Ed25519PrivateKey.generate()),
    ):
        for octets in (4096, 102400):
            body = LINE * (octets // len(LINE))
            field, record = signed(body, key), record_of(key)
            signing = cost(lambda body=body, key=key: signed(body, key))
            checking = cost(lambda body=body, field=field, record=record: verified(body, field, record))
            print(f"DKIM {name}, {octets} octets: sign {signing:.0f}, verify {checking:.0f}")


if __name__ == "__main__":
    main()
