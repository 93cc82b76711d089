"""Where data connections come from and go to: ports, addresses, other servers, TLS sessions of one's own."""

from __future__ import annotations

import errno
import ftplib
import os
import socket
import ssl
from ipaddress import ip_network
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.error import ConnectBindError
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from mailftp.ftp.addresses import AGAIN, GOOD
from mailftp.settings import FTPFXP, FTPPassive
from mailftp.wire import tls
from tests.connector import connect
from tests.ftp.memory import MemoryCase
from tests.ftp.site import NAME, PASSWORD, SiteCase, factory


class Preliminary(MemoryCase):
    ftp = {"always_150": True}

    def test_always(self) -> None:
        """150 is said where the client is connected already, by transfers and by listings."""
        self.log_in()
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"x")
        for command in ("RETR f", "LIST", "MLSD", "STOR g", "STOU"):
            data = self.passive()
            self.client.send(f"{command}\r\n".encode())
            data.end()
            self.assertEqual(self.codes(self.answers()), ["150", "226"], command)


class Active(MemoryCase):
    def call(self) -> Any:
        self.say("PORT 127,0,0,1,200,1")
        self.say("LIST")
        return self.network.calls[-1]

    def finish(self) -> None:
        call = self.network.calls[-1]
        self.data_clients.append(
            connect(call.caller, peer=("127.0.0.1", 51201), host=self.host, clock=self.clock)
        )
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_port_twenty(self) -> None:
        """From the port below that of the control connection; from any where that may not be had, which is
        not tried again."""
        self.log_in()
        self.assertEqual(self.call().bind, ("127.0.0.1", 20))
        self.finish()
        call = self.call()
        call.caller.clientConnectionFailed(call, Failure(ConnectBindError(errno.EACCES, "no")))
        self.assertEqual(self.network.calls[-1].bind, ("127.0.0.1", 0))
        self.finish()
        self.assertEqual(self.call().bind, ("127.0.0.1", 0))
        self.finish()

    def test_busy_port(self) -> None:
        """A port that rests in TIME_WAIT just now is passed over this time only."""
        self.log_in()
        call = self.call()
        call.caller.clientConnectionFailed(call, Failure(ConnectBindError(errno.EADDRINUSE, "no")))
        self.assertEqual(self.network.calls[-1].bind, ("127.0.0.1", 0))
        self.finish()
        self.assertEqual(self.call().bind, ("127.0.0.1", 20))

    def test_no_privilege_needed(self) -> None:
        """Behind a control port of one's own choice any port will do."""
        self.host = ("127.0.0.1", 2121)
        self.client = self.connect()
        self.log_in()
        self.assertEqual(self.call().bind, ("127.0.0.1", 0))


class Addresses(MemoryCase):
    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)
    ftp = {"passive_address": "ftp.example.test"}

    def setUp(self) -> None:
        super().setUp()
        (self.top / "public").mkdir()

    def begin(self, **ftp: Any) -> None:
        self.start(anonymous=self.top / "public", **ftp)
        self.network.hosts["ftp.example.test"] = "203.0.113.5"
        self.clock.advance(AGAIN + 1)
        self.client = self.connect()
        self.say("USER ftp", "PASS x")

    def test_name(self) -> None:
        """A host's name is looked up when a client comes, and again when the answer is old."""
        self.begin()
        self.assertIn("(203,0,113,5,", self.say("PASV")[0])
        self.network.hosts["ftp.example.test"] = "203.0.113.6"
        self.connect()
        self.assertIn("(203,0,113,5,", self.say("PASV")[0])
        self.clock.advance(GOOD + 1)
        self.connect()
        self.assertIn("(203,0,113,6,", self.say("PASV")[0])

    def test_unknown_name(self) -> None:
        """Without an answer PASV is 425 and EPSV works; an old answer is better than none."""
        self.start(anonymous=self.top / "public")
        self.say("USER ftp", "PASS x")
        self.assertEqual(self.codes(self.say("PASV", "EPSV")), ["425", "229"])
        self.network.hosts["ftp.example.test"] = "203.0.113.5"
        self.clock.advance(AGAIN + 1)
        self.connect()
        self.assertIn("(203,0,113,5,", self.say("PASV")[0])
        self.network.hosts.clear()
        self.clock.advance(GOOD + 1)
        self.connect()
        self.assertIn("(203,0,113,5,", self.say("PASV")[0])

    def test_asked_seldom(self) -> None:
        """A hundred clients in a moment are one look-up."""
        self.begin()
        asked = len(self.network.asked)
        for _ in range(100):
            self.connect()
        self.assertEqual(len(self.network.asked), asked)

    def test_by_network(self) -> None:
        """Clients of some networks are told something else, or our own address."""
        passive = (
            FTPPassive((ip_network("192.0.2.0/24"),), ""),
            FTPPassive((ip_network("198.51.100.0/24"),), "10.0.0.1"),
        )
        for peer, told in (
            ("192.0.2.7", "192,0,2,21"),
            ("198.51.100.9", "10,0,0,1"),
            ("203.0.113.99", "203,0,113,5"),
        ):
            self.peer = (peer, 40000)
            self.begin(passive=passive)
            self.assertIn(f"({told},", self.say("PASV")[0])


class FXP(MemoryCase):
    """Between this server and another one, for those who may."""

    ftp = {"fxp": (FTPFXP((ip_network("127.0.0.9/32"), ip_network("10.9.0.0/16")), ("alice@example.test",)),)}

    def test_to_another_server(self) -> None:
        """PORT names the other server, and the file goes there."""
        self.log_in()
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"from here to there")
        self.assertEqual(self.codes(self.say("PORT 10,9,8,7,200,1", "RETR f")), ["200", "150"])
        (call,) = self.network.calls
        self.assertEqual((call.host, call.port), ("10.9.8.7", 51201))
        data = connect(call.caller, peer=("10.9.8.7", 51201), host=self.host, clock=self.clock)
        self.assertEqual(data.received(), b"from here to there")
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_from_another_server(self) -> None:
        """The other server comes to our passive port."""
        self.log_in("PASV")
        self.client.send(b"STOR f\r\n")
        data = self.arrive(("127.0.0.9", 20))
        data.send(b"from there to here")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["150", "226"])

    def test_nobody_else(self) -> None:
        """Not to other servers, not below port 1024, not for other accounts, and not after REIN."""
        self.log_in("PASV")
        self.assertEqual(
            self.codes(self.say("PORT 10,8,8,7,200,1", "PORT 10,9,8,7,0,22", "PORT 192,0,2,1,200,1")),
            ["504"] * 3,
        )
        self.assertEqual(self.codes(self.say("REIN", "USER bob", "PASS builder"))[-1], "230")
        self.assertEqual(self.codes(self.say("PORT 10,9,8,7,200,1")), ["504"])
        self.say("PASV")
        self.assertFalse(self.admitted("127.0.0.9"))


class Resuming(ftplib.FTP_TLS):
    """ftplib, resuming a session on its data connections: its own, or the one that it is given."""

    session: ssl.SSLSession | None = None

    def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
        found, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        session = self.session or self.sock.session
        wrapped = self.context.wrap_socket(found, server_hostname=self.host, session=session)
        return wrapped, size


class Sessions(SiteCase):
    """`tls_reuse = "required"`."""

    ftp = {"tls_reuse": "required"}

    def log_in(self, kind: type[ftplib.FTP_TLS], version: ssl.TLSVersion) -> Any:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        client = kind(context=context, timeout=20)
        self.addCleanup(client.close)
        client.connect("127.0.0.1", self.ports["ftp"])
        client.login(NAME, PASSWORD)
        client.prot_p()
        return client

    async def test_own_session(self) -> None:
        """The control connection's session is resumed, transfer after transfer; TLS 1.2 and 1.3."""
        (self.home / "f").write_bytes(b"for alice")
        await deferToThread(self.resume)

    def resume(self) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client = self.log_in(Resuming, version)
            for _ in range(3):
                data = client.transfercmd("RETR f")
                self.assertEqual(data.recv(100), b"for alice")
                data.close()
                self.assertEqual(client.voidresp()[:3], "226")

    async def test_no_session(self) -> None:
        """A client that resumes none gets 425, and nothing."""
        (self.home / "f").write_bytes(b"for alice")
        await deferToThread(self.resume_nothing)

    def resume_nothing(self) -> None:
        client = self.log_in(ftplib.FTP_TLS, ssl.TLSVersion.TLSv1_3)
        with self.assertRaisesRegex((ftplib.error_temp, OSError), "not resumed|reset|EOF|closed"):
            client.retrbinary("RETR f", lambda data: self.fail("it got something"))

    async def test_session_of_another(self) -> None:
        """The session of another control connection, of the same account and address, opens nothing."""
        (self.home / "f").write_bytes(b"for alice")
        await deferToThread(self.steal)

    def steal(self) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            alice, other = self.log_in(Resuming, version), self.log_in(Resuming, version)
            other.voidcmd("NOOP")
            alice.context = other.context
            alice.session = other.sock.session
            with self.assertRaises((ftplib.error_temp, OSError)):
                alice.retrbinary("RETR f", lambda data: self.fail("it got something"))

    async def test_real_clients(self) -> None:
        """curl and lftp resume by themselves, explicit and implicit, up and down, several files in a row."""
        data = os.urandom(300_000)
        (self.top / "source").write_bytes(data)
        for service, how in (("ftp", ["--ssl-reqd"]), ("ftps", [])):
            url = self.url(service=service)
            curl = ["-sS", "-k", "--max-time", "30", "-u", f"{NAME}:{PASSWORD}", *how]
            code, _, err = await self.program("curl", *curl, "-T", str(self.top / "source"), f"{url}a")
            self.assertEqual(code, 0, err)
            code, out, err = await self.program("curl", *curl, f"{url}a", f"{url}a")
            self.assertEqual((code, out), (0, data * 2), err)
            script = (
                "set ssl:verify-certificate no; set net:timeout 20; set net:max-retries 2; "
                f"set ftp:ssl-force yes; set ftp:ssl-protect-data yes; open -u {NAME},{PASSWORD} {url}; "
                f"put {self.top / 'source'} -o b-{service}; cat b-{service}; ls"
            )
            code, out, err = await self.program("lftp", "-c", script)
            self.assertEqual((code, out[: len(data)]), (0, data), err)

    def test_what_pyopenssl_hides(self) -> None:
        """The private name that tells of a resumed session is there."""
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        self.assertFalse(tls.resumed(connection))


class LowPorts(SiteCase):
    async def test_active(self) -> None:
        """Where the server may, it calls from the port below its own; else from any, and all is well."""
        made = factory(self.settings, reactor, reactor, self.threads)
        self.addCleanup(made.drain, 1.0)
        port = None
        for number in range(1000, 600, -2):
            try:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number - 1))
                port = reactor.listenTCP(number, made, interface="127.0.0.1")  # type: ignore[attr-defined]
            except PermissionError:
                break
            except Exception:
                continue
            self.addCleanup(port.stopListening)
            break
        if port is None:
            # Nobody without the privilege can listen below 1024 either.
            self.assertNotEqual(os.geteuid(), 0)
            return
        (self.home / "f").write_bytes(b"for alice")
        sources = await deferToThread(self.fetch, port.getHost().port)
        self.assertEqual(sources, [port.getHost().port - 1] * 3)

    def fetch(self, number: int) -> list[int]:
        client = ftplib.FTP()
        self.addCleanup(client.close)
        client.connect("127.0.0.1", number, timeout=20)
        client.login(NAME, PASSWORD)
        client.set_pasv(False)
        sources = []
        for _ in range(3):
            data = client.transfercmd("RETR f")
            sources.append(data.getpeername()[1])
            self.assertEqual(data.recv(100), b"for alice")
            data.close()
            client.voidresp()
        return sources
