"""The envelope in words that SMTP can carry: MAIL and RCPT with the parameters that the far side knows.

What it cannot carry is refused here, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mailftp.message.xtext import encode_utf8_address, encode_xtext
from mailftp.smtp.client_reply import Reply
from mailftp.store.records import ForwardPath

#: An address as it may stand between "<" and ">": nothing in it ends the path or the line, or it would be
#: parameters or a command of its own. RFC 5321 section 4.1.2, with RFC 6531's UTF-8.
_MAILBOX = re.compile(
    r'(?:"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"|[^\x00-\x20\x7f"<>()\[\]:;,\\@]+)@[^\x00-\x20\x7f"<>@]+'
)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}", re.ASCII)
_NOTIFY = ("NEVER", "SUCCESS", "FAILURE", "DELAY")

#: Keywords of the EHLO reply, upper case -> parameters.
Extensions = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the far side is asked to do with a message."""

    #: RFC 8689.
    requiretls: bool = False
    #: RFC 6710.
    priority: int = 0
    #: RFC 2852: seconds from now, and "N", "R" or "".
    by_seconds: int = 0
    by_mode: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    reverse_path: str
    recipients: tuple[ForwardPath, ...]
    #: Octets of the message, unstuffed.
    size: int
    eightbit: bool = False
    smtputf8: bool = False
    #: RFC 3461: "FULL", "HDRS" or "", and the envelope id.
    ret: str = ""
    envid: str = ""
    wishes: Wishes = Wishes()


def parse_extensions(lines: tuple[str, ...]) -> dict[str, str]:
    """RFC 5321 section 4.1.1.1; "AUTH=" is how it was written before RFC 2554."""
    found: dict[str, str] = {}
    for line in lines:
        keyword, _, parameters = line.strip().partition(" ")
        keyword, _, first = keyword.upper().partition("=")
        if keyword:
            found[keyword] = " ".join(filter(None, (found.get(keyword), first, parameters.strip())))
    return found


def unsendable(envelope: Envelope, extensions: Extensions) -> Reply | None:
    """The reply that we ourselves give where no recipient there can have this message."""
    limit = extensions.get("SIZE", "")
    if _NUMBER.fullmatch(limit) and 0 < int(limit) < envelope.size:
        # RFC 1870 section 6.1. 0 means that there is no fixed limit.
        return Reply(552, "5.3.4", f"the message has {envelope.size} octets, {limit} are taken")
    if envelope.wishes.requiretls and "REQUIRETLS" not in extensions:
        # RFC 8689 section 4.2.1.
        return Reply(550, "5.7.30", "the message needs REQUIRETLS, which the far side does not offer")
    if envelope.wishes.by_mode == "R" and "DELIVERBY" not in extensions:
        # RFC 2852 section 4.1.4: nobody there would return it in time.
        return Reply(550, "5.3.3", "the message needs DELIVERBY, which the far side does not offer")
    if envelope.smtputf8 and "SMTPUTF8" not in extensions:
        return Reply(550, "5.6.7", "the message needs SMTPUTF8, which the far side does not offer")
    return unaddressable(envelope.reverse_path, extensions) if envelope.reverse_path else None


def unaddressable(address: str, extensions: Extensions) -> Reply | None:
    if _MAILBOX.fullmatch(address) is None:
        return Reply(553, "5.1.3", "not an address that SMTP can carry")
    if not address.isascii() and "SMTPUTF8" not in extensions:
        # RFC 6531 section 3.2.
        return Reply(553, "5.6.7", "the address needs SMTPUTF8, which the far side does not offer")
    return None


def mail_command(envelope: Envelope, extensions: Extensions) -> str:
    """RFC 5321 section 4.1.1.2."""
    words = [f"MAIL FROM:<{envelope.reverse_path}>"]
    if "SIZE" in extensions:
        words.append(f"SIZE={envelope.size}")
    if envelope.eightbit and "8BITMIME" in extensions:
        # Where it is not offered, delivery has the message in 7 bits.
        words.append("BODY=8BITMIME")
    addresses = [envelope.reverse_path, *(recipient.address for recipient in envelope.recipients)]
    if "SMTPUTF8" in extensions and (envelope.smtputf8 or not "".join(addresses).isascii()):
        words.append("SMTPUTF8")
    words += _wishes(envelope.wishes, extensions)
    if "DSN" in extensions:
        # RFC 3461 sections 4.3 and 4.4.
        if envelope.ret in ("FULL", "HDRS"):
            words.append(f"RET={envelope.ret}")
        if envelope.envid.isascii() and 0 < len(envelope.envid) <= 100:
            words.append(f"ENVID={encode_xtext(envelope.envid)}")
    return " ".join(words)


def _wishes(wishes: Wishes, extensions: Extensions) -> list[str]:
    """Those that the far side knows; the others are no more than wishes."""
    words = []
    if wishes.requiretls and "REQUIRETLS" in extensions:
        words.append("REQUIRETLS")
    if wishes.priority and "MT-PRIORITY" in extensions:
        words.append(f"MT-PRIORITY={wishes.priority}")
    if wishes.by_mode and "DELIVERBY" in extensions:
        words.append(f"BY={max(-999_999_999, min(wishes.by_seconds, 999_999_999))};{wishes.by_mode}")
    return words


def rcpt_command(recipient: ForwardPath, extensions: Extensions) -> str:
    """RFC 5321 section 4.1.1.3."""
    words = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in extensions:
        # RFC 3461 sections 4.1 and 4.2.
        notify = [word for word in _NOTIFY if word in recipient.notify]
        if notify:
            words.append(f"NOTIFY={','.join(notify)}")
        kind, _, original = recipient.orcpt.partition(";")
        # RFC 6533 section 3 has its own code for UTF-8, which every host with DSN can carry.
        utf8 = kind.lower() == "utf-8"
        encoded = encode_utf8_address(original) if utf8 else encode_xtext(original)
        if (utf8 or original.isascii()) and 0 < len(encoded) <= 500 and _ADDRESS_TYPE.fullmatch(kind):
            words.append(f"ORCPT={kind};{encoded}")
    return " ".join(words)
