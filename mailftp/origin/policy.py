"""What becomes of a message for what was found: the settings say which findings count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailftp.origin.inspection import Findings
from mailftp.settings import OriginSettings

#: Characters of the domain owner's own explanation in a reply.
_EXPLANATION = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply; RFC 7372 has the status codes."""

    code: int
    status: str
    text: str


def refusal(findings: Findings, settings: OriginSettings) -> Refusal | None:
    """Why a stranger's message is refused; None: it is not."""
    for check, refuse in _CHECKS.items():
        if getattr(settings, check) == "enforce":
            refused = refuse(findings)
            if refused is not None:
                return refused
    return None


def quarantined(findings: Findings, settings: OriginSettings) -> bool:
    """Whether it belongs in Junk."""
    return settings.dmarc == "enforce" and findings.request == "quarantine"


def _dmarc(findings: Findings) -> Refusal | None:
    """RFC 7489 section 10.3; where the DNS was silent the sender is to try again (section 6.6.2)."""
    if findings.ambiguous:
        return Refusal(550, "5.7.1", f"The message has {findings.ambiguous}")
    if findings.request != "reject":
        return None
    if findings.undecided:
        return Refusal(451, "4.7.0", "The message could not be authenticated now, try again later")
    return Refusal(550, "5.7.1", f"The DMARC policy of {findings.policy_domain} refuses this message")


def _spf(findings: Findings) -> Refusal | None:
    """RFC 7208 sections 8.4 and 8.6. A broken record (permerror) is no reason: they are many."""
    results = {finding.result for finding in findings.of("spf")}
    if "temperror" in results:
        return Refusal(451, "4.7.24", "SPF could not be checked now, try again later")
    if "fail" in results:
        said = findings.explanation[:_EXPLANATION]
        domain = "".join(text for _, text in findings.of("spf")[0].properties)
        told = f"; {domain} says: {said}" if said else ""
        return Refusal(550, "5.7.23", f"SPF of {domain} does not let this client send{told}")
    return None


def _dkim(findings: Findings) -> Refusal | None:
    results = {finding.result for finding in findings.of("dkim")}
    if results & {"pass", "none"} or not results:
        return None
    if "temperror" in results:
        return Refusal(451, "4.7.20", "The DKIM key could not be had now, try again later")
    return Refusal(550, "5.7.20", "The message is signed, and no DKIM signature of it is good")


def _iprev(findings: Findings) -> Refusal | None:
    results = {finding.result for finding in findings.of("iprev")}
    if "temperror" in results:
        return Refusal(451, "4.7.25", "The name of your address could not be had now, try again later")
    if results & {"fail", "permerror"}:
        return Refusal(550, "5.7.25", "Your address has no name that leads back to it")
    return None


_CHECKS: dict[str, Callable[[Findings], Refusal | None]] = {
    "iprev": _iprev,
    "spf": _spf,
    "dkim": _dkim,
    "dmarc": _dmarc,
}
