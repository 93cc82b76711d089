"""`mailftp dkim`."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailftp.cli import dkim
from mailftp.operation.admin import Refused
from mailftp.origin.dkim_folder import key_records
from tests.cli.test_folders import call
from tests.serving import Serving, settings_text


class Commands(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        call("init", str(self.folder), "--hostname", "mx.a.test", "--domain", "a.test", "--domain", "b.test")
        self.config = str(self.folder / "mailftp.toml")
        self.keys = self.folder / "data" / "dkim" / "a.test"

    def dkim(self, *arguments: str) -> tuple[int, str, str]:
        return call("dkim", *arguments, "--config", self.config)

    def states(self) -> dict[str, str]:
        status, out, _ = self.dkim("list", "a.test", "--json")
        self.assertEqual(status, 0)
        return {key["selector"]: key["state"] for key in json.loads(out)}

    def test_list(self) -> None:
        status, out, err = self.dkim("list")
        self.assertEqual((status, err), (0, ""))
        rows = [line.split() for line in out.splitlines()]
        self.assertEqual(rows[0], ["domain", "selector", "algorithm", "state"])
        self.assertIn(["b.test", "mailftp", "rsa", "signs"], rows)
        self.assertIn(["a.test", "mailftp-ed25519", "ed25519", "signs"], rows)
        self.assertEqual(len(rows), 5)

    def test_show(self) -> None:
        """A line for each key, which a zone file can have."""
        status, out, _ = self.dkim("show", "A.TEST")
        self.assertEqual(status, 0)
        for selector, record in key_records(self.keys).items():
            (line,) = (
                line for line in out.splitlines() if line.startswith(f"{selector}._domainkey.a.test. ")
            )
            strings = line.split('"')[1::2]
            self.assertEqual("".join(strings), record)
            self.assertLess(max(map(len, strings)), 256)

    def test_rotate(self) -> None:
        status, out, err = self.dkim("rotate", "a.test")
        self.assertEqual(status, 0)
        self.assertIn("until then these records have to be in the DNS", err)
        self.assertEqual(len(out.splitlines()), 2)
        states = self.states()
        self.assertEqual((states["mailftp"], states["mailftp-ed25519"]), ("signing", "signing"))
        self.assertEqual(sorted(states.values()), ["signing", "signing", "waiting", "waiting"])
        self.assertIn("signs until ", self.dkim("list")[1])

    def test_rotate_at_once(self) -> None:
        self.assertEqual(self.dkim("rotate", "a.test", "--wait", "0", "--algorithm", "rsa")[0], 0)
        states = self.states()
        self.assertEqual(states.pop("mailftp"), "retired")
        self.assertEqual(sorted(states.values()), ["signing", "signing"])

    def test_misuse(self) -> None:
        for arguments, status, words in (
            ((), 2, "list, show or rotate"),
            (("rotate", "a.test", "--wait", "soon"), 2, "--wait"),
            (("rotate", "a.test", "--algorithm", "dsa"), 2, "rsa, ed25519"),
            (("show", "c.test"), 1, "no domain of this server"),
            (("show", "not a domain"), 2, "no domain name"),
        ):
            ended, _, err = self.dkim(*arguments) if arguments else call("dkim")
            self.assertEqual(ended, status, arguments)
            self.assertIn(words, err)

    def test_check(self) -> None:
        """`mailftp check` reads the keys too: a broken one would be found by a message that is not signed."""
        self.assertEqual(call("check", "--config", self.config)[0], 0)
        (self.keys / "broken.pem").write_bytes(b"rubbish")
        status, _, err = call("check", "--config", self.config)
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn("broken.pem is no private key", err)

    def test_faults(self) -> None:
        (self.keys / "broken.pem").write_bytes(b"rubbish")
        for command in (("list",), ("show", "a.test"), ("rotate", "a.test")):
            status, _, err = self.dkim(*command)
            self.assertEqual(status, 1)
            self.assertIn("broken.pem", err)
        for file in self.keys.iterdir():
            file.unlink()
        self.assertIn("has no keys", self.dkim("show", "a.test")[2])

    def test_server_says_no(self) -> None:
        """The keys are there, and who reads that learns why the zone has not."""

        def ask(*_: object) -> None:
            raise Refused("dns.zones: the file is broken")

        self.patch(dkim, "ask", ask)
        status, _, err = self.dkim("rotate", "a.test")
        self.assertEqual(status, 1)
        self.assertIn("the keys are made", err)
        self.assertEqual(len(self.states()), 4)


class RunningServer(SynchronousTestCase):
    def test_zone(self) -> None:
        """A server that runs takes its zones anew."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        config = folder / "mailftp.toml"
        config.write_text('domains = ["a.test"]\n' + settings_text(services=("smtp",)))
        serving = Serving("mailftp", "--config", str(config), folder=folder)
        self.addCleanup(serving.stop)
        serving.ports()
        status, out, _ = call("dkim", "rotate", "a.test", "--config", str(config))
        self.assertEqual((status, len(out.splitlines())), (0, 2))
        serving.wait_for(r"server reloaded")
