"""MODE Z: in both directions, cut anywhere, hostile, and with lftp."""

from __future__ import annotations

import os
import zlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailftp.ftp.data import DataLost
from mailftp.ftp.deflate import PORTION, Deflating, Inflating
from tests.ftp.memory import MemoryCase
from tests.ftp.site import NAME, PASSWORD
from tests.ftp.test_more_clients import BIG, ClientCase

TEXT = b"a line of text\n" * 20_000


class Streams(SynchronousTestCase):
    def inflating(self) -> tuple[Inflating, list[bytes]]:
        written: list[bytes] = []

        def write(data: bytes) -> None:
            written.append(data)

        return Inflating(write, lambda: succeed(None)), written

    @given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 50))
    @settings(max_examples=100, deadline=None, derandomize=True)
    def test_there_and_back(self, pieces: list[bytes], cut: int) -> None:
        """Whatever the pieces are and wherever the wire cuts, the same octets come out."""
        left = [piece for piece in pieces if piece]
        deflating = Deflating(lambda: succeed(left.pop(0) if left else b""))
        wire = b""
        while made := self.successResultOf(deflating.piece()):
            wire += made
        self.assertEqual(zlib.decompress(wire), b"".join(pieces))
        inflating, written = self.inflating()
        for at in range(0, len(wire), cut):
            self.successResultOf(inflating.feed(wire[at : at + cut]))
        self.successResultOf(inflating.end())
        self.assertEqual(b"".join(written), b"".join(pieces))

    def test_bomb(self) -> None:
        """A thousand times as large as it came: in portions, each of which waits for the one before it, and
        ended as soon as one is refused."""
        held: list[Deferred[None]] = []
        sizes: list[int] = []

        def write(data: bytes) -> Deferred[None]:
            sizes.append(len(data))
            held.append(Deferred())
            return held[-1]

        inflating = Inflating(write, lambda: succeed(None))
        done = inflating.feed(zlib.compress(bytes(50 * PORTION)))
        for _ in range(3):
            self.assertNoResult(done)
            held[-1].callback(None)
        self.assertEqual(sizes, [PORTION] * 4)
        held[-1].errback(DataLost("no room"))
        self.failureResultOf(done, DataLost)
        self.failureResultOf(inflating.feed(b"more"), DataLost)
        self.failureResultOf(inflating.end(), DataLost)
        self.assertEqual(len(sizes), 4)

    def test_a_full_portion_at_the_end(self) -> None:
        """What the decompressor still holds when all has come is written too."""
        for size in (PORTION - 1, PORTION, PORTION + 1, 3 * PORTION):
            inflating, written = self.inflating()
            wire = zlib.compress(bytes(size))
            self.successResultOf(inflating.feed(wire))
            self.successResultOf(inflating.end())
            self.assertEqual(sum(map(len, written)), size)

    def test_faults(self) -> None:
        """No zlib, a stream without an end, octets behind one, nothing at all."""
        good = zlib.compress(b"octets")
        for wire in (b"octets", good[:-1], good + b"x", b"", good[:-4] + b"XXXX"):
            inflating, _ = self.inflating()
            fed, ended = inflating.feed(wire), inflating.end()
            faults: list[Any] = []
            fed.addErrback(faults.append)
            ended.addErrback(faults.append)
            self.assertTrue(faults, wire)
            self.assertTrue(all(fault.check(DataLost) for fault in faults), wire)


class Transfers(MemoryCase):
    ftp: dict[str, Any] = {"compression": True}

    def setUp(self) -> None:
        super().setUp()
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(TEXT)
        self.log_in("MODE Z")

    def fetch(self, *commands: str) -> bytes:
        data = self.passive()
        self.client.send("".join(f"{command}\r\n" for command in commands).encode())
        got = data.received()
        said: list[str] = []
        for _ in range(100):
            said += self.answers()
            got += data.received()
            if any(line.startswith("226") for line in said):
                return got
        raise AssertionError(said)

    def store(self, name: str, wire: bytes) -> list[str]:
        data = self.passive()
        self.client.send(f"STOR {name}\r\n".encode())
        said = self.answers()
        data.send(wire)
        data.end()
        for _ in range(100):
            said += self.answers()
            if self.codes(said)[-1] not in ("125", "150"):
                break
        return said

    def test_download(self) -> None:
        """Whole, the rest, a part, an empty file, as text, and a listing: less on the wire."""
        (self.home / "empty").write_bytes(b"")
        wire = self.fetch("RETR f")
        self.assertLess(len(wire), len(TEXT) // 10)
        self.assertEqual(zlib.decompress(wire), TEXT)
        self.assertEqual(zlib.decompress(self.fetch("REST 7", "RETR f")), TEXT[7:])
        self.assertEqual(zlib.decompress(self.fetch("RANG 5 9", "RETR f")), TEXT[5:10])
        self.assertEqual(zlib.decompress(self.fetch("RETR empty")), b"")
        self.assertEqual(zlib.decompress(self.fetch("NLST")), b"empty\r\nf\r\n")
        self.assertEqual(zlib.decompress(self.fetch("TYPE A", "RETR f")), TEXT.replace(b"\n", b"\r\n"))

    def test_upload(self) -> None:
        """What was compressed is stored as it was; an empty one too."""
        for data in (TEXT, b"", b"x"):
            self.assertEqual(self.codes(self.store("g", zlib.compress(data)))[-1], "226")
            self.assertEqual((self.home / "g").read_bytes(), data)

    def test_cut(self) -> None:
        """A stream without its end, and what is none: 426, and nothing under the name."""
        for wire in (zlib.compress(TEXT)[:-2], TEXT[:100], b""):
            self.assertEqual(self.codes(self.store("g", wire))[-1], "426")
            self.assertEqual(self.shown(), ["f"])

    def test_quota(self) -> None:
        """A bomb is measured by what is in it."""
        self.quota = len(TEXT) + 1_000_000
        self.start()
        self.log_in("MODE Z")
        wire = zlib.compress(bytes(20_000_000))
        self.assertLess(len(wire), 100_000)
        self.assertEqual(self.codes(self.store("g", wire))[-1], "452")
        self.assertEqual(self.shown(), ["f"])

    def test_modes(self) -> None:
        """S ends it, so does a new login; the level is taken and is ours."""
        self.assertIn(" MODE Z", self.say("FEAT"))
        self.assertEqual(self.say("OPTS MODE Z LEVEL 6"), ["200 MODE Z level is 1"])
        self.assertEqual(self.codes(self.say("OPTS MODE Z LEVEL 10", "MODE B")), ["501", "504"])
        self.assertIn(" Type: I, structure: F, mode: Z", self.say("STAT"))
        self.say("MODE S")
        self.assertEqual(self.fetch("RETR f"), TEXT)
        self.say("MODE Z")
        self.log_in()
        self.assertEqual(self.fetch("RETR f"), TEXT)

    def test_not_offered(self) -> None:
        """Without the setting it is refused and not in FEAT."""
        self.start(compression=False)
        self.log_in()
        self.assertEqual(self.codes(self.say("MODE Z")), ["504"])
        self.assertNotIn(" MODE Z", self.say("FEAT"))


class Lftp(ClientCase):
    ftp = {"compression": True}

    async def test_mirror(self) -> None:
        """lftp sees it in FEAT and says it: a tree up and down, in the clear and encrypted, and the rest of a
        file that was begun."""
        self.make_tree(source := self.top / "source")
        (source / "text").write_bytes(TEXT)
        said: list[str] = []
        for factory in self.factories.values():
            made = factory.terms
            self.assertTrue(made.compression)
        for service in ("ftp", "ftps"):
            log = self.top / f"log-{service}"
            script = (
                "set net:max-retries 2; set ssl:verify-certificate no; set cmd:fail-exit yes;"
                f" debug -o {log} 5; open -u {NAME},{PASSWORD} {self.url(service=service)};"
                f" mirror -R {source} up; mirror up {self.top / service}; cat up/text; rm -r up"
            )
            out = await self.run_client("lftp", "-c", script)
            self.assertIn(TEXT, out)
            self.assertEqual(self.digests(self.top / service), self.digests(source))
            said += log.read_text().splitlines()
        self.assertTrue(any("MODE Z" in line for line in said), said[-50:])
        (self.home / "big").write_bytes(BIG)
        (self.top / "big").write_bytes(BIG[:1_000_000])
        script = (
            f"set ftp:ssl-allow no; open -u {NAME},{PASSWORD} {self.url()}; get -c big -o {self.top / 'big'}"
        )
        await self.run_client("lftp", "-c", script)
        self.assertEqual((self.top / "big").read_bytes(), BIG)
        self.assertEqual(os.listdir(self.home), ["big"])
