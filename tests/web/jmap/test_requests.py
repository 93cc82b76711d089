"""The session, requests and their refusals, and who may ask."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Site

from mailftp.settings import HTTP
from mailftp.store.units import SetAccount
from mailftp.web.authentication import KNOWN_SECONDS, read_authorization
from mailftp.web.furnishing import make_root
from mailftp.web.jmap.furnishing import add_jmap
from mailftp.web.jmap.ijson import DEPTH
from mailftp.web.jmap.request import CORE, Limits
from mailftp.web.server import HTTPFactory
from tests.connector import advance, wiring
from tests.web.jmap.site import ALICE, BOB, JMAPCase, basic
from tests.web.site import responses

ECHO = {"using": [CORE], "methodCalls": [["Core/echo", {"a": 1}, "c"]]}


class SessionTests(JMAPCase):
    def test_session(self) -> None:
        """RFC 8620 section 2: the account, its capabilities, absolute URLs."""
        response = self.ask("/.well-known/jmap", BOB)
        session = json.loads(response.body)
        account = f"A{self.ids['bob']}"
        self.assertEqual(response.headers["Content-Type"], "application/json")
        self.assertEqual(session["username"], "bob@example.test")
        self.assertEqual(list(session["accounts"]), [account])
        self.assertTrue(session["accounts"][account]["isPersonal"])
        self.assertEqual(session["apiUrl"], "http://mx.example.test/jmap/api")
        self.assertNotIn(CORE, session["primaryAccounts"])
        core = session["capabilities"][CORE]
        self.assertGreaterEqual(core["maxSizeRequest"], 10_000_000)
        self.assertGreaterEqual(core["maxObjectsInGet"], 500)
        for variable in ("{accountId}", "{blobId}", "{name}", "{type}"):
            self.assertIn(variable, session["downloadUrl"])
        for variable in ("{types}", "{closeafter}", "{ping}"):
            self.assertIn(variable, session["eventSourceUrl"])
        # The same for the same, and other for another account.
        self.assertEqual(json.loads(self.ask("/.well-known/jmap", BOB).body)["state"], session["state"])
        other = json.loads(self.ask("/.well-known/jmap", ALICE).body)
        self.assertNotEqual(other["state"], session["state"])
        answer = json.loads(self.post(ECHO).body)
        self.assertEqual(answer["sessionState"], session["state"])
        self.assertNotIn("createdIds", answer)

    def test_prefix(self) -> None:
        """Under a path of another web server the URLs have it."""
        self.settings = replace(self.settings, http=HTTP(prefix="/mail"))
        self.root = make_root(self.settings)
        add_jmap(self.root, self.ground, self.authentication)
        self.web = HTTPFactory(wiring("http", clock=self.clock, settings=self.settings), self.root)
        session = json.loads(self.ask("/mail/.well-known/jmap", BOB).body)
        self.assertEqual(session["apiUrl"], "http://mx.example.test/mail/jmap/api")
        sent = "Content-Type: application/json"
        response = self.ask("/mail/jmap/api", BOB, sent, method="POST", body=json.dumps(ECHO).encode())
        self.assertEqual(json.loads(response.body)["methodResponses"], [["Core/echo", {"a": 1}, "c"]])

    def test_in_another_site(self) -> None:
        """As a child of somebody's Twisted site, whose server has the body before we are asked."""
        top = Resource()
        top.putChild(b"mail", self.root)
        channel = Site(top, reactor=self.clock).buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 4000))
        channel.makeConnection(transport)
        body = json.dumps(ECHO).encode()
        known = f"Host: mx.example.test\r\n{BOB}\r\n"
        head = f"POST /mail/jmap/api HTTP/1.1\r\n{known}Content-Type: application/json\r\n"
        channel.dataReceived(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = f"POST /mail/jmap/upload/A{self.ids['bob']} HTTP/1.1\r\n{known}"
        channel.dataReceived(head.encode() + b"Content-Length: 5\r\n\r\nbytes")
        answered, uploaded = responses(transport.value())
        self.assertEqual(json.loads(answered.body)["methodResponses"], [["Core/echo", {"a": 1}, "c"]])
        self.assertEqual((uploaded.status, json.loads(uploaded.body)["size"]), (201, 5))

    def test_created_ids(self) -> None:
        """They come back where the client gave some."""
        answer = json.loads(self.post({**ECHO, "createdIds": {"k": "F1"}}).body)
        self.assertEqual(answer["createdIds"], {"k": "F1"})


class Refusals(JMAPCase):
    limits = Limits(max_size_request=4096, max_calls_in_request=3)

    def refused(self, body: Any, kind: str, *headers: str, **more: Any) -> None:
        response = self.post(body, *headers)
        self.assertEqual(response.status, 400, response.text)
        self.assertEqual(response.headers["Content-Type"], "application/problem+json")
        problem = json.loads(response.body)
        self.assertEqual(problem["type"], f"urn:ietf:params:jmap:error:{kind}", problem)
        self.assertEqual({key: problem[key] for key in more}, more)
        self.assertEqual(problem["status"], 400)

    def test_not_json(self) -> None:
        for body in (
            b"",
            b"{",
            b"\xff",
            b'{"using":[],"using":[],"methodCalls":[]}',
            b'{"using":[],"methodCalls":[["Core/echo",{"a":NaN},"0"]]}',
            b'{"using":[],"methodCalls":[["Core/echo",{"a":1e999},"0"]]}',
            b'{"using":[],"methodCalls":[["Core/echo",{"a":9007199254740992},"0"]]}',
            b'{"using":[],"methodCalls":[["Core/echo",{"a":["\\ud800"]},"0"]]}',
            b'{"using":[],"methodCalls":[["Core/echo",{"\\udc00":1},"0"]]}',
            b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1),
            b"[" * 2000,
            b"[{" * 40 + b"}]" * 40,
        ):
            self.refused(body, "notJSON")
        self.refused(ECHO, "notJSON", "Content-Type: text/plain")
        self.assertEqual(self.post(ECHO, "Content-Type: Application/JSON; charset=utf-8").status, 200)

    def test_not_request(self) -> None:
        for body in (
            [],
            {},
            {"using": [CORE]},
            {"using": CORE, "methodCalls": []},
            {"using": [1], "methodCalls": []},
            {"using": [CORE], "methodCalls": {}},
            {"using": [CORE], "methodCalls": [["Core/echo", {}]]},
            {"using": [CORE], "methodCalls": [["Core/echo", [], "0"]]},
            {"using": [CORE], "methodCalls": [["Core/echo", {}, 0]]},
            {"using": [CORE], "methodCalls": [[1, {}, "0"]]},
            {"using": [CORE], "methodCalls": [["", {}, "0"]]},
            {"using": [CORE], "methodCalls": [["Core/echo", {}, "x" * 256]]},
            {"using": [CORE], "methodCalls": [], "createdIds": []},
            {"using": [CORE], "methodCalls": [], "createdIds": {"a": "not an id"}},
        ):
            self.refused(body, "notRequest")

    def test_limits(self) -> None:
        self.refused({"using": ["urn:none"], "methodCalls": []}, "unknownCapability")
        calls = [["Core/echo", {}, "0"]] * 4
        self.refused({"using": [CORE], "methodCalls": calls}, "limit", limit="maxCallsInRequest")
        large = {"using": [CORE], "methodCalls": [["Core/echo", {"a": "x" * 5000}, "0"]]}
        self.refused(large, "limit", limit="maxSizeRequest")

    def test_capabilities(self) -> None:
        """A method whose capability was not named is as none."""
        request = {"using": [], "methodCalls": [["Core/echo", {}, "0"]]}
        [[name, arguments, _]] = json.loads(self.post(request).body)["methodResponses"]
        self.assertEqual((name, arguments["type"]), ("error", "unknownMethod"))

    def test_methods(self) -> None:
        for method in ("GET", "PUT"):
            self.assertEqual(self.ask("/jmap/api", BOB, method=method).status, 405)


class WhoAsks(JMAPCase):
    def test_wrong(self) -> None:
        """401 for a wrong password, an unknown name and nothing at all: the same in each octet."""
        said = set()
        for who in (basic("bob@example.test", "wrong"), basic("nobody@example.test", "hungry"), "X-Y: z"):
            response = self.ask("/.well-known/jmap", who)
            self.assertEqual(response.status, 401)
            self.assertIn('Basic realm="mailftp"', response.headers["WWW-Authenticate"])
            said.add((response.headers.as_string().partition("Date")[0], response.body))
        self.assertEqual(len(said), 1)
        self.assertEqual(self.ask("/jmap/api", method="POST", body=b"{}").status, 401)

    def test_malformed(self) -> None:
        for text in (
            "Basic",
            "Basic =",
            "Basic YQ==",
            "Basic Og==",
            "Digest YTpi",
            "Basic YTpi x",
            "Bearer ?",
        ):
            self.assertIsNone(read_authorization(text), text)
            self.assertEqual(self.ask("/.well-known/jmap", f"Authorization: {text}").status, 401)
        self.assertIsNone(read_authorization("Basic " + "YTpi" * 3000))

    def test_in_the_clear(self) -> None:
        """From elsewhere a password is taken over TLS only, and not even looked at."""
        response = self.ask("/.well-known/jmap", BOB, peer=("192.0.2.7", 5))
        self.assertEqual(response.status, 403)
        self.assertIn("https", response.text)
        self.assertEqual(self.ask("/.well-known/jmap", peer=("192.0.2.7", 5)).status, 401)

    def test_another_site(self) -> None:
        """A browser sends a password that it knows with what any page asks for."""
        for site in ("cross-site", "same-site"):
            self.assertEqual(self.ask("/.well-known/jmap", BOB, f"Sec-Fetch-Site: {site}").status, 403)
        self.assertEqual(self.ask("/.well-known/jmap", BOB, "Sec-Fetch-Site: same-origin").status, 200)

    def test_known_for_a_while(self) -> None:
        """One login for many requests, until the time is over or the account changes."""
        logins: list[Any] = []
        attempt = self.authentication._login.attempt
        self.authentication._login.attempt = lambda *a, **k: logins.append(a) or attempt(*a, **k)  # type: ignore
        for _ in range(3):
            self.assertEqual(self.ask("/.well-known/jmap", BOB).status, 200)
        self.assertEqual((len(logins), self.sessions.count(self.ids["bob"])), (1, 1))
        # Another address is another client.
        self.assertEqual(self.ask("/.well-known/jmap", BOB, peer=("127.0.0.2", 1)).status, 200)
        self.assertEqual(len(logins), 2)
        advance(self.web, KNOWN_SECONDS + 1)
        self.assertEqual(self.ask("/.well-known/jmap", BOB).status, 200)
        self.assertEqual((len(logins), self.sessions.count(self.ids["bob"])), (3, 1))
        self.authentication.stop()
        self.assertEqual(self.sessions.count(self.ids["bob"]), 0)

    def test_disabled(self) -> None:
        """Who was known is not any more once the account is disabled."""
        self.assertEqual(self.ask("/.well-known/jmap", BOB).status, 200)
        self.successResultOf(self.store.commit(SetAccount("bob@example.test", (("disabled", True),))))
        self.assertEqual(self.ask("/.well-known/jmap", BOB).status, 401)
