"""The settings file: what is read of it, and what is said when it is wrong."""

from __future__ import annotations

import ipaddress
import re
import string
from pathlib import Path

from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings
from twisted.trial.unittest import SynchronousTestCase

from mailftp import settings as shape
from mailftp.settings import Settings
from mailftp.settings.endpoints import endpoint, quoted, split_endpoint
from mailftp.settings.file import (
    KINDS,
    LARGEST_FILE,
    SettingsFault,
    notices,
    parse_settings,
    read_settings,
)
from mailftp.settings.reference import render
from mailftp.settings.values import Place, Wrong, seconds, size

BAD = Path(__file__).parents[1] / "bad_settings"


class Reading(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def parse(self, text: str, *, certificates: bool = False) -> Settings:
        return parse_settings(text.encode(), self.folder / "mailftp.toml", certificates=certificates)

    def faults(self, text: str) -> list[str]:
        fault = self.assertRaises(SettingsFault, self.parse, text)
        return str(fault).split("\n")

    def test_empty_file(self) -> None:
        """An empty file is valid, and every key has the default of the dataclasses."""
        read = self.parse("", certificates=True)
        plain = Settings(self.folder, self.folder / "data")
        self.assertEqual(read.limits, plain.limits)
        self.assertEqual(read.delivery, plain.delivery)
        self.assertEqual(read.data, self.folder / "data")
        self.assertEqual(read.ftp.root, self.folder / "data" / "files")
        self.assertEqual(read.listen, {})
        self.assertIsNone(read.tls)

    def test_usual_certificate(self) -> None:
        """A certificate at its usual place is used without being named."""
        (self.folder / "tls").mkdir()
        for name in ("cert.pem", "key.pem"):
            (self.folder / "tls" / name).touch()
        self.assertEqual(
            self.parse("").tls, shape.TLS(self.folder / "tls/cert.pem", self.folder / "tls/key.pem")
        )

    def test_one_of_two_tls_keys(self) -> None:
        """The one that is not named of certificate and key has its default, below the folder."""
        self.assertEqual(
            self.parse('[tls]\ncertificate = "/etc/ssl/mail.pem"').tls,
            shape.TLS(Path("/etc/ssl/mail.pem"), self.folder / "tls/key.pem"),
        )

    def test_units(self) -> None:
        """Sizes and times have units, and plain numbers are octets and seconds."""
        read = self.parse(
            '[limits]\nmessage_size = "2MiB"\nlogin_timeout = "2m"\nidle_timeout = { ftp = "1h" }\n'
            '[quota]\nmail = "1GB"\nmessages = 1000\nfiles = 12\n'
            '[delivery]\nretry = [1, "2s"]\ngive_up = "10d"'
        )
        self.assertEqual(read.limits.message_size, 2 * 1024 * 1024)
        self.assertEqual(read.limits.login_timeout, 120.0)
        self.assertEqual(
            read.limits.idle_timeout,
            {"smtp": 300.0, "pop3": 600.0, "imap": 1860.0, "ftp": 3600.0, "http": 60.0},
        )
        self.assertEqual(read.quota, shape.Quota(10**9, 1000, 12))
        self.assertEqual((read.delivery.retry, read.delivery.give_up), ((1.0, 2.0), 864000.0))

    def test_names(self) -> None:
        """Domains are kept in lower case and A-labels, wherever they stand."""
        read = self.parse(
            'hostname = "MX.Example.test"\ndomains = ["bücher.example"]\n'
            '[delivery.routes]\n"Straße.example" = "lmtp:127.0.0.1:24"\n'
            '[dns.forward]\n"B.test." = "[::1]:53"'
        )
        self.assertEqual(read.hostname, "mx.example.test")
        self.assertEqual(read.domains, ("xn--bcher-kva.example",))
        self.assertEqual(read.delivery.routes, {"xn--strae-oqa.example": "lmtp:127.0.0.1:24"})
        self.assertEqual(read.dns.forward, {"b.test": ("[::1]:53",)})

    def test_the_rest(self) -> None:
        """Networks, ports, booleans, folders and the smarthost arrive as what they are."""
        (self.folder / "pub").mkdir()
        read = self.parse(
            '[proxy]\ntrusted = ["10.0.0.0/8", "::1"]\n[ftp]\npassive_ports = ""\nanonymous = "pub"\n'
            'durable = false\n[delivery]\nsmarthost = { host = "smtp.example.net:587", username = "u", '
            'password_file = "secret" }\n'
            'capture = "Archive@Example.test"\n[listen]\nsmtp = ["unix:mx.sock:mode=660"]'
        )
        self.assertEqual(
            read.proxy.trusted, (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
        )
        self.assertIsNone(read.ftp.passive_ports)
        self.assertEqual(read.ftp.anonymous, self.folder / "pub")
        self.assertFalse(read.ftp.durable)
        self.assertEqual(
            read.delivery.smarthost, shape.Smarthost("smtp.example.net:587", "u", self.folder / "secret")
        )
        self.assertEqual(read.delivery.capture, "archive@example.test")
        self.assertEqual(read.listen["smtp"], (f"unix:{self.folder}/mx.sock:mode=660",))

    def test_every_key_has_a_kind_and_a_text(self) -> None:
        """No key can be added to the dataclasses without saying what may stand there and what it means."""
        for kind, keys in KINDS.items():
            named = set(kind.__dataclass_fields__) - ({"folder"} if kind is Settings else set())
            self.assertEqual(named, set(keys))
            for name in named:
                self.assertTrue(
                    kind.__dataclass_fields__[name].metadata.get("doc"), f"{kind.__name__}.{name}"
                )

    def test_notices(self) -> None:
        """What is valid and has no effect is said."""
        read = self.parse('workers = 4\n[listen]\nsmtp = ["tcp:0"]\n[delivery]\ngive_up = "1h"')
        self.assertEqual(
            [notice.partition(":")[0] for notice in notices(read)],
            ["workers", "delivery.delay_warning"],
        )

    def test_missing_file(self) -> None:
        """A file that is not there is a fault that says how to make one."""
        fault = self.assertRaises(SettingsFault, read_settings, self.folder / "none.toml")
        self.assertIn("mailftp init", str(fault))

    def test_folder_instead_of_file(self) -> None:
        """What cannot be read is a fault and no traceback."""
        fault = self.assertRaises(SettingsFault, read_settings, self.folder)
        self.assertIn("cannot be read", str(fault))

    def test_large_file(self) -> None:
        """A file without end is not read."""
        self.assertIn("too large", str(self.assertRaises(SettingsFault, read_settings, Path("/dev/zero"))))
        self.assertGreater(LARGEST_FILE, 100_000)

    def test_deeply_nested(self) -> None:
        """A file made to exhaust the parser's stack is a fault."""
        self.assertEqual(len(self.faults("data = " + "[" * 100_000)), 1)

    def test_faults_are_lines(self) -> None:
        """However many faults, whatever stands in them, each is one line."""
        lines = self.faults('"a\\nb" = 1\n"c\\u2028d" = 2\nhostname = "x\\ry"')
        self.assertEqual(len(lines), 3)
        self.assertTrue(all(line.isprintable() for line in lines), lines)


class BadSettings(SynchronousTestCase):
    """bad_settings: a file for each fault, and beside it the lines that are expected."""

    def test_files(self) -> None:
        """Every bad file gives exactly the lines that its .expected names."""
        files = sorted(BAD.glob("*.toml"))
        self.assertGreater(len(files), 50)
        for file in files:
            fault = self.assertRaises(SettingsFault, read_settings, file)
            said = str(fault).replace(f"{BAD}/", "")
            self.assertEqual(said, file.with_suffix(".expected").read_text().rstrip("\n"), file.name)

    def test_form(self) -> None:
        """Every fault says where, what is wrong, and what would be right."""
        for file in BAD.glob("*.expected"):
            for line in file.read_text().splitlines():
                self.assertRegex(line, re.compile(r"\A\S.*; .+\Z"), file.name)


class Values(SynchronousTestCase):
    place = Place("key", Path("/"))

    @given(strategies.text(alphabet=string.printable, max_size=12))
    @hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
    def test_sizes(self, text: str) -> None:
        """Any text is a size within range or is refused."""
        try:
            self.assertGreater(size().read(text, self.place), 0)
        except Wrong:
            pass

    def test_other_digits(self) -> None:
        """Digits that only Python takes for digits are refused."""
        for text in ("٣MB", "1_0MB", "+1MB", " 1MB", "1MB\n"):
            self.assertRaises(Wrong, size().read, text, self.place)
        for text in ("٣m", "1_0m", "-1m", "1m\n", "nan", "infs"):
            self.assertRaises(Wrong, seconds().read, text, self.place)

    def test_not_finite(self) -> None:
        """TOML's nan and inf are no times."""
        for value in (float("nan"), float("inf"), -float("inf")):
            self.assertRaises(Wrong, seconds().read, value, self.place)

    @given(strategies.text(max_size=40))
    @hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
    def test_endpoints(self, text: str) -> None:
        """Any text is an endpoint that Twisted's notation knows or is refused."""
        try:
            endpoint("smtp").read(text, self.place)
        except Wrong:
            pass

    @given(strategies.text(alphabet="ab:=\\/", max_size=12))
    @hypothesis_settings(max_examples=300, deadline=None, derandomize=True)
    def test_quoting(self, text: str) -> None:
        """A quoted part means just the text."""
        self.assertEqual(split_endpoint(f"unix:{quoted(text)}"), ("unix", [text], {}))

    def test_twisted_agrees(self) -> None:
        """What is let through is what Twisted makes an endpoint of."""
        from twisted.internet.endpoints import serverFromString
        from twisted.internet.testing import MemoryReactor

        for text in (
            "tcp:25", "tcp:port=0:interface=127.0.0.1:backlog=9", "tcp6:25:50", r"tcp:25:interface=\:\:1",
            "unix:/a:mode=660", r"unix:address=/a\:b:lockfile=0",
        ):  # fmt: skip
            given_back = endpoint("smtp").read(text, self.place)
            serverFromString(MemoryReactor(), given_back)


class Reference(SynchronousTestCase):
    def test_current(self) -> None:
        """docs/reference/settings.rst is what the dataclasses and the table of kinds make today."""
        page = Path(__file__).parents[2] / "docs" / "reference" / "settings.rst"
        self.assertEqual(
            page.read_text(), render(), "python -m mailftp.settings.reference docs/reference/settings.rst"
        )
