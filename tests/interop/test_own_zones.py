"""The main job where the only DNS is the two servers' own: each answers for its zones and asks the other."""

from __future__ import annotations

import re

from tests.interop.running import RunningServer
from tests.interop.test_main_job import TwoServers


class NamedServer(RunningServer):
    services = (*RunningServer.services, "dns")

    @property
    def reverse(self) -> str:
        return ".".join(reversed(self.address.split("."))) + ".in-addr.arpa"

    @property
    def resolver(self) -> str:
        return f"{self.address}:{self.ports['dns']}"


class OwnZonesTests(TwoServers):
    def setUp(self) -> None:
        self.a = NamedServer(self, "a.test", "127.0.0.1")
        self.b = NamedServer(self, "b.test", "127.0.0.2")
        for here, there in ((self.a, self.b), (self.b, self.a)):
            here.configure(
                f'[dns]\nservers = ["{here.resolver}"]\nzones = ["{here.domain}", "{here.reverse}"]\n'
                f'forward."{there.domain}" = "{there.resolver}"\n'
                f'forward."{there.reverse}" = "{there.resolver}"\n'
                f'[delivery]\nport = {there.ports["smtp"]}\nretry = ["1s", "1h"]\n'
            )
        self.alice = self.a.add_account("alice", "wonder land")
        self.bob = self.b.add_account("bob", "hungry")
        self.a.start()
        self.b.start()

    def test_mail_goes_both_ways(self) -> None:
        """By MX, A and PTR of the zones; what cannot be delivered comes back."""
        message = b"From: alice@a.test\r\nTo: bob@b.test\r\nSubject: lunch?\r\n\r\nAt one.\r\n"
        self.submit(message)
        self.a.wait_for("delivered")
        [got] = self.maildrop(self.b, "bob", "hungry")
        self.arrived(got, message)
        self.submit(message, to="nobody@b.test", name="to nobody")
        self.a.wait_for("bounced")
        [report] = self.maildrop(self.a, "alice", "wonder land")
        self.assertIn(b"nobody@b.test", report)

    def test_check(self) -> None:
        """`mailftp dns check`, asked of the other server's forwarded view and of its own."""
        for server in (self.a, self.b):
            done = server.cli("dns", "check")
            said = done.stdout.decode()
            self.assertIn(f"  right    {server.domain} MX: ", said)
            self.assertIn(f"  right    {server.reverse} PTR: ", said)
            self.assertIsNone(re.search(r"(?m)^  (?!right)\S+ (?!.*mail works without)", said), said)
