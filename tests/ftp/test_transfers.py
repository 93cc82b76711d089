"""Transfers: their replies, what arrives, and what is left of one that is cut."""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailftp.ftp.newlines import FromNetwork, to_network
from tests.connector import connect
from tests.files.inline import partials
from tests.ftp.memory import MemoryCase

BIG = bytes(range(256)) * 1500


class Downloads(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"0123456789")

    def test_connection_first(self) -> None:
        """A client that is connected already hears 125; 226 comes when the octets have left."""
        data = self.passive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual((data.received(), data.closed), (b"0123456789", True))
        self.assertEqual(self.codes(self.answers()), ["125", "226"])

    def test_command_first(self) -> None:
        """A client that connects only then hears 150."""
        self.say("PASV")
        self.assertEqual(self.codes(self.say("RETR f")), ["150"])
        data = self.arrive()
        self.assertEqual((data.received(), data.closed), (b"0123456789", True))
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_active(self) -> None:
        """After PORT the server connects, from the address that the client knows."""
        self.assertEqual(self.codes(self.say("PORT 127,0,0,1,200,1", "RETR f")), ["200", "150"])
        (call,) = self.network.calls
        self.assertEqual((call.host, call.port, call.bind), ("127.0.0.1", 51201, ("127.0.0.1", 20)))
        data = connect(call.caller, peer=("127.0.0.1", 51201), host=self.host, clock=self.clock)
        self.assertEqual(data.received(), b"0123456789")
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_active_refused(self) -> None:
        """Nobody listens where PORT said: 425."""
        self.say("EPRT |1|127.0.0.1|51201|", "RETR f")
        (call,) = self.network.calls
        call.caller.clientConnectionFailed(call, Failure(ConnectionRefusedError(errno.ECONNREFUSED)))
        self.assertEqual(self.codes(self.answers()), ["425"])
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])

    def test_nobody_comes(self) -> None:
        """After half a minute without a data connection: 425, and the port is closed."""
        self.say("PASV", "RETR f")
        self.clock.pump([1.0] * 29)
        self.assertEqual(self.answers(), [])
        self.clock.pump([1.0] * 2)
        self.assertEqual(self.codes(self.answers()), ["425"])
        self.assertIsNone(self.network.ports[-1].door)

    def test_one_connection_a_transfer(self) -> None:
        """PASV is good for one transfer; a new PASV closes the port of the one before."""
        self.say("PASV")
        first = self.network.ports[-1]
        data = self.passive()
        self.assertIsNone(first.door)
        self.client.send(b"RETR f\r\n")
        data.received()
        self.assertEqual(self.codes(self.answers()), ["125", "226"])
        self.assertEqual(self.codes(self.say("RETR f")), ["425"])

    def test_restart(self) -> None:
        """REST gives the octets from there, for one transfer, whether PASV comes before or after it."""
        data = self.passive()
        self.client.send(b"REST 4\r\nRETR f\r\n")
        self.assertEqual(data.received(), b"456789")
        self.say("REST 9")
        data = self.passive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"9")
        data = self.passive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"0123456789")
        self.answers()

    def test_restart_beyond_the_end(self) -> None:
        """At the end there is nothing to send; after it 554, and the session goes on."""
        data = self.passive()
        self.client.send(b"REST 10\r\nRETR f\r\n")
        self.assertEqual((data.received(), data.closed), (b"", True))
        self.passive()
        self.assertEqual(self.codes(self.say("REST 11", "RETR f")), ["350", "554"])
        self.assertEqual(self.codes(self.say("NOOP")), ["200"])

    def test_missing_file(self) -> None:
        """550 comes before any 150, and the passive port is still good."""
        self.say("PASV")
        self.assertEqual(self.codes(self.say("RETR none")), ["550"])
        data = self.arrive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"0123456789")

    def test_large_file(self) -> None:
        """More than a buffer full goes as the client reads, and 226 comes at its end."""
        (self.home / "big").write_bytes(BIG * 4)
        data = self.passive()
        data.reading = False
        self.assertEqual(self.codes(self.say("RETR big")), ["125"])
        self.assertEqual(self.codes(self.say("NOOP", "STAT")[:1]), ["200"])
        data.reading = True
        self.assertEqual(data.received(), BIG * 4)
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_client_goes_away(self) -> None:
        """A data connection lost in the middle is 426."""
        (self.home / "big").write_bytes(BIG * 4)
        data = self.passive()
        data.reading = False
        self.say("RETR big")
        data.drop()
        self.assertEqual(self.codes(self.answers()), ["426"])

    def test_text(self) -> None:
        """TYPE A: LF becomes CR LF, wherever the pieces of the file end."""
        text = b"a\n\nb\r\n\r" * 100_000
        (self.home / "text").write_bytes(text)
        self.say("TYPE A")
        data = self.passive()
        self.client.send(b"RETR text\r\n")
        self.assertEqual(data.received(), text.replace(b"\n", b"\r\n"))
        self.assertEqual(self.codes(self.answers()), ["125", "226"])

    def test_file_becomes_shorter(self) -> None:
        """A file that is cut on disk while it is sent is no whole file: 426."""
        (self.home / "big").write_bytes(BIG * 4)
        data = self.passive()
        data.reading = False
        self.say("RETR big")
        os.truncate(self.home / "big", len(BIG))
        data.reading = True
        data.received()
        self.assertEqual(self.codes(self.answers()), ["426"])

    def test_pipelined(self) -> None:
        """Commands said during a transfer wait for its end, but for those that need not."""
        self.say("PASV")
        self.assertEqual(self.codes(self.say("RETR f", "PWD", "NOOP")), ["150"])
        self.arrive().received()
        self.assertEqual(self.codes(self.answers()), ["226", "257", "200"])

    def test_quit_waits(self) -> None:
        """QUIT during a transfer lets it end."""
        self.say("PASV", "RETR f", "QUIT")
        self.assertFalse(self.client.closed)
        self.assertEqual(self.arrive().received(), b"0123456789")
        self.assertEqual(self.codes(self.answers()), ["226", "221"])
        self.assertTrue(self.client.closed)


class Unique(MemoryCase):
    def test_store_unique(self) -> None:
        """STOU tells the name that it made, which begins as asked; REST before it means nothing."""
        self.log_in()
        for asked, beginning in (("STOU", "upload."), ("STOU scan.pdf", "scan.pdf."), ("STOU ./", "")):
            data = self.passive()
            first = self.say("REST 5", asked)[1]
            if not beginning:
                self.assertEqual(first[:3], "553")
                continue
            self.assertIn(first[:10], ("125 FILE: ", "150 FILE: "))
            name = first[10:]
            self.assertTrue(name.startswith(beginning) and len(name) == len(beginning) + 16, name)
            data.send(b"page")
            data.end()
            self.assertEqual(self.codes(self.answers()), ["226"])
            self.assertEqual((self.home / name).read_bytes(), b"page")


class Uploads(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()

    def test_store(self) -> None:
        """The file is there when 226 is said, and not before."""
        data = self.passive()
        self.assertEqual(self.codes(self.say("STOR f")), ["125"])
        data.send(BIG)
        self.assertEqual((self.answers(), self.shown()), ([], []))
        data.end()
        self.assertEqual((self.codes(self.answers()), self.shown()), (["226"], ["f"]))
        self.assertEqual((self.home / "f").read_bytes(), BIG)

    def test_store_before_the_connection(self) -> None:
        """150, then the connection."""
        self.say("PASV")
        self.assertEqual(self.codes(self.say("stor f")), ["150"])
        data = self.arrive()
        data.send(b"x")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_octets_before_the_command(self) -> None:
        """What a client sends before STOR is read waits for it."""
        data = self.passive()
        data.send(b"early")
        data.end()
        self.assertEqual(self.codes(self.say("STOR f")), ["125", "226"])
        self.assertEqual((self.home / "f").read_bytes(), b"early")

    def test_append(self) -> None:
        """APPE adds to what is there."""
        for expected in (b"x", b"xx"):
            data = self.passive()
            self.client.send(b"APPE f\r\n")
            data.send(b"x")
            data.end()
            self.assertEqual(self.codes(self.answers()), ["125", "226"])
            self.assertEqual((self.home / "f").read_bytes(), expected)

    def test_text(self) -> None:
        """TYPE A: CR LF becomes LF, and a CR of the file's own stays."""
        self.say("TYPE A")
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        for piece in (b"one\r", b"\ntwo\r\r\n", b"thr\ree\r"):
            data.send(piece)
        data.end()
        self.answers()
        self.assertEqual((self.home / "f").read_bytes(), b"one\ntwo\r\nthr\ree\r")

    def test_no_room(self) -> None:
        """452 when the quota is full, and what is there stays."""
        self.quota = 1000
        self.start()
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        data.send(b"x" * 1001)
        self.assertEqual(self.codes(self.answers()), ["125", "452"])
        self.assertTrue(data.closed)
        self.assertEqual(self.codes(self.say("ALLO 1001", "PASV", "STOR f")), ["200", "227", "452"])
        self.assertEqual(self.shown(), [])

    def test_not_possible(self) -> None:
        """A folder's name, a missing folder, a reserved name: 550 before any 150."""
        self.say("MKD d", "PASV")
        for name in ("d", "none/f", "/", ".mailftp-upload-0", "x" * 256):
            self.assertEqual(self.codes(self.say(f"STOR {name}")), ["550"], name)
            self.assertEqual(self.codes(self.say(f"APPE {name}")), ["550"], name)

    def test_slow_disk_holds_the_client_back(self) -> None:
        """While the disk is behind, octets stay in the network."""
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        self.runner.held = True
        for _ in range(60):
            data.send(b"x" * 65536)
        self.assertFalse(data.transport.reading)
        while self.runner.waiting or not data.transport.reading:
            self.runner.release()
            data.pump()
        self.runner.held = False
        self.runner.release()
        data.end()
        self.assertEqual(self.codes(self.answers())[-1:], ["226"])
        self.assertEqual((self.home / "f").stat().st_size, 60 * 65536)


class Cuts(MemoryCase):
    """Each way to cut an upload: 426 or nothing, no file, and SIZE says where to go on."""

    def setUp(self) -> None:
        super().setUp()
        self.log_in()

    def begin(self, *before: str) -> Any:
        self.say(*before)
        data = self.passive()
        self.assertEqual(self.codes(self.say("STOR f")), ["125"])
        data.send(b"12345")
        return data

    def check(self, arrived: int = 5) -> None:
        """Nothing shows; SIZE tells what came; both ways to go on work."""
        self.answers()
        self.assertEqual(self.shown(), [])
        if self.client.closed:
            self.client = self.connect()
            self.log_in()
        for query in ("MDTM f", "MLST f", "STAT f", "RNFR f", "RETR f"):
            self.say("PASV")
            self.assertEqual(self.codes(self.say(query)), ["550"], query)
        self.assertEqual(self.say("SIZE f"), [f"213 {arrived}"])
        for command in (f"REST {arrived}\r\nSTOR f", "APPE f"):
            data = self.passive()
            self.client.send(command.encode() + b"\r\n")
            data.send(b"rest")
            data.end()
            self.assertEqual(self.codes(self.answers())[-2:], ["125", "226"])
        self.assertEqual((self.home / "f").read_bytes(), b"12345"[:arrived] + b"restrest")
        self.assertEqual(partials(self.home), [])

    def test_reset(self) -> None:
        """The data connection is reset."""
        self.begin().drop()
        self.assertEqual(self.codes(self.answers()), ["426"])
        self.check()

    def test_abort(self) -> None:
        """ABOR: 426 for the transfer and 226 for the command; with Telnet's interrupt before it or not."""
        for interrupt in (b"", b"\xff\xf4\xff\xf2"):
            data = self.begin()
            self.assertEqual(self.codes(self.answers(interrupt + b"ABOR\r\n")), ["426", "226"])
            self.assertTrue(data.closed)
        self.check()

    def test_abort_while_waiting(self) -> None:
        """ABOR before the data connection came."""
        self.say("PASV", "STOR f")
        self.assertEqual(self.codes(self.say("ABOR")), ["426", "226"])
        self.assertEqual((self.shown(), partials(self.home)), ([], []))
        self.assertIsNone(self.network.ports[-1].door)

    def test_silence(self) -> None:
        """A client that stops sending is cut after the idle time; the control connection is not before."""
        self.begin()
        self.clock.pump([1.0] * 302)
        self.assertEqual(self.codes(self.answers()), ["426"])
        self.check()

    def test_control_connection_reset(self) -> None:
        """The control connection is lost while octets come."""
        data = self.begin()
        self.client.drop()
        data.pump()
        self.assertTrue(data.closed)
        self.check()

    def test_control_connection_ends(self) -> None:
        """A client that dies closes both connections properly: the control connection first."""
        data = self.begin()
        self.client.end()
        data.end()
        self.check()

    def test_client_dies(self) -> None:
        """The same, the data connection first: its end looks like the end of the file, but the control
        connection goes before the file has its name."""
        data = self.begin()
        self.runner.held = True
        data.end()
        self.client.end()
        self.runner.held = False
        self.runner.release()
        self.check()

    def test_quit_then_gone(self) -> None:
        """A client that said QUIT may hang up: its upload is whole."""
        data = self.begin()
        self.say("QUIT")
        self.runner.held = True
        data.end()
        self.client.end()
        self.runner.held = False
        self.runner.release()
        self.answers()
        self.assertEqual((self.home / "f").read_bytes(), b"12345")

    def test_less_than_announced(self) -> None:
        """ALLO said more than came."""
        data = self.begin("ALLO 6")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["426"])
        self.check()

    def test_as_much_as_announced(self) -> None:
        """ALLO is for the next upload only, and an exact one is whole."""
        data = self.begin("ALLO 5")
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])
        data = self.begin()
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_server_restarts(self) -> None:
        """What came is found by the next server too."""
        self.begin().drop()
        self.start()
        self.log_in()
        self.check()

    def test_old_file_is_kept(self) -> None:
        """A cut upload over a file leaves that file."""
        self.home.mkdir(parents=True)
        (self.home / "f").write_bytes(b"the old file")
        self.begin().drop()
        self.assertEqual((self.home / "f").read_bytes(), b"the old file")
        data = self.passive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"the old file")

    def test_another_account(self) -> None:
        """Nobody else sees that there was an upload."""
        self.begin().drop()
        self.say("USER bob", "PASS builder", "TYPE I")
        self.assertEqual(self.codes(self.say("SIZE f", "SIZE ../alice/f", "SIZE /alice/f")), ["550"] * 3)


class Visible(MemoryCase):
    ftp = {"visible_partials": True}

    def test_partial_shows(self) -> None:
        """With the setting a cut upload stays under its name."""
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR f\r\n")
        data.send(b"12345")
        data.drop()
        self.assertEqual(self.codes(self.answers()), ["125", "426"])
        self.assertEqual((self.home / "f").read_bytes(), b"12345")


class Newlines(SynchronousTestCase):
    @given(st.lists(st.binary(max_size=6).map(lambda piece: piece.replace(b"x", b"\r").replace(b"y", b"\n"))))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_exact_over_pieces(self, pieces: list[bytes]) -> None:
        """Whatever the pieces are, the wire's octets give the file's, and the file's give the wire's."""
        lines = FromNetwork()
        whole = b"".join(pieces)
        got = b"".join(map(lines.feed, pieces)) + lines.end()
        self.assertEqual(got, whole.replace(b"\r\n", b"\n"))
        lines = FromNetwork()
        sent = [to_network(piece) for piece in pieces]
        self.assertEqual(b"".join(map(lines.feed, sent)) + lines.end(), whole)
