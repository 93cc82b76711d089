"""Setup by Apple's programs: a profile that iOS and macOS install (com.apple.mail.managed).

Whether an account exists is not told. The profile is not signed; the system says so to whoever installs it.
"""

from __future__ import annotations

import plistlib
import re
from http import HTTPStatus
from uuid import NAMESPACE_URL, uuid5

from mailftp.web.hosts import OwnHosts
from mailftp.web.mail_services import MailServices
from mailftp.web.pages import Answer, Page, Visit, refusal

_ADDRESS = re.compile(r"[^\s<>\"\x00-\x1f\x7f@]{1,64}@([^\s<>\"@\x00-\x1f\x7f]{1,253})")
#: It is saved and opened, never shown.
HEADERS = {"Content-Disposition": 'attachment; filename="mail.mobileconfig"'}


class Mobileconfig(Page):
    def __init__(self, hosts: OwnHosts, services: MailServices) -> None:
        self._hosts, self._services = hosts, services

    def answer(self, visit: Visit) -> Answer:
        """For `address`, with the name in `name` where there is one."""
        address = visit.query.get("address", "")
        match = _ADDRESS.fullmatch(address)
        if match is None:
            return refusal(HTTPStatus.BAD_REQUEST, "give ?address=you@example.org")
        if match[1].lower() not in self._hosts.domains or not self._services.whole:
            return refusal(HTTPStatus.NOT_FOUND, "no mail of that domain is served here")
        name = "".join(each for each in visit.query.get("name", "") if each.isprintable())[:100]
        body = profile(address, name, self._services)
        return Answer(body, "application/x-apple-aspen-config", headers=HEADERS)


def profile(address: str, name: str, services: MailServices) -> bytes:
    """The property list. One address has the same identifiers always: a new one replaces the old."""
    incoming, outgoing = services.incoming[0], services.outgoing[0]
    backwards = ".".join(reversed(address.rpartition("@")[2].split(".")))
    account = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{backwards}.mailftp.{_identifier(address)}.mail",
        "PayloadUUID": _identifier(f"mail:{address}"),
        "PayloadDisplayName": address,
        "EmailAccountDescription": address,
        "EmailAccountName": name or address,
        "EmailAccountType": "EmailTypeIMAP" if incoming.protocol == "imap" else "EmailTypePOP",
        "EmailAddress": address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": incoming.host,
        "IncomingMailServerPortNumber": incoming.port,
        "IncomingMailServerUseSSL": True,
        "IncomingMailServerUsername": address,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": outgoing.host,
        "OutgoingMailServerPortNumber": outgoing.port,
        "OutgoingMailServerUseSSL": True,
        "OutgoingMailServerUsername": address,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{backwards}.mailftp.{_identifier(address)}",
        "PayloadUUID": _identifier(f"profile:{address}"),
        "PayloadDisplayName": f"Mail for {address}",
        "PayloadOrganization": address.rpartition("@")[2],
        "PayloadContent": [account],
    }
    return plistlib.dumps(whole)


def _identifier(text: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"mailto:{text}")).upper()
