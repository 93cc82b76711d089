"""The zones of a server: what the settings, keys and an operator's file make of them, and their serials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dns.name
import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.mail_zone import Site, mail_records, policy_id, sts_policy
from mailftp.dns.serials import newer, next_serial
from mailftp.dns.zone import Zone, ZoneFault
from mailftp.origin.dkim_folder import make_key
from mailftp.origin.dkim_keys import KeyFault
from mailftp.settings import DNS, Delivery, Settings, Smarthost
from mailftp.zones import load_zones, own_addresses, wanted_records, zone_text

LISTEN = {
    "smtp": ("tcp:25:interface=192.0.2.1", "tcp6:25:interface=2001\\:db8\\:\\:1"),
    "submissions": ("tcp:465:interface=192.0.2.1",),
    "ftp": ("tcp:port=2121:interface=127.0.0.1",),
    "lmtp": ("unix:lmtp.sock",),
    "dns": ("udp:53:interface=192.0.2.1", "tcp:53:interface=192.0.2.1"),
}


class ZoneCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        keys = self.folder / "data" / "dkim" / "example.test"
        keys.mkdir(parents=True)
        make_key(keys / "mailftp.pem", "rsa")
        ed25519 = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (keys / "ed.pem").write_bytes(ed25519)
        self.settings = Settings(
            self.folder,
            self.folder / "data",
            hostname="mx.example.test",
            domains=("example.test",),
            listen=LISTEN,
            dns=DNS(zones=("example.test",)),
        )

    def set(self, **more: object) -> None:
        self.settings = replace(self.settings, dns=replace(self.settings.dns, **more))  # type: ignore[arg-type]

    def zone(self, name: str = "example.test", keep: bool = False) -> Zone:
        zone = load_zones(self.settings, keep=keep).get(dns.name.from_text(name))
        assert zone is not None
        return zone

    def has(self, zone: Zone, name: str, kind: str) -> list[str]:
        """What an answer says, sorted."""
        reply = zone.reply(dns.name.from_text(name), dns.rdatatype.from_text(kind))
        return sorted(record.to_text() for rrset in reply.answer for record in rrset)

    def own(self, text: str, zone: str = "example.test") -> None:
        file = self.folder / f"{zone}.zone"
        file.write_text(text)
        self.set(zone_files={**self.settings.dns.zone_files, zone: file})


class ContentTests(ZoneCase):
    def test_what_mail_needs(self) -> None:
        """Each kind of record, from the settings and the keys."""
        zone = self.zone()
        for name, kind, wanted in (
            ("", "NS", ["mx.example.test."]),
            ("", "MX", ["10 mx.example.test."]),
            ("", "TXT", ['"v=spf1 mx ~all"']),
            ("mx.", "A", ["192.0.2.1"]),
            ("mx.", "AAAA", ["2001:db8::1"]),
            ("mx.", "TXT", ['"v=spf1 a -all"']),
            ("_dmarc.", "TXT", ['"v=DMARC1; p=quarantine; rua=mailto:postmaster@example.test"']),
            ("_smtp._tls.", "TXT", ['"v=TLSRPTv1; rua=mailto:postmaster@example.test"']),
            ("_submissions._tcp.", "SRV", ["0 1 465 mx.example.test."]),
            ("_ftp._tcp.", "SRV", ["0 1 2121 mx.example.test."]),
            ("_imaps._tcp.", "SRV", ["0 0 0 ."]),
            ("", "CAA", ['0 iodef "mailto:postmaster@example.test"']),
            ("_mta-sts.", "TXT", []),
        ):
            self.assertEqual(self.has(zone, f"{name}example.test.", kind), wanted, name + kind)
        for selector, algorithm in (("mailftp", "rsa"), ("ed", "ed25519")):
            [key] = self.has(zone, f"{selector}._domainkey.example.test.", "TXT")
            self.assertTrue(key.startswith(f'"v=DKIM1; k={algorithm}; p='), key)
        soa = zone.soa[0]
        self.assertEqual((str(soa.mname), str(soa.rname)), ("mx.example.test.", "postmaster.example.test."))

    def test_settings_show(self) -> None:
        """Name servers, addresses, authorities and a smarthost."""
        self.set(
            nameservers=("ns1.example.test", "ns.elsewhere.test"),
            addresses=("198.51.100.7",),
            certificate_authorities=("letsencrypt.org",),
        )
        smarthost = Smarthost("smtp.example.net:587")
        self.settings = replace(self.settings, delivery=Delivery(smarthost=smarthost))
        zone = self.zone()
        self.assertEqual(self.has(zone, "example.test.", "NS"), ["ns.elsewhere.test.", "ns1.example.test."])
        self.assertEqual(self.has(zone, "ns1.example.test.", "A"), ["198.51.100.7"])
        self.assertEqual(self.has(zone, "mx.example.test.", "A"), ["198.51.100.7"])
        self.assertIn('0 issue "letsencrypt.org"', self.has(zone, "example.test.", "CAA"))
        self.assertEqual(self.has(zone, "example.test.", "TXT"), ['"v=spf1 mx a:smtp.example.net ~all"'])

    def test_several_zones(self) -> None:
        """A domain below another's zone is delegated; a reverse zone has the PTR; a zone of no domain of
        ours has what its file has."""
        self.settings = replace(self.settings, domains=("example.test", "sub.example.test", "b.test"))
        self.set(zones=("example.test", "sub.example.test", "2.0.192.in-addr.arpa", "other.test"))
        self.own("www A 192.0.2.9\n", "other.test")
        self.assertEqual(self.has(self.zone(), "sub.example.test.", "MX"), [])
        referral = self.zone().reply(dns.name.from_text("sub.example.test."), dns.rdatatype.MX)
        self.assertEqual(str(referral.authority[0][0]), "mx.example.test.")
        self.assertEqual(
            self.has(self.zone("sub.example.test"), "sub.example.test.", "MX"), ["10 mx.example.test."]
        )
        reverse = self.zone("2.0.192.in-addr.arpa")
        self.assertEqual(self.has(reverse, "1.2.0.192.in-addr.arpa.", "PTR"), ["mx.example.test."])
        self.assertEqual(self.has(self.zone("other.test"), "www.other.test.", "A"), ["192.0.2.9"])
        self.assertEqual(self.has(self.zone("other.test"), "other.test.", "MX"), [])

    def test_own_records(self) -> None:
        """An RRset takes the place of ours; of TXT only what is for the same; a CNAME everything."""
        self.own(
            "@ MX 5 elsewhere.test.\n"
            '@ TXT "google-site-verification=x"\n'
            '_dmarc TXT "v=DMARC1; p=none"\n'
            "www 60 A 192.0.2.80\n"
            "_imaps._tcp SRV 0 1 993 imap.elsewhere.test.\n"
            "_pop3._tcp CNAME elsewhere.test.\n"
        )
        zone = self.zone()
        self.assertEqual(self.has(zone, "example.test.", "MX"), ["5 elsewhere.test."])
        texts = self.has(zone, "example.test.", "TXT")
        self.assertEqual(texts, ['"google-site-verification=x"', '"v=spf1 mx ~all"'])
        self.assertEqual(self.has(zone, "_dmarc.example.test.", "TXT"), ['"v=DMARC1; p=none"'])
        self.assertEqual(self.has(zone, "www.example.test.", "A"), ["192.0.2.80"])
        imaps = self.has(zone, "_imaps._tcp.example.test.", "SRV")
        self.assertEqual(imaps, ["0 1 993 imap.elsewhere.test."])
        self.assertEqual(self.has(zone, "_pop3._tcp.example.test.", "SRV"), ["elsewhere.test."])

    def test_written(self) -> None:
        """The zone file that is printed says the same when it is read."""
        self.own('www A 192.0.2.80\nodd\\"name TXT "a \\"quoted\\" word" "\\001"\n')
        text = zone_text(self.settings, "example.test")
        self.assertTrue(text.startswith("example.test. 3600 IN SOA "), text)
        again = Zone(dns.name.from_text("example.test."), text)
        self.assertEqual(again.nodes, self.zone().nodes)

    def test_faults(self) -> None:
        """What cannot be used is named."""
        self.own("www A 192.0.2.300\n")
        fault = self.assertRaises(ZoneFault, load_zones, self.settings, keep=False)
        self.assertIn("example.test.zone: zone example.test: at www.example.test, line ", str(fault))
        self.set(zone_files={"example.test": self.folder / "missing"})
        fault = self.assertRaises(ZoneFault, load_zones, self.settings, keep=False)
        self.assertIn("missing: No such file", str(fault))
        (self.folder / "latin").write_bytes(b"caf\xe9 A 192.0.2.1\n")
        self.set(zone_files={"example.test": self.folder / "latin"})
        self.assertIn("not UTF-8", str(self.assertRaises(ZoneFault, load_zones, self.settings, keep=False)))
        self.set(zone_files={})
        key = self.folder / "data" / "dkim" / "example.test" / "broken.pem"
        key.write_text("no key")
        self.assertIn(str(key), str(self.assertRaises(KeyFault, load_zones, self.settings, keep=False)))
        key.rename(key.with_name("two words.pem"))
        self.assertIn("selector", str(self.assertRaises(KeyFault, load_zones, self.settings, keep=False)))

    def test_own_addresses(self) -> None:
        """Those of the listeners, loopback only where there is no other; "" is this machine's own."""
        self.assertEqual(own_addresses(self.settings), ("192.0.2.1", "2001:db8::1"))
        for endpoint, wanted in (
            ("tcp:25:interface=127.0.0.1", ("127.0.0.1",)),
            ("tcp:25:interface=\\:\\:1", ("::1",)),
            ("unix:smtp.sock", ()),
            ("systemd:domain=INET:index=0", ()),
        ):
            settings = replace(self.settings, listen={"smtp": (endpoint,)})
            self.assertEqual(own_addresses(settings), wanted, endpoint)
        everywhere = own_addresses(replace(self.settings, listen={"smtp": ("tcp:25",)}))
        self.assertTrue(all("." in address and address != "0.0.0.0" for address in everywhere), everywhere)

    def test_with_a_web_server(self) -> None:
        """Where there is https: MTA-STS with an id that goes by the policy, the names by which programs find
        their settings; with http alone, what is asked for by http."""
        site = Site("mx.a.test", ("192.0.2.1",), ("mx.a.test",), ("a.test",), {"http": 80, "https": 443})
        records = {(record.name, record.kind): record.data for record in mail_records(site, "a.test", {})}
        for name in ("autoconfig", "autodiscover", "mta-sts"):
            self.assertEqual(records[f"{name}.a.test.", "CNAME"], "mx.a.test.")
        self.assertEqual(records["_jmap._tcp.a.test.", "SRV"], "0 1 443 mx.a.test.")
        self.assertEqual(records["_autodiscover._tcp.a.test.", "SRV"], "0 1 443 mx.a.test.")
        policy = sts_policy("mx.a.test")
        self.assertIn("mode: enforce\r\nmx: mx.a.test\r\n", policy)
        self.assertEqual(records["_mta-sts.a.test.", "TXT"], f'"v=STSv1; id={policy_id(policy)}"')
        self.assertNotEqual(policy_id(policy), policy_id(sts_policy("mx2.a.test")))
        site = replace(site, ports={"http": 80})
        names = {record.name for record in mail_records(site, "a.test", {})}
        self.assertIn("autoconfig.a.test.", names)
        # Nobody is led to what is not served.
        srv = {
            record.name: record.data for record in mail_records(site, "a.test", {}) if record.kind == "SRV"
        }
        self.assertEqual(srv["_jmap._tcp.a.test."], "0 0 0 .")
        self.assertFalse({"autodiscover.a.test.", "mta-sts.a.test.", "_mta-sts.a.test."} & names)

    def test_wanted_by_the_world(self) -> None:
        """The same records without SOA and NS, for who hosts the domain elsewhere."""
        lines = [record.line for record in wanted_records(self.settings, "example.test")]
        self.assertIn("example.test. 3600 IN MX 10 mx.example.test.", lines)
        self.assertIn("mx.example.test. 3600 IN A 192.0.2.1", lines)
        self.assertEqual([line for line in lines if " SOA " in line or " NS " in line], [])


class SerialTests(ZoneCase):
    def test_grows_with_the_content(self) -> None:
        """And only then; a restart keeps it; who only looks raises nothing."""
        first = self.zone(keep=True).serial
        self.assertEqual(self.zone(keep=True).serial, first)
        self.own("www A 192.0.2.80\n")
        self.assertEqual(self.zone().serial, first + 1)
        self.assertEqual(self.zone(keep=True).serial, first + 1)
        self.assertEqual(self.zone(keep=True).serial, first + 1)
        self.own("www A 192.0.2.81\n")
        self.assertEqual(self.zone(keep=True).serial, first + 2)

    def test_an_own_soa(self) -> None:
        """Its times are taken, and its serial where it is newer than ours."""
        self.own("@ SOA ns.elsewhere.test. me.elsewhere.test. 2099010100 1 2 3 4\n")
        soa = self.zone(keep=True).soa[0]
        self.assertEqual((soa.serial, soa.refresh, soa.minimum), (2099010100, 1, 4))
        self.own("@ SOA ns.elsewhere.test. me.elsewhere.test. 1 1 2 3 5\n")
        self.assertEqual(self.zone(keep=True).serial, 2099010101)

    def test_arithmetic(self) -> None:
        """RFC 1982: round the corner, and never 0, which some take for none."""
        top = (1 << 32) - 1
        self.assertTrue(newer(1, top))
        self.assertFalse(newer(top, 1))
        self.assertFalse(newer(7, 7))
        for kept, least, wanted in (
            (None, 0, 2026112500),
            (2026112500, 0, 2026112501),
            (2026112499, 0, 2026112500),
            (2027010100, 0, 2027010101),
            (4173596148, 0, 4173596149),
            (2026112500 + (1 << 31) + 1, 0, 2026112500),
        ):
            self.assertEqual(next_serial(kept, least, 20261125), wanted, kept)
        self.assertEqual(next_serial(top, 0, 22000101), 1)

    def test_a_broken_note(self) -> None:
        """Is none."""
        first = self.zone(keep=True).serial
        (self.settings.data / "dns" / "example.test.serial").write_text("rubbish")
        self.assertEqual(self.zone(keep=True).serial, first)
