"""What only real sockets show: urgent data, addresses, processes that die."""

from __future__ import annotations

import ftplib
import os
import shutil
import signal
import socket
import subprocess
import sys
from ipaddress import ip_network

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SkipTest

from mailftp.files.arrivals import hidden_name
from mailftp.ftp.channel import USES
from mailftp.wire.proxy import ProxyFactory
from tests.ftp.site import NAME, PASSWORD, SiteCase, factory, settings


def free_range() -> tuple[int, int]:
    """A range of one passive port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        number: int = found.getsockname()[1]
    return number, number


class Sockets(SiteCase):
    def log_in(self) -> ftplib.FTP:
        client = ftplib.FTP()
        client.connect("127.0.0.1", self.ports["ftp"], timeout=20)
        client.login(NAME, PASSWORD)
        client.voidcmd("TYPE I")
        return client

    async def test_urgent_abort(self) -> None:
        """ABOR with Telnet's interrupt and Synch as urgent data, in the ways that clients send it."""
        await deferToThread(self.abort_urgently)

    def abort_urgently(self) -> None:
        for before, urgent, after in (
            (b"\xff\xf4", b"\xff", b"\xf2ABOR\r\n"),
            (b"", b"\xff\xf4\xff", b"\xf2abor\r\n"),
            (b"\xff\xf4", b"\xff\xf2", b"ABOR\r\n"),
            (b"", b"ABOR\r\n", b""),
        ):
            with self.log_in() as client, client.transfercmd("STOR f") as data:
                assert client.sock is not None
                data.sendall(b"x" * 1000)
                if before:
                    client.sock.sendall(before)
                client.sock.send(urgent, socket.MSG_OOB)
                client.sock.sendall(after)
                codes = [
                    self.assertRaises(ftplib.error_temp, client.getresp).args[0][:3],
                    client.getresp()[:3],
                ]
                self.assertEqual(codes, ["426", "226"])
                self.assertEqual(client.voidcmd("NOOP")[:3], "200")

    async def test_stolen_connection(self) -> None:
        """Another address that is quicker at the passive port gets nothing; the client does."""
        (self.home / "f").write_bytes(b"for alice")
        await deferToThread(self.steal)

    def steal(self) -> None:
        with self.log_in() as client:
            host, port = client.makepasv()
            with socket.create_connection((host, port), 20, ("127.0.0.2", 0)) as thief:
                client.putcmd("RETR f")
                self.assertEqual(thief.recv(100), b"")
            with socket.create_connection((host, port), 20) as data:
                self.assertEqual(data.recv(100), b"for alice")
            self.assertIn(client.getresp()[:3], ("125", "150"))
            self.assertEqual(client.getresp()[:3], "226")

    async def test_port_is_kept(self) -> None:
        """Transfers in a row use one passive port, for a while; each octet goes to whom it is for."""
        await deferToThread(self.use_again)

    def use_again(self) -> None:
        with self.log_in() as client:
            ports = set()
            for number in range(USES + 2):
                host, port = client.makepasv()
                ports.add(port)
                with socket.create_connection((host, port), 20) as data:
                    client.sendcmd(f"STOR f{number % 3}")
                    data.sendall(b"%d" % number)
                self.assertEqual(client.getresp()[:3], "226")
            self.assertEqual(len(ports), 2)
        self.assertEqual((self.home / "f0").read_bytes(), b"%d" % (USES + 1 - (USES + 1) % 3))

    async def test_too_early(self) -> None:
        """Who comes to a passive port that is kept, before PASV says so, gets nothing and gives nothing."""
        (self.home / "f").write_bytes(b"for alice")
        await deferToThread(self.come_early)

    def come_early(self) -> None:
        with self.log_in() as client:
            host, port = client.makepasv()
            with socket.create_connection((host, port), 20) as data:
                self.assertIn(client.sendcmd("RETR f")[:3], ("125", "150"))
                self.assertEqual(data.recv(100) + data.recv(100), b"for alice")
            self.assertEqual(client.getresp()[:3], "226")
            with socket.create_connection((host, port), 20) as early:
                self.assertEqual(client.makepasv(), (host, port))
                with socket.create_connection((host, port), 20) as data:
                    client.sendcmd("RETR f")
                    self.assertEqual(early.recv(100), b"")
                    self.assertEqual(data.recv(100), b"for alice")
                self.assertEqual(client.getresp()[:3], "226")

    async def test_port_is_given_up(self) -> None:
        """A port that is kept is closed after seconds, or at once when another session finds none."""
        known = settings(self.top, passive_ports=free_range())
        made = factory(known, reactor, reactor, self.threads)
        port = reactor.listenTCP(0, made, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.addCleanup(made.drain, 1.0)
        (self.home / "f").write_bytes(b"for alice")
        self.ports["ftp"] = port.getHost().port
        for _ in range(2):
            client, (host, number) = await deferToThread(self.fetch)
            self.addCleanup(client.close)
            self.assertEqual(len(made.clear_data.keepers), 1)
        for one in made.connections:
            one.tick(reactor.seconds() + 10)  # type: ignore[attr-defined]
        self.assertEqual(len(made.clear_data.keepers), 0)
        with socket.socket() as found:
            self.assertNotEqual(found.connect_ex((host, number)), 0)

    async def test_port_is_in_use_again(self) -> None:
        """Another session gets 425 when the one port that there is was kept and is now in use again."""
        known = settings(self.top, passive_ports=free_range())
        made = factory(known, reactor, reactor, self.threads)
        port = reactor.listenTCP(0, made, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.addCleanup(made.drain, 1.0)
        (self.home / "f").write_bytes(b"for alice")
        self.ports["ftp"] = port.getHost().port
        client, address = await deferToThread(self.fetch)
        self.addCleanup(client.close)
        again = await deferToThread(client.makepasv)
        self.assertEqual(again, address)
        self.assertEqual(len(made.clear_data.keepers), 0)
        other = await deferToThread(self.log_in)
        self.addCleanup(other.close)
        with self.assertRaisesRegex(ftplib.error_temp, "425"):
            await deferToThread(other.makepasv)

    def fetch(self) -> tuple[ftplib.FTP, tuple[str, int]]:
        client = self.log_in()
        host, number = client.makepasv()
        with socket.create_connection((host, number), 20) as data:
            client.sendcmd("RETR f")
            self.assertEqual(data.recv(100), b"for alice")
        self.assertEqual(client.getresp()[:3], "226")
        return client, (host, number)

    async def test_talking_client(self) -> None:
        """A client that sends octets against the direction of a download gets all of it all the same."""
        (self.home / "f").write_bytes(b"x" * 60_000)
        await deferToThread(self.talk_back)

    def talk_back(self) -> None:
        with self.log_in() as client:
            host, port = client.makepasv()
            with socket.create_connection((host, port), 20) as data:
                data.sendall(b"hello?")
                client.sendcmd("RETR f")
                came = 0
                while piece := data.recv(1 << 16):
                    came += len(piece)
            self.assertEqual(came, 60_000)
            self.assertEqual(client.getresp()[:3], "226")

    async def test_quiet(self) -> None:
        """A transfer writes its own line to the log and none about ports."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        (self.home / "f").write_bytes(b"for alice")

        def retrieve() -> None:
            client = self.log_in()
            client.retrbinary("RETR f", len)
            client.close()

        await deferToThread(retrieve)
        said = [event.get("mailftp_event") or event.get("log_text") for event in events]
        self.assertEqual(said, ["login", "transfer"])

    async def test_behind_a_proxy(self) -> None:
        """A trusted proxy tells who the client is: its password is refused in the clear, and the passive port
        is one of ours, for the proxy or the client."""
        (self.top / "public").mkdir()
        (self.top / "public" / "f").write_bytes(b"free")
        known = settings(self.top, anonymous=self.top / "public")
        made = factory(known, reactor, reactor, self.threads)
        proxied = ProxyFactory(made, [ip_network("127.0.0.1")], reactor)  # type: ignore[arg-type]
        port = reactor.listenTCP(0, proxied, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.addCleanup(made.drain, 1.0)
        await deferToThread(self.through_proxy, port.getHost().port)

    def through_proxy(self, port: int) -> None:
        client = ftplib.FTP()
        with socket.create_connection(("127.0.0.1", port), 20) as control:
            control.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.21 40000 21\r\n")
            client.sock, client.file, client.af = control, control.makefile("r"), socket.AF_INET
            self.assertEqual(client.getresp()[:3], "220")
            self.assertIn(
                "encryption", str(self.assertRaises(ftplib.error_perm, client.sendcmd, "USER alice"))
            )
            client.login()
            client.trust_server_pasv_ipv4_address = True  # type: ignore[attr-defined]
            pieces: list[bytes] = []
            client.retrbinary("RETR f", pieces.append)
            self.assertEqual(pieces, [b"free"])
            self.assertRaises(ftplib.error_perm, client.sendcmd, "PORT 192,0,2,8,200,1")
            client.quit()

    async def test_killed_client(self) -> None:
        """A client process that is killed: the kernel closes its connections as if all were well, but what
        came is no whole file."""
        script = (
            "import ftplib, sys, time\n"
            "client = ftplib.FTP()\n"
            "client.connect('127.0.0.1', int(sys.argv[1]), timeout=20)\n"
            f"client.login({NAME!r}, {PASSWORD!r})\n"
            "data = client.transfercmd('STOR ' + sys.argv[2])\n"
            "data.sendall(b'x' * 100_000)\n"
            "print('sent', flush=True)\n"
            "sys.stdin.read()\n"
        )
        parts = {name: hidden_name(name.encode()).decode() for name in ("f", "g", "h")}
        for name in parts:
            part = self.home / parts[name]
            process = subprocess.Popen(
                [sys.executable, "-c", script, str(self.ports["ftp"]), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            with process:
                assert process.stdout is not None
                self.assertEqual(await deferToThread(process.stdout.readline), b"sent\n")
                await self.wait_for(part.exists)
                process.send_signal(signal.SIGKILL)
            await self.wait_for(lambda: not any(self.factories["ftp"].connections))
            # How much of it was taken from the socket before the end was seen is a matter of chance.
            self.assertLessEqual(set(os.listdir(self.home)), set(parts.values()))

    async def test_telnet(self) -> None:
        """A person with telnet, in small letters."""
        path = shutil.which("telnet")
        if path is None:
            raise SkipTest("needs the Debian package inetutils-telnet")
        await deferToThread(self.type_in, path)

    def type_in(self, path: str) -> None:
        with subprocess.Popen(
            [path, "127.0.0.1", str(self.ports["ftp"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            for typed, answer in (
                ("", "220"),
                (f"user {NAME}", "331"),
                (f"pass {PASSWORD}", "230"),
                ("noop", "200"),
                ("quit", "221"),
            ):
                if typed:
                    process.stdin.write(typed.encode() + b"\n")
                    process.stdin.flush()
                for _ in range(10):
                    line = process.stdout.readline()
                    if line[:3].isdigit():
                        break
                self.assertEqual(line[:3].decode(), answer)
