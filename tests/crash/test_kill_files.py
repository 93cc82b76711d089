"""kill -9 while files arrive, while maildrops are emptied, and right after an account was made."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.ledger import opened, sealed
from tests.hostile.raw import Raw, ftp, retrieve
from tests.interop.running import RunningServer
from tests.interop.test_many_clients import Line

#: What means that the server was killed under a client.
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Uploads:
    """Each connection overwrites three names of its own again and again, until the server dies."""

    def __init__(self, server: RunningServer, chance: random.Random, after: int) -> None:
        assert server.process is not None
        self._pid, self._port = server.process.pid, server.ports["ftp"]
        self._chance, self._after = chance, after
        #: Name -> number of the last version that was acknowledged, and of the last that was begun.
        self.acknowledged: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        self.count = 0

    async def run(self, connections: int) -> None:
        await asyncio.gather(*(self._uploader(number) for number in range(connections)))

    async def _uploader(self, connection: int) -> None:
        try:
            client = await Line.to(self._port)
            await client.answer()
            await client.ask("USER alice", b"331")
            await client.ask("PASS hungry", b"230")
            await client.ask("TYPE I", b"200")
            version = 0
            while True:
                version += 1
                name = f"{connection}-{version % 3}"
                self.begun[name] = version
                await self._upload(client, name, sealed(version, self._chance.choice((300, 30_000, 600_000))))
                self.acknowledged[name] = version
                self.count += 1
                if self.count == self._after:
                    os.kill(self._pid, signal.SIGKILL)
        except GONE:
            assert self.count >= self._after, "the server hung up before it was killed"

    async def _upload(self, client: Line, name: str, octets: bytes) -> None:
        reply = await client.ask("EPSV", b"229")
        data = await Line.to(int(reply.split(b"|")[3]))
        try:
            await client.ask(f"STOR {name}", b"1")
            data.writer.write(octets)
            await data.writer.drain()
            data.writer.write_eof()
            reply = await client.answer()
            assert reply.startswith(b"226"), reply
        finally:
            data.close()


class FileTests(SynchronousTestCase):
    def test_uploads(self) -> None:
        """After 226 was read the file is whole after a restart; before that, the name has the version of
        before or the new one, whole; what came of a cut upload is hidden."""
        server = RunningServer(self, "files.test")
        server.add_account("alice", "hungry")
        home = server.folder / "data" / "files" / "files.test" / "alice"
        for seed in range(3):
            chance = random.Random(seed)
            server.start()
            uploads = Uploads(server, chance, chance.randrange(40, 120))
            asyncio.run(uploads.run(10))
            server.kill()
            self.check(uploads, home)
            server.start()
            self.check(uploads, home)
            with ftp(server.ports["ftp"], "alice", "hungry") as client:
                _, listed = retrieve(client, "NLST")
                self.assertEqual(set(listed.decode().split()), {path.name for path in self.visible(home)})
                name = next(iter(uploads.acknowledged))
                self.assertEqual(retrieve(client, f"RETR {name}")[1], (home / name).read_bytes())
            server.kill()
            for path in home.iterdir():
                path.unlink()

    def visible(self, home: Path) -> list[Path]:
        return [path for path in home.iterdir() if not path.name.startswith(".mailftp-upload-")]

    def check(self, uploads: Uploads, home: Path) -> None:
        found = {path.name: opened(path.read_bytes()) for path in self.visible(home)}
        self.assertLessEqual(found.keys(), uploads.begun.keys())
        self.assertLessEqual(uploads.acknowledged.keys(), found.keys())
        for name, version in found.items():
            self.assertIn(version, (uploads.acknowledged.get(name), uploads.begun[name]))


class MaildropTests(SynchronousTestCase):
    accounts = ("ann", "ben", "cat", "dan", "eve")

    def test_emptying(self) -> None:
        """Maildrops whose QUIT was answered are empty but for what was not deleted; of the others all is
        there or all is gone."""
        server = RunningServer(self, "pop.test", settings="[limits]\nlogin_timeout = '60s'\n")
        for name in self.accounts:
            server.add_account(name, "hungry")
        for after in (1, 3):
            server.start()
            self.fill(server)
            acknowledged = self.empty(server, after)
            server.kill()
            server.start()
            for name in self.accounts:
                left = self.left(server, name)
                self.assertIn(left, (set(range(20)), set(range(1, 20, 2))), name)
                if name in acknowledged:
                    self.assertEqual(left, set(range(1, 20, 2)), name)
            self.assertGreaterEqual(len(acknowledged), after)
            server.kill()

    def login(self, server: RunningServer, name: str) -> Raw:
        client = Raw(server.ports["pop3"])
        client.reply()
        client.ask(f"USER {name}", "+OK")
        client.ask("PASS hungry", "+OK")
        return client

    def fill(self, server: RunningServer) -> None:
        """Numbers 0 to 19 in each maildrop, and nothing else."""
        for name in self.accounts:
            with self.login(server, name) as client:
                for number in range(1, int(client.ask("STAT", "+OK").split()[1]) + 1):
                    client.ask(f"DELE {number}", "+OK")
                client.ask("QUIT", "+OK")
        with Raw(server.ports["smtp"]) as client:
            client.reply()
            client.ask("EHLO client.test", "250")
            for number in range(20):
                client.ask("MAIL FROM:<x@far.test>", "250")
                for name in self.accounts:
                    client.ask(f"RCPT TO:<{name}@pop.test>", "250")
                client.ask("DATA", "354")
                client.ask(sealed(number, 2000) + b".", "250")

    def empty(self, server: RunningServer, after: int) -> set[str]:
        """Delete every other message in all of them; kill when so many QUITs are answered; whose were."""
        clients = {name: self.login(server, name) for name in self.accounts}
        for client in clients.values():
            for number in range(1, 21, 2):
                client.ask(f"DELE {number}", "+OK")
        for client in clients.values():
            client.send(b"QUIT\r\n")
        acknowledged: set[str] = set()
        assert server.process is not None
        for name, client in clients.items():
            if len(acknowledged) == after:
                os.kill(server.process.pid, signal.SIGKILL)
            with client:
                if client.rest().startswith(b"+OK"):
                    acknowledged.add(name)
        return acknowledged

    def left(self, server: RunningServer, name: str) -> set[int]:
        """The numbers of the messages in a maildrop, each whole."""
        found: set[int] = set()
        with self.login(server, name) as client:
            for number in range(1, int(client.ask("STAT", "+OK").split()[1]) + 1):
                client.ask(f"RETR {number}", "+OK")
                lines = []
                while (line := client.line()) != b".":
                    lines.append(line.removeprefix(b"."))
                found.add(opened(b"\r\n".join(lines) + b"\r\n"))
        return found


class AccountTests(SynchronousTestCase):
    def test_added(self) -> None:
        """An account, a new password and a removal that the command line has confirmed survive."""
        server = RunningServer(self, "accounts.test")
        server.start()
        server.add_account("ann", "hungry")
        server.kill()
        server.start()
        ftp(server.ports["ftp"], "ann", "hungry").close()
        done = server.cli("account", "passwd", "ann@accounts.test", "--password-file", "-", stdin=b"full\n")
        server.kill()
        self.assertEqual(done.returncode, 0, done.stderr)
        server.start()
        ftp(server.ports["ftp"], "ann", "full").close()
        done = server.cli("account", "remove", "ann@accounts.test")
        server.kill()
        self.assertEqual(done.returncode, 0, done.stderr)
        server.start()
        self.assertEqual(server.cli("account", "list", "--json").stdout.strip(), b"[]")
