"""A backend without a disk, behind the server, used by curl, lftp and ftplib."""

from __future__ import annotations

import ftplib
import hashlib
import io
import os
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailftp.files.home import IHome
from tests.ftp.backend import Store, StoreHome
from tests.ftp.site import NAME, PASSWORD
from tests.ftp.test_more_clients import BIG, ClientCase


class Shape(SynchronousTestCase):
    def test_interface(self) -> None:
        """It is all of a home."""
        verifyObject(IHome, StoreHome(Store()))


class Clients(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.store = Store()
        for made in self.factories.values():
            made.realm.homes = self

    def home_for(self, address: str, quota: int | None) -> Any:
        return StoreHome(self.store)

    async def test_lftp(self) -> None:
        """A tree up and down again, in the clear and encrypted: the same octets, and nothing on the disk."""
        self.make_tree(source := self.top / "source")
        for service in ("ftp", "ftps"):
            script = (
                "set net:max-retries 2; set ssl:verify-certificate no; set cmd:fail-exit yes;"
                f" set ftp:use-site-chmod no; open -u {NAME},{PASSWORD} {self.url(service=service)};"
                f" mirror -R -p {source} up; mirror -p up {self.top / service}; rm -r up"
            )
            await self.run_client("lftp", "-c", script)
            self.assertEqual(self.digests(self.top / service), self.digests(source))
        self.assertEqual((self.store.objects, self.store.folders), ({}, {()}))
        self.assertEqual(os.listdir(self.home), [])

    async def test_curl(self) -> None:
        """Uploads and downloads, whole and the rest of one; a listing; a file that is not there."""
        user = ("-sS", "-k", "--max-time", "30", "-u", f"{NAME}:{PASSWORD}")
        (self.top / "big").write_bytes(BIG)
        self.store.partial[("big",)] = BIG[:1_000_000]
        await self.run_client("curl", *user, "-C", "-", "-T", str(self.top / "big"), self.url("big"))
        self.assertEqual(self.store.objects, {("big",): BIG})
        self.assertEqual(await self.run_client("curl", *user, self.url("big")), BIG)
        self.assertEqual(await self.run_client("curl", *user, "-r", "5-99", self.url("big")), BIG[5:100])
        self.assertIn(f" {len(BIG)} ".encode(), await self.run_client("curl", *user, self.url()))
        code, _, _ = await self.program("curl", *user, self.url("none"))
        self.assertEqual(code, 78)

    async def test_commands(self) -> None:
        """What only commands say: digests, times, parts of files, copies, room, and what it does not have."""
        await deferToThread(self._commands)

    def _commands(self) -> None:
        client = ftplib.FTP()
        client.connect("127.0.0.1", self.ports["ftp"], timeout=30)
        client.login(NAME, PASSWORD)
        client.storbinary("STOR a", io.BytesIO(b"one"))
        client.storbinary("APPE a", io.BytesIO(b" two"))
        client.mkd("d")
        client.rename("a", "d/b")
        self.assertEqual(self.store.objects, {("d", "b"): b"one two"})
        self.assertIn(hashlib.sha256(b"one two").hexdigest(), client.sendcmd("HASH d/b"))
        client.sendcmd("MFMT 20010203040506 d/b")
        self.assertEqual(client.sendcmd("MDTM d/b"), "213 20010203040506")
        for words in ("SITE CPFR d/b", "SITE CPTO c", "COMB whole c d/b"):
            client.sendcmd(words)
        self.assertEqual(self.store.objects, {("whole",): b"one twoone two"})
        self.assertEqual(client.sendcmd("DSIZ /"), "213 14")
        client.sendcmd("AVBL")
        for words in ("SITE SYMLINK whole l", "SITE CHMOD 600 whole", "RMD /none", "DELE d"):
            fault = self.assertRaises(ftplib.error_perm, client.sendcmd, words)
            self.assertEqual(str(fault)[:3], "550", words)
        self.assertEqual([name for name, _ in client.mlsd(facts=["type"])], ["d", "whole"])
        client.quit()
