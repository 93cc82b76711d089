"""More real clients on loopback: wget, ncftp, tnftp, rclone, aioftp, and what lftp does beside mirroring."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import ssl
from pathlib import Path

import aioftp
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests.ftp.site import NAME, PASSWORD, SiteCase

BIG = os.urandom(1 << 16) * 40
NODE = Path(__file__).parents[1] / "interop" / "node"


class ClientCase(SiteCase):
    def make_tree(self, folder: Path) -> None:
        """Files of several sizes, in folders, some with names that need care."""
        for number, name in enumerate(("a", "d/b", "d/e/c", "two words", "ümläut", "#hash", "d/percent%20")):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode() * number * 500)
        (folder / "big").write_bytes(BIG)

    def digests(self, folder: Path) -> dict[str, str]:
        """Every file below a folder, with a hash of what is in it."""
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    async def run_client(self, name: str, *arguments: str, package: str | None = None) -> bytes:
        code, out, err = await self.program(name, *arguments, package=package)
        self.assertEqual(code, 0, (out[-2000:], err[-2000:]))
        return out


class BasicFTP(ClientCase):
    async def test_trees(self) -> None:
        """The client of Node programs, in the clear and encrypted in both ways: a tree up and down, listings,
        the rest of a file, appending, renaming into a folder, a tree removed."""
        if not (NODE / "node_modules" / "basic-ftp").is_dir():
            raise SkipTest(f"needs basic-ftp: npm ci --prefix {NODE.relative_to(NODE.parents[2])}")
        source = self.top / "source"
        self.make_tree(source)
        for way, service in (("clear", "ftp"), ("explicit", "ftp"), ("implicit", "ftps")):
            port = str(self.ports[service])
            out = await self.run_client(
                "node", str(NODE / "files.mjs"), port, way, str(self.top), package="nodejs"
            )
            told = json.loads(out.splitlines()[-1])
            self.assertLessEqual({"MLST", "UTF8", "SIZE", "MDTM", "REST"}, set(told["features"]))
            self.assertEqual(self.digests(self.top / way), self.digests(source))
            wanted = sorted([p.name, p.stat().st_size, p.is_dir()] for p in source.iterdir())
            self.assertEqual([one[0::2] for one in told["list"]], [one[0::2] for one in wanted])
            files = [one for one in wanted if not one[2]]
            self.assertEqual([one for one in told["list"] if not one[2]], files)
            self.assertEqual((told["size"], told["rest"]), (len(BIG), len(BIG) - 100_000))
            self.assertEqual(told["appended"], len(BIG) + (source / "a").stat().st_size)
            self.assertEqual((told["missing"], told["left"]), (550, []))


class Wget(ClientCase):
    async def wget(self, *arguments: str) -> bytes:
        return await self.run_client(
            "wget", "-nv", "-t", "2", "-T", "20", "--user", NAME, "--password", PASSWORD, *arguments
        )

    async def test_recursive(self) -> None:
        """A whole tree, by the listings; times come along."""
        self.make_tree(self.home)
        # wget escapes a name with "%" in it once more than it says.
        (self.home / "d" / "percent%20").unlink()
        os.utime(self.home / "d" / "b", (1_000_000_000, 1_000_000_000))
        target = self.top / "target"
        await self.wget("-r", "-nH", "-P", str(target), self.url())
        found, wanted = self.digests(target), self.digests(self.home)
        self.assertEqual({name: found[name] for name in wanted}, wanted)
        # LIST tells the day of an old file, and wget takes it for one of its own time zone.
        self.assertLess(abs((target / "d" / "b").stat().st_mtime - 1_000_000_000), 2 * 86400)

    async def test_continue(self) -> None:
        """-c goes on with a download; a pattern fetches what it matches."""
        (self.home / "f.bin").write_bytes(BIG)
        (self.home / "g.txt").write_bytes(b"other")
        (self.top / "f.bin").write_bytes(BIG[:1_234_567])
        await self.wget("-c", "-P", str(self.top), self.url("f.bin"))
        self.assertEqual((self.top / "f.bin").read_bytes(), BIG)
        await self.wget("-P", str(self.top / "some"), self.url("*.txt"))
        self.assertEqual(os.listdir(self.top / "some"), ["g.txt"])

    async def test_active(self) -> None:
        """--no-passive-ftp."""
        (self.home / "f").write_bytes(BIG)
        await self.wget("--no-passive-ftp", "-P", str(self.top), self.url("f"))
        self.assertEqual((self.top / "f").read_bytes(), BIG)

    async def test_encrypted(self) -> None:
        """Explicit with data in TLS, and implicit."""
        (self.home / "f").write_bytes(BIG)
        for number, service in enumerate(("ftp", "ftps")):
            url = f"ftps://127.0.0.1:{self.ports[service]}/f"
            extra = ["--ftps-implicit"] if service == "ftps" else []
            target = self.top / str(number)
            await self.wget("--no-check-certificate", *extra, "-P", str(target), url)
            self.assertEqual((target / "f").read_bytes(), BIG)


class Ncftp(ClientCase):
    async def test_put_and_get(self) -> None:
        """ncftpput and ncftpget, whole folders, and a name that is taken away by ncftpls's listing."""
        source, target = self.top / "source", self.top / "target"
        self.make_tree(source)
        target.mkdir()
        login = ("-u", NAME, "-p", PASSWORD, "-P", str(self.ports["ftp"]), "-t", "20", "-r", "1")
        await self.run_client("ncftpput", "-R", *login, "127.0.0.1", "/", str(source), package="ncftp")
        self.assertEqual(self.digests(self.home / "source"), self.digests(source))
        await self.run_client("ncftpget", "-R", *login, "127.0.0.1", str(target), "/source", package="ncftp")
        self.assertEqual(self.digests(target / "source"), self.digests(source))
        url = f"ftp://{NAME}:{PASSWORD}@127.0.0.1:{self.ports['ftp']}/source/"
        listed = await self.run_client("ncftpls", "-1", url, package="ncftp")
        self.assertIn(b"two words", listed.splitlines())


class Tnftp(ClientCase):
    async def test_session(self) -> None:
        """The client of the BSDs: upload, listing, mget by a pattern, resume, rename, chmod, delete."""
        (self.top / "source").write_bytes(BIG)
        (self.top / "again").write_bytes(BIG[:100_000])
        for name in ("a.txt", "b.txt", "c.bin"):
            (self.home / name).write_bytes(name.encode())
        script = self.top / "script"
        script.write_text(
            f"user {NAME} {PASSWORD}\nbinary\nprompt off\nput source f\nls\nmget *.txt\n"
            "restart 100000\nget f again\nmkdir d\nrename f d/g\nchmod 640 d/g\nsize d/g\nmodtime d/g\n"
            "mlst d/g\ndelete c.bin\nbye\n"
        )
        port = str(self.ports["ftp"])
        client = shutil.which("tnftp")
        if client is None:
            raise SkipTest("needs the Debian package tnftp")
        out = await self.run_client("sh", "-c", f"exec {client} -n -v -p -q 20 127.0.0.1 {port} < {script}")
        self.assertEqual((self.home / "d" / "g").read_bytes(), BIG, out)
        self.assertEqual((self.home / "d" / "g").stat().st_mode & 0o777, 0o640)
        self.assertEqual((self.top / "again").read_bytes(), BIG)
        self.assertEqual((self.top / "b.txt").read_bytes(), b"b.txt")
        self.assertFalse((self.home / "c.bin").exists())

    async def test_active(self) -> None:
        """EPRT, in the order in which it tries them."""
        client = shutil.which("tnftp")
        if client is None:
            raise SkipTest("needs the Debian package tnftp")
        (self.home / "f").write_bytes(BIG)
        script = self.top / "script"
        script.write_text(f"user {NAME} {PASSWORD}\nbinary\nget f\nbye\n")
        port = str(self.ports["ftp"])
        await self.run_client("sh", "-c", f"exec {client} -A -n -v -q 20 127.0.0.1 {port} < {script}")
        self.assertEqual((self.top / "f").read_bytes(), BIG)


class Rclone(ClientCase):
    async def rclone(self, service: str, *arguments: str, options: tuple[str, ...] = ()) -> bytes:
        if not hasattr(self, "secret"):
            self.secret = (await self.run_client("rclone", "obscure", PASSWORD)).decode().strip()
        remote = ("--ftp-host", "127.0.0.1", "--ftp-port", str(self.ports[service]), "--ftp-user", NAME)
        common = ("--ftp-pass", self.secret, "--retries", "1", "--config", str(self.top / "rclone.conf"))
        return await self.run_client("rclone", *arguments, *remote, *common, *options)

    async def test_copy_and_check(self) -> None:
        """copy there, check by reading, times kept; copied again nothing moves; copy back; purge."""
        source, target = self.top / "source", self.top / "target"
        self.make_tree(source)
        os.utime(source / "a", (1_000_000_000, 1_000_000_000))
        await self.rclone("ftp", "copy", str(source), ":ftp:up")
        self.assertEqual(self.digests(self.home / "up"), self.digests(source))
        self.assertEqual((self.home / "up" / "a").stat().st_mtime, 1_000_000_000)
        await self.rclone("ftp", "check", "--download", str(source), ":ftp:up")
        before = (self.home / "up" / "big").stat().st_ino
        await self.rclone("ftp", "copy", str(source), ":ftp:up")
        self.assertEqual((self.home / "up" / "big").stat().st_ino, before)
        await self.rclone("ftp", "copy", ":ftp:up", str(target))
        self.assertEqual(self.digests(target), self.digests(source))
        await self.rclone("ftp", "purge", ":ftp:up")
        self.assertFalse((self.home / "up").exists())

    async def test_encrypted(self) -> None:
        """Explicit TLS, and implicit."""
        source = self.top / "source"
        self.make_tree(source)
        for service, how in (("ftp", "--ftp-explicit-tls"), ("ftps", "--ftp-tls")):
            options = (how, "--ftp-no-check-certificate")
            await self.rclone(service, "copy", str(source), f":ftp:{service}", options=options)
            await self.rclone(service, "check", "--download", str(source), f":ftp:{service}", options=options)


class Aioftp(ClientCase):
    async def test_client(self) -> None:
        """A tree up and down, stat, append, rename, remove; in the clear and with explicit TLS."""
        source, target = self.top / "source", self.top / "target"
        self.make_tree(source)
        for encrypted in (False, True):
            await deferToThread(asyncio.run, self.talk(source, target / str(encrypted), encrypted))
            self.assertEqual(self.digests(target / str(encrypted)), self.digests(source))
            self.assertEqual(os.listdir(self.home), [])

    async def talk(self, source: Path, target: Path, encrypted: bool) -> None:
        client = aioftp.Client(socket_timeout=20)
        await client.connect("127.0.0.1", self.ports["ftp"])
        if encrypted:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            await client.upgrade_to_tls(context)
        await client.login(NAME, PASSWORD)
        await client.upload(source, "/up", write_into=True)
        async with client.append_stream("/up/a") as stream:
            await stream.write(b"more")
        assert (await client.stat("/up/a"))["size"] == "4"
        assert await client.is_dir("/up/d")
        await client.rename("/up/a", "/up/x")
        await client.rename("/up/x", "/up/a")
        listed = {str(path) for path, _ in await client.list("/up", recursive=True)}
        assert "/up/d/e/c" in listed, listed
        async with client.upload_stream("/up/a") as stream:
            await stream.write(b"")
        await client.download("/up", target, write_into=True)
        await client.remove("/up")
        await client.quit()


class ClearCommandChannel(ClientCase):
    ftp = {"clear_command_channel": True}

    async def test_curl(self) -> None:
        """curl ends the control connection's TLS, waiting for us or going first; its data stay encrypted."""
        (self.top / "source").write_bytes(BIG)
        for mode in ("passive", "active"):
            ccc = ("--ssl-reqd", "--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", mode)
            common = ("-sS", "-k", "--max-time", "30", "-u", f"{NAME}:{PASSWORD}", *ccc)
            await self.run_client("curl", *common, "-T", str(self.top / "source"), self.url(mode))
            self.assertEqual((self.home / mode).read_bytes(), BIG)
            self.assertEqual(await self.run_client("curl", *common, self.url(mode)), BIG)


class Lftp(ClientCase):
    async def lftp(self, service: str, commands: str, *settings: str) -> bytes:
        common = ["net:timeout 20", "net:max-retries 2", "ssl:verify-certificate no", "cmd:fail-exit yes"]
        script = "; ".join(f"set {one}" for one in (*common, *settings))
        script += f"; open -u {NAME},{PASSWORD} {self.url(service=service)}; {commands}"
        return await self.run_client("lftp", "-c", script)

    async def test_segments(self) -> None:
        """pget fetches one file over several connections."""
        (self.home / "f").write_bytes(BIG)
        for service in ("ftp", "ftps"):
            await self.lftp(service, f"pget -n 4 f -o {self.top / service}")
            self.assertEqual((self.top / service).read_bytes(), BIG)

    async def test_mirror_with_links_and_modes(self) -> None:
        """mirror -R brings permission bits and times; chmod and ln -s are SITE's; du and find list deeply."""
        source = self.top / "source"
        self.make_tree(source)
        (source / "d" / "b").chmod(0o640)
        os.utime(source / "a", (1_000_000_000, 1_000_000_000))
        await self.lftp("ftp", f"mirror -R {source} up; chmod 600 up/big; ln -s big up/link")
        self.assertEqual((self.home / "up" / "d" / "b").stat().st_mode & 0o777, 0o640)
        self.assertEqual((self.home / "up" / "a").stat().st_mtime, 1_000_000_000)
        self.assertEqual((self.home / "up" / "big").stat().st_mode & 0o777, 0o600)
        self.assertEqual(os.readlink(self.home / "up" / "link"), "big")
        found = (await self.lftp("ftp", "find up")).decode().splitlines()
        self.assertIn("up/d/e/c", [line.removeprefix("./") for line in found])

    async def test_host(self) -> None:
        """It sees HOST in FEAT and says it."""
        (self.home / "f").write_bytes(b"for alice")
        script = (
            f"set ftp:ssl-allow no; set net:max-retries 2; "
            f"open -u {NAME},{PASSWORD} ftp://localhost:{self.ports['ftp']}; cat f"
        )
        out = await self.run_client("lftp", "-c", script)
        self.assertEqual(out, b"for alice")
