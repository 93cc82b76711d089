"""What happens on the disk while a transfer is under way: the session lives, and no half file has a name."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

from tests.connector import Client
from tests.ftp.memory import MemoryCase

BIG = os.urandom(1 << 20) * 3


class Downloads(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        (self.home / "d").mkdir(parents=True)
        (self.home / "d" / "big").write_bytes(BIG)
        self.log_in()

    def begin(self) -> Client:
        """A download whose client has read nothing yet."""
        data = self.passive()
        data.reading = False
        self.assertEqual(self.codes(self.say("RETR d/big")), ["125"])
        return data

    def whole(self, data: Client) -> None:
        data.reading = True
        self.assertEqual(data.received(), BIG)
        self.assertEqual(self.codes(self.answers()), ["226"])
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])

    def test_removed(self) -> None:
        """The file, its folder, and the whole home: what was begun is sent to its end."""
        for gone in ("d/big", "d", ""):
            (self.home / "d").mkdir(parents=True, exist_ok=True)
            (self.home / "d" / "big").write_bytes(BIG)
            data = self.begin()
            path = self.home / gone
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            self.whole(data)
            self.say("PASV")
            self.assertEqual(self.codes(self.say("RETR d/big")), ["550"])

    def test_replaced(self) -> None:
        """Another file under its name: the one that was begun is sent, and the next time the other."""
        data = self.begin()
        (self.home / "new").write_bytes(b"other")
        os.replace(self.home / "new", self.home / "d" / "big")
        self.whole(data)
        data = self.passive()
        self.client.send(b"RETR d/big\r\n")
        self.assertEqual(data.received(), b"other")

    def test_appended(self) -> None:
        """What is written behind its end meanwhile is not sent: the client was told a size."""
        data = self.begin()
        with (self.home / "d" / "big").open("ab") as file:
            file.write(b"more")
        self.whole(data)

    def test_permission_lost(self) -> None:
        """Nobody may read it any more: what was begun is sent, and the next time it is 550."""
        data = self.begin()
        (self.home / "d" / "big").chmod(0)
        self.whole(data)
        really = os.open

        def refused(path: Any, *arguments: Any, **named: Any) -> int:
            # Root may read all.
            if os.fsencode(path) == b"big":
                raise PermissionError(errno.EACCES, "no")
            return really(path, *arguments, **named)

        self.start()
        self.log_in()
        self.patch(os, "open", refused)
        self.say("PASV")
        self.assertEqual(self.codes(self.say("RETR d/big")), ["550"])
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])


class Uploads(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        (self.home / "d").mkdir(parents=True)
        (self.home / "d" / "f").write_bytes(b"old")
        self.log_in()

    def begin(self) -> Client:
        data = self.passive()
        self.assertEqual(self.codes(self.say("STOR d/f")), ["125"])
        data.send(b"x" * 100_000)
        return data

    def end(self, data: Client) -> str:
        """The last answer to an upload that ends; the session lives."""
        data.send(b"y" * 100_000)
        data.end()
        (code,) = self.codes(self.answers())
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])
        return code

    def test_old_file_removed(self) -> None:
        """The file that it is to replace: the new one is there at the end."""
        data = self.begin()
        (self.home / "d" / "f").unlink()
        self.assertEqual(self.end(data), "226")
        self.assertEqual((self.home / "d" / "f").stat().st_size, 200_000)

    def test_folder_removed(self) -> None:
        """There is no place for its name any more: 5xx, and nothing is left anywhere."""
        data = self.begin()
        shutil.rmtree(self.home / "d")
        self.assertIn(self.end(data), ("550", "551", "553"))
        self.assertEqual(list(self.home.rglob("*")), [])

    def test_permission_lost(self) -> None:
        """Its folder may not be written to any more: 550, and the old file is whole."""
        data = self.begin()

        def refused(*arguments: Any, **named: Any) -> None:
            raise PermissionError(errno.EACCES, "no")

        for name in ("rename", "replace", "link"):
            self.patch(os, name, refused)
        self.assertEqual(self.end(data), "550")
        self.assertEqual((self.home / "d" / "f").read_bytes(), b"old")

    def test_disk_full(self) -> None:
        """452 as soon as the disk says so; the old file is whole, and what came can be continued."""
        data = self.begin()
        self.answers()
        really = os.pwritev

        def full(descriptor: int, chunks: list[bytes], offset: int, *flags: int) -> int:
            raise OSError(errno.ENOSPC, "full")

        self.patch(os, "pwritev", full)
        self.assertEqual(self.end(data), "452")
        self.patch(os, "pwritev", really)
        self.assertEqual((self.home / "d" / "f").read_bytes(), b"old")
        (line,) = self.say("SIZE d/f")
        self.assertRegex(line, r"\A213 [0-9]+\Z")

    def test_bad_disk(self) -> None:
        """An error of the disk: 451, and no half file."""
        data = self.begin()
        self.answers()

        def broken(*arguments: Any) -> int:
            raise OSError(errno.EIO, "broken")

        self.patch(os, "pwritev", broken)
        self.assertEqual(self.end(data), "451")
        self.assertEqual((self.home / "d" / "f").read_bytes(), b"old")
