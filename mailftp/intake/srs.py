"""Reverse-paths of mail that is sent on: ours in place of the sender's (the Sender Rewriting Scheme).

Whoever receives mail that an alias here sends on asks the sender's domain, by SPF, whether this host may send
for it, and it may not. So it leaves under an address of ours that holds the sender's:
`SRS0=HHHHHH=TT=far.test=ann@example.test`. Its reports come back here and are passed to the sender. HHHHHH
proves that we made it, or this server would send anybody's mail anywhere; TT is the day, so that it
ends. A sender that is such an address already becomes SRS1, which names the host that made it. What would
be longer than the 64 octets of RFC 5321 section 4.5.3.1.1 is kept with the message in the queue, and its
address holds a number in its place.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b32encode
from dataclasses import dataclass

from mailftp.message.address import LOCAL_OCTETS, Address, AddressFault, parse_address

#: Days that a report may take; far sides give up within five.
DAYS = 21
#: Days that TT can tell apart.
_CYCLE = 1024
_DAY = 86400.0
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PARTS = re.compile(r"(?i:srs)([01])=([a-z2-7]{6})=([a-z2-7]{2})=(.+)\Z", re.ASCII | re.IGNORECASE)
#: As others make it, without a day; what follows the proof is the first host and its "=" and the rest.
_SRS1 = re.compile(r"(?i:srs)1=[^=]{1,40}=(?:[A-Za-z2-7]{2}=)?([^=]+\.[^=]+==.+)\Z")
#: What stands where a domain does, before the number of a sender that is kept with its message.
_KEPT = "-"


@dataclass(frozen=True, slots=True)
class Rewritten:
    reverse_path: Address
    #: The sender, where the reverse-path does not hold it.
    return_to: str = ""


@dataclass(frozen=True, slots=True)
class Restored:
    """Whose report it is: `sender`, or who sent the message that left under `kept`."""

    sender: Address | None = None
    kept: str = ""


class SenderRewriting:
    """`secret` is this server's; with another one what was made before is not believed."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"sender rewriting", "sha256")

    def rewrite(self, sender: Address, domain: str, now: float) -> Rewritten:
        """The reverse-path at `domain`, one of ours, for mail of `sender`, whose domain is none of ours."""
        day = _day_text(now)
        kind, inner = _inner(sender)
        made = f"SRS{kind}={self._proof(kind, day, inner)}={day}={inner}"
        if inner and len(made.encode()) <= LOCAL_OCTETS:
            return Rewritten(Address(made, domain))
        inner = f"{_KEPT}={secrets.token_hex(12)}"
        return Rewritten(Address(f"SRS0={self._proof('0', day, inner)}={day}={inner}", domain), str(sender))

    def restore(self, address: Address, now: float) -> Restored | None:
        """Whom a report to one of our addresses is for; None for an address that we never made, or too long
        ago. Servers on the way may have changed capitals."""
        match = _PARTS.match(address.local)
        if match is None:
            return None
        kind, proof, day, inner = match[1], match[2].lower(), match[3].lower(), match[4]
        if not hmac.compare_digest(self._proof(kind, day, inner).encode(), proof.encode()):
            return None
        if (int(now / _DAY) - _day_number(day)) % _CYCLE > DAYS:
            return None
        domain, _, local = inner.partition("=")
        if domain == _KEPT:
            return Restored(kept=str(Address(f"SRS0={proof}={day}={inner.lower()}", address.domain)))
        try:
            return Restored(parse_address(str(Address(f"SRS0{local}" if kind == "1" else local, domain))))
        except AddressFault:
            return None

    def _proof(self, kind: str, day: str, inner: str) -> str:
        """30 bits, and each guess costs a refused recipient."""
        made = hmac.digest(self._key, f"{kind}{day}{inner.lower()}".encode(), "sha256")
        return b32encode(made)[:6].decode("ascii").lower()


def is_rewritten(address: Address) -> bool:
    """Whether it looks like one."""
    return _PARTS.match(address.local) is not None


def _inner(sender: Address) -> tuple[str, str]:
    """("0" or "1", what the reverse-path is to hold, or "" where it cannot)."""
    if sender.domain.startswith("["):
        return "0", ""
    if sender.local[:5].lower() == "srs0=":
        return "1", f"{sender.domain}={sender.local[4:]}"
    if sender.local[:5].lower() == "srs1=":
        # The first host stays, and we come in the place of the one that sent it here.
        first = _SRS1.match(sender.local)
        return "1", first[1] if first else ""
    return "0", f"{sender.domain}={sender.local}"


def _day_text(now: float) -> str:
    day = int(now / _DAY) % _CYCLE
    return _DIGITS[day >> 5] + _DIGITS[day & 31]


def _day_number(text: str) -> int:
    return _DIGITS.index(text[0]) << 5 | _DIGITS.index(text[1])
