"""Uploads that a thread receives because they come fast: whole, cut, refused, durable."""

from __future__ import annotations

import ftplib
import hashlib
import io
import socket
import struct
from typing import Any

from twisted.internet.threads import deferToThread

from mailftp.files.arrivals import hidden_name
from mailftp.ftp import data
from mailftp.wire.moving import Intake
from tests.ftp.site import NAME, PASSWORD, SiteCase

CONTENT = hashlib.shake_128(b"upload").digest(20_000_000)


class LargeUploads(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(data, "FAST", 1)
        self.patch(data, "MUCH", 1)
        self.patch(data, "WORTH", 1)
        self.turns: list[Intake] = []
        run = Intake.run

        def counted(turn: Intake, write: Any) -> None:
            self.turns.append(turn)
            run(turn, write)

        self.patch(Intake, "run", counted)

    def log_in(self) -> ftplib.FTP:
        client = ftplib.FTP()
        client.connect("127.0.0.1", self.ports["ftp"], timeout=60)
        client.login(NAME, PASSWORD)
        client.voidcmd("TYPE I")
        return client


class Fast(LargeUploads):
    async def test_whole(self) -> None:
        """What is there in the end is what was sent, and a thread received it; so with REST and APPE."""
        await deferToThread(self.store_whole)
        self.assertEqual((self.home / "f").read_bytes(), CONTENT)
        self.assertEqual((self.home / "g").read_bytes(), CONTENT + CONTENT[:5_000_000])
        self.assertGreater(sum(turn.came for turn in self.turns), 20_000_000)

    def store_whole(self) -> None:
        with self.log_in() as client:
            client.storbinary("STOR f", io.BytesIO(CONTENT), blocksize=1 << 20)
            client.storbinary("STOR g", io.BytesIO(CONTENT), blocksize=1 << 20)
            client.storbinary("APPE g", io.BytesIO(CONTENT[:5_000_000]), blocksize=1 << 20)
            self.assertEqual(client.size("f"), len(CONTENT))

    async def test_reset(self) -> None:
        """A connection that is reset while a thread reads is no end of a file: nothing gets the name."""
        await deferToThread(self.reset)
        self.assertFalse((self.home / "f").exists())
        kept = (self.home / hidden_name(b"f").decode()).read_bytes()
        self.assertEqual(kept, CONTENT[: len(kept)])

    def reset(self) -> None:
        with self.log_in() as client:
            connection = client.transfercmd("STOR f")
            connection.sendall(CONTENT)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            self.assertEqual(self.assertRaises(ftplib.error_temp, client.voidresp).args[0][:3], "426")
            self.assertEqual(client.voidcmd("NOOP")[:3], "200")

    async def test_abort(self) -> None:
        """ABOR while a thread reads: 426, 226, and the session lives."""
        await deferToThread(self.abort)
        self.assertFalse((self.home / "f").exists())

    def abort(self) -> None:
        with self.log_in() as client, client.transfercmd("STOR f") as connection:
            connection.sendall(CONTENT[:5_000_000])
            client.putcmd("ABOR")
            codes = [self.assertRaises(ftplib.error_temp, client.getresp).args[0][:3], client.getresp()[:3]]
            self.assertEqual(codes, ["426", "226"])
            self.assertEqual(client.voidcmd("NOOP")[:3], "200")


class Durable(Fast):
    """The same, and on the disk before 226."""

    ftp = {"durable": True}


class Full(LargeUploads):
    quota = 3_000_000

    async def test_quota(self) -> None:
        """The quota holds on a thread too: 452, and nothing of the file has the name."""
        await deferToThread(self.store_too_much)
        self.assertFalse((self.home / "f").exists())

    def store_too_much(self) -> None:
        with self.log_in() as client:
            with self.assertRaises((ftplib.error_temp, OSError)) as refused:
                client.storbinary("STOR f", io.BytesIO(CONTENT), blocksize=1 << 16)
            text = str(refused.exception)
            if not text.startswith("452"):
                # The server hung up while we were sending; its reply says why.
                text = self.assertRaises(ftplib.error_temp, client.getresp).args[0]
            self.assertEqual(text[:3], "452")
