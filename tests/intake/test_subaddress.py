"""Addresses with a detail of the sender's choice: "bob+shop@example.test"."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from mailftp.intake.intake import Intake, Refused
from mailftp.message.address import Address, parse_address
from mailftp.settings import Addresses
from tests.intake.houses import NOW, HouseTestCase


class SubaddressTests(HouseTestCase):
    def separated_by(self, separator: str) -> None:
        settings = replace(self.settings, addresses=Addresses(separator))
        self.intake = Intake(settings, self.store, now=lambda: NOW)

    def owner(self, address: str | Address) -> int | None:
        """The account that it leads to; twice, from the store and from what is remembered."""
        owners = set()
        for _ in range(2):
            asked = parse_address(address) if isinstance(address, str) else address
            found = self.intake.recipient(self.origin(), asked)
            recipient = self.successResultOf(found) if isinstance(found, Deferred) else found
            self.assertEqual(recipient.address, asked)
            owners.add(recipient.account_id)
        self.assertEqual(len(owners), 1)
        return owners.pop()

    def refused(self, address: str) -> str:
        try:
            found = self.intake.recipient(self.origin(), parse_address(address))
            assert isinstance(found, Deferred)
            return self.failureResultOf(found, Refused).value.status
        except Refused as refused:
            return refused.status

    def test_detail(self) -> None:
        """It is the account's before the first separator, in any case, and an empty detail is one."""
        for address in ("bob+shop@example.test", "BOB+a+b@example.test", "bob+@example.test"):
            self.assertEqual(self.owner(address), self.bob.id, address)

    def test_account_of_the_whole_name(self) -> None:
        """It comes before the account without the detail."""
        whole = self.add("bob+shop@example.test")
        self.assertEqual(self.owner("bob+shop@example.test"), whole.id)
        self.assertEqual(self.owner("bob+shops@example.test"), self.bob.id)

    def test_nobody(self) -> None:
        """A detail makes nobody somebody, nor a separator at the beginning, nor at another domain."""
        for address in ("nobody+bob@example.test", "+bob@example.test", "bob+x@second.test"):
            self.assertEqual(self.refused(address), "5.1.1", address)
        self.assertEqual(self.refused("carol+x@example.test"), "5.2.1")
        self.assertEqual(self.refused("bob+x@far.test"), "5.7.1")

    def test_postmaster(self) -> None:
        """The postmaster too has details."""
        self.assertEqual(self.owner("postmaster+abuse@example.test"), self.alice.id)

    def test_separator(self) -> None:
        """Another character, or none."""
        self.separated_by("-")
        self.assertEqual(self.owner("bob-shop@example.test"), self.bob.id)
        self.assertEqual(self.refused("bob+shop@example.test"), "5.1.1")
        self.separated_by("")
        self.assertEqual(self.refused("bob+shop@example.test"), "5.1.1")

    def test_account_made_later(self) -> None:
        """What is remembered of a detail gives way to an account of that name."""
        self.assertEqual(self.owner("bob+new@example.test"), self.bob.id)
        new = self.add("bob+new@example.test")
        self.assertEqual(self.owner("bob+new@example.test"), new.id)

    def test_filed(self) -> None:
        """The copy says for which address it came, which is what filters go by."""
        self.successResultOf(self.deliver(b"Subject: x\r\n\r\nx\r\n", "bob+shop@example.test"))
        (message,) = self.inbox(self.bob)
        self.assertIn(b"Delivered-To: bob+shop@example.test\r\n", message)
