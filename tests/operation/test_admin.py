"""What an operator does, on a store in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailftp.operation.admin import Refused, perform, verifier_to_json
from mailftp.settings import Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import ForwardPath, ScramKeys, Transfer, Verifier
from mailftp.store.units import Accept
from mailftp.wire.journal import Journal

VERIFIER = Verifier("$argon2id$a", ScramKeys(b"salt", 4096, b"stored", b"server"))


class Administration(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds)
        self.successResultOf(self.store.start())
        self.settings = Settings(Path("/"), Path("/data"), domains=("a.test",))
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.journal = Journal("control")
        self.patch(Journal, "record", lambda _, event, **fields: self.logged.append((event, fields)))

    def do(self, name: str, **members: object) -> Any:
        request = {"do": name, **members}
        doing = Deferred.fromCoroutine(perform(self.store, self.settings, request, self.journal))
        return self.successResultOf(doing)

    def refused(self, name: str, **members: object) -> str:
        request = {"do": name, **members}
        doing = Deferred.fromCoroutine(perform(self.store, self.settings, request, self.journal))
        return self.failureResultOf(doing, Refused).getErrorMessage()

    def add(self, address: str, verifier: Verifier = VERIFIER) -> Any:
        return self.do("account add", address=address, verifier=verifier_to_json(verifier))

    def queue(self, *recipients: str) -> int:
        sink = self.store.stage()
        sink.write(b"Subject: x\r\n\r\nhello\r\n")
        body = self.successResultOf(sink.finish())
        transfer = Transfer("bob@a.test", tuple(ForwardPath(each) for each in recipients), context="smtp-1")
        accepted = self.successResultOf(self.store.commit(Accept(body, 0.0, (), transfer)))
        assert accepted.queued is not None
        return accepted.queued

    def test_add(self) -> None:
        """An account is kept under its full address in lower case, with the verifier as it was sent."""
        self.assertEqual(self.add("Bob")["address"], "bob@a.test")
        found = self.successResultOf(self.store.read(AccountWithVerifier("bob@a.test")))
        assert found is not None
        self.assertEqual(found[1], VERIFIER)

    def test_add_refused(self) -> None:
        """A second account of that name, another's domain and what is no address are refused in words."""
        self.add("bob@a.test")
        verifier = verifier_to_json(VERIFIER)
        for address, said in (("BOB@a.test", "there already"), ("bob@b.test", "a.test"), ("b b", "address")):
            self.assertIn(said, self.refused("account add", address=address, verifier=verifier))

    def test_several_domains(self) -> None:
        """Where there are several domains the local part alone names nobody."""
        self.settings = Settings(Path("/"), Path("/data"), domains=("a.test", "b.test"))
        self.assertIn(
            "address", self.refused("account add", address="bob", verifier=verifier_to_json(VERIFIER))
        )

    def test_list(self) -> None:
        """Accounts by address, with what they use."""
        self.add("carol")
        self.add("bob")
        listed = self.do("account list")
        self.assertEqual([account["address"] for account in listed], ["bob@a.test", "carol@a.test"])
        self.assertEqual((listed[0]["messages"], listed[0]["mail_used"]), (0, 0))

    def test_set(self) -> None:
        """Quotas and disabling; what an account does not have is refused."""
        self.add("bob")
        answer = self.do("account set", address="bob", changes={"mail_quota": 5, "disabled": True})
        self.assertEqual((answer["mail_quota"], answer["disabled"]), (5, True))
        self.assertIsNone(self.do("account set", address="bob", changes={"mail_quota": None})["mail_quota"])
        for changes in ({"colour": 1}, {"disabled": 1}, {"mail_quota": -1}, {"mail_quota": True}, []):
            self.refused("account set", address="bob", changes=changes)

    def test_password(self) -> None:
        """A new verifier takes the old one's place."""
        self.add("bob")
        other = Verifier("$argon2id$b")
        self.do("account passwd", address="bob", verifier=verifier_to_json(other))
        found = self.successResultOf(self.store.read(AccountWithVerifier("bob@a.test")))
        assert found is not None
        self.assertEqual(found[1], other)

    def test_remove(self) -> None:
        """A removed account is gone; one that is not there is named."""
        self.add("bob")
        self.do("account remove", address="bob")
        self.assertEqual(self.do("account list"), [])
        for name, more in (
            ("account remove", {}),
            ("account set", {"changes": {"disabled": True}}),
            ("account passwd", {"verifier": verifier_to_json(VERIFIER)}),
        ):
            self.assertIn("no such account: bob@a.test", self.refused(name, address="bob", **more))

    def test_queue(self) -> None:
        """Hold, release, retry and drop answer how many recipients changed, and the list shows it."""
        first, second = self.queue("x@far.test", "y@far.test"), self.queue("z@other.test")
        self.assertEqual([message["id"] for message in self.do("queue list")], [first, second])
        self.assertEqual(self.do("queue hold", ids=[first]), {"recipients": 2})
        held = self.do("queue list", states=["held"])
        self.assertEqual([message["id"] for message in held], [first])
        self.assertEqual(self.do("queue release", ids=[first]), {"recipients": 2})
        self.assertEqual(self.do("queue drop", ids=[second]), {"recipients": 1})
        self.assertEqual([message["id"] for message in self.do("queue list")], [first])
        self.assertEqual([message["id"] for message in self.do("queue list", domain="far.test")], [first])
        self.assertEqual(self.do("queue list", domain="other.test"), [])

    def test_show(self) -> None:
        """A message with its recipients and attempts."""
        number = self.queue("x@far.test")
        (message,) = self.do("queue show", ids=[number])
        self.assertEqual(message["sender"], "bob@a.test")
        self.assertEqual([recipient["address"] for recipient in message["recipients"]], ["x@far.test"])
        self.assertEqual(message["attempts"], [])

    def test_no_such_message(self) -> None:
        """Every number that is not there is named, and nothing is done to the others."""
        number = self.queue("x@far.test")
        self.assertIn("77, 78", self.refused("queue drop", ids=[78, number, 77]))
        self.assertEqual(len(self.do("queue list")), 1)

    def test_malformed(self) -> None:
        """A request that is not one is refused in words, whatever stands in it."""
        for request in (
            {"do": "account burn"},
            {"do": 7},
            {"do": "account add"},
            {"do": "account add", "address": "bob", "verifier": {"password": 7}},
            {"do": "account add", "address": "bob", "verifier": {"password": "x", "scram": {"salt": "zz"}}},
            {"do": "account add", "address": "bob", "verifier": {"password": "x", "scram": [1]}},
            {"do": "queue drop", "ids": "all"},
            {"do": "queue drop", "ids": []},
            {"do": "queue drop", "ids": [True, -1]},
            {"do": "queue list", "states": ["lost"]},
            {"do": "queue list", "limit": 10**9},
        ):
            doing = Deferred.fromCoroutine(perform(self.store, self.settings, request, self.journal))
            self.failureResultOf(doing, Refused)

    def test_log(self) -> None:
        """What changes something is a line of the log, without the verifier; what reads is none."""
        self.add("bob")
        self.do("account list")
        self.assertEqual([event for event, _ in self.logged], ["account add"])
        self.assertNotIn("argon2id", repr(self.logged))
