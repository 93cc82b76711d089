"""What programs are told: MTA-STS, autoconfig, autodiscover, mobileconfig; and what is tried against them."""

from __future__ import annotations

import json
import plistlib
from dataclasses import replace
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery.mta_sts import parse_policy
from mailftp.web.autodiscover import DEPTH, RequestFault, read_request
from mailftp.web.furnishing import make_root
from mailftp.web.server import HTTPFactory
from tests.connector import wiring
from tests.web.site import WebCase, web_settings

SCHEMAS = "http://schemas.microsoft.com/exchange/autodiscover"
OUTLOOK = f"{SCHEMAS}/outlook/responseschema/2006a"
ACTIVE_SYNC = f"{SCHEMAS}/mobilesync/responseschema/2006"
DISCOVER = "/autodiscover/autodiscover.xml"


def request(address: str, schema: str = OUTLOOK, before: str = "", kind: str = "outlook") -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{before}'
        f'<Autodiscover xmlns="{SCHEMAS}/{kind}/requestschema/2006"><Request>'
        f"<EMailAddress>{address}</EMailAddress>"
        f"<AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request></Autodiscover>"
    ).encode()


class Policy(WebCase):
    def test_policy(self) -> None:
        """Each domain's host has it, nobody else, and our own reader of policies takes it."""
        for domain in ("a.test", "b.test"):
            response = self.ask("/.well-known/mta-sts.txt", host=f"mta-sts.{domain}")
            self.assertEqual(response.status, 200)
            self.assertTrue(response.headers["Content-Type"].startswith("text/plain"))
            policy = parse_policy(response.text)
            self.assertEqual((policy.mode, policy.hosts), ("enforce", ("mx.a.test",)))
        for host in ("mx.a.test", "a.test", "autoconfig.a.test"):
            self.assertEqual(self.ask("/.well-known/mta-sts.txt", host=host).status, 404, host)


class Thunderbird(WebCase):
    def servers(self, target: str, host: str) -> list[tuple[str, ...]]:
        response = self.ask(target, host=host)
        self.assertEqual(response.status, 200)
        config = ElementTree.fromstring(response.body)
        self.assertEqual((config.tag, config.get("version")), ("clientConfig", "1.1"))
        [provider] = config
        self.domain = provider.get("id")
        self.assertEqual(provider.findtext("domain"), self.domain)
        found = []
        for server in provider:
            if server.tag.endswith("Server"):
                self.assertEqual(server.findtext("username"), "%EMAILADDRESS%")
                self.assertEqual(server.findtext("authentication"), "password-cleartext")
                texts = [server.findtext(name) or "" for name in ("hostname", "port", "socketType")]
                found.append((server.tag, server.get("type") or "", *texts))
        return found

    def test_file(self) -> None:
        """What is listened on and nothing more, the best first, for the domain asked for."""
        servers = self.servers("/mail/config-v1.1.xml?emailaddress=bob@b.test", "autoconfig.a.test")
        self.assertEqual(
            servers,
            [
                ("incomingServer", "imap", "mx.a.test", "993", "SSL"),
                ("incomingServer", "pop3", "mx.a.test", "110", "STARTTLS"),
                ("outgoingServer", "smtp", "mx.a.test", "465", "SSL"),
                ("outgoingServer", "smtp", "mx.a.test", "587", "STARTTLS"),
            ],
        )
        self.assertEqual(self.domain, "b.test")
        self.assertEqual(self.servers("/mail/config-v1.1.xml", "autoconfig.b.test"), servers)
        self.assertEqual(self.domain, "b.test")
        self.servers("/.well-known/autoconfig/mail/config-v1.1.xml", "a.test")
        self.assertEqual(self.domain, "a.test")

    def test_none(self) -> None:
        """Other people's domains, and a server that a program could not use: no TLS, no way out."""
        self.assertEqual(self.ask("/mail/config-v1.1.xml?emailaddress=x@evil.test").status, 404)
        self.assertEqual(self.ask("/mail/config-v1.1.xml?emailaddress=x@%3Cb%3E").status, 404)
        self.assertEqual(self.ask("/mail/config-v1.1.xml", host="mx.a.test").status, 404)
        whole = web_settings()
        for settings in (replace(whole, tls=None), replace(whole, listen={"imaps": ("tcp:993",)})):
            self.factory = HTTPFactory(wiring("http", settings=settings), make_root(settings))
            self.assertEqual(self.ask("/mail/config-v1.1.xml", host="autoconfig.a.test").status, 404)


class Outlook(WebCase):
    def post(self, body: bytes) -> ElementTree.Element:
        response = self.ask(DISCOVER, "Content-Type: text/xml", method="POST", body=body)
        self.assertEqual(response.status, 200, response.text)
        return ElementTree.fromstring(response.body)

    def test_settings(self) -> None:
        """The best of each protocol, with the whole address as the login name; whatever the path's case."""
        answer = self.post(request("bob&amp;co@A.test"))
        self.assertEqual(answer.tag, f"{{{SCHEMAS}/responseschema/2006}}Autodiscover")
        found = [
            tuple(
                protocol.findtext(f"{{{OUTLOOK}}}{name}") for name in ("Type", "Server", "Port", "Encryption")
            )
            for protocol in answer.iter(f"{{{OUTLOOK}}}Protocol")
        ]
        self.assertEqual(
            found,
            [
                ("IMAP", "mx.a.test", "993", "SSL"),
                ("POP3", "mx.a.test", "110", "TLS"),
                ("SMTP", "mx.a.test", "465", "SSL"),
            ],
        )
        names = {each.text for each in answer.iter(f"{{{OUTLOOK}}}LoginName")}
        self.assertEqual(names, {"bob&co@A.test"})
        for path in ("/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"):
            self.assertEqual(self.ask(path, method="POST", body=request("bob@a.test")).status, 200)

    def test_errors(self) -> None:
        """In the protocol's own form: no address, another schema, another's domain."""
        for body, code in (
            (request(""), "600"),
            (request("bob@a.test", ACTIVE_SYNC, kind="mobilesync"), "601"),
            (request("bob@evil.test"), "500"),
        ):
            self.assertEqual(self.post(body).findtext(".//{*}ErrorCode"), code)
        get = self.ask(DISCOVER)
        self.assertEqual((get.status, get.headers["Allow"]), (405, "POST, OPTIONS"))

    def test_where(self) -> None:
        """Version 2 gives the URL of version 1."""
        response = self.ask("/autodiscover/autodiscover.json?Email=bob@a.test&Protocol=AutodiscoverV1")
        self.assertEqual(json.loads(response.body)["Url"], "http://mx.a.test/autodiscover/autodiscover.xml")
        self.assertEqual(self.ask("/autodiscover/autodiscover.json?Protocol=Ews").status, 400)

    def test_bombs(self) -> None:
        """No document type, so no entity, is ever read; nothing deep, nothing large, nothing else."""
        laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        file = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        for body in (
            request("&b;@a.test", before=laughs),
            request("&a;@a.test", before=file),
            request("&a;@a.test", before='<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">'),
            request("&a;@a.test"),
            request("bob@a.test")[:-5],
            request("<a>" * 50 + "</a>" * 50),
            b"<html/>",
            b'<Autodiscover xmlns="urn:other"><Request/></Autodiscover>',
            b'<?xml version="1.0" encoding="nonsense"?><Autodiscover/>',
            b"\xff\xfe\x00",
        ):
            response = self.ask(DISCOVER, method="POST", body=body)
            self.assertEqual(response.status, 400, body[:80])
            self.assertNotIn("root:", response.text)
        self.assertEqual(self.ask(DISCOVER, method="POST", body=b" " * 16385).status, 413)
        hidden = self.post(request("x]]&gt;&lt;b&gt;@a.test"))
        self.assertEqual(hidden.findtext(".//{*}ErrorCode"), "600")


class Requests(SynchronousTestCase):
    def test_cut(self) -> None:
        """A request that is cut at any octet is none."""
        whole = request("bob@a.test")
        self.assertEqual(read_request(whole), ("bob@a.test", OUTLOOK))
        for end in range(len(whole)):
            self.assertRaises(RequestFault, read_request, whole[:end])

    def test_depth(self) -> None:
        """As deep as is taken."""
        inner = request("bob@a.test").replace(b"<Request>", b"<Request>%s")
        namespace = f' xmlns="{SCHEMAS}/outlook/requestschema/2006"'.encode()
        for depth, taken in ((DEPTH - 2, True), (DEPTH - 1, False)):
            nested = b"<a%s>" % namespace * depth + b"</a>" * depth
            if taken:
                self.assertEqual(read_request(inner % nested)[0], "bob@a.test")
            else:
                self.assertRaises(RequestFault, read_request, inner % nested)


class Apple(WebCase):
    def test_profile(self) -> None:
        """A property list with the best way in and out; the same for the same address."""
        response = self.ask("/profile.mobileconfig?address=bob@a.test&name=Bob+%3Cb%3E")
        self.assertEqual(response.headers["Content-Type"], "application/x-apple-aspen-config")
        self.assertIn("attachment", response.headers["Content-Disposition"])
        profile = plistlib.loads(response.body)
        [account] = profile["PayloadContent"]
        self.assertEqual(account["PayloadType"], "com.apple.mail.managed")
        self.assertEqual(account["EmailAccountType"], "EmailTypeIMAP")
        self.assertEqual(account["EmailAccountName"], "Bob <b>")
        for way, port in (("Incoming", 993), ("Outgoing", 465)):
            self.assertEqual(account[f"{way}MailServerHostName"], "mx.a.test")
            self.assertEqual(account[f"{way}MailServerPortNumber"], port)
            self.assertEqual(account[f"{way}MailServerUsername"], "bob@a.test")
            self.assertTrue(account[f"{way}MailServerUseSSL"])
        again = plistlib.loads(self.ask("/profile.mobileconfig?address=bob@a.test").body)
        self.assertEqual(again["PayloadUUID"], profile["PayloadUUID"])
        other = plistlib.loads(self.ask("/profile.mobileconfig?address=eve@a.test").body)
        self.assertNotEqual(other["PayloadUUID"], profile["PayloadUUID"])

    def test_none(self) -> None:
        """No address, one that is none, one of others."""
        for query, status in (("", 400), ("?address=bob", 400), ("?address=a%0D%0A@a.test", 400)):
            self.assertEqual(self.ask(f"/profile.mobileconfig{query}").status, status, query)
        self.assertEqual(self.ask("/profile.mobileconfig?address=bob@evil.test").status, 404)
