"""DKIM: dkimpy checks what we sign, we check what dkimpy signs, and what was changed is found."""

from __future__ import annotations

import base64
import hashlib
import itertools

import dkim as dkimpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from dkim.canonicalization import Relaxed, Simple
from twisted.trial.unittest import SynchronousTestCase

from mailftp.message.fields import header_bounds, iter_fields
from mailftp.origin.dkim import sign, verify
from mailftp.origin.dkim_canonical import BodyHash
from mailftp.origin.dkim_syntax import SignatureFault, parse_signature

NOW = 1_700_000_000
RSA = generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()
MESSAGE = (
    b"Received: by x.test;\r\n\tlong ago\r\n"
    b"From: Ann  <a@e.test>\r\nTo: b@f.test\r\nSubject:  two\r\n  lines \r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nHello \t you \r\n\r\n .\r\n\r\n\r\n"
)


def record(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    public = key.public_key()
    if isinstance(key, RSAPrivateKey):
        octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return "v=DKIM1; k=rsa; p=" + base64.b64encode(octets).decode()
    octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return "v=DKIM1; k=ed25519; p=" + base64.b64encode(octets).decode()


def signed_by_us(message: bytes, key: RSAPrivateKey | Ed25519PrivateKey) -> bytes:
    end, start = header_bounds(message)
    body = BodyHash(relaxed=True)
    body.feed(message[start:])
    return sign(message[:end], body.finish()[0], "e.test", "sel", key, NOW) + message


def signed_by_dkimpy(
    key: RSAPrivateKey | Ed25519PrivateKey, forms: bytes, selector: bytes = b"sel", **options: object
) -> bytes:
    if isinstance(key, RSAPrivateKey):
        algorithm = b"rsa-sha256"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    else:
        algorithm = b"ed25519-sha256"
        secret = base64.b64encode(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    form = tuple(forms.split(b"/"))
    made = dkimpy.sign(
        MESSAGE, selector, b"e.test", secret, canonicalize=form, signature_algorithm=algorithm, **options
    )
    return made + MESSAGE


def check(message: bytes, *records: str, now: int = NOW, piece: int = 0) -> None:
    """Check the topmost signature. Raises SignatureFault."""
    end, start = header_bounds(message)
    header = message[:end]
    span = next(field for field in iter_fields(header) if field.name == b"dkim-signature")
    field = header[span.start : span.end]
    signature = parse_signature(field.partition(b":")[2])
    body = BodyHash(signature.relaxed_body, signature.length)
    step = piece or len(message)
    for at in range(start, len(message), step):
        body.feed(message[at : at + step])
    verify(header, field, signature, body, records, now)


class OracleTests(SynchronousTestCase):
    def test_dkimpy_checks_ours(self) -> None:
        for key in (RSA, ED25519):
            made = signed_by_us(MESSAGE, key)
            text = record(key).encode()
            self.assertTrue(dkimpy.verify(made, dnsfunc=lambda *_, text=text, **__: text))
            changed = made.replace(b"Hello", b"Hallo")
            self.assertFalse(dkimpy.verify(changed, dnsfunc=lambda *_, text=text, **__: text))
            self.assertLess(max(map(len, made.split(b"\r\n"))), 79)

    def test_we_check_dkimpy(self) -> None:
        """Both algorithms, all forms, with and without l=, the body in one piece and octet by octet."""
        for key in (RSA, ED25519):
            for forms in (b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed"):
                for length in (False, True):
                    made = signed_by_dkimpy(key, forms, length=length)
                    check(made, record(key))
                    check(made, record(key), piece=1)
                    if length:
                        check(made + b"added\r\n", record(key))
                    else:
                        self.assertRaises(SignatureFault, check, made + b"added\r\n", record(key))

    def test_both_signatures_at_once(self) -> None:
        """The second signature does not spoil the first, nor the first the second."""
        made = signed_by_us(signed_by_us(MESSAGE, RSA), ED25519)
        check(made, record(ED25519))
        records = {b"rsa": record(RSA).encode(), b"ed25519": record(ED25519).encode()}
        for index, name in enumerate((b"ed25519", b"rsa")):
            checked = dkimpy.DKIM(made).verify(idx=index, dnsfunc=lambda *_, name=name, **__: records[name])
            self.assertTrue(checked)

    def test_bodies_in_pieces(self) -> None:
        """Each canonical body is dkimpy's, wherever it is cut: all bodies of up to five parts."""
        parts = (b" ", b"\t", b"\r\n", b"x", b".")
        for chosen in (c for n in range(6) for c in itertools.product(parts, repeat=n)):
            text = b"".join(chosen)
            text = text if not text or text.endswith(b"\r\n") else text + b"\r\n"
            for relaxed, oracle in ((False, Simple), (True, Relaxed)):
                wanted = hashlib.sha256(oracle.canonicalize_body(text)).digest()
                for step in (1, 2, 3, 100):
                    body = BodyHash(relaxed)
                    for at in range(0, len(text), step):
                        body.feed(text[at : at + step])
                    self.assertEqual(body.finish()[0], wanted, (relaxed, step, text))


class RefusalTests(SynchronousTestCase):
    def refused(self, message: bytes, *records: str, now: int = NOW) -> str:
        return str(self.assertRaises(SignatureFault, check, message, *records, now=now))

    def test_changes(self) -> None:
        made = signed_by_us(MESSAGE, RSA)
        self.assertIn("body", self.refused(made.replace(b"Hello", b"Hallo"), record(RSA)))
        for old, new in (
            (b"Ann", b"Eve"),
            (b"Subject: ", b"Subject: Re: "),
            (b"From: ", b"From: e@e.test\r\nFrom: "),
            (b"Date: ", b"Subject: second\r\nDate: "),
            (b"To: ", b"Cc: c@e.test\r\nTo: "),
        ):
            self.assertIn("header", self.refused(made.replace(old, new, 1), record(RSA)), new)
        self.assertIn("header", self.refused(made, record(generate_private_key(65537, 1024))))

    def test_length(self) -> None:
        made = signed_by_dkimpy(RSA, b"simple/simple", length=True)
        self.assertIn("l=", self.refused(made[: -len(b" .\r\n\r\n\r\n")], record(RSA)))

    def test_keys(self) -> None:
        made, good = signed_by_us(MESSAGE, RSA), record(RSA)
        check(made, good)
        short = generate_private_key(65537, 1024)
        check(signed_by_us(MESSAGE, short), record(short))
        for records, words in (
            ((), "no key"),
            ((good, good), "more than one"),
            (("v=DKIM1; p=",), "revoked"),
            (("v=DKIM1",), "no p="),
            ((record(ED25519),), "another algorithm"),
            ((good + "; h=sha1",), "not for this"),
            ((good + "; s=tlsrpt",), "not for this"),
            ((good + "; p=x",), "malformed"),
            (("k=rsa; v=DKIM1; p=x",), "not a DKIM"),
            (("v=DKIM1; p=AAAA",), "malformed key"),
            ((good + ";" + " " * 9000,), "too long"),
        ):
            self.assertIn(words, self.refused(made, *records))

    def test_signatures(self) -> None:
        """What cannot be used is said; none of it reaches a key."""
        good = b"v=1; a=rsa-sha256; d=e.test; s=x; h=from; bh=AAAA; b=AAAA"
        self.assertEqual(parse_signature(good).names, (b"from",))
        for old, new in (
            (b"v=1", b"v=2"),
            (b"rsa-sha256", b"rsa-sha1"),
            (b"h=from", b"h=to"),
            (b"h=from", b"h=from" + b":x" * 201),
            (b"d=e.test", b"d=e..test"),
            (b"s=x", b"s=../x"),
            (b"; b=AAAA", b""),
            (b"b=AAAA", b"b=AA\xff"),
            (b"s=x", b"s=x; s=y"),
            (b"s=x", b"s=x; i=a@f.test"),
            (b"s=x", b"s=x; i=a@fe.test"),
            (b"s=x", b"s=x; l=-1"),
            (b"s=x", b"s=x; l=\xb2"),
            (b"s=x", b"s=x; l=" + b"9" * 5000),
            (b"s=x", b"s=x; t=5; x=5"),
            (b"s=x", b"s=x; c=other"),
            (b"s=x", b"s=x; q=http"),
        ):
            self.assertRaises(SignatureFault, parse_signature, good.replace(old, new))

    def test_blanks(self) -> None:
        """Blanks around names and values do not count; a name needs its value, and is a word."""
        good = b" v = 1 ;\r\n\ta=rsa-sha256; d=e.test;s=x; h = from : to; bh=AA\r\n AA; b=AAAA ; "
        self.assertEqual(parse_signature(good).names, (b"from", b"to"))
        parse_signature(good + b"z=" + b" " * 7000 + b"x")
        for spoilt in (b"z", b"=", b"z z=1", b"1z=1", b"z=1;;z=2"):
            self.assertRaises(SignatureFault, parse_signature, good + spoilt)

    def test_expired(self) -> None:
        field = b"v=1; a=rsa-sha256; d=e.test; s=x; h=from; bh=AAAA; b=AAAA; t=1; x=%d" % NOW
        message = b"DKIM-Signature: " + field + b"\r\n" + MESSAGE
        self.assertNotIn("expired", self.refused(message, record(RSA)))
        self.assertIn("expired", self.refused(message, record(RSA), now=NOW + 1))

    def test_millions_of_empty_lines(self) -> None:
        """They are hashed when something follows, in bounded pieces."""
        for relaxed in (False, True):
            body = BodyHash(relaxed)
            for _ in range(64):
                body.feed(b"\r\n" * 16384)
            self.assertLess(len(body._held), 3)
            body.feed(b"x\r\n")
            wanted = hashlib.sha256(b"\r\n" * (64 * 16384) + b"x\r\n").digest()
            self.assertEqual(body.finish()[0], wanted)
