"""SPF with a resolver of plain values: what its answers, faults and silence come to."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.dns.resolver import Answer, Unresolved
from mailftp.origin.lookups import TOTAL_SECONDS, answer_check
from mailftp.origin.spf import Verdict, check_host
from tests.dns.table import Table


class Silent(Table):
    """Never answers for names that are not in the table."""

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        return super().lookup(name, kind) if (name, kind) in self.entries else Deferred()


class LookupTests(SynchronousTestCase):
    def start(self, table: Table, address: str = "192.0.2.1") -> Deferred[Verdict]:
        self.clock = Clock()
        check = check_host(ip_address(address), "a@e.test", "h.test")
        return Deferred.fromCoroutine(answer_check(check, table, self.clock))

    def result(self, table: Table, address: str = "192.0.2.1") -> str:
        return self.successResultOf(self.start(table, address)).result

    def test_records(self) -> None:
        """Strings of a TXT are one text; MX hosts are asked in order, until one has the address."""
        table = (
            Table().put("e.test", "TXT", '"v=spf1 m" "x -all"').put("e.test", "MX", "9 b.test.", "1 a.test.")
        )
        table.put("a.test", "A", "192.0.2.1").put("b.test", "A", "192.0.2.2")
        self.assertEqual(self.result(table), "pass")
        self.assertEqual(table.asked[2:], [("a.test", "A")])
        self.assertEqual(self.result(table, "192.0.2.3"), "fail")

    def test_names_of_the_client(self) -> None:
        table = Table().put("e.test", "TXT", '"v=spf1 ptr -all"').put("host.e.test", "A", "192.0.2.1")
        table.put("1.2.0.192.in-addr.arpa", "PTR", "host.e.test.")
        self.assertEqual(self.result(table), "pass")

    def test_nothing_there(self) -> None:
        self.assertEqual(self.result(Table()), "none")
        self.assertEqual(self.result(Table().put("e.test", "A", "192.0.2.1")), "none")

    def test_faults(self) -> None:
        self.assertEqual(self.result(Table().put("e.test", "TXT", Unresolved("SERVFAIL"))), "temperror")
        table = Table().put("e.test", "TXT", '"v=spf1 a -all"').put("e.test", "A", Unresolved("SERVFAIL"))
        self.assertEqual(self.result(table), "temperror")

    def test_total_time(self) -> None:
        """A resolver that is silent costs one check its total time and no more, however many terms ask."""
        running = self.start(Silent().put("e.test", "TXT", '"v=spf1 a mx ptr exists:x.test -all"'))
        self.assertNoResult(running)
        self.clock.advance(TOTAL_SECONDS - 1)
        self.assertNoResult(running)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(running).result, "temperror")
