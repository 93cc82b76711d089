"""DMARC: what the domain of a message's author says of mail that neither SPF nor DKIM vouches for (RFC 7489).

`discover` is a generator like `spf.check_host`; the rest are pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from mailftp.dns.answers import domain_name, name_text
from mailftp.message.address_list import MISSING_DOMAIN, SYNTAX_ERROR, parse_address_list
from mailftp.message.fields import iter_fields, value
from mailftp.origin.spf import Asking, Question, TemporaryFault

#: Octets of a record, authors whose domains are looked at, and octets of a From field: 250 KB of commas would
#: keep the parser busy for a fifth of a second.
RECORD, AUTHORS, FROM = 2048, 4, 8192

Request = Literal["none", "quarantine", "reject"]
_REQUESTS: dict[str, Request] = {"none": "none", "quarantine": "quarantine", "reject": "reject"}
#: Section 6.6.4: what a message gets that the percentage spares.
_MILDER: dict[Request, Request] = {"reject": "quarantine", "quarantine": "none", "none": "none"}

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_PERCENT = re.compile(r"(?:100|[0-9]{1,2})\Z", re.ASCII)
_ADDRESSES = re.compile(r"(?:\A|,)[ \t]*mailto:[^,\s]+@[^,\s]+", re.IGNORECASE)


class AuthorFault(Exception):
    """The message has no author that could be asked about; the text says why."""


class SeveralAuthors(AuthorFault):
    """It has too many: what is checked may not be what a reader shows (section 6.6.1)."""


@dataclass(frozen=True, slots=True)
class Record:
    """Section 6.3."""

    policy: Request
    subdomain_policy: Request
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Published:
    """What was found for one author's domain."""

    #: The author's, A-labels, lower case.
    domain: str
    organisation: str
    #: None: nothing is published that could be used.
    record: Record | None = None
    #: Found at the organisation's domain and not at the author's own.
    inherited: bool = False
    #: The DNS did not answer.
    trouble: str = ""

    @property
    def request(self) -> Request:
        if self.record is None:
            return "none"
        below = self.inherited and self.domain != self.organisation
        return self.record.subdomain_policy if below else self.record.policy


def author_domains(header: bytes) -> tuple[str, ...]:
    """The domains of From, each once, A-labels in lower case. Raises AuthorFault."""
    fields = [field for field in iter_fields(header) if field.name == b"from"]
    if not fields:
        raise AuthorFault("no From field")
    if len(fields) > 1:
        raise SeveralAuthors("more than one From field")
    if fields[0].end - fields[0].start > FROM:
        raise SeveralAuthors(f"a From field of more than {FROM} octets")
    hosts = [entry.host for entry in parse_address_list(value(header, fields[0]), AUTHORS + 1) if entry.host]
    usable = [host for host in hosts if host not in (MISSING_DOMAIN, SYNTAX_ERROR)]
    if not usable:
        raise AuthorFault("no domain in From")
    if len(hosts) > AUTHORS:
        raise SeveralAuthors(f"more than {AUTHORS} authors in From")
    try:
        return tuple(dict.fromkeys(name_text(domain_name(host.decode())) for host in usable))
    except ValueError:
        raise AuthorFault("a domain in From is malformed") from None


def discover(domain: str, organisational: Callable[[str], str]) -> Asking[Published]:
    """Section 6.6.3. `organisational` gives the organisation's domain of any other (section 3.2)."""
    organisation = organisational(domain)
    try:
        texts = _records((yield Question(f"_dmarc.{domain}", "TXT")))
        inherited = not texts and organisation != domain
        if inherited:
            texts = _records((yield Question(f"_dmarc.{organisation}", "TXT")))
    except TemporaryFault as fault:
        return Published(domain, organisation, trouble=str(fault))
    record = parse_record(texts[0]) if len(texts) == 1 else None
    return Published(domain, organisation, record, inherited)


def _records(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if _VERSION.match(text)]


def parse_record(text: str) -> Record | None:
    """None for a record that cannot be used. A request that is unknown counts as "none" where reports are
    asked for (section 6.6.3, step 6); unknown tags are passed over."""
    if len(text) > RECORD:
        return None
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, _, said = part.partition("=")
        tags.setdefault(name.strip().lower(), said.strip())
    policy = _REQUESTS.get(tags.get("p", "").lower())
    below = _REQUESTS.get(tags["sp"].lower()) if "sp" in tags else policy
    if policy is None or below is None:
        if not _ADDRESSES.search(tags.get("rua", "")):
            return None
        policy = below = "none"
    percent = tags.get("pct", "100")
    return Record(
        policy,
        below,
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        int(percent) if _PERCENT.match(percent) else 100,
    )


def aligned(
    published: Published,
    spf: str | None,
    dkim: Iterable[str],
    organisational: Callable[[str], str],
) -> bool:
    """Section 3.1: whether SPF or a signature vouches for the author's domain. `spf` is the domain for which
    SPF passed, `dkim` those of good signatures."""
    record = published.record

    def same(domain: str, strict: bool) -> bool:
        if domain == published.domain:
            return True
        return not strict and organisational(domain) == published.organisation

    if spf is not None and same(spf, record is not None and record.strict_spf):
        return True
    return any(same(domain, record is not None and record.strict_dkim) for domain in dkim)


def requested(published: Published, chance: int) -> Request:
    """What is asked for a message that failed; `chance` is 0 to 99 (section 6.6.4)."""
    request = published.request
    if published.record is not None and chance >= published.record.percent:
        return _MILDER[request]
    return request


class Organisations:
    """The organisation's domain by the public suffix list (section 3.2), which takes 40 ms to load: make it
    on a thread."""

    def __init__(self) -> None:
        from publicsuffixlist import PublicSuffixList

        self._list = PublicSuffixList()

    def __call__(self, domain: str) -> str:
        """`domain` itself where it is a public suffix, or below none."""
        found = self._list.privatesuffix(domain)
        return found if isinstance(found, str) else domain
