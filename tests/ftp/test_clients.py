"""Real clients on loopback: curl, lftp and Python's ftplib, in the clear and encrypted."""

from __future__ import annotations

import ftplib
import hashlib
import io
import os
import ssl
from pathlib import Path

from twisted.internet.threads import deferToThread

from mailftp.files.arrivals import hidden_name
from tests.ftp.site import NAME, PASSWORD, SiteCase

USER = f"{NAME}:{PASSWORD}"
BIG = os.urandom(1 << 16) * 40


class Curl(SiteCase):
    async def curl(self, *arguments: str) -> bytes:
        code, out, err = await self.program("curl", "-sS", "-k", "--max-time", "30", "-u", USER, *arguments)
        self.assertEqual(code, 0, err)
        return out

    async def there_and_back(self, url: str, *options: str) -> None:
        """Upload, list, download and compare; small files and large ones."""
        for name, data in (("small", b"octets\r\n\0\xff"), ("big", BIG), ("empty", b"")):
            source = self.top / "source"
            source.write_bytes(data)
            await self.curl(*options, "-T", str(source), url + name)
            self.assertEqual((self.home / name).read_bytes(), data)
            self.assertEqual(await self.curl(*options, url + name), data)
        self.assertEqual(sorted((await self.curl(*options, "-l", url)).split()), [b"big", b"empty", b"small"])
        listing = (await self.curl(*options, url)).decode()
        self.assertIn(f" {len(BIG)} ", listing)

    async def test_passive(self) -> None:
        """In the clear with EPSV."""
        await self.there_and_back(self.url())

    async def test_old_passive(self) -> None:
        """In the clear with PASV."""
        await self.there_and_back(self.url(), "--disable-epsv")

    async def test_active(self) -> None:
        """In the clear with EPRT, and with PORT."""
        await self.there_and_back(self.url(), "-P", "-")
        await self.there_and_back(self.url(), "-P", "-", "--disable-eprt")

    async def test_explicit_tls(self) -> None:
        """AUTH TLS, PBSZ, PROT P. (Active and encrypted, curl before 8.0 sends its data in the clear.)"""
        await self.there_and_back(self.url(), "--ssl-reqd")

    async def test_tls_1_2(self) -> None:
        """The same with TLS 1.2."""
        await self.there_and_back(self.url(), "--ssl-reqd", "--tls-max", "1.2")

    async def test_implicit_tls(self) -> None:
        """The port that is TLS from the first octet."""
        await self.there_and_back(self.url(service="ftps"))

    async def test_continue_upload(self) -> None:
        """-C - goes on where an upload was cut, in the clear and encrypted."""
        source = self.top / "source"
        source.write_bytes(BIG)
        for number, url, options in ((1, self.url(), ()), (2, self.url(service="ftps"), ())):
            await self.cut_upload(f"f{number}", 1_000_001)
            self.assertEqual(os.listdir(self.home).count(f"f{number}"), 0)
            await self.curl(*options, "-C", "-", "-T", str(source), url + f"f{number}")
            self.assertEqual((self.home / f"f{number}").read_bytes(), BIG)

    async def cut_upload(self, name: str, octets: int) -> None:
        """An upload of BIG whose client dies after some octets, with both of its connections."""
        await deferToThread(self._cut_upload, name, octets)
        await self.wait_for(lambda: not any(self.factories["ftp"].connections))

    def _cut_upload(self, name: str, octets: int) -> None:
        client = ftplib.FTP()
        client.connect("127.0.0.1", self.ports["ftp"], timeout=20)
        client.login(NAME, PASSWORD)
        client.voidcmd("TYPE I")
        data = client.transfercmd(f"STOR {name}")
        data.sendall(BIG[:octets])
        # As the kernel does for a process that dies: both are closed properly.
        data.close()
        client.close()

    async def test_continue_download(self) -> None:
        """-C - goes on with a download."""
        (self.home / "f").write_bytes(BIG)
        target = self.top / "target"
        target.write_bytes(BIG[:777_777])
        await self.curl("-C", "-", "-o", str(target), self.url("f"))
        self.assertEqual(target.read_bytes(), BIG)


class Lftp(SiteCase):
    async def lftp(self, service: str, commands: str, *settings: str) -> bytes:
        common = ["net:timeout 20", "net:max-retries 2", "ssl:verify-certificate no", "cmd:fail-exit yes"]
        script = "; ".join(f"set {one}" for one in (*common, *settings))
        script += f"; open -u {NAME},{PASSWORD} {self.url(service=service)}; {commands}"
        code, out, err = await self.program("lftp", "-c", script)
        self.assertEqual(code, 0, err)
        return out

    def make_tree(self, folder: Path, files: int) -> None:
        """Files in folders within folders, some with names of all kinds."""
        for number in range(files):
            below = folder / f"d{number % 7}" / f"e{number % 11}"
            below.mkdir(parents=True, exist_ok=True)
            (below / f"file {number}").write_bytes(os.urandom(number % 50 * 37))
        for name in ("ümläut", "a;b=c", "two  spaces", "-dash", "{brace}", "100%", "q'uote", "#hash"):
            (folder / name).write_bytes(name.encode() * 1000)
        (folder / "empty folder").mkdir()

    def digest(self, folder: Path) -> dict[str, str]:
        """Every path below a folder, with a hash of what it is."""
        return {
            str(path.relative_to(folder)): (
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            )
            for path in folder.rglob("*")
        }

    async def mirror(self, service: str, files: int, *settings: str) -> None:
        source, target = self.top / "source", self.top / "target"
        self.make_tree(source, files)
        await self.lftp(service, f"mirror -R -P 4 {source} up; mirror -P 4 up {target}", *settings)
        wanted = self.digest(source)
        self.assertGreater(len(wanted), files)
        self.assertEqual(self.digest(self.home / "up"), wanted)
        self.assertEqual(self.digest(target), wanted)

    async def test_mirror(self) -> None:
        """A tree of over a thousand files goes up and comes back with equal hashes."""
        await self.mirror("ftp", 1030, "ftp:ssl-allow no")

    async def test_mirror_encrypted(self) -> None:
        """A smaller tree over AUTH TLS with encrypted data connections."""
        await self.mirror("ftp", 60, "ftp:ssl-force yes", "ftp:ssl-protect-data yes")

    async def test_active_encrypted(self) -> None:
        """Active mode, explicit and implicit TLS."""
        (self.home / "f").write_bytes(BIG)
        for service in ("ftp", "ftps"):
            out = await self.lftp(
                service, "cat f", "ftp:passive-mode no", "ftp:ssl-force yes", "ftp:ssl-protect-data yes"
            )
            self.assertEqual(out, BIG)

    async def test_continue(self) -> None:
        """put -c and get -c go on where they were cut."""
        source, target = self.top / "source", self.top / "target"
        source.write_bytes(BIG)
        (self.home / hidden_name(b"f").decode()).write_bytes(BIG[:1_234_567])
        await self.lftp("ftp", f"put -c {source} -o f")
        self.assertEqual((self.home / "f").read_bytes(), BIG)
        target.write_bytes(BIG[:99_999])
        await self.lftp("ftp", f"get -c f -o {target}")
        self.assertEqual(target.read_bytes(), BIG)

    async def test_names_with_wildcards(self) -> None:
        """mget asks for names by a pattern."""
        for name in ("a.txt", "b.txt", "c.bin"):
            (self.home / name).write_bytes(name.encode())
        await self.lftp("ftp", f"lcd {self.top}; mget *.txt")
        self.assertEqual((self.top / "b.txt").read_bytes(), b"b.txt")
        self.assertFalse((self.top / "c.bin").exists())


class Ftplib(SiteCase):
    def talk(self, client: ftplib.FTP, port: int, passive: bool) -> None:
        """In a thread, for ftplib blocks: upload, list, download, resume, rename, remove."""
        with client:
            client.connect("127.0.0.1", port, timeout=20)
            client.login(NAME, PASSWORD)
            if isinstance(client, ftplib.FTP_TLS):
                client.prot_p()
            client.set_pasv(passive)
            client.mkd('a "b" c')
            client.cwd('a "b" c')
            self.assertEqual(client.pwd(), '/a "b" c')
            client.storbinary("STOR f", io.BytesIO(BIG))
            self.assertEqual(client.size("f"), len(BIG))
            pieces: list[bytes] = []
            client.retrbinary("RETR f", pieces.append)
            self.assertEqual(b"".join(pieces), BIG)
            pieces.clear()
            client.retrbinary("RETR f", pieces.append, rest=1000)
            self.assertEqual(b"".join(pieces), BIG[1000:])
            client.storlines("STOR text", io.BytesIO(b"one\ntwo\n"))
            lines: list[str] = []
            client.retrlines("RETR text", lines.append)
            self.assertEqual(lines, ["one", "two"])
            self.assertEqual(sorted(client.nlst()), ["f", "text"])
            self.assertEqual({name: facts["size"] for name, facts in client.mlsd()}["f"], str(len(BIG)))
            client.rename("f", "g")
            client.delete("g")
            client.delete("text")
            client.cwd("..")
            client.rmd('a "b" c')
            self.assertEqual(client.nlst(), [])
            client.quit()

    async def test_passive(self) -> None:
        """In the clear, passive."""
        await deferToThread(self.talk, ftplib.FTP(), self.ports["ftp"], True)

    async def test_active(self) -> None:
        """In the clear, active."""
        await deferToThread(self.talk, ftplib.FTP(), self.ports["ftp"], False)

    async def test_encrypted(self) -> None:
        """FTP_TLS, passive and active."""
        for passive in (True, False):
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client = ftplib.FTP_TLS(context=context)
            await deferToThread(self.talk, client, self.ports["ftp"], passive)
