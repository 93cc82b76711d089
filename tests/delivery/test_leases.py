"""Several deliveries on one queue, restarts, clocks that are set, machines that sleep: nothing goes out
twice."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from mailftp.delivery import DeliveryService
from mailftp.delivery.service import LEASE_SECONDS
from mailftp.settings import Concurrency
from mailftp.store.records import Attempt, QueueRecipient, RecipientState
from mailftp.store.units import LeaseDue, Outcome, RecordOutcomes
from tests.delivery.scripted import House, Script, result

#: Far sides that hold an attempt for as long as they are let.
SILENT = Script(silent_at="MAIL")


class LeaseCase(SynchronousTestCase):
    def house(self, script: Script, *others: str, **delivery) -> House:
        """With a service a name beside its own, all running."""
        self.house_ = house = House(script, **delivery)
        self.others: list[DeliveryService] = [house.deliverer(name) for name in others]
        for service in (house.service, *self.others):
            service.startService()
        house.network.settle()
        return house

    def stop(self, *services: DeliveryService) -> None:
        for service in services:
            stopping = service.stopService()
            self.house_.network.pass_time(60)
            result(stopping)

    def end(self) -> None:
        self.stop(*self.others)
        self.house_.stop()

    def owners(self) -> set[str]:
        return {r.lease_owner for message in self.house_.queue() for r in message.recipients}


class SharedQueueTests(LeaseCase):
    def test_many_messages(self) -> None:
        """Three nodes, three hundred messages for four domains: each is sent once, and each node sends
        some."""
        house = self.house(Script(), "two.a.test", "three.a.test", concurrency=Concurrency(4, 2))
        for number in range(300):
            house.send(f"take{number}@{'bc'[number % 2]}.test")
        house.run()
        self.assertEqual(set(house.states().values()), {"delivered"})
        copies = house.far.copies + house.good.copies
        self.assertEqual(copies, Counter(f"take{number}" for number in range(300)))
        greeted = {line for line in house.far.lines + house.good.lines if line.startswith(b"EHLO")}
        self.assertEqual(greeted, {b"EHLO mx.a.test", b"EHLO two.a.test", b"EHLO three.a.test"})
        self.end()

    def test_long_attempt(self) -> None:
        """An attempt that lasts longer than a lease, at any step, stays one node's: no other begins it."""
        for step in ("banner", "EHLO", "MAIL", "DATA", "."):
            house = self.house(Script(silent_at=step), "two.a.test")
            number = house.send("bob@b.test")
            house.network.settle()
            (owner,) = self.owners()
            for _ in range(28):
                house.network.pass_time(10)
                self.assertEqual(self.owners(), {owner}, step)
            house.run()
            self.assertEqual(house.far.connections, 1, step)
            self.assertEqual([a.number for a in house.attempts(number)["bob"]], [1])
            self.end()

    def test_node_that_dies(self) -> None:
        """What a node had when it vanished is due for another one when its leases end, and not before; if it
        was only cut off, it cannot note anything of it any more."""
        house = self.house(Script())
        house.stop()
        house.send("bob@b.test")
        (had,) = result(house.store.commit(LeaseDue("two.a.test/boot", LEASE_SECONDS, 10)))
        house.service = house.deliverer()
        house.service.startService()
        house.network.pass_time(LEASE_SECONDS - 1)
        self.assertEqual((self.owners(), house.far.copies), ({"two.a.test/boot"}, {}))
        house.network.pass_time(2)
        self.assertEqual((house.states(), house.far.copies), ({"bob": "delivered"}, {"bob": 1}))
        (recipient,) = had.recipients
        late = Outcome(recipient.id, self.attempt(recipient), RecipientState.FAILED)
        self.assertEqual(result(house.store.commit(RecordOutcomes("two.a.test/boot", (late,)))), ())
        self.assertEqual(house.states(), {"bob": "delivered"})
        house.stop()

    def test_restart(self) -> None:
        """The same node after a crash has its own leases void at once, those of others not."""
        house = self.house(Script())
        house.stop()
        ours = house.send("bob@b.test")
        result(house.store.commit(LeaseDue("mx.a.test/before", 3600, 10)))
        theirs = house.send("eve@b.test")
        result(house.store.commit(LeaseDue("two.a.test/boot", 3600, 10)))
        house.service = house.deliverer()
        house.service.startService()
        house.network.settle()
        self.assertEqual(house.states(), {"bob": "delivered", "eve": "waiting"})
        self.assertEqual(house.attempts(ours)["bob"][0].number, 2)
        self.assertEqual(house.attempts(theirs), {})
        house.stop()

    def test_fence(self) -> None:
        """An outcome of an attempt that is no longer the last one changes nothing."""
        house = self.house(Script())
        house.stop()
        number = house.send("bob@b.test")
        (first,) = result(house.store.commit(LeaseDue("one/1", 10, 10)))
        house.network.advance(11)
        (second,) = result(house.store.commit(LeaseDue("one/1", 10, 10)))
        self.assertEqual([m.recipients[0].attempt for m in (first, second)], [1, 2])
        (recipient,) = first.recipients
        # The owner is the same: the number alone tells them apart.
        made = Outcome(recipient.id, self.attempt(recipient), RecipientState.FAILED)
        self.assertEqual(result(house.store.commit(RecordOutcomes("one/1", (made,)))), ())
        (recipient,) = second.recipients
        made = Outcome(recipient.id, self.attempt(recipient), RecipientState.DELIVERED)
        self.assertEqual(result(house.store.commit(RecordOutcomes("one/1", (made,)))), (recipient.id,))
        self.assertEqual(house.states(), {"bob": "delivered"})
        self.assertEqual([a.number for a in house.attempts(number)["bob"]], [2])

    def attempt(self, recipient: QueueRecipient) -> Attempt:
        return Attempt(recipient.id, recipient.attempt, 1.0, 2.0, "", "delivered", "")


class ClockTests(LeaseCase):
    """The clock of the wall is set, or stood still in a sleep, while an attempt is under way."""

    def test_sleep(self) -> None:
        """After a sleep longer than a lease we do not lease our own work again, whatever comes in
        meanwhile."""
        for seconds in (LEASE_SECONDS + 1, 3600.0, 86_400.0):
            house = self.house(SILENT)
            house.send("bob@b.test")
            house.network.settle()
            # All clocks have moved on when it wakes; the connection is still there, and mail comes in.
            house.ahead += seconds
            house.send("carol@c.test")
            house.network.settle()
            self.assertEqual(house.far.connections, 1, seconds)
            self.assertEqual(house.good.copies, {"carol": 1})
            house.far.script = Script()
            house.run()
            house.retry()
            self.assertEqual((house.far.copies, house.states()["bob"]), ({"bob": 1}, "delivered"))
            house.stop()

    def test_set_back(self) -> None:
        """A clock that is set back an hour loses and doubles nothing; the next attempt is that much later."""
        house = self.house(SILENT)
        house.send("bob@b.test")
        house.network.settle()
        house.ahead -= 3600
        house.send("carol@c.test")
        house.run()
        self.assertEqual(house.states(), {"bob": "waiting", "carol": "delivered"})
        house.far.script = Script()
        house.network.pass_time(3600)
        house.retry()
        self.assertEqual((house.far.copies, house.good.copies), ({"bob": 1}, {"carol": 1}))
        house.stop()

    def test_set_forward(self) -> None:
        """Set forward a year, what waits is tried once more before it is given up, and its sender is told."""
        house = self.house(SILENT)
        house.send("bob@b.test")
        house.run()
        self.assertEqual(house.states(), {"bob": "waiting"})
        house.ahead += 365 * 86_400
        house.far.script = Script()
        house.network.pass_time(600)
        self.assertEqual((house.states(), house.far.copies), ({"bob": "delivered"}, {"bob": 1}))
        # The connection that was kept goes; the next one is silent.
        house.network.pass_time(10)
        house.far.script = SILENT
        house.send("eve@b.test")
        house.run()
        house.ahead += 365 * 86_400
        house.network.pass_time(600)
        house.run()
        self.assertEqual((house.states()["eve"], len(house.inbox())), ("failed", 1))
        house.stop()

    def test_taken_over_in_a_sleep(self) -> None:
        """Another node took over what we held: what we have not sent we do not send, and what waits for a
        place neither."""
        house = self.house(SILENT, concurrency=Concurrency(1, 1))
        house.stop()
        house.send("bob@b.test")
        house.send("eve@b.test")
        house.service = house.deliverer()
        house.service.startService()
        house.network.settle()
        # Both are leased; one is tried.
        self.assertEqual((len(self.owners()), house.far.connections), (1, 1))
        # Nothing of ours runs while we sleep; the other one works.
        house.ahead += LEASE_SECONDS + 1
        taken = result(house.store.commit(LeaseDue("two.a.test/boot", 3600, 10)))
        self.assertEqual(len([r for m in taken for r in m.recipients]), 2)
        house.network.pass_time(50)
        self.assertEqual((self.owners(), house.network.open_connections), ({"two.a.test/boot"}, 0))
        house.far.script = Script()
        house.network.pass_time(600)
        self.assertEqual((house.far.copies, house.far.connections), ({}, 1))
        house.stop()
