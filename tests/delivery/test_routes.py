"""Whom to call for a domain, and whom never."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery import routes
from mailftp.delivery.routes import Hop, Router
from mailftp.delivery.verdict import NotNow
from mailftp.dns.resolver import Unresolved
from mailftp.settings import Delivery, DeliveryRule, Settings, Smarthost
from tests.dns.table import Table

OWN = {("192.0.2.99", 25), ("127.0.0.1", 2525)}


class RouterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table()

    def router(self, own=frozenset(OWN), **delivery) -> Router:
        settings = Settings(folder=None, data=None, hostname="mx.a.test", delivery=Delivery(**delivery))
        return Router(settings, self.table, own)

    def hops(self, router: Router, domain: str = "b.test") -> list[tuple[str, str, int]]:
        found = self.successResultOf(Deferred.fromCoroutine(router.hops(domain)))
        return [(hop.host, hop.address, hop.port) for hop in found]

    def hop(self, router: Router) -> Hop:
        return self.successResultOf(Deferred.fromCoroutine(router.hops("b.test")))[0]

    def refused(self, router: Router, domain: str = "b.test") -> tuple[str, bool]:
        failure = self.failureResultOf(Deferred.fromCoroutine(router.hops(domain)), NotNow)
        return failure.value.status, failure.value.permanent


class MXTests(RouterCase):
    def test_hosts(self) -> None:
        """Two addresses of each host, eight hops in all, on the port of the settings."""
        self.table.put("b.test", "MX", *(f"{n} n{n}.test." for n in range(9)))
        for n in range(9):
            self.table.put(f"n{n}.test", "A", "192.0.2.1", "192.0.2.2", "192.0.2.3")
        hops = self.hops(self.router(port=26))
        self.assertEqual(len(hops), 8)
        self.assertEqual(
            hops[:3],
            [("n0.test", "192.0.2.1", 26), ("n0.test", "192.0.2.2", 26), ("n1.test", "192.0.2.1", 26)],
        )

    def test_both_families(self) -> None:
        """Of a host with many addresses one of each family is tried."""
        self.table.put("b.test", "MX", "5 mx.test.")
        self.table.put("mx.test", "AAAA", "2001:db8::1", "2001:db8::2").put("mx.test", "A", "192.0.2.1")
        addresses = [address for _, address, _ in self.hops(self.router())]
        self.assertEqual(addresses, ["2001:db8::1", "192.0.2.1"])

    def test_faults(self) -> None:
        """Each way of having no host is final or not, with its own status."""
        self.assertEqual(self.refused(self.router()), ("5.1.2", True))
        self.assertEqual(self.refused(self.router(), ""), ("5.1.3", True))
        self.table.put("b.test", "TXT", "x")
        self.assertEqual(self.refused(self.router()), ("5.4.4", True))
        self.table.put("b.test", "MX", Unresolved("SERVFAIL"))
        self.assertEqual(self.refused(self.router()), ("4.4.3", False))
        self.table.put("b.test", "MX", "0 .")
        self.assertEqual(self.refused(self.router()), ("5.1.10", True))

    def test_our_name(self) -> None:
        """Our own name among the hosts leaves those that are better than we (RFC 5321 section 5.1)."""
        self.table.put("b.test", "MX", "5 one.test.", "10 MX.A.test.", "10 two.test.", "20 three.test.")
        for name in ("one.test", "two.test", "three.test", "mx.a.test"):
            self.table.put(name, "A", "192.0.2.1")
        self.assertEqual(self.hops(self.router()), [("one.test", "192.0.2.1", 25)])
        self.table.put("b.test", "MX", "10 mx.a.test.", "20 three.test.")
        self.assertEqual(self.refused(self.router()), ("5.4.6", True))

    def test_our_name_without_address(self) -> None:
        """That our own host has no address at the moment does not let mail go back to the lesser ones."""
        self.table.put("b.test", "MX", "10 mx.a.test.", "20 three.test.").put("three.test", "A", "192.0.2.1")
        self.assertEqual(self.refused(self.router()), ("5.4.6", True))

    def test_better_host_without_address(self) -> None:
        """When only hosts behind us have addresses, the better ones are waited for."""
        self.table.put("b.test", "MX", "5 one.test.", "10 mx.a.test.").put("mx.a.test", "A", "192.0.2.1")
        self.assertEqual(self.refused(self.router()), ("4.4.4", False))

    def test_our_address(self) -> None:
        """An address where we listen is ourselves under another name; on another port it is not."""
        self.table.put("b.test", "MX", "10 other.test.").put("other.test", "A", "192.0.2.99")
        self.assertEqual(self.refused(self.router()), ("5.4.6", True))
        self.assertEqual(self.hops(self.router(port=26)), [("other.test", "192.0.2.99", 26)])
        self.table.put("b.test", "MX", "10 other.test.").put("other.test", "AAAA", "::ffff:192.0.2.99")
        del self.table.entries["other.test", "A"]
        self.assertEqual(self.refused(self.router()), ("5.4.6", True))

    def test_listening_everywhere(self) -> None:
        """Where we listen on all addresses, every address of this machine is ours, and no other."""
        self.table.put("b.test", "MX", "10 other.test.").put("other.test", "A", "127.0.0.5")
        self.assertEqual(self.refused(self.router({("0.0.0.0", 25)})), ("5.4.6", True))
        self.assertEqual(self.refused(self.router({("::", 25)})), ("5.4.6", True))
        self.table.put("other.test", "A", "192.0.2.1")
        self.assertEqual(self.hops(self.router({("0.0.0.0", 25)})), [("other.test", "192.0.2.1", 25)])

    def test_loopback(self) -> None:
        """A public name that points to loopback is refused, unless we live on loopback ourselves."""
        self.table.put("b.test", "MX", "10 other.test.").put("other.test", "A", "127.0.0.2")
        self.assertEqual(self.refused(self.router({("192.0.2.99", 25)})), ("5.4.4", True))
        self.assertEqual(self.refused(self.router(())), ("5.4.4", True))
        self.assertEqual(self.hops(self.router(port=2525)), [("other.test", "127.0.0.2", 2525)])
        self.table.put("other.test", "A", "127.0.0.1")
        self.assertEqual(self.refused(self.router(port=2525)), ("5.4.6", True))

    def test_never(self) -> None:
        """Addresses that are nobody's are refused everywhere."""
        self.table.put("b.test", "MX", "10 other.test.")
        for address in ("0.0.0.0", "224.0.0.1", "255.255.255.255"):
            self.table.put("other.test", "A", address)
            self.assertEqual(self.refused(self.router()), ("5.4.4", True), address)
        self.table.put("other.test", "A", "0.0.0.0", "192.0.2.1")
        self.assertEqual(self.hops(self.router()), [("other.test", "192.0.2.1", 25)])

    def test_filled_later(self) -> None:
        """Our listeners may become known after the router was made."""
        own: set[tuple[str, int]] = set()
        router = self.router(own)
        self.table.put("b.test", "A", "192.0.2.5")
        self.assertEqual(self.hops(router), [("b.test", "192.0.2.5", 25)])
        own.add(("192.0.2.5", 25))
        self.assertEqual(self.refused(router), ("5.4.6", True))

    def test_literal(self) -> None:
        """A domain that is an address."""
        self.assertEqual(self.hops(self.router(), "[192.0.2.7]"), [("[192.0.2.7]", "192.0.2.7", 25)])
        self.assertEqual(self.refused(self.router(), "[192.0.2.99]"), ("5.4.6", True))


class RouteTests(RouterCase):
    def test_route(self) -> None:
        """A route is asked before MX, by domain without regard to case, and may be on loopback."""
        router = self.router((), routes={"B.test": "127.0.0.2:2525", "c.test": "lmtp:[::1]:24"})
        self.assertEqual(self.hops(router), [("127.0.0.2", "127.0.0.2", 2525)])
        hop = self.successResultOf(Deferred.fromCoroutine(router.hops("c.test")))[0]
        self.assertEqual(hop, Hop("::1", "::1", 24, lmtp=True))
        self.assertEqual(self.table.asked, [])

    def test_by_name(self) -> None:
        """A route to a name; when that cannot be found it is no reason to return mail."""
        router = self.router(routes={"b.test": "relay.test:2525"})
        self.assertEqual(self.refused(router), ("4.4.4", False))
        self.table.put("relay.test", "A", "10.0.0.1")
        self.assertEqual(self.hops(router), [("relay.test", "10.0.0.1", 2525)])

    def test_loop(self) -> None:
        """A route to ourselves is a loop."""
        self.assertEqual(self.refused(self.router(routes={"b.test": "127.0.0.1:2525"})), ("5.4.6", True))

    def test_unreadable(self) -> None:
        """What is no host and port is refused when the server is made."""
        for text in ("relay.test", "relay.test:0", "relay.test:70000", "smtp:x:25", "::1:25", ""):
            self.assertRaises(ValueError, self.router, routes={"b.test": text})

    def test_smarthost(self) -> None:
        """A smarthost takes all that has no route; with a login TLS is required and checked."""
        secret = Path(self.mktemp())
        secret.write_text("a password\n")
        self.table.put("smart.test", "A", "192.0.2.8").put("b.test", "A", "192.0.2.1")
        hop = self.hop(self.router(smarthost=Smarthost("smart.test:587", "u", secret)))
        self.assertEqual(
            hop, Hop("smart.test", "192.0.2.8", 587, tls="required", username="u", password="a password")
        )
        self.assertEqual(self.hop(self.router(smarthost=Smarthost("smart.test:465"))).tls, "implicit")
        self.assertEqual(self.hop(self.router(smarthost=Smarthost("smart.test:25"))).tls, "opportunistic")
        self.assertEqual(self.hop(self.router(smarthost=Smarthost("smart.test"))).port, 587)
        routed = self.router(smarthost=Smarthost("smart.test"), routes={"b.test": "192.0.2.3:25"})
        self.assertEqual(self.hop(routed).address, "192.0.2.3")

    def test_smarthost_here(self) -> None:
        """A proxy on this machine may do without TLS."""
        hop = self.hop(self.router(smarthost=Smarthost("127.0.0.1:9925", "u")))
        self.assertEqual((hop.tls, hop.username), ("opportunistic", "u"))


class OwnAddressTests(SynchronousTestCase):
    def test_no_socket(self) -> None:
        """When it cannot be found out whose an address is, it counts as ours."""

        class Broken:
            AF_INET, AF_INET6, SOCK_DGRAM = socket.AF_INET, socket.AF_INET6, socket.SOCK_DGRAM

            @staticmethod
            def socket(family, kind):
                raise OSError(24, "Too many open files")

        self.patch(routes, "socket", Broken)
        self.assertTrue(routes._of_this_machine("192.0.2.1"))


class RuleTests(RouterCase):
    """`[[delivery.rules]]`: which hosts, from where, through what."""

    def by(self, domain: str = "b.test", own=(), **rule) -> tuple[Hop, ...]:
        router = self.router(own, rules=(DeliveryRule(**rule),), routes={"b.test": "192.0.2.250:25"})
        (only,) = router._delivery.rules
        return self.successResultOf(Deferred.fromCoroutine(router.hops(domain, rule=only)))

    def fault(self, **rule) -> tuple[str, bool]:
        router = self.router((), rules=(DeliveryRule(**rule),))
        (only,) = router._delivery.rules
        failure = self.failureResultOf(Deferred.fromCoroutine(router.hops("b.test", rule=only)), NotNow)
        return failure.value.status, failure.value.permanent

    def test_before_routes(self) -> None:
        """A rule goes before the routes: a host, LMTP, or the domain's own hosts."""
        self.table.put("b.test", "MX", "1 mx.b.test.").put("mx.b.test", "A", "192.0.2.1")
        self.assertEqual(self.by(to="192.0.2.9:2525"), (Hop("192.0.2.9", "192.0.2.9", 2525),))
        self.assertEqual(self.by(to="lmtp:[::1]:24"), (Hop("::1", "::1", 24, lmtp=True),))
        self.assertEqual(self.by(tls="required"), (Hop("mx.b.test", "192.0.2.1", 25, tls="required"),))

    def test_login(self) -> None:
        """A password goes only over TLS that was checked."""
        secret = Path(self.mktemp())
        secret.write_text("p\nmore\n")
        self.table.put("smart.test", "A", "192.0.2.8")
        for to, tls in (("smart.test:587", "required"), ("smart.test:465", "implicit")):
            (hop,) = self.by(to=to, username="u", password_file=secret)
            self.assertEqual((hop.tls, hop.username, hop.password), (tls, "u", "p"))
            self.assertNotIn("password='p'", repr(hop))

    def test_source(self) -> None:
        """Each family is called from its own address; a family without one is not called."""
        self.table.put("b.test", "MX", "1 mx.b.test.")
        self.table.put("mx.b.test", "A", "192.0.2.1").put("mx.b.test", "AAAA", "2001:db8::1")
        both = self.by(source=("198.51.100.1", "2001:db8::99"))
        self.assertEqual({hop.address: hop.source for hop in both}, {
            "192.0.2.1": "198.51.100.1", "2001:db8::1": "2001:db8::99",
        })  # fmt: skip
        self.assertEqual([hop.address for hop in self.by(source=("198.51.100.1",))], ["192.0.2.1"])
        self.assertEqual(self.fault(to="192.0.2.1:25", source=("2001:db8::99",)), ("4.4.4", False))

    def test_socks(self) -> None:
        """A proxy by name or address, with its login."""
        login = Path(self.mktemp())
        login.write_text("bob:a:b\n")
        self.table.put("proxy.test", "A", "10.0.0.1")
        (hop,) = self.by(to="192.0.2.1:25", socks="proxy.test:1081", socks_login_file=login)
        self.assertEqual((hop.socks, hop.socks_login), (("10.0.0.1", 1081), ("bob", "a:b")))
        (hop,) = self.by(to="192.0.2.1:25", socks="127.0.0.1:1080")
        self.assertEqual((hop.socks, hop.socks_login), (("127.0.0.1", 1080), None))
        self.assertEqual(self.fault(to="192.0.2.1:25", socks="nowhere.test:1080"), ("4.4.4", False))

    def test_bad_files(self) -> None:
        """A file with a secret that is not there, empty or of another form is refused when the server is
        made."""
        file = Path(self.mktemp())
        for text, key in (
            (None, "password_file"), ("", "password_file"), (None, "socks_login_file"),
            ("no colon", "socks_login_file"), (":x", "socks_login_file"),
        ):  # fmt: skip
            if text is not None:
                file.write_text(text)
            rule = DeliveryRule(**{key: file if text is not None else file / "none"})
            with self.assertRaisesRegex(ValueError, key):
                self.router((), rules=(rule,))

    def test_loop(self) -> None:
        """A rule to ourselves is a loop."""
        router = self.router({("127.0.0.1", 2525)}, rules=(DeliveryRule(to="127.0.0.1:2525"),))
        (only,) = router._delivery.rules
        failure = self.failureResultOf(Deferred.fromCoroutine(router.hops("b.test", rule=only)), NotNow)
        self.assertEqual(failure.value.status, "5.4.6")
