"""`mailftp dns` against servers that say what is right, what is wrong, and nothing."""

from __future__ import annotations

import json
import shutil
from typing import Any

import dns.name
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.zone import Zone
from tests.interop.running import RunningServer
from tests.ports import free_port


class Host(RunningServer):
    services = ("smtp", "pop3", "dns")

    @property
    def server(self) -> str:
        return f"{self.address}:{self.ports['dns']}"

    def serve(self, more: str = "", zone: str = "", zones: str = '"a.test"') -> None:
        (self.folder / "own.zone").write_text(zone)
        self.configure(f'[dns]\nzones = [{zones}]\nzone_files = {{ "a.test" = "own.zone" }}\n{more}\n')


class ZoneCommandTests(SynchronousTestCase):
    def test_zone(self) -> None:
        """What is printed is a zone; a domain hosted elsewhere is printed without SOA and NS."""
        host = Host(self, "a.test")
        host.serve(zone="www A 192.0.2.80\n")
        done = host.cli("dns", "zone")
        self.assertEqual(done.returncode, 0, done.stderr)
        zone = Zone(dns.name.from_text("a.test."), done.stdout.decode())
        self.assertIn(dns.name.from_text("www.a.test."), zone.nodes)
        self.assertIn(dns.name.from_text("mailftp._domainkey.a.test."), zone.nodes)
        host.configure()
        done = host.cli("dns", "zone", "a.test")
        self.assertIn(b"a.test. 3600 IN MX 10 mx.a.test.\n", done.stdout)
        self.assertNotIn(b" SOA ", done.stdout)
        for words, status, said in (
            (("zone", "b.test"), 1, b"b.test is none of this server's domains and zones: a.test"),
            (("zone", "a..b"), 2, b"no domain name"),
            (("check", "--server", "ns.b.test"), 2, b"--server: "),
            (("zone", "-x"), 2, b"option -x not recognized"),
        ):
            done = host.cli("dns", *words)
            self.assertEqual((done.returncode, said in done.stderr), (status, True), done.stderr)

    def test_faults(self) -> None:
        """A zone that cannot be used is a line, here and of `mailftp check`."""
        host = Host(self, "a.test")
        host.serve(zone="www A 192.0.2.300\n")
        for words in (("dns", "zone"), ("dns", "check", "--server", host.server), ("check",)):
            done = host.cli(*words)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1), done.stderr)
            self.assertIn(b"own.zone: zone a.test: at www.a.test, line ", done.stderr)


class CheckTests(SynchronousTestCase):
    def findings(self, host: Host, server: str, status: int, *more: str) -> dict[str, dict[str, Any]]:
        done = host.cli("dns", "check", "--server", server, "--json", *more)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        found = json.loads(done.stdout)["a.test"]
        for finding in found:
            self.assertEqual(
                bool(finding["add"]), finding["status"] in ("missing", "wrong") and finding["kind"] != "smtp"
            )
        return {f"{finding['name']} {finding['kind']}": finding for finding in found}

    def test_right(self) -> None:
        """A server that answers for its own zone: everything, the reverse names among it, is right; the
        certificate of its own authority is for the name."""
        host = Host(self, "a.test")
        host.serve(zones='"a.test", "127.in-addr.arpa"')
        host.start()
        found = self.findings(host, host.server, 0)
        trust = found.pop("mx.a.test smtp")
        self.assertEqual((trust["status"], trust["optional"]), ("wrong", True))
        self.assertIn("for the name, but not trusted here", trust["note"])
        self.assertEqual({finding["status"] for finding in found.values()}, {"right"})
        self.assertIn("1.0.0.127.in-addr.arpa PTR", found)
        done = host.cli("dns", "check", "--server", host.server, "--no-connect")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"  right    a.test MX: where the domain's mail goes\n", done.stdout)

    def test_an_own_zone_file(self) -> None:
        """What the operator's file says is right, and SPF in other words when mail passes by it."""
        host = Host(self, "a.test")
        host.serve(zone='@ MX 5 other.a.test.\nother A 127.0.0.1\n@ TXT "v=spf1 ip4:127.0.0.0/8 -all"\n')
        host.start()
        found = self.findings(host, host.server, 0, "--no-connect")
        self.assertEqual(found["a.test MX"]["note"], "as your zone file has it")
        self.assertEqual(found["a.test TXT"]["status"], "right")

    def test_wrong(self) -> None:
        """Another server answers for the domain: what it has otherwise is wrong, what it lacks is missing,
        and the lines that are printed are what would be right."""
        host, other = Host(self, "a.test"), Host(self, "a.test")
        host.serve()
        host.start()
        other.serve(
            more="addresses = ['127.0.0.2']\nnameservers = ['ns.b.test']",
            zone='@ MX 5 mx.b.test.\n@ TXT "v=spf1 ip4:192.0.2.1 -all"\n_dmarc CNAME b.test.\n'
            "_submissions._tcp SRV 0 1 465 mx.b.test.\n",
        )
        other.start()
        found = self.findings(host, other.server, 1)
        for name, status in (
            ("a.test NS", "wrong"),
            ("a.test MX", "wrong"),
            ("a.test TXT", "wrong"),
            ("mailftp._domainkey.a.test TXT", "wrong"),
            ("_dmarc.a.test TXT", "unknown"),
            ("mx.a.test A", "wrong"),
            ("1.0.0.127.in-addr.arpa PTR", "skipped"),
            ("mx.a.test smtp", "wrong"),
        ):
            self.assertEqual(found[name]["status"], status, found[name])
        self.assertIn("127.0.0.2 port", found["mx.a.test smtp"]["why"])
        self.assertIn("mail from 127.0.0.1 does not pass (fail", found["a.test TXT"]["note"])
        self.assertEqual(found["mx.a.test A"]["add"], ["mx.a.test. 3600 IN A 127.0.0.1"])
        # Mended by what was printed.
        selectors = ("mailftp", "mailftp-ed25519")
        keys = [found[f"{selector}._domainkey.a.test TXT"]["add"][0] for selector in selectors]
        other.serve(zone="\n".join((*keys, *found["mx.a.test A"]["add"])) + "\n")
        self.assertEqual(other.cli("reload").returncode, 0)
        mended = self.findings(host, other.server, 0, "--no-connect").values()
        needed = {finding["status"] for finding in mended if not finding["optional"]}
        self.assertEqual(needed, {"right"})

    def test_certificate(self) -> None:
        """One that is for another name, and a port where something else listens."""
        host, other = Host(self, "a.test"), Host(self, "b.test")
        shutil.copy(other.folder / "tls" / "cert.pem", host.folder / "tls" / "cert.pem")
        shutil.copy(other.folder / "tls" / "key.pem", host.folder / "tls" / "key.pem")
        host.serve()
        host.start()
        found = self.findings(host, host.server, 1)
        self.assertEqual(found["mx.a.test smtp"]["note"], "its certificate is for mx.b.test, localhost")
        smtp, pop3 = host.ports["smtp"], host.ports["pop3"]
        for ports, words in (
            ({"smtp": pop3, "pop3": smtp}, "to greeting it said: +OK"),
            ({"smtp": free_port()}, "cannot be reached"),
        ):
            host.ports |= ports
            host.serve()
            self.assertIn(words, self.findings(host, host.server, 1)["mx.a.test smtp"]["note"])

    def test_nobody(self) -> None:
        """A server that is not there: nothing is known, and nothing is said to be missing."""
        host = Host(self, "a.test")
        host.serve()
        found = self.findings(host, f"127.0.0.1:{free_port()}", 1)
        self.assertEqual({finding["status"] for finding in found.values()}, {"unknown", "skipped"})
        self.assertIn("nothing listens there", found["a.test MX"]["note"])
