"""Setup by Outlook: Microsoft's Autodiscover, in its plain form for IMAP, POP3 and SMTP ([MS-OXDSCLI]).

Whether an account exists is not told.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from xml.parsers import expat
from xml.sax.saxutils import escape

from mailftp.web.hosts import OwnHosts
from mailftp.web.mail_services import MailService, MailServices
from mailftp.web.pages import Answer, Page, Visit, refusal

#: [MS-OXDSCLI] section 2.2: of answers, of what is in them for Outlook, and of requests.
_ANSWER = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
_OUTLOOK = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
_REQUEST = re.compile(
    r"http://schemas\.microsoft\.com/exchange/autodiscover/(?:outlook|mobilesync)/requestschema/2006"
)
#: Elements within each other; a request has three.
DEPTH = 8
#: Characters of an address (RFC 5321 section 4.5.3.1).
_ADDRESS = re.compile(r"[^\s<>\"\x00-\x1f\x7f]{1,254}@[^\s<>\"@\x00-\x1f\x7f]{1,253}")


class RequestFault(ValueError):
    """It is no request; the text says why."""


def read_request(octets: bytes) -> tuple[str, str]:
    """(address, schema wanted) of a request. Raises RequestFault.

    A document type is refused before anything of it is read: no entity of a request is ever expanded
    ("billion laughs") or fetched (XXE).
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    path: list[str] = []
    found: dict[str, str] = {}

    def refuse(*_: object) -> None:
        raise RequestFault("a document type is not taken")

    def start(name: str, _: object) -> None:
        namespace, _, local = name.rpartition(" ")
        if (
            not path
            and local != "Autodiscover"
            or local != "Autodiscover"
            and not _REQUEST.fullmatch(namespace)
        ):
            raise RequestFault("it is no request of Autodiscover")
        path.append(local)
        if len(path) > DEPTH:
            raise RequestFault(f"more than {DEPTH} elements within each other")

    def text(piece: str) -> None:
        if path[:2] == ["Autodiscover", "Request"] and len(path) == 3:
            found[path[2]] = found.get(path[2], "") + piece

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = None
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: path.pop()
    parser.CharacterDataHandler = text
    try:
        parser.Parse(octets, True)
    except (expat.ExpatError, LookupError, ValueError) as fault:
        raise RequestFault(str(fault) if isinstance(fault, RequestFault) else "it is no XML")
    return found.get("EMailAddress", "").strip(), found.get("AcceptableResponseSchema", "").strip()


class Autodiscover(Page):
    methods = ("GET", "POST")
    body_limit = 16 * 1024

    def __init__(self, hosts: OwnHosts, services: MailServices) -> None:
        self._hosts, self._services = hosts, services

    def answer(self, visit: Visit) -> Answer:
        if visit.method != "POST":
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "POST a request of Autodiscover", Allow="POST, OPTIONS"
            )
        try:
            address, schema = read_request(visit.body)
        except RequestFault as fault:
            return refusal(HTTPStatus.BAD_REQUEST, str(fault))
        if not _ADDRESS.fullmatch(address):
            return _xml(_error(600, "Invalid request: give an EMailAddress"))
        if schema and schema != _OUTLOOK:
            # ActiveSync, for one.
            return _xml(_error(601, "This provider is not here"))
        if address.rpartition("@")[2].lower() not in self._hosts.domains or not self._services.whole:
            return _xml(_error(500, "No mail of that domain is served here"))
        return _xml(settings_for(address, self._services))


class AutodiscoverWhere(Page):
    """Version 2: the URL of the above."""

    def answer(self, visit: Visit) -> Answer:
        query = {name.lower(): value for name, value in visit.query.items()}
        if query.get("protocol", "").lower() != "autodiscoverv1":
            told = {"ErrorCode": "InvalidProtocol", "ErrorMessage": "Give Protocol=AutodiscoverV1"}
            return Answer(json.dumps(told).encode(), "application/json", HTTPStatus.BAD_REQUEST)
        url = f"{visit.base}autodiscover/autodiscover.xml"
        return Answer(json.dumps({"Protocol": "AutodiscoverV1", "Url": url}).encode(), "application/json")


def settings_for(address: str, services: MailServices) -> str:
    """The best way in and the best way out. Of several of one kind Outlook takes the first."""
    kinds = {service.protocol: service for service in reversed((*services.incoming, *services.outgoing))}
    protocols = "".join(_protocol(kinds[kind], address) for kind in ("imap", "pop3", "smtp") if kind in kinds)
    return (
        f'  <Response xmlns="{_OUTLOOK}">\n    <User>\n      <DisplayName>{escape(address)}</DisplayName>\n'
        "    </User>\n    <Account>\n      <AccountType>email</AccountType>\n"
        "      <Action>settings</Action>\n"
        f"{protocols}    </Account>\n  </Response>\n"
    )


def _protocol(service: MailService, address: str) -> str:
    encryption = "SSL" if service.implicit_tls else "TLS"
    return (
        f"      <Protocol>\n        <Type>{service.protocol.upper()}</Type>\n"
        f"        <Server>{escape(service.host)}</Server>\n        <Port>{service.port}</Port>\n"
        f"        <LoginName>{escape(address)}</LoginName>\n        <DomainRequired>off</DomainRequired>\n"
        f"        <SPA>off</SPA>\n        <SSL>on</SSL>\n        <Encryption>{encryption}</Encryption>\n"
        "        <AuthRequired>on</AuthRequired>\n      </Protocol>\n"
    )


def _error(code: int, words: str) -> str:
    return (
        f'  <Response>\n    <Error Time="00:00:00.0000000" Id="0">\n      <ErrorCode>{code}</ErrorCode>\n'
        f"      <Message>{escape(words)}</Message>\n      <DebugData/>\n    </Error>\n  </Response>\n"
    )


def _xml(response: str) -> Answer:
    start = f'<?xml version="1.0" encoding="utf-8"?>\n<Autodiscover xmlns="{_ANSWER}">\n'
    return Answer(f"{start}{response}</Autodiscover>\n".encode(), "text/xml; charset=utf-8")
