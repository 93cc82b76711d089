"""One test for each class of attack that FTP servers have fallen to."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mailftp.ftp.commands import COMMANDS
from mailftp.ftp.session import WAITING, Phase
from mailftp.ftp.syntax import (
    LINE_LIMIT,
    TOO_LONG,
    Lines,
    SyntaxFault,
    format_time,
    parse_command,
    parse_eprt,
    parse_number,
    parse_port,
    parse_time,
    parse_type,
    printable,
    resolve,
)
from tests.ftp.memory import MemoryCase


class DataConnections(MemoryCase):
    def test_stolen(self) -> None:
        """A connection to the passive port from another address is closed, and the client's still served."""
        self.log_in("PASV")
        for stranger in ("127.0.0.2", "10.9.8.7", "::1", "2001:db8::1"):
            self.assertFalse(self.admitted(stranger))
        self.client.send(b"LIST\r\n")
        self.assertEqual(self.arrive().received(), b"")
        self.assertEqual(self.codes(self.answers()), ["150", "226"])

    def test_many_strangers(self) -> None:
        """A port that strangers keep knocking at is given up: 425."""
        self.log_in("PASV", "LIST")
        for _ in range(10):
            self.assertFalse(self.admitted("10.9.8.7"))
        self.assertEqual(self.codes(self.answers()), ["425"])
        self.assertIsNone(self.network.ports[-1].door)

    def test_second_connection(self) -> None:
        """The port is closed when the client's connection has come."""
        self.log_in()
        self.passive()
        self.assertIsNone(self.network.ports[-1].door)

    def test_port_flood(self) -> None:
        """A session that says PASV a thousand times has one port open."""
        self.log_in(*["PASV", "EPSV"] * 500)
        self.assertEqual(len(self.network.ports), 1000)
        self.assertEqual(sum(port.door is not None for port in self.network.ports), 1)
        self.client.drop()
        self.assertEqual(sum(port.door is not None for port in self.network.ports), 0)

    def test_listens_on_the_address_of_the_client(self) -> None:
        """Not on all of the machine's addresses."""
        self.log_in("PASV")
        self.assertEqual(self.network.ports[-1].interface, "127.0.0.1")

    def test_numbers_cannot_be_guessed(self) -> None:
        """Passive ports come from the range of the settings, in no order; a busy one is passed over."""
        self.start(passive_ports=(30000, 30999))
        self.network.taken = set(range(30000, 30999, 2))
        self.log_in(*["PASV"] * 200)
        numbers = [port.number for port in self.network.ports]
        self.assertEqual(
            [number for number in numbers if number % 2 == 0 or not 30000 <= number <= 30999], []
        )
        self.assertNotEqual(numbers, sorted(numbers))
        self.assertGreater(len(set(numbers)), 100)

    def test_no_port_free(self) -> None:
        """425 when every port of the range is taken."""
        self.start(passive_ports=(30000, 30001))
        self.network.taken = {30000, 30001}
        self.log_in()
        self.assertEqual(self.codes(self.say("PASV", "EPSV", "LIST")), ["425"] * 3)

    def test_address_beyond_nat(self) -> None:
        """PASV names the address of the settings to clients from elsewhere, our own to local ones."""
        self.start(passive_address="203.0.113.5")
        self.log_in()
        self.assertIn("(127,0,0,1,", self.say("PASV")[0])
        self.peer, self.host = ("192.0.2.7", 40000), ("192.0.2.21", 21)
        (self.top / "public").mkdir()
        self.start(passive_address="203.0.113.5", anonymous=self.top / "public")
        self.say("USER ftp", "PASS x")
        self.assertIn("(203,0,113,5,", self.say("PASV")[0])

    def test_ipv6(self) -> None:
        """Over IPv6, EPSV and EPRT work and PASV is refused; a mapped IPv4 address is IPv4."""
        self.peer, self.host = ("::1", 40000), ("::1", 21)
        self.start()
        self.log_in()
        self.assertEqual(
            self.codes(self.say("PASV", "EPSV 1", "EPSV 2", "EPSV")), ["425", "522", "229", "229"]
        )
        self.assertEqual(
            self.codes(self.say("EPRT |2|::1|5000|", "EPRT |2|2001:db8::1|5000|")), ["200", "504"]
        )
        self.peer, self.host = ("::ffff:127.0.0.1", 40000), ("::ffff:127.0.0.1", 21)
        self.start()
        self.log_in()
        self.assertIn("(127,0,0,1,", self.say("PASV")[0])
        self.assertTrue(self.admitted("127.0.0.1"))

    def test_file_behind_the_connection(self) -> None:
        """A second RETR does not get the data connection of the first."""
        self.log_in()
        data = self.passive()
        self.assertEqual(self.codes(self.say("LIST", "LIST")), ["125", "226", "425"])
        self.assertTrue(data.closed)


class Flooding(MemoryCase):
    def test_line_without_an_end(self) -> None:
        """A megabyte without CR LF is thrown away as it comes, and the session goes on."""
        self.answers()
        for _ in range(16):
            self.client.send(b"A" * 65536)
            self.assertLess(len(self.client.protocol.session._lines._buffer), LINE_LIMIT + 2)
        self.assertEqual(self.answers(b"\r\nNOOP\r\n"), ["500 Line too long", "200 Here I am"])

    def test_many_commands(self) -> None:
        """A hundred thousand commands in one go are all answered."""
        self.answers()
        answers = self.answers(b"NOOP\r\n" * 100_000)
        self.assertEqual((len(answers), set(answers)), (100_000, {"200 Here I am"}))

    def test_replies_that_nobody_reads(self) -> None:
        """Thousands of commands with long replies, at once or one after the other, from a client that does
        not read: a few replies are made, and the rest when it reads."""
        self.log_in("MKD d")
        for number in range(50):
            (self.home / "d" / f"file{number}").write_bytes(b"")
        for word, last in ((b"HELP", "214 "), (b"STAT d", "213 ")):
            self.client.reading = False
            self.client.send((word + b"\r\n") * 5000)
            self.assertLess(len(self.client.transport.buffer), 200_000)
            self.client.reading = True
            answers = [line for line in self.answers() if line.startswith(last)]
            self.assertEqual(len(answers), 5000)

    def test_commands_behind_a_transfer(self) -> None:
        """What is said during a transfer is held in bounds: then nothing more is read."""
        self.log_in("PASV", "LIST")
        self.client.send(b"PWD\r\n" * 20_000)
        session = self.client.protocol.session
        self.assertLess(len(session._queue), 200, "lines are made as they are needed")
        self.assertGreater(len(session._received), WAITING)
        self.assertFalse(self.client.transport.reading)
        self.arrive().received()
        self.assertEqual(len(self.answers()), 20_001)

    def test_telnet(self) -> None:
        """Thousands of Telnet escapes neither crash nor fill the memory (CVE-2010-4221)."""
        self.answers()
        self.assertEqual(
            self.answers(b"\xff" * 4096 + b"\xff\xfa" + b"x" * 10**6 + b"\xff\xf0NOOP\r\n")[-1][:3], "500"
        )
        self.assertEqual(self.answers(b"NOOP\r\n"), ["200 Here I am"])


class States(MemoryCase):
    def test_everything_needs_a_login(self) -> None:
        """Before a login, after REIN and after a failed second login: 530 for every command but those of
        the login itself."""
        for before in ((), ("USER alice", "PASS wonderland", "REIN"), ("USER alice", "PASS x")):
            for command in COMMANDS.values():
                if command.phase is Phase.LOGGED_IN:
                    self.start()
                    self.say(*before)
                    self.assertEqual(self.codes(self.say(f"{command.name} /f")), ["530"], command.name)

    def test_every_command_says_how_it_is_used(self) -> None:
        """HELP knows each command, and each names the RFC section that it follows."""
        for command in COMMANDS.values():
            self.assertTrue(command.usage.startswith(command.name.replace("P@SW", "PASV")), command.name)
            self.assertRegex(command.run.__doc__ or "", "RFC [0-9]+|draft-", command.name)

    def test_paths_that_lead_out(self) -> None:
        """Every command that takes a path stays in the home."""
        secret = self.top / "files" / "example.test" / "secret"
        self.log_in("MKD a")
        secret.write_bytes(b"not yours")
        paths = [
            "../secret",
            "/../secret",
            "a/../../secret",
            "//..//secret",
            "./../secret",
            "a/.././.././../secret",
        ]
        for path in paths:
            for verb in (
                "RETR",
                "DELE",
                "SIZE",
                "MDTM",
                "RNFR",
                "CWD",
                "RMD",
                "LIST",
                "NLST",
                "MLSD",
                "MLST",
                "STAT",
            ):
                self.assertEqual(self.codes(self.say("PASV", f"{verb} {path}"))[1:], ["550"], (verb, path))
            self.say(f"MFMT 20010101000000 {path}", "RNFR a", f"RNTO {path}", f"RNFR {path}", "RNTO /a")
        self.assertEqual(secret.read_bytes(), b"not yours")
        self.assertEqual(self.shown(), ["a"])

    def test_newer_commands_that_lead_out(self) -> None:
        """Nor does any other command that takes a path: checksums, facts, trees, SITE; each is tried with a
        link in the home as well, which none follows."""
        outside = self.top / "files" / "example.test" / "secret"
        self.log_in("MKD a", "MKD a/b")
        outside.mkdir()
        (outside / "f").write_bytes(b"not yours")
        os.symlink(outside, self.home / "link")
        before = os.stat(outside / "f"), os.stat(outside)
        for path in (
            "../secret/f",
            "/../secret/f",
            "a/../../secret/f",
            "link/f",
            "/link/../link/f",
            "./link//f",
        ):
            for command in (
                "HASH {}", "XCRC {}", "XMD5 {}", "XSHA {}", "XSHA1 {}", "XSHA256 {}", "XSHA512 {}", "MD5 {}",
                "MFCT 20010101000000 {}", "MFF UNIX.mode=0777; {}", "MFMT 20010101000000 {}",
                "SITE CHMOD 777 {}", "SITE UTIME 200101010000 {}", "SITE CPFR {}", "RMDA {}", "DSIZ {}",
                "SITE RMDIR {}", "SITE CHGRP 0 {}", "COMB a/new {}", "COMB {} a/new", "AVBL {}",
                "SITE SYMLINK x {}/up", "MDTM 20010101000000 {}", "LIST -R {}", "LIST -lt {}",
            ):  # fmt: skip
                code = self.codes(self.say("PASV", command.format(path)))[-1]
                self.assertIn(code, ("550", "553"), (command, path))
            self.say("MKD a/c", "SITE CPFR a/c", f"SITE CPTO {path}", "RMD a/c")
        for command in ("RMDA link", "SITE RMDIR link", "DSIZ link", "SITE CHMOD 777 link", "CWD link"):
            self.assertEqual(self.codes(self.say(command)), ["550"], command)
        after = os.stat(outside / "f"), os.stat(outside)
        for old, new in zip(before, after, strict=True):
            self.assertEqual((old.st_mode, old.st_mtime_ns), (new.st_mode, new.st_mtime_ns))
        self.assertEqual(os.listdir(outside), ["f"])

    def test_names_that_would_end_a_reply(self) -> None:
        """A name with controls in it ends no reply and begins none, whoever repeats it."""
        self.log_in()
        self.home.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(("a\r226 Done", "b\x1b[2J", "c\x07")):
            (self.home / name).write_bytes(b"x")
            for command in (
                "HASH {}",
                "MD5 {}",
                "XCRC {}",
                "MFMT 20010203040506 {}",
                "MLST {}",
                "MFF modify=20010203040506; {}",
            ):
                (answer, *more) = self.answers(f"{command.format(name)}\r\n".encode())
                self.assertRegex(answer + "".join(more), r"\A[^\x00-\x1f\x7f]*\Z", (number, command))

    def test_numbers_of_newer_commands(self) -> None:
        """RANG, SITE IDLE, LPRT and the ranges of checksums take digits and nothing else."""
        self.log_in()
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "f").write_bytes(b"x")
        numbers = ("-1", "+1", "0x1", "1e1", "1_0", "\u0663", str(2**63), str(2**64), "9" * 30, "1.0", "")
        for number in numbers:
            for command in (
                "RANG 0 {}",
                "RANG {} 9",
                'XCRC "f" {}x',
                "SITE IDLE {}x",
                "LPRT 4,4,127,0,0,1,2,{},1",
            ):
                code = self.codes(self.say(command.format(number)))[0]
                self.assertIn(code, ("501", "550"), (command, number))
        self.assertEqual(self.say("NOOP"), ["200 Here I am"])

    def test_listings_are_bounded(self) -> None:
        """LIST -R, asked for again and again, holds no more than one listing at a time for each session."""
        self.log_in("MKD d")
        for number in range(200):
            (self.home / "d" / f"{number}").mkdir()
        data = self.passive()
        data.reading = False
        self.client.send(b"LIST -R\r\n" * 100)
        self.answers()
        self.assertLess(len(self.client.protocol.session._queue), 200)
        self.assertLess(data.transport.unsent, 1_000_000)

    def test_forged_log_lines(self) -> None:
        """What a client says reaches the log only as a field, never as its text."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.log_in()
        data = self.passive()
        self.client.send(b"STOR a\x1b[31m\rb\r\n")
        data.end()
        self.answers()
        ours = [event for event in events if event.get("mailftp_event") == "transfer"]
        self.assertEqual([event["mailftp_fields"]["path"] for event in ours], ["/a\x1b[31m\rb"])  # type: ignore[index]
        self.assertNotIn("wonderland", repr(events))


class Parsers(SynchronousTestCase):
    @given(st.binary(max_size=60), st.integers(1, 7))
    @settings(max_examples=400, deadline=None, derandomize=True)
    def test_lines_do_not_depend_on_the_cut(self, data: bytes, piece: int) -> None:
        """The same octets give the same lines, however they arrive."""
        whole = Lines().feed(data + b"\r\n")
        lines = Lines()
        parts = [data[at : at + piece] for at in range(0, len(data), piece)] + [b"\r", b"\n"]
        self.assertEqual([line for part in parts for line in lines.feed(part)], whole)

    def test_line_limit(self) -> None:
        """A line of the limit is taken, one octet more is not; the next line is."""
        for length, good in ((LINE_LIMIT, True), (LINE_LIMIT + 1, True), (LINE_LIMIT + 2, False)):
            for piece in (1000, 10**6):
                data, lines, got = b"x" * length + b"\nNOOP\n", Lines(), []
                for at in range(0, len(data), piece):
                    got += lines.feed(data[at : at + piece])
                self.assertEqual(got, [b"x" * length if good else TOO_LONG, b"NOOP"])

    @given(st.text(max_size=40))
    @settings(max_examples=400, deadline=None, derandomize=True)
    def test_arguments(self, text: str) -> None:
        """No argument makes a parser fail otherwise than by SyntaxFault, and none gives a number or a port
        out of range."""
        for parse in (parse_number, parse_port, parse_eprt, parse_type, parse_time):
            try:
                found = parse(text)
            except SyntaxFault as fault:
                self.assertIn(fault.code, (501, 504, 522))
            else:
                self.assertIsNotNone(found)

    @given(st.integers(-(2**70), 2**70))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_numbers(self, number: int) -> None:
        """0 to 2^63-1 and nothing else."""
        if 0 <= number < 2**63:
            self.assertEqual(parse_number(str(number)), number)
        else:
            self.assertRaises(SyntaxFault, parse_number, str(number))

    @given(
        st.lists(st.sampled_from(["..", ".", "", "a", "b", "...", "/", "../.."]), max_size=12), st.booleans()
    )
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_paths(self, parts: list[str], absolute: bool) -> None:
        """No path holds a name that leads anywhere else."""
        for name in resolve(("here", "there"), ("/" if absolute else "") + "/".join(parts)):
            self.assertNotIn(name, ("", ".", ".."))
            self.assertNotIn("/", name)

    @given(st.binary(max_size=30))
    @settings(max_examples=300, deadline=None, derandomize=True)
    def test_commands(self, line: bytes) -> None:
        """A line is a verb of letters and an argument that is the same octets again, or a fault."""
        try:
            verb, argument = parse_command(line)
        except SyntaxFault:
            return
        self.assertRegex(verb, r"\A[A-Z][A-Z0-9@]{2,7}\Z")
        self.assertTrue(line.endswith(argument.encode("utf-8", "surrogateescape")))

    @given(st.text(max_size=20))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_replies_are_one_line(self, text: str) -> None:
        """Nothing that is shown ends a line or rings a bell."""
        self.assertRegex(printable(text), r"\A[^\x00-\x1f\x7f]*\Z")

    @given(st.floats(allow_nan=False))
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_times(self, seconds: float) -> None:
        """Every time can be shown, in fourteen digits."""
        self.assertRegex(format_time(seconds), r"\A[0-9]{14}\Z")
