"""What an attempt came to for a recipient, in the terms of RFC 3463."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mailftp.settings import DeliveryRule
from mailftp.smtp.client import Reply
from mailftp.store.records import QueueMessage, QueueRecipient
from mailftp.store.units import Accept


class Result(enum.Enum):
    DELIVERED = "delivered"
    LATER = "deferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    recipient: QueueRecipient
    result: Result
    #: RFC 3463, "5.1.1".
    status: str
    #: One line: the far side's reply, or our own words.
    text: str
    #: `text` is a reply of the far side.
    smtp: bool = False
    #: Host and address of the far side, or "".
    remote: str = ""
    #: "TLSv1.3 TLS_AES_256_GCM_SHA384", or "".
    tls: str = ""
    dialogue: str = ""
    #: The far side took over the duty to report success (RFC 3461 section 5.2.1).
    reports_itself: bool = False
    #: It is in the recipient's mailbox, not just one host further.
    final: bool = False
    #: What files it here, to be committed with the outcome.
    filing: Accept | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One message for recipients of one domain, all with the same route, rule and `give_up`."""

    message: QueueMessage
    domain: str
    recipients: tuple[QueueRecipient, ...]
    #: The rule that they all go by, if one fits.
    rule: DeliveryRule | None = None

    @property
    def route(self) -> str:
        """Where the operator sends it, or ""."""
        return self.recipients[0].route

    @property
    def give_up(self) -> bool:
        """The operator wants it returned, and no attempt made."""
        return self.recipients[0].give_up


class NotNow(Exception):
    """This attempt cannot succeed for any recipient; `permanent`: and no later one either."""

    def __init__(self, status: str, text: str, permanent: bool = False) -> None:
        super().__init__(text)
        self.status, self.permanent = status, permanent


_RESULTS = {2: Result.DELIVERED, 4: Result.LATER, 5: Result.FAILED}


def by_reply(recipient: QueueRecipient, reply: Reply, **more: object) -> Verdict:
    """RFC 5321 section 4.2.1: the first digit decides."""
    first = reply.code // 100
    status = reply.status or f"{first}.0.0"
    return Verdict(recipient, _RESULTS[first], status, str(reply), smtp=True, **more)  # type: ignore[arg-type]  # Verdict's own fields


def for_all(job: Job, fault: NotNow) -> list[Verdict]:
    result = Result.FAILED if fault.permanent else Result.LATER
    return [Verdict(recipient, result, fault.status, str(fault)) for recipient in job.recipients]
