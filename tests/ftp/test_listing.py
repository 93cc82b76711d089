"""LIST, NLST, MLSD: formats, arguments, patterns, names of all kinds."""

from __future__ import annotations

import os
import re

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files.home import Entry, Kind
from mailftp.ftp import ls
from mailftp.ftp.listing import HALF_A_YEAR, unix_line
from mailftp.ftp.ls import parse_options
from tests.ftp.memory import MemoryCase


class Listings(MemoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.log_in()
        (self.home / "d").mkdir(parents=True)
        for name in ("a.txt", "b.txt", "d/c.txt", ".hidden", "-dash", "two words"):
            (self.home / name).write_bytes(b"12345")
            os.utime(self.home / name, (1_000_000_000, 1_000_000_000))

    def listing(self, command: str) -> list[str]:
        """What comes over the data connection, as lines."""
        data = self.passive()
        self.client.send(command.encode("utf-8", "surrogateescape") + b"\r\n")
        text = data.received()
        self.assertEqual(self.codes(self.answers()), ["125", "226"], command)
        self.assertTrue(not text or text.endswith(b"\r\n"))
        return text.decode("utf-8", "surrogateescape").split("\r\n")[:-1]

    def names(self, command: str) -> list[str]:
        """The names in a listing as `ls -l` writes it."""
        pattern = r"[-dl][-rwx]{9} +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ [A-Z][a-z]{2} [ 0-9]{2} [ 0-9:]{5} (.*)"
        found = [re.fullmatch(pattern, line) for line in self.listing(command)]
        self.assertNotIn(None, found)
        return [match[1] for match in found if match]

    ALL = ["-dash", ".hidden", "a.txt", "b.txt", "d", "two words"]

    def test_options_of_ls(self) -> None:
        """What clients put before the path means nothing, and a path after it counts."""
        for command in ("LIST", "LIST -a", "LIST -al", "LIST -l -a", "LIST -aL .", "LIST -a /", "LIST  "):
            self.assertEqual(self.names(command), self.ALL, command)
        self.assertEqual(self.names("LIST -a d"), ["c.txt"])
        self.assertEqual(self.names("LIST ./-dash"), ["-dash"])
        self.assertEqual(self.names("LIST -la two words"), ["two words"])

    def test_patterns(self) -> None:
        """Wildcards in the last name; a name that is there comes before its meaning as a pattern."""
        (self.home / "x*y").write_bytes(b"")
        (self.home / "xzy").write_bytes(b"")
        self.assertEqual(self.names("LIST *.txt"), ["a.txt", "b.txt"])
        self.assertEqual(self.listing("NLST ?.txt"), ["a.txt", "b.txt"])
        self.assertEqual(self.listing("NLST [b-z].txt"), ["b.txt"])
        self.assertEqual(self.listing("NLST d/*.txt"), ["d/c.txt"])
        self.assertEqual(self.listing("NLST none*"), [])
        self.assertEqual(self.names("LIST x*y"), ["x*y"])

    def test_too_many_wildcards(self) -> None:
        """A pattern that could be slow to match is refused."""
        self.assertEqual(self.codes(self.say("PASV", "LIST *a*a*a*a*a*a")), ["227", "501"])

    def test_nlst(self) -> None:
        """Names that can be said back: with the folder that was asked for before them."""
        self.assertEqual(self.listing("NLST"), self.ALL)
        self.assertEqual(self.listing("NLST d"), ["d/c.txt"])
        self.assertEqual(self.listing("NLST d/"), ["d/c.txt"])
        self.assertEqual(self.listing("NLST /d"), ["/d/c.txt"])
        self.assertEqual(self.listing("NLST a.txt"), ["a.txt"])
        self.assertEqual(self.listing("NLST d/c.txt"), ["d/c.txt"])

    def test_empty_folder(self) -> None:
        """An empty listing is a transfer of nothing, not an error."""
        (self.home / "empty").mkdir()
        for command in ("LIST empty", "NLST empty", "MLSD empty"):
            self.assertEqual(self.listing(command), [])

    def test_missing(self) -> None:
        """550 for what is not there, 501 for MLSD of a file."""
        for command in ("LIST none", "NLST none", "MLSD none"):
            self.assertEqual(self.codes(self.say("PASV", command)), ["227", "550"])
        self.assertEqual(self.codes(self.say("PASV", "MLSD a.txt")), ["227", "501"])

    def test_mlsd(self) -> None:
        """RFC 3659: facts, one space, the name; OPTS MLST chooses."""
        line = next(line for line in self.listing("MLSD") if line.endswith(" a.txt"))
        self.assertRegex(
            line,
            r"type=file;size=5;modify=20010909014640;perm=adfrw;unique=[0-9a-f]+g[0-9a-f]+;"
            r"UNIX\.mode=0[0-7]{3};UNIX\.owner=[0-9]+;UNIX\.group=[0-9]+; a\.txt",
        )
        self.say("OPTS MLST type;")
        self.assertIn("type=dir; d", self.listing("MLSD"))
        self.say("OPTS MLST ")
        self.assertEqual(self.listing("MLSD d"), [" c.txt"])

    def test_names_of_all_kinds(self) -> None:
        """Octets that are no UTF-8 come as they are; a name with a line's end in it is left out, for it
        would be read as two."""
        folder = os.fsencode(self.home / "d")
        for name in (b"\xff\xfe", "ü".encode(), b"a;b", b" space", b"x\r\n226 Done", b"y\nz", b"cr\r"):
            with open(os.path.join(folder, name), "wb"):
                pass
        wanted = [b" space", b"a;b", b"c.txt", "ü".encode(), b"\xff\xfe"]
        for command in ("NLST", "MLSD"):
            self.say("OPTS MLST ", "CWD /d")
            before = " " if command == "MLSD" else ""
            lines = [os.fsencode(line.removeprefix(before)) for line in self.listing(command)]
            self.assertEqual(lines, wanted)
            self.say("CWD /")
        status = self.answers(b"STAT d\r\n")
        self.assertEqual([line for line in status if line[:4] in ("226 ", "213 ")], ["213 End"])

    def test_links_and_uploads(self) -> None:
        """A link shows as one; an upload under way and one that was cut do not show."""
        os.symlink("/etc/hostname", self.home / "link")
        data = self.passive()
        self.client.send(b"STOR d/new\r\n")
        data.send(b"x")
        data.drop()
        self.answers()
        self.assertIn("type=OS.unix=symlink", next(line for line in self.listing("MLSD") if "link" in line))
        self.assertEqual(self.names("LIST d"), ["c.txt"])
        self.assertEqual(self.codes(self.say("PASV", "RETR link")), ["227", "550"])
        self.assertEqual(self.codes(self.say("CWD link")), ["550"])

    def test_order(self) -> None:
        """-t newest first, -S largest first, -r the other way; -d the folder itself."""
        (self.home / "a.txt").write_bytes(b"largest of all")
        os.utime(self.home / "b.txt", (1_500_000_000, 1_500_000_000))
        self.assertEqual(self.names("LIST -t")[:3].count("b.txt"), 1)
        self.assertEqual(self.names("LIST -lt d"), ["c.txt"])
        self.assertEqual(self.names("LIST -tr")[-3:].count("b.txt"), 1)
        by_size = [name for name in self.names("LIST -S") if name != "d"]
        self.assertEqual(by_size[0], "a.txt")
        self.assertEqual([name for name in self.names("LIST -rS") if name != "d"][-1], "a.txt")
        self.assertEqual(self.names("LIST -d"), ["."])
        self.assertEqual(self.names("LIST -ld d"), ["d"])
        self.assertEqual(self.names("LIST -t a.txt"), ["a.txt"])

    def test_tree(self) -> None:
        """-R: each folder below with its path, whatever is in it; a link is not followed."""
        (self.home / "d" / "e" / "f").mkdir(parents=True)
        (self.home / "d" / "e" / "deep").write_bytes(b"")
        (self.home / "g").mkdir()
        os.symlink("..", self.home / "g" / "round")
        lines = self.listing("LIST -alR")
        titles = [line for line in lines if line.endswith(":")]
        self.assertEqual(titles, [".:", "./d:", "./d/e:", "./d/e/f:", "./g:"])
        at = lines.index("./d/e:")
        self.assertEqual([line.rpartition(" ")[2] for line in lines[at + 1 : at + 3]], ["deep", "f"])
        self.assertEqual(lines[at - 1], "")
        self.assertEqual(
            [line for line in self.listing("LIST -R d/e") if line.endswith(":")], ["d/e:", "d/e/f:"]
        )
        self.assertEqual([line for line in self.listing("LIST -R /g") if line.endswith(":")], ["/g:"])
        self.assertEqual(self.codes(self.say("PASV", "LIST -R none")), ["227", "550"])

    def test_tree_without_end(self) -> None:
        """A tree of more names than are sent ends in a clear failure, and the session lives."""
        for number in range(30):
            (self.home / "d" / f"s{number}" / "t").mkdir(parents=True)
        self.patch(ls, "TREE", 40)
        data = self.passive()
        self.client.send(b"LIST -R\r\n")
        data.received()
        self.assertEqual(self.codes(self.answers()), ["125", "451"])
        self.patch(ls, "SORTED", 5)
        self.passive()
        self.assertEqual(self.codes(self.say("LIST -t d", "NOOP")), ["451", "200"])

    def test_large_folder(self) -> None:
        """A listing of thousands comes in pieces and whole; a client that does not read stops it."""
        for number in range(3000):
            (self.home / "d" / f"{number:04}").touch()
        data = self.passive()
        data.reading = False
        self.client.send(b"LIST d\r\n")
        self.assertEqual(self.codes(self.answers()), ["125"])
        self.assertLess(data.transport.unsent, 200_000)
        data.reading = True
        self.assertEqual(data.received().count(b"\r\n"), 3001)
        self.assertEqual(self.codes(self.answers()), ["226"])
        self.assertEqual(len(self.say("STAT d")), 1002)

    def test_abort(self) -> None:
        """ABOR ends a listing as it ends a transfer of a file."""
        self.say("PASV", "LIST")
        self.assertEqual(self.codes(self.say("ABOR")), ["426", "226"])


class Lines(SynchronousTestCase):
    def entry(self, modified: float, **how: object) -> Entry:
        fields = {"name": "n", "kind": Kind.FILE, "size": 1, "modified": modified, "mode": 0o754}
        return Entry(**{**fields, "owner": 7, "group": 8, "links": 1, "unique": "u", **how})  # type: ignore[arg-type]

    def test_time_of_day_or_year(self) -> None:
        """Within half a year the time of day, else the year; both in UTC; absurd times do not fail."""
        now = 1_700_000_000.0
        for modified, text in (
            (now, "Nov 14 22:13"),
            (now - HALF_A_YEAR + 1, "May 16 22:13"),
            (now - HALF_A_YEAR - 1, "May 16  2023"),
            (now + 2 * 86400, "Nov 16  2023"),
            (0.0, "Jan  1  1970"),
            (1e300, "Jan  1  1970"),
        ):
            self.assertEqual(
                unix_line(self.entry(modified), now), f"-rwxr-xr--   1 7        8                 1 {text} n"
            )

    def test_options(self) -> None:
        """Words that begin with a dash are options as long as they stand first."""
        for argument, path in (
            ("", ""), ("-a", ""), ("-la", ""), ("-l -a", ""), ("-a x", "x"), ("-a  x y", "x y"),
            ("x -a", "x -a"), ("-a/x", "-a/x"), ("./-x", "./-x"), ("-", ""),
        ):  # fmt: skip
            self.assertEqual(parse_options(argument)[1], path)
