"""Where mail goes: the rules of RFC 5321 section 5.1 and RFC 7505, against a resolver of plain values."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.mail import MailHost, NullMX, host_addresses, mail_hosts
from mailftp.dns.resolver import NoSuchData, NoSuchName, Unresolved
from tests.dns.table import Table


class MailHostTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table()

    def hosts(self, domain: str = "a.test", seed: int = 1) -> list[tuple[int, str, tuple[str, ...]]]:
        found = self.successResultOf(mail_hosts(self.table, domain, random.Random(seed)))
        return [(host.preference, host.name, host.addresses) for host in found]

    def fault(self, domain: str = "a.test") -> Exception:
        return self.failureResultOf(mail_hosts(self.table, domain)).value

    def test_preferences(self) -> None:
        """Hosts come by preference, each with its IPv6 and IPv4 addresses."""
        self.table.put("a.test", "MX", "20 two.test.", "5 One.test.").put("one.test", "A", "192.0.2.1")
        self.table.put("two.test", "A", "192.0.2.2").put("two.test", "AAAA", "2001:db8::2")
        self.assertEqual(
            self.hosts(), [(5, "one.test", ("192.0.2.1",)), (20, "two.test", ("2001:db8::2", "192.0.2.2"))]
        )

    def test_equal_preferences(self) -> None:
        """Equal preferences are shuffled; the order of different ones stays."""
        self.table.put("a.test", "MX", *(f"5 n{n}.test." for n in range(4)), "1 first.test.", "9 last.test.")
        for name in ("first", "last", *(f"n{n}" for n in range(4))):
            self.table.put(f"{name}.test", "A", "192.0.2.1")
        orders = {tuple(name for _, name, _ in self.hosts(seed=seed)) for seed in range(20)}
        self.assertGreater(len(orders), 5)
        self.assertEqual({(order[0], order[-1]) for order in orders}, {("first.test", "last.test")})

    def test_implicit(self) -> None:
        """Without an MX record the domain's own address takes its mail."""
        self.table.put("a.test", "A", "192.0.2.1")
        self.assertEqual(
            self.successResultOf(mail_hosts(self.table, "a.test")),
            (MailHost("a.test", ("192.0.2.1",), 0, implicit=True),),
        )

    def test_no_implicit_when_mx_fails(self) -> None:
        """A failed MX lookup is not the same as no MX record: mail must not go to the web server."""
        self.table.put("a.test", "A", "192.0.2.1").put("a.test", "MX", Unresolved("SERVFAIL"))
        self.assertIsInstance(self.fault(), Unresolved)

    def test_nothing_there(self) -> None:
        """A name with neither MX nor address cannot get mail; one that does not exist neither."""
        self.table.put("a.test", "TXT", "x")
        self.assertIsInstance(self.fault(), NoSuchData)
        self.assertIsInstance(self.fault("b.test"), NoSuchName)

    def test_null_mx(self) -> None:
        """A single MX of "." says that the domain takes no mail, whatever addresses it has (RFC 7505)."""
        self.table.put("a.test", "MX", "0 .").put("a.test", "A", "192.0.2.1")
        self.assertIsInstance(self.fault(), NullMX)
        self.assertNotIn(("a.test", "A"), self.table.asked)

    def test_null_mx_beside_others(self) -> None:
        """A "." beside others is passed over."""
        self.table.put("a.test", "MX", "0 .", "5 one.test.").put("one.test", "A", "192.0.2.1")
        self.assertEqual(self.hosts(), [(5, "one.test", ("192.0.2.1",))])

    def test_address_for_a_name(self) -> None:
        """An address in the place of a host's name is refused and never looked up."""
        self.table.put("a.test", "MX", "5 192.0.2.1.")
        self.assertIsInstance(self.fault(), NoSuchData)
        self.table.put("a.test", "MX", "5 192.0.2.1.", "9 one.test.").put("one.test", "A", "192.0.2.2")
        self.assertEqual(self.hosts(), [(9, "one.test", ("192.0.2.2",))])
        self.assertNotIn(("192.0.2.1", "A"), self.table.asked)

    def test_one_host_has_no_address(self) -> None:
        """A host without an address keeps its place, without one."""
        self.table.put("a.test", "MX", "5 gone.test.", "9 one.test.").put("one.test", "A", "192.0.2.2")
        self.assertEqual(self.hosts(), [(5, "gone.test", ()), (9, "one.test", ("192.0.2.2",))])

    def test_no_host_has_an_address(self) -> None:
        """No address anywhere is final, unless one of the hosts just could not be asked for."""
        self.table.put("a.test", "MX", "5 gone.test.", "9 two.test.")
        self.assertIsInstance(self.fault(), NoSuchData)
        self.table.put("two.test", "A", Unresolved("timeout"))
        self.assertIsInstance(self.fault(), Unresolved)

    def test_half_an_answer(self) -> None:
        """One address family that cannot be asked for does not hide the other, nor make its absence final."""
        self.table.put("one.test", "AAAA", Unresolved("timeout")).put("one.test", "A", "192.0.2.1")
        self.table.put("two.test", "AAAA", Unresolved("timeout"))
        self.assertEqual(self.successResultOf(host_addresses(self.table, "one.test")), ("192.0.2.1",))
        self.failureResultOf(host_addresses(self.table, "two.test"), Unresolved)

    def test_many(self) -> None:
        """Sixteen hosts and eight addresses of each kind are enough."""
        self.table.put("a.test", "MX", *(f"{n} n{n}.test." for n in range(200)))
        for n in range(200):
            self.table.put(f"n{n}.test", "A", *(f"192.0.2.{m}" for m in range(100)))
        found = self.hosts()
        self.assertEqual((len(found), {len(addresses) for _, _, addresses in found}), (16, {8}))
        self.assertEqual([preference for preference, _, _ in found], list(range(16)))

    def test_literals(self) -> None:
        """An address literal is its own host, and nobody is asked."""
        self.assertEqual(self.hosts("[192.0.2.1]"), [(0, "[192.0.2.1]", ("192.0.2.1",))])
        self.assertEqual(self.hosts("[IPv6:2001:DB8::1]"), [(0, "[IPv6:2001:DB8::1]", ("2001:db8::1",))])
        self.assertIsInstance(self.fault("[what]"), NoSuchName)
        self.assertEqual(self.table.asked, [])
