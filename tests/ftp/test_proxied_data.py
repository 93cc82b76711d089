"""Data connections that a proxy passes on with a PROXY header."""

from __future__ import annotations

import ftplib
import io
import os
import ssl
from ipaddress import ip_network
from typing import Any

from twisted.internet.threads import deferToThread

from mailftp.wire.peer import Peer
from mailftp.wire.proxy import PATIENCE
from tests.ftp.memory import MemoryCase
from tests.ftp.site import NAME, PASSWORD, SiteCase

PROXY = ("10.0.0.1", 50000)
BIG = os.urandom(1 << 16) * 20


def header(source: str) -> bytes:
    return f"PROXY TCP4 {source} 192.0.2.1 1234 30000\r\n".encode()


class Memory(MemoryCase):
    ftp: dict[str, Any] = {"proxy_data": (ip_network("10.0.0.0/24"),)}

    def setUp(self) -> None:
        super().setUp()
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"octets")

    def test_client(self) -> None:
        """Named before or after the command, in pieces or with the data: it is the client's."""
        self.log_in()
        for early in (True, False):
            data = self.passive(PROXY)
            if early:
                data.send(header("127.0.0.1"))
            self.client.send(b"RETR f\r\n")
            said = self.answers()
            if not early:
                data.send(header("127.0.0.1")[:20])
                data.send(header("127.0.0.1")[20:])
                said += self.answers()
            self.assertEqual(self.codes(said), ["125", "226"])
            self.assertEqual(data.received(), b"octets")
        data = self.passive(PROXY)
        self.client.send(b"STOR g\r\n")
        self.answers()
        data.send(header("127.0.0.1") + b"upload")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])
        self.assertEqual((self.home / "g").read_bytes(), b"upload")

    def test_stranger(self) -> None:
        """Somebody else's behind the same proxy, nobody's, and what is no header: refused."""
        for first in (header("127.0.0.2"), b"PROXY UNKNOWN\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            # Its control connection came through the proxy too.
            self.client = self.connect()
            (*_, control) = self.factory.connections
            control.data._peers.add(Peer.of(*PROXY).address)
            self.log_in()
            data = self.passive(PROXY)
            self.client.send(b"RETR f\r\n")
            said = self.answers()
            data.send(first)
            said += self.answers()
            self.clock.advance(30)
            self.assertEqual(self.codes(said + self.answers())[-1], "425", first)
            self.assertEqual(data.received(), b"")
            self.assertIsNotNone(data.closed)

    def test_no_header(self) -> None:
        """It has to come soon."""
        self.log_in()
        data = self.passive(PROXY)
        self.clock.advance(PATIENCE)
        self.assertIsNotNone(data.closed)

    def test_given_up(self) -> None:
        """ABOR and the end of the session close a proxy's connection that has said nothing."""
        for words in ("ABOR", "QUIT"):
            self.client = self.connect()
            self.log_in()
            data = self.passive(PROXY)
            self.say(words)
            self.assertIsNotNone(data.closed, words)

    def test_others(self) -> None:
        """The client itself comes without one, and a header from there is data; strangers stay outside."""
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR h\r\n")
        data.send(header("127.0.0.1"))
        data.end()
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        self.assertEqual((self.home / "h").read_bytes(), header("127.0.0.1"))
        self.say("PASV")
        self.assertFalse(self.admitted("10.0.1.1"))


class _Proxied:
    """ftplib, each of whose data connections a proxy has passed on."""

    def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
        made = ftplib.FTP.ntransfercmd
        create = ftplib.socket.create_connection

        def proxied(*arguments: Any, **named: Any) -> Any:
            connection = create(*arguments, **named)
            connection.sendall(header("127.0.0.1"))
            return connection

        ftplib.socket.create_connection = proxied
        try:
            connection, size = made(self, cmd, rest)  # type: ignore[arg-type]  # mixed with an FTP
        finally:
            ftplib.socket.create_connection = create
        if getattr(self, "_prot_p", False):
            connection = self.context.wrap_socket(connection, server_hostname="localhost")  # type: ignore[attr-defined]
        return connection, size


class Clear(_Proxied, ftplib.FTP):
    pass


class Private(_Proxied, ftplib.FTP_TLS):
    pass


class Sockets(SiteCase):
    ftp = {"proxy_data": (ip_network("127.0.0.1/32"),)}

    async def test_transfers(self) -> None:
        """Up, down and listings, small and large, in the clear and with TLS behind the header."""
        await deferToThread(self._transfer, Clear())
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        await deferToThread(self._transfer, Private(context=context))

    def _transfer(self, client: ftplib.FTP) -> None:
        client.connect("127.0.0.1", self.ports["ftp"], timeout=30)
        client.login(NAME, PASSWORD)
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        for name, data in (("small", b"octets"), ("big", BIG), ("empty", b"")):
            client.storbinary(f"STOR {name}", io.BytesIO(data))
            self.assertEqual((self.home / name).read_bytes(), data)
            parts: list[bytes] = []
            client.retrbinary(f"RETR {name}", parts.append)
            self.assertEqual(b"".join(parts), data)
        self.assertEqual(sorted(client.nlst()), ["big", "empty", "small"])
        client.quit()
