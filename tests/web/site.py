"""The web room in memory: a factory with every page, and a client that reads whole responses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from email.message import Message
from email.parser import BytesParser
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailftp.settings import HTTP, TLS, Network, Proxy, Settings
from mailftp.web.furnishing import make_root
from mailftp.web.root import Root
from mailftp.web.server import HTTPFactory
from tests.connector import Client, connect, wiring

LISTEN = {
    "https": ("tcp:443",),
    "http": ("tcp:80",),
    "imaps": ("tcp:993",),
    "pop3": ("tcp:110",),
    "submissions": ("tcp:465",),
    "submission": ("tcp:587",),
}


def networks(*given: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, given))


def web_settings(**http: Any) -> Settings:
    """Two domains, a certificate, and every service that programs are told of."""
    return Settings(
        Path("/nonexistent"),
        Path("/nonexistent/data"),
        hostname="mx.a.test",
        domains=("a.test", "b.test"),
        listen=LISTEN,
        tls=TLS(),
        http=HTTP(**http),
    )


@dataclass
class Response:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def chunks(octets: bytes) -> tuple[bytes, bytes]:
    """A chunked body, and what comes after it."""
    body = b""
    while True:
        size, _, octets = octets.partition(b"\r\n")
        length = int(size, 16)
        assert len(octets) >= length + 2, "a response is cut"
        body, octets = body + octets[:length], octets[length + 2 :]
        if not length:
            return body, octets


def responses(octets: bytes, head: bool = False) -> list[Response]:
    """Every response in what a server sent."""
    found = []
    while octets:
        start, blank, octets = octets.partition(b"\r\n\r\n")
        assert blank, start
        line, _, fields = start.partition(b"\r\n")
        headers = BytesParser().parsebytes(fields + b"\r\n\r\n", headersonly=True)
        if headers.get("Transfer-Encoding") == "chunked" and not head:
            body, octets = chunks(octets)
            found.append(Response(int(line.split(b" ")[1]), headers, body))
            continue
        length = 0 if head else int(headers.get("Content-Length", "0"))
        assert len(octets) >= length, "a response is cut"
        found.append(Response(int(line.split(b" ")[1]), headers, octets[:length]))
        octets = octets[length:]
    return found


class WebCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.build()

    def build(self, trusted: tuple[str, ...] = (), **http: Any) -> None:
        self.settings = replace(web_settings(**http), proxy=Proxy(networks(*trusted)))
        self.root: Root = make_root(self.settings)
        self.factory = HTTPFactory(wiring("http", settings=self.settings), self.root)

    def connect(self, **more: Any) -> Client:
        return connect(self.factory, **more)

    def ask(
        self,
        target: str,
        *headers: str,
        method: str = "GET",
        host: str | None = "mx.a.test",
        body: bytes = b"",
        **more: Any,
    ) -> Response:
        """One request over a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        client = self.connect(**more)
        said = client.exchange("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        [response] = responses(said, head=method == "HEAD")
        return response
