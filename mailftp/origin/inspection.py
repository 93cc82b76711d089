"""The checks of one message, each begun as early as what it needs is known.

SPF and iprev begin before the message comes, the questions of DKIM and DMARC when its header is here; the
body is hashed while it arrives. A signature is verified on the reactor thread: RSA takes 60 us, the way to a
thread and back takes 55 (benchmarks/origin_checks.py). SIGNATURES bounds what a stranger can make of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from mailftp.message.fields import iter_fields
from mailftp.origin.dkim import verify
from mailftp.origin.dkim_canonical import BodyHash
from mailftp.origin.dkim_syntax import Signature, SignatureFault, parse_signature
from mailftp.origin.dmarc import (
    AuthorFault,
    Organisations,
    Published,
    Request,
    SeveralAuthors,
    aligned,
    author_domains,
    discover,
    requested,
)
from mailftp.origin.findings import Finding
from mailftp.origin.lookups import Enquiry
from mailftp.origin.spf import Asking, Question, TemporaryFault, Verdict

#: Signatures of one message that are verified; mailing lists and relays leave two or three.
SIGNATURES = 5
#: Ways in which a body is hashed for them; each costs as much as the one before.
FORMS = 3
#: Requests of a DMARC policy, the mildest first.
_SEVERITY: tuple[Request, ...] = ("none", "quarantine", "reject")


def _chance() -> int:
    return secrets.randbelow(100)


@dataclass(slots=True)
class Findings:
    """What was found of one message, and what DMARC asks for."""

    found: list[Finding] = field(default_factory=list)
    #: What the policy of the author's domain asks for a message that failed; None: it did not fail.
    request: Request | None = None
    #: The domain whose policy that is.
    policy_domain: str = ""
    #: The answer hangs on something that could not be had now.
    undecided: bool = False
    #: Who wrote it cannot be told: readers may show another author than the one that was checked.
    ambiguous: str = ""
    #: What the domain's owner says to those whom SPF refuses.
    explanation: str = ""

    def of(self, method: str) -> list[Finding]:
        return [finding for finding in self.found if finding.method == method]

    def __str__(self) -> str:
        return " ".join(map(str, self.found))


@dataclass(slots=True)
class _Signed:
    """A DKIM-Signature field, and its signature or why it is none."""

    octets: bytes
    signature: Signature | SignatureFault
    records: Deferred[tuple[str, ...] | TemporaryFault] | None = None


class Inspection:
    """Begin with `ask_client` and `ask_spf`, give it the header, then the body in pieces; `conclude` waits
    for everything. `abandon` ends what is under way."""

    def __init__(
        self,
        enquiry: Enquiry,
        now: float,
        organisations: Callable[[], Awaitable[Organisations]],
        chance: Callable[[], int] = _chance,
    ) -> None:
        """`organisations` gives the public suffix list, loaded by then or not; `chance` 0 to 99, for policies
        that are for a part of the mail."""
        self._enquiry, self._now = enquiry, now
        self._organisations, self._chance = organisations, chance
        self._iprev: Deferred[Finding] | None = None
        self._spf: Deferred[Verdict] | None = None
        self._spf_domain = ""
        self._spf_identity = ""
        self._dkim = self._dmarc = False
        self._header = b""
        self._signed: list[_Signed] = []
        #: Signatures of one form share a hash.
        self._hashes: dict[tuple[bool, int | None], BodyHash] = {}
        self._authors: list[Deferred[Published]] = []
        self._author_fault: AuthorFault | None = None
        self._running: set[Deferred[Any]] = set()

    # What is asked.

    def ask_client(self, check: Asking[Finding]) -> None:
        self._iprev = self._begin(self._enquiry.answer(check))

    def ask_spf(self, check: Asking[Verdict], domain: str, identity: str) -> None:
        """`domain` is the one that is checked, `identity` "mailfrom" or "helo"."""
        self._spf = self._begin(self._enquiry.answer(check))
        self._spf_domain, self._spf_identity = domain, identity

    def ask_of_header(self, header: bytes, dkim: bool, dmarc: bool) -> None:
        """`header` as it came, CRLF line ends, without the empty line."""
        self._dkim, self._dmarc = dkim, dmarc
        if dkim:
            self._find_signatures(header)
        if dmarc:
            try:
                authors = author_domains(header)
            except AuthorFault as fault:
                self._author_fault = fault
                return
            self._authors = [self._begin(self._discover(author)) for author in authors]

    def _find_signatures(self, header: bytes) -> None:
        if b"dkim-signature" not in header.lower():
            return
        for found in iter_fields(header):
            if found.name != b"dkim-signature":
                continue
            if len(self._signed) == SIGNATURES:
                break
            octets = header[found.start : found.end]
            try:
                signature = parse_signature(octets.partition(b":")[2])
            except SignatureFault as fault:
                self._signed.append(_Signed(octets, fault))
                continue
            form = signature.relaxed_body, signature.length
            if form not in self._hashes:
                if len(self._hashes) == FORMS:
                    many = SignatureFault("too many lengths of the body are signed", "policy")
                    self._signed.append(_Signed(octets, many))
                    continue
                self._hashes[form] = BodyHash(*form)
            name = f"{signature.selector}._domainkey.{signature.domain}"
            records = self._begin(self._enquiry.answer(_ask(name)))
            self._signed.append(_Signed(octets, signature, records))
        if self._signed:
            self._header = header

    def body(self, piece: bytes) -> None:
        for hashed in self._hashes.values():
            hashed.feed(piece)

    async def _discover(self, author: str) -> Published:
        return await self._enquiry.answer(discover(author, await self._organisations()))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        running: Deferred[Any] = Deferred.fromCoroutine(work)
        self._running.add(running)
        return running

    def abandon(self) -> None:
        """Nobody wants to know any more."""
        running, self._running = self._running, set()
        for each in running:
            each.addErrback(lambda _: None)
            each.cancel()
        self._header = b""
        self._signed.clear()

    # What it comes to.

    async def conclude(self) -> Findings:
        """Call it once, after the last piece of the body."""
        findings = Findings()
        found = findings.found
        if self._iprev is not None:
            found.append(await self._iprev)
        spf = None
        if self._spf is not None:
            verdict = await self._spf
            spf = self._spf_domain if verdict.result == "pass" else None
            found.append(self._spf_finding(verdict))
            findings.explanation = verdict.explanation
            findings.undecided = verdict.result == "temperror"
        vouching: list[str] = []
        if self._dkim:
            for signed in self._signed:
                found.append(await self._verified(signed, vouching))
                findings.undecided = findings.undecided or found[-1].result == "temperror"
            if not self._signed:
                found.append(Finding("dkim", "none"))
        if self._dmarc:
            await self._judge(findings, spf, vouching)
        self._running.clear()
        return findings

    def _spf_finding(self, verdict: Verdict) -> Finding:
        told = ((f"smtp.{self._spf_identity}", self._spf_domain),) if self._spf_domain else ()
        reason = verdict.reason if verdict.result in ("temperror", "permerror") else ""
        return Finding("spf", verdict.result, reason, told)

    async def _verified(self, signed: _Signed, vouching: list[str]) -> Finding:
        signature = signed.signature
        if isinstance(signature, SignatureFault):
            return Finding("dkim", signature.result, str(signature))
        told = (
            ("header.d", signature.domain),
            ("header.s", signature.selector),
            ("header.a", f"{signature.algorithm}-sha256"),
        )
        assert signed.records is not None, "asked for every signature that can be read"
        records = await signed.records
        if isinstance(records, TemporaryFault):
            return Finding("dkim", "temperror", str(records), told)
        body = self._hashes[signature.relaxed_body, signature.length]
        try:
            verify(self._header, signed.octets, signature, body, records, int(self._now))
        except SignatureFault as fault:
            return Finding("dkim", fault.result, str(fault), told)
        if body.beyond:
            # Anybody may have added what follows (RFC 6376 section 8.2): true, and no word of the author's.
            return Finding("dkim", "pass", "the body goes on after what was signed", told)
        vouching.append(signature.domain)
        return Finding("dkim", "pass", "", told)

    async def _judge(self, findings: Findings, spf: str | None, vouching: list[str]) -> None:
        if self._author_fault is not None:
            findings.found.append(Finding("dmarc", "permerror", str(self._author_fault)))
            if isinstance(self._author_fault, SeveralAuthors):
                findings.ambiguous = str(self._author_fault)
            return
        organisations = await self._organisations()
        for asked in self._authors:
            published = await asked
            told = (("header.from", published.domain),)
            if published.trouble:
                findings.found.append(Finding("dmarc", "temperror", published.trouble, told))
            elif published.record is None:
                findings.found.append(Finding("dmarc", "none", "", told))
            elif aligned(published, spf, vouching, organisations):
                findings.found.append(Finding("dmarc", "pass", "", told))
            else:
                self._note_failure(findings, published, told)

    def _note_failure(
        self, findings: Findings, published: Published, told: tuple[tuple[str, str], ...]
    ) -> None:
        request = requested(published, self._chance())
        findings.found.append(Finding("dmarc", "fail", f"p={request}", told))
        if findings.request is None or _SEVERITY.index(request) > _SEVERITY.index(findings.request):
            findings.request, findings.policy_domain = request, published.domain


def _ask(name: str) -> Asking[tuple[str, ...] | TemporaryFault]:
    """The TXT records of a name, or why they cannot be had."""
    try:
        return (yield Question(name, "TXT"))
    except TemporaryFault as fault:
        return fault
