"""Setup by Thunderbird and those that read its format: config-v1.1.xml of the autoconfig host.

https://www.ietf.org/archive/id/draft-ietf-mailmaint-autoconfig-00.html describes what Thunderbird's wiki did
before. Whether an account exists is not told: the file is the same for every address of a domain.
"""

from __future__ import annotations

from http import HTTPStatus
from xml.sax.saxutils import escape

from mailftp.web.hosts import OwnHosts
from mailftp.web.mail_services import MailService, MailServices
from mailftp.web.pages import Answer, Page, Visit, refusal

#: Programs ask again when they are set up anew; a day is what others give.
HEADERS = {"Cache-Control": "public, max-age=3600"}


class Autoconfig(Page):
    def __init__(self, hosts: OwnHosts, services: MailServices) -> None:
        self._hosts, self._services = hosts, services

    def answer(self, visit: Visit) -> Answer:
        """Of the domain in `emailaddress`, else of the host."""
        given = visit.query.get("emailaddress", "").rpartition("@")[2].lower()
        domain = given if given else self._hosts.domain_of(visit.host)
        if domain not in self._hosts.domains or not self._services.whole:
            return refusal(HTTPStatus.NOT_FOUND, "no mail of that domain is served here")
        return Answer(
            client_config(domain, self._services).encode(), "text/xml; charset=utf-8", headers=HEADERS
        )


def client_config(domain: str, services: MailServices) -> str:
    """The file."""
    name = escape(domain)
    incoming = "".join(_server("incomingServer", service) for service in services.incoming)
    outgoing = "".join(_server("outgoingServer", service) for service in services.outgoing)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<clientConfig version="1.1">\n'
        f'  <emailProvider id="{name}">\n    <domain>{name}</domain>\n'
        f"    <displayName>{name}</displayName>\n    <displayShortName>{name}</displayShortName>\n"
        f"{incoming}{outgoing}  </emailProvider>\n</clientConfig>\n"
    )


def _server(element: str, service: MailService) -> str:
    socket = "SSL" if service.implicit_tls else "STARTTLS"
    return (
        f'    <{element} type="{service.protocol}">\n      <hostname>{escape(service.host)}</hostname>\n'
        f"      <port>{service.port}</port>\n      <socketType>{socket}</socketType>\n"
        # The password goes through TLS; what every program has is PLAIN.
        "      <authentication>password-cleartext</authentication>\n"
        f"      <username>%EMAILADDRESS%</username>\n    </{element}>\n"
    )
