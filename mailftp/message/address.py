"""Addresses: the Mailbox of RFC 5321 section 4.1.2, with RFC 6531's UTF-8.

One parser for the SMTP envelope, the settings and the command line, so that all agree on what an
address is. Address lists of header fields are another matter: `mailftp.message.address_list`.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

import idna

#: Octets, RFC 5321 section 4.5.3.1.
LOCAL_OCTETS = 64
DOMAIN_OCTETS = 255
#: No address that passes the limits above is longer, quoting every octet included. Looked at first,
#: so that nothing below ever works on more than this.
_MOST = 2 * LOCAL_OCTETS + 3 + 4 * DOMAIN_OCTETS

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]"
#: RFC 5321 Dot-string. Possessive, so that no input makes it look at an octet twice.
_DOT_STRING = re.compile(rf"{_ATEXT}++(?:\.{_ATEXT}++)*+\Z")
#: RFC 5321 Quoted-string: qtextSMTP and quoted-pairSMTP, nothing below space.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*+)"')
_PAIR = re.compile(r"\\(.)")
#: RFC 5321 sub-domain, and the underscore: hosts that have one in their name do send mail.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")
_IPV4 = re.compile(r"[0-9.]{7,15}\Z")
#: No zone index ("%eth0"), which `ipaddress` would take.
_IPV6 = re.compile(r"[Ii][Pp][Vv]6:([0-9A-Fa-f:.]{2,45})\Z")
#: Zero width joiners are letters' company in Persian and Indic names; the other invisible ones only deceive.
_JOINERS = frozenset("\u200c\u200d")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"})


class AddressFault(ValueError):
    """Not an address; the text says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local` as written, unquoted; `domain` lower case, A-labels, or an address literal with its brackets.

    `str(address)` is the form for an envelope, quoted where it must be.
    """

    local: str
    domain: str

    def __str__(self) -> str:
        if _DOT_STRING.match(self.local):
            return f"{self.local}@{self.domain}"
        quoted = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{quoted}"@{self.domain}'

    @property
    def key(self) -> str:
        """Lower-case local part and domain: the name under which an account is kept.

        NFC, so that the two ways to type an umlaut are one account. Quoted where `str` is, so
        that `parse_address` takes it back.
        """
        if self.local.isascii():
            local = self.local.lower()
        else:
            # Lower case can denormalise: NFC has the last word.
            local = unicodedata.normalize("NFC", unicodedata.normalize("NFC", self.local).lower())
        return str(Address(local, self.domain.lower()))


def parse_address(text: str) -> Address:
    """`bob@example.test`; raises AddressFault. Limits of RFC 5321 section 4.5.3.1: local 64,
    domain 255 octets.

    An empty quoted local part is refused: the grammar has it, no mailbox does, and it has crashed
    servers (CVE-2020-10967).
    """
    if len(text) > _MOST:
        raise AddressFault("the address is too long")
    if text.startswith('"'):
        quoted = _QUOTED.match(text)
        if not quoted or text[quoted.end() : quoted.end() + 1] != "@":
            raise AddressFault("the quoted local part is malformed")
        local, domain = _PAIR.sub(r"\1", quoted[1]), text[quoted.end() + 1 :]
    else:
        local, at, domain = text.rpartition("@")
        if not at:
            raise AddressFault("there is no @")
        if local and not _DOT_STRING.match(local):
            raise AddressFault("the local part is malformed")
    if not local:
        raise AddressFault("the local part is empty")
    if not local.isascii():
        _check_visible(local)
    if len(local) > LOCAL_OCTETS or len(local.encode()) > LOCAL_OCTETS:
        raise AddressFault(f"the local part is longer than {LOCAL_OCTETS} octets")
    return Address(local, parse_domain(domain))


def parse_mailbox(text: str) -> Address:
    """What a person types in the settings or on the command line: `parse_address` of it without the
    space around it and without the `<` and `>` of a pasted path."""
    text = text.strip(" \t\r\n")
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    return parse_address(text)


def parse_domain(text: str) -> str:
    """A mail domain in its one form: lower case and A-labels (IDNA 2008), or an address literal.

    `[127.0.0.1]`, `[IPv6:::1]` (RFC 5321 section 4.1.3). Raises AddressFault.
    """
    if not text:
        raise AddressFault("the domain is empty")
    if len(text) > DOMAIN_OCTETS:
        raise AddressFault(f"the domain is longer than {DOMAIN_OCTETS} octets")
    if text.startswith("["):
        return _literal(text)
    if not text.isascii():
        try:
            # UTS 46 maps capitals and full-width letters, which IDNA 2008 itself refuses.
            text = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressFault(f"the domain is no internationalised name: {error}") from None
        if len(text) > DOMAIN_OCTETS:
            raise AddressFault(f"the domain is longer than {DOMAIN_OCTETS} octets")
    labels = text.split(".")
    if not all(map(_LABEL.match, labels)):
        raise AddressFault("the domain is malformed")
    if labels[-1].isdigit():
        raise AddressFault("an IP address must be in brackets")
    return text.lower()


def _literal(text: str) -> str:
    if not text.endswith("]"):
        raise AddressFault("the address literal is malformed")
    inner = text[1:-1]
    try:
        if _IPV4.match(inner):
            return f"[{ipaddress.IPv4Address(inner)}]"
        six = _IPV6.match(inner)
        if six:
            return f"[IPv6:{ipaddress.IPv6Address(six[1])}]"
    except ValueError:
        pass
    raise AddressFault("the address literal is malformed")


def _check_visible(local: str) -> None:
    """RFC 6531 lets any UTF-8 in; control characters, spaces and invisible marks are refused, because a
    log line, a header field and a listing must show what there is."""
    for character in local:
        if character > "\x7f" and unicodedata.category(character) in _UNSEEN and character not in _JOINERS:
            raise AddressFault(f"the local part holds U+{ord(character):04X}")
