"""A server of JMAP over the memory store or SQLite, and a client of one account."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailftp.accounts.login import Login
from mailftp.intake.intake import Intake
from mailftp.settings import Settings
from mailftp.web.authentication import Authentication
from mailftp.web.furnishing import make_root
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.furnishing import add_jmap, make_registry
from mailftp.web.jmap.request import Limits
from mailftp.web.server import HTTPFactory
from tests.connector import Client, connect, wiring
from tests.imap.mailboxes import DOMAINS, IMAPTestCase
from tests.web.site import Response, responses

USING = (
    "urn:ietf:params:jmap:core",
    "urn:ietf:params:jmap:mail",
    "urn:ietf:params:jmap:submission",
    "urn:ietf:params:jmap:vacationresponse",
    "urn:ietf:params:jmap:quota",
    "urn:ietf:params:jmap:blob",
)


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


BOB = basic("bob@example.test", "hungry")
ALICE = basic("alice@example.test", "teapot")


class JMAPCase(IMAPTestCase):
    """bob and alice as there; `ask` is one HTTP request, `call` one of JMAP."""

    messages: tuple[bytes, ...] = ()
    limits = Limits()

    def furnish(self) -> None:
        super().furnish()
        self.settings = replace(
            Settings(folder=Path("/nonexistent"), data=Path("/nonexistent")),
            hostname="mx.example.test",
            domains=DOMAINS,
            auth=self.auth,
        )
        self.intake = Intake(self.settings, self.store, now=self.clock.seconds)
        self.addCleanup(self.intake.stop)
        self.ground = Ground(self.settings, self.store, self.clock.seconds, self.limits, intake=self.intake)
        self.authentication = Authentication(Login(self.portal, self.auth, DOMAINS, self.clock), self.clock)
        self.root = make_root(self.settings)
        add_jmap(self.root, self.ground, self.authentication)
        self.registry = make_registry(self.ground)
        self.web = HTTPFactory(wiring("http", clock=self.clock, settings=self.settings), self.root)
        self.addCleanup(self.authentication.stop)

    def browser(self, peer: tuple[str, int] = ("127.0.0.1", 40000)) -> Client:
        return connect(self.web, peer=peer)

    def ask(
        self,
        target: str,
        *headers: str,
        method: str = "GET",
        body: bytes = b"",
        peer: tuple[str, int] = ("127.0.0.1", 40000),
    ) -> Response:
        """One request over a connection of its own, from loopback."""
        lines = [f"{method} {target} HTTP/1.1", "Host: mx.example.test", *headers]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        client = self.browser(peer)
        said = client.exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        [response] = responses(said, head=method == "HEAD")
        return response

    def post(self, body: Any, *headers: str, who: str = BOB) -> Response:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = headers or ("Content-Type: application/json",)
        return self.ask("/jmap/api", who, *sent, method="POST", body=octets)

    def calls(self, *calls: list[Any], who: str = BOB, using: tuple[str, ...] | None = None) -> list[Any]:
        """Method calls in one request; answers methodResponses."""
        known = self.registry.capabilities
        request = {"using": [each for each in using or USING if each in known], "methodCalls": list(calls)}
        response = self.post(request, who=who)
        assert response.status == 200, response.text
        found: list[Any] = json.loads(response.body)["methodResponses"]
        return found

    def call(self, name: str, arguments: dict[str, Any] | None = None, who: str = BOB) -> Any:
        """One call, in the account of who asks unless it says another; answers the response's arguments."""
        account = self.ids["bob" if who is BOB else "alice"]
        given = {"accountId": f"A{account}", **(arguments or {})}
        [[answered, result, _]] = self.calls([name, given, "0"], who=who)
        return {"error": result["type"], **result} if answered == "error" else result
