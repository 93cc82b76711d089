"""What the tables of `[ftp]` allow: by account, group and folder; quotas, rates and limits by every way."""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailftp.files.policy import Operation, Permission, Policy
from mailftp.files.rules import ANONYMOUS, Rulebook
from mailftp.ftp.pace import Allowances, Bucket
from mailftp.settings import FTP, FTPAccounts, FTPFolder, FTPLimit, FTPRule
from mailftp.settings.file import PERMISSIONS, parse_settings
from mailftp.wire.peer import Peer
from tests.files.inline import partials
from tests.ftp.memory import MemoryCase

ROOT = Path(__file__).parents[2]
#: What each permission stands for: commands that are refused without it. T is a transfer.
NEEDS = {
    "list": ("T LIST d", "T NLST d", "T MLSD d", "STAT d", "DSIZ d", "T LIST d/*"),
    "read": (
        "T RETR d/f", "HASH d/f", "XCRC d/f", "XMD5 d/f", "XSHA d/f", "XSHA1 d/f", "XSHA256 d/f",
        "XSHA512 d/f", "MD5 d/f", "SITE CPFR d/f|SITE CPTO g", "COMB g d/f",
    ),
    "write": (
        "T STOR d/new", "T APPE d/new", "T STOU d/new", "SITE CPFR f|SITE CPTO d/new", "COMB d/new f",
        "REST 0|T STOR d/new", "RANG 0 3|T STOR d/new",
    ),
    "overwrite": (
        "T STOR d/f", "REST 2|T STOR d/f", "RANG 0 3|T STOR d/f", "SITE CPFR f|SITE CPTO d/f",
        "RNFR f|RNTO d/f",
    ),
    "append": ("T APPE d/f", "COMB d/f f"),
    "delete": ("DELE d/f", "RMD d/e", "XRMD d/e", "RMDA d/e", "SITE RMDIR d/e", "COMB g d/f"),
    "rename": ("RNFR d/f|RNTO g", "RNFR f|RNTO d/g", "RNFR d/e|RNTO e"),
    "make": ("MKD d/m", "XMKD d/m", "SITE MKDIR d/m", "SITE MKDIR d/m/n"),
    "change": (
        "MFMT 20010203040506 d/f", "MDTM 20010203040506 d/f", "MFCT 20010203040506 d/f",
        "MFF UNIX.mode=0600; d/f", "SITE CHMOD 600 d/f", "SITE UTIME 200102030405 d/f",
        f"SITE CHGRP {os.getegid()} d/f",
    ),
    "link": ("SITE SYMLINK d/f d/l",),
}  # fmt: skip


class PolicyCase(MemoryCase):
    def fill(self, *files: str) -> None:
        for name in files:
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"0123456789")

    def do(self, script: str, octets: bytes = b"abcd") -> str:
        """Commands with | between them; T before one that needs a data connection. The last answer."""
        answer = ""
        for command in script.split("|"):
            if not command.startswith("T "):
                answer = self.say(command)[-1]
                continue
            data = self.passive()
            answers = self.say(command.removeprefix("T "))
            if not data.closed and answers[-1][:1] == "1":
                data.send(octets)
                data.end()
                answers += self.answers()
            answer = answers[-1]
        return answer

    def tree(self) -> dict[str, Any]:
        """All names below the home with what they are."""
        return {
            str(path.relative_to(self.home)): (path.lstat().st_mode, path.lstat().st_mtime)
            if path.is_symlink() or path.is_dir()
            else (path.lstat().st_mode, path.lstat().st_mtime, hashlib.md5(path.read_bytes()).hexdigest())
            for path in self.home.rglob("*")
        }


class Permissions(PolicyCase):
    def test_every_command(self) -> None:
        """Without a permission each command that needs it is refused, whatever its name, and changes nothing;
        with it alone missing elsewhere, each works."""
        self.assertEqual(set(NEEDS), set(PERMISSIONS))
        for permission, scripts in NEEDS.items():
            for script in scripts:
                self.home.parent.mkdir(parents=True, exist_ok=True)
                self.start(rules=(FTPRule(folder="/d", deny=(permission,)),))
                for path in sorted(self.home.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
                self.fill("f", "d/f")
                (self.home / "d" / "e").mkdir()
                self.log_in()
                before = self.tree()
                answer = self.do(script)
                self.assertEqual(answer[:3], "550", f"{script} without {permission}: {answer}")
                self.assertEqual(self.tree(), before, script)
                self.start()
                self.log_in()
                self.assertIn(self.do(script)[:1], "23", script)

    def test_the_table_has_every_operation(self) -> None:
        """Each operation that needs a permission is refused without it."""
        for operation in Operation:
            for permission in Permission:
                if permission in operation.needs:
                    rulebook = Rulebook(FTP(rules=(FTPRule(deny=((permission.name or "").lower(),)),)))
                    with self.assertRaisesRegex(Exception, "denied|Read-only"):
                        rulebook.policy("a@b").check(operation, ("f",))

    def test_later_rules_win(self) -> None:
        """`allow` takes the place of what came before, `deny` takes away of it; below a folder too."""
        self.start(
            rules=(
                FTPRule(allow=("list", "read")),
                FTPRule(folder="/in", allow=("write", "list")),
                FTPRule(folder="/in/deep", deny=("write",)),
            )
        )
        self.fill("in/deep/f", "f")
        self.log_in()
        self.assertEqual(self.do("T STOR in/new")[:3], "226")
        self.assertEqual(self.do("T RETR in/new")[:3], "550")
        self.assertEqual(self.do("T STOR in/deep/new")[:3], "550")
        self.assertEqual(self.do("T STOR new")[:3], "550")
        self.assertEqual(self.do("T RETR f")[:3], "226")

    def test_whose(self) -> None:
        """Accounts, domains, groups, everybody; anonymous only by its name."""
        rulebook = Rulebook(FTP(groups={"staff": ("bob@b.test", "*@c.test")}))
        for accounts, fitting in (
            ((), {"bob@b.test", "al@c.test", "x@d.test"}),
            (("*",), {"bob@b.test", "al@c.test", "x@d.test"}),
            (("*@c.test",), {"al@c.test"}),
            (("Bob@B.test",), {"bob@b.test"}),
            (("staff",), {"bob@b.test", "al@c.test"}),
            (("anonymous",), {"anonymous"}),
            (("anonymous", "x@d.test"), {"anonymous", "x@d.test"}),
        ):
            known = ("bob@b.test", "al@c.test", "x@d.test", "anonymous")
            self.assertEqual({one for one in known if rulebook.fits(accounts, one)}, fitting, accounts)

    def test_perm_fact(self) -> None:
        """MLSD tells what may be done: RFC 3659 section 7.5.5."""
        self.start(rules=(FTPRule(folder="/d", allow=("list", "write")),))
        self.fill("d/f")
        self.log_in("OPTS MLST perm;")
        self.assertEqual(self.say("MLST d/f")[1], " perm=; /d/f")
        self.assertEqual(self.say("MLST d")[1], " perm=cdefl; /d")
        data = self.passive()
        self.client.send(b"MLSD\r\n")
        self.assertEqual(data.received(), b"perm=cdefl; d\r\n")
        self.answers()

    def test_moved_away(self) -> None:
        """A folder that a rule is about, or one above it, cannot be renamed or removed: what is in it would
        have other rules then."""
        self.start(rules=(FTPRule(folder="/a/secret", deny=("read",)),))
        self.fill("a/secret/f")
        self.log_in()
        for script in ("RNFR a|RNTO b", "RNFR a/secret|RNTO b", "RMDA a", "RMDA a/secret", "RMD a/secret"):
            self.assertEqual(self.do(script)[:3], "550", script)
        self.assertEqual(self.do("T RETR a/secret/f")[:3], "550")


class Patterns(PolicyCase):
    def setUp(self) -> None:
        super().setUp()
        self.start(
            rules=(FTPRule(hidden=(".*", "secret?"), forbidden=("*.exe", "*.php*")), FTPRule(folder="/d"))
        )
        self.fill("f", ".profile", "secret1", "secret10", "d/.ssh/key", "d/old.exe", "Secret2")
        self.log_in()

    def test_hidden(self) -> None:
        """Not in a listing, not by its name, not below it; nor can it be made."""
        data = self.passive()
        self.client.send(b"NLST\r\n")
        self.assertEqual(data.received(), b"d\r\nf\r\nsecret10\r\n")
        self.answers()
        for script in (
            "T RETR .profile", "SIZE .profile", "MLST .profile", "CWD d/.ssh", "T RETR d/.ssh/key",
            "DELE .profile", "T RETR Secret2", "RNFR secret1", "T STOR .bashrc", "MKD .git", "RNFR f|RNTO .f",
            "SITE CPFR secret1", "COMB f secret1", "HASH secret1", "RMDA d/.ssh", "SITE SYMLINK f .l",
            "SITE MKDIR d/.x/y",
        ):  # fmt: skip
            self.assertEqual(self.do(script)[:3], "550", script)
        self.assertEqual(self.say("DSIZ")[0], "213 30", "f, secret10 and d/old.exe")
        self.assertEqual(self.do("RMDA d")[:3], "550", "it holds what may not be reached")

    def test_forbidden(self) -> None:
        """No way gives such a name; what has it already can be read, renamed and removed."""
        for script in (
            "T STOR x.exe", "T STOR X.EXE", "T APPE x.exe", "T STOR shell.php5", "RNFR f|RNTO f.exe",
            "SITE CPFR f|SITE CPTO f.exe", "COMB f.exe f", "MKD x.exe", "SITE SYMLINK f f.exe",
        ):  # fmt: skip
            self.assertEqual(self.do(script)[:3], "550", script)
        self.assertEqual(self.do("T RETR d/old.exe")[:3], "226")
        self.assertEqual(self.do("RNFR d/old.exe|RNTO d/old.txt")[:3], "250")
        self.assertEqual(partials(self.home), [])

    def test_store_unique(self) -> None:
        """STOU does not lead around it."""
        self.assertEqual(self.do("T STOU .x")[:3], "550")


class DropBox(PolicyCase):
    """Anonymous may store in one folder, and nothing else."""

    def setUp(self) -> None:
        super().setUp()
        self.public = self.top / "public"
        (self.public / "incoming").mkdir(parents=True)
        (self.public / "f").write_bytes(b"free")
        self.home = self.public
        self.start(
            anonymous=self.public,
            rules=(FTPRule(accounts=("anonymous",), folder="/incoming", allow=("write",)),),
            accounts=(FTPAccounts(accounts=("anonymous",), names=5),),
        )
        self.say("USER anonymous", "PASS x", "TYPE I")

    def test_store(self) -> None:
        """A file can be stored, once; nobody sees, reads, resumes or removes it."""
        self.assertEqual(self.do("T STOR incoming/report")[:3], "226")
        self.assertEqual((self.public / "incoming" / "report").read_bytes(), b"abcd")
        for script in (
            "T STOR incoming/report", "T APPE incoming/report", "REST 2|T STOR incoming/report",
            "T RETR incoming/report", "SIZE incoming/report", "MDTM incoming/report", "MLST incoming/report",
            "T LIST incoming", "T NLST incoming", "T MLSD incoming", "STAT incoming", "HASH incoming/report",
            "DELE incoming/report", "RNFR incoming/report",
            "MKD incoming/d", "SITE CPFR incoming/report", "SITE CHMOD 777 incoming/report", "DSIZ incoming",
            "T LIST incoming/*", "COMB incoming/x incoming/report", "RMDA incoming", "T STOR f", "T STOR new",
            "SITE SYMLINK incoming/report incoming/l", "MFMT 20010203040506 incoming/report",
        ):  # fmt: skip
            self.assertEqual(self.do(script)[:3], "550", script)
        self.assertEqual(self.do("CWD incoming")[:3], "250")
        self.assertEqual((self.public / "incoming" / "report").read_bytes(), b"abcd")

    def test_cut(self) -> None:
        """What came of an upload that was cut is not told to the next stranger."""
        data = self.passive()
        self.say("STOR incoming/report")
        data.send(b"12345")
        data.drop()
        self.answers()
        self.assertEqual(self.do("SIZE incoming/report")[:3], "550")

    def test_as_many_as_there_may_be(self) -> None:
        """Names are counted: f, incoming, and three more."""
        for number in range(3):
            self.assertEqual(self.do(f"T STOR incoming/{number}")[:3], "226")
        self.assertEqual(self.do("T STOR incoming/3")[:3], "452")


class Folders(PolicyCase):
    """A folder that several accounts have in their root."""

    def setUp(self) -> None:
        super().setUp()
        self.shared = self.top / "elsewhere"
        self.shared.mkdir()
        (self.shared / "f").write_bytes(b"shared")
        self.start(
            folders=(FTPFolder("Shared", self.shared, quota=1000), FTPFolder("gone", self.top / "gone2")),
            rules=(FTPRule(accounts=("bob@example.test",), folder="/Shared", allow=("list", "read")),),
        )
        self.fill("mine")
        self.log_in()

    def test_it_is_there(self) -> None:
        """In the listing, as a folder; its files are those of the other place."""
        data = self.passive()
        self.client.send(b"NLST\r\n")
        self.assertEqual(data.received(), b"Shared\r\nmine\r\n")
        self.answers()
        self.assertIn("type=dir;", self.say("MLST Shared")[1])
        self.assertEqual(self.do("CWD Shared")[:3], "250")
        data = self.passive()
        self.client.send(b"RETR f\r\n")
        self.assertEqual(data.received(), b"shared")
        self.answers()
        self.assertEqual(self.do("T STOR new")[:3], "226")
        self.assertEqual((self.shared / "new").read_bytes(), b"abcd")
        self.assertEqual(self.do("MKD d|CWD d|CDUP|PWD"), '257 "/Shared" is the folder')

    def test_it_stays(self) -> None:
        """Nobody moves or removes it, nor puts anything in its place."""
        for script in (
            "RMD Shared", "RMDA Shared", "RNFR Shared|RNTO x", "RNFR mine|RNTO Shared", "DELE Shared",
            "T STOR Shared", "MKD Shared", "SITE CHMOD 777 Shared", "SITE CPFR mine|SITE CPTO Shared",
        ):  # fmt: skip
            self.assertEqual(self.do(script)[:3], "550", script)
        self.assertEqual((self.shared / "f").read_bytes(), b"shared")

    def test_between_them(self) -> None:
        """Files are copied between it and the rest, not renamed: each counts in its own place."""
        self.assertEqual(self.do("RNFR mine|RNTO Shared/mine")[:3], "550")
        self.assertEqual(self.do("SITE CPFR mine|SITE CPTO Shared/mine")[:3], "250")
        self.assertEqual(self.do("T STOR Shared/big", b"x" * 1000)[:3], "452")
        self.assertEqual(self.do("T STOR big", b"x" * 1000)[:3], "226")

    def test_another_account(self) -> None:
        """Another account has it too, with the rules for that one."""
        self.client = self.connect()
        self.say("USER bob", "PASS builder", "TYPE I")
        self.assertEqual(self.do("T RETR Shared/f")[:3], "226")
        self.assertEqual(self.do("T STOR Shared/f")[:3], "550")
        self.assertEqual(self.do("T STOR own")[:3], "226")

    def test_the_way_out(self) -> None:
        """Its ".." is the home's root."""
        self.assertEqual(self.do("CWD Shared/../..|PWD"), '257 "/" is the folder')
        self.assertEqual(self.do("T RETR Shared/../../elsewhere/f")[:3], "550")


class Quotas(PolicyCase):
    quota = 100

    #: Every way that octets can come by; each script stores forty of them.
    WAYS = (
        "T STOR {}", "T APPE {}", "T STOU {}", "REST 0|T STOR {}", "RANG 0 39|T STOR {}",
        "SITE CPFR forty|SITE CPTO {}", "COMB {} copy",
    )  # fmt: skip

    def test_octets(self) -> None:
        """No way leads over the quota, and a refused one leaves nothing behind."""
        for way in self.WAYS:
            with self.subTest(way=way):
                for path in self.home.rglob("*") if self.home.exists() else ():
                    path.unlink()
                self.start()
                self.home.mkdir(parents=True, exist_ok=True)
                (self.home / "forty").write_bytes(b"x" * 40)
                (self.home / "copy").write_bytes(b"x" * 40)
                self.log_in()
                answer = self.do(way.format("new"), b"x" * 40)
                self.assertEqual(answer[:3], "452", way)
                self.assertLessEqual(sum(path.stat().st_size for path in self.home.rglob("*")), 100, way)
                self.assertEqual(self.do("DELE copy|DELE forty")[:3], "250")

    def test_side_by_side(self) -> None:
        """Uploads at the same time share the room."""
        self.log_in()
        first, self.client = self.client, self.connect()
        self.log_in()
        streams = []
        for client, name in ((first, "a"), (self.client, "b")):
            self.say("EPSV", client=client)
            streams.append(self.arrive())
            self.say(f"STOR {name}", client=client)
        for _ in range(6):
            for stream in streams:
                stream.send(b"x" * 10)
        self.assertLessEqual(
            sum(path.stat().st_size for path in self.home.rglob("*")), 100, "whatever came first"
        )

    def test_resumed(self) -> None:
        """What came of an upload that was cut counts, and so does what is added to it."""
        self.log_in()
        data = self.passive()
        self.say("STOR f")
        data.send(b"x" * 60)
        data.drop()
        self.answers()
        self.assertEqual(self.do("REST 60|T STOR f", b"x" * 60)[:3], "452")
        self.assertEqual(self.do("T APPE f", b"x" * 60)[:3], "452")


class Accounts(PolicyCase):
    peer, host = ("192.0.2.7", 40000), ("192.0.2.21", 21)

    def test_tls_required(self) -> None:
        """For one account: its name is refused in the clear, before a password is sent."""
        self.peer = ("127.0.0.1", 40000)
        self.start(accounts=(FTPAccounts(accounts=("alice@example.test",), tls="required"),))
        self.say()
        for name in ("alice", "ALICE@example.test"):
            self.assertEqual(self.codes(self.say(f"USER {name}", "PASS wonderland")), ["530", "503"])
        self.assertEqual(self.codes(self.say("USER bob", "PASS builder")), ["331", "230"])

    def test_tls_required_for_data(self) -> None:
        """Nor are its data connections in the clear."""
        self.peer, self.host = ("127.0.0.1", 40000), ("127.0.0.1", 21)
        self.start(accounts=(FTPAccounts(tls="required"),))
        self.client.protocol.secure = True
        self.say("USER alice", "PASS wonderland", "PBSZ 0")
        self.assertEqual(self.codes(self.say("PASV", "LIST", "PROT C")), ["227", "522", "534"])

    def test_umask(self) -> None:
        """A later table wins; what is not said stays."""
        accounts = (FTPAccounts(umask=0o022), FTPAccounts(accounts=("bob@example.test",), umask=0o027))
        rulebook = Rulebook(FTP(accounts=accounts))
        self.assertEqual(rulebook.terms("alice@example.test").umask, 0o022)
        self.assertEqual(rulebook.terms("bob@example.test").umask, 0o027)
        self.assertEqual(rulebook.terms(ANONYMOUS).umask, 0o077)


class Limits(PolicyCase):
    def test_connections(self) -> None:
        """One login more than there may be is 421, and the place is free again when one ends."""
        self.start(limits=(FTPLimit(connections=2),))
        clients = [self.client, self.connect(), self.connect()]
        for client, code in zip(clients, ("230", "230", "421"), strict=True):
            answers = self.say("USER alice", "PASS wonderland", client=client)
            self.assertEqual(answers[-1][:3], code)
        self.assertTrue(clients[2].closed)
        self.assertEqual(self.say("USER bob", "PASS builder", client=self.connect())[-1][:3], "230")
        clients[0].drop()
        self.assertEqual(self.say("USER alice", "PASS wonderland", client=self.connect())[-1][:3], "230")
        self.say("REIN", client=clients[1])
        self.assertEqual(self.say("USER alice", "PASS wonderland", client=self.connect())[-1][:3], "230")

    def test_transfers(self) -> None:
        """One transfer more than there may be is 450, and the session lives."""
        self.start(limits=(FTPLimit(transfers=1),))
        self.log_in()
        other = self.connect()
        self.say("USER alice", "PASS wonderland", client=other)
        data = self.passive()
        self.say("STOR f")
        self.assertEqual(self.codes(self.say("EPSV", "LIST", client=other)), ["229", "450"])
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])
        self.say("EPSV", client=other)
        listing = self.arrive()
        self.assertEqual(self.say("LIST", client=other)[-1][:3], "226")
        self.assertTrue(listing.closed)

    def test_for_whom(self) -> None:
        """By network and by account; "limit" counts all of them together."""
        limits = (FTPLimit(networks=(ip_network("10.0.0.0/8"),), connections=1, per="limit"),)
        allowances = Allowances(Rulebook(FTP(limits=limits)))
        inside = [
            allowances.of(account, Peer.of(host))
            for account, host in (("a@x", "10.1.1.1"), ("b@x", "10.2.2.2"))
        ]
        outside = allowances.of("a@x", Peer.of("192.0.2.1"))
        self.assertEqual([inside[0].enter(), inside[1].enter(), outside.enter()], [True, False, True])
        inside[0].release()
        inside[0].release()
        self.assertTrue(inside[1].enter())

    def test_download_rate(self) -> None:
        """Ten thousand octets a second, and no more, over as many connections as the account has."""
        self.start(limits=(FTPLimit(download=10_000),))
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "f").write_bytes(b"x" * 100_000)
        self.log_in()
        other = self.connect()
        self.say("USER alice", "PASS wonderland", "TYPE I", client=other)
        streams = []
        for client in (self.client, other):
            self.say("EPSV", client=client)
            streams.append(self.arrive())
            self.say("RETR f", client=client)
        came = 0
        for tick in range(300):
            self.clock.advance(0.1)
            came += sum(len(stream.received()) for stream in streams)
            if tick == 60:
                self.assertTrue(55_000 <= came <= 65_000, came)
        self.assertEqual(came, 200_000)
        self.assertEqual(self.codes(self.answers()), ["226"])

    def test_upload_rate(self) -> None:
        """The client is read from no faster than that; small files pay as large ones do."""
        self.start(limits=(FTPLimit(upload=10_000, per="network"),))
        self.log_in()
        data = self.passive()
        self.say("STOR f")
        data.send(b"x" * 200_000)
        self.assertFalse(data.transport.reading)
        self.clock.pump([0.1] * 30)
        self.assertFalse(data.transport.reading)
        for _ in range(300):
            self.clock.advance(0.1)
            data.pump()
        data.end()
        self.assertEqual(self.codes(self.answers()), ["226"])
        self.assertEqual((self.home / "f").stat().st_size, 200_000)

    def test_small_files_pay(self) -> None:
        """A hundred files of a kilobyte are a hundred kilobytes."""
        bucket = Bucket(10_000)
        now = 0.0
        for _ in range(100):
            now += bucket.pay(1000, now)
        self.assertGreaterEqual(now, 9.8)

    def test_gone_while_it_waits(self) -> None:
        """A client that goes while its transfer waits for its turn leaves no call behind."""
        self.start(limits=(FTPLimit(download=1000, upload=1000),))
        self.fill("f")
        (self.home / "f").write_bytes(b"x" * 50_000)
        self.log_in()
        data = self.passive()
        self.say("RETR f")
        data.drop()
        self.assertEqual(self.codes(self.answers()), ["426"])
        data = self.passive()
        self.say("STOR g")
        data.send(b"x" * 50_000)
        data.drop()
        self.assertEqual(self.codes(self.answers()), ["426"])
        self.client.drop()
        self.clock.pump([0.1] * 600)
        waiting = [call for call in self.clock.getDelayedCalls() if "rest" in repr(call.func)]
        self.assertEqual(waiting, [])


class Documented(SynchronousTestCase):
    def test_words(self) -> None:
        """The words of the settings are those of the code."""
        self.assertEqual(
            set(PERMISSIONS), {(each.name or "").lower() for each in Permission if each} - {"none"}
        )
        self.assertEqual(Policy().permissions(()), ~Permission.NONE)

    def test_the_page(self) -> None:
        """The examples of docs/howto/files.rst are settings."""
        page = (ROOT / "docs/howto/files.rst").read_text()
        blocks = re.findall(r"\.\. code-block:: toml\n\n((?:    .*\n|\n)+)", page)
        self.assertGreater(len(blocks), 4)
        read = parse_settings(textwrap.dedent("".join(blocks)).encode(), ROOT / "x.toml", certificates=False)
        self.assertEqual([len(read.ftp.rules), len(read.ftp.limits), len(read.ftp.accounts)], [3, 2, 3])
