"""Our own MTA-STS policy (RFC 8461 section 3.2), whose id the zone gives."""

from __future__ import annotations

from http import HTTPStatus

from mailftp.dns.mail_zone import sts_policy
from mailftp.web.hosts import OwnHosts
from mailftp.web.pages import Answer, Page, Visit, refusal


class PolicyPage(Page):
    def __init__(self, hostname: str, hosts: OwnHosts) -> None:
        self._hosts = hosts
        self._policy = sts_policy(hostname).encode("ascii")

    def answer(self, visit: Visit) -> Answer:
        """Section 3.3: of the host mta-sts.<domain> alone, and never by way of a redirect."""
        if self._hosts.served_by("mta-sts", visit.host) is None:
            return refusal(HTTPStatus.NOT_FOUND, "ask mta-sts.<domain> for it")
        return Answer(self._policy, "text/plain; charset=us-ascii")
