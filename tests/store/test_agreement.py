"""The two engines, given the same seeded history, answer the same and end in the same state.

The plain engine is the model: it is short enough to be read against the contract.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailftp.store.engine import StoreFault
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import (
    Accounts,
    Aliases,
    Grants,
    Mailboxes,
    MailboxSince,
    MailUsage,
    NextDue,
    QueueAttempts,
    QueueList,
    Subscriptions,
)
from mailftp.store.records import NEW_ACCOUNT_MAILBOXES, Filing, Handling, QueueFilter, RecipientState
from mailftp.store.sqlite import SQLiteStore, queue
from mailftp.store.sqlite.sweeping import Sweep
from mailftp.store.units import (
    Accept,
    ActOnQueue,
    AddAccount,
    AddAlias,
    AppendMessages,
    CopyMessages,
    CreateMailbox,
    DeleteMailbox,
    Expunge,
    FlagChange,
    GrantAddress,
    LeaseDue,
    MoveMessages,
    NewMessage,
    QueueAction,
    RecordOutcomes,
    RemoveAccount,
    RemoveAlias,
    RenameMailbox,
    RenewLeases,
    RevokeAddress,
    SetAccount,
    SetRoute,
    SetSubscription,
    StoreFlags,
    VoidLeases,
)
from tests.store.messages import VERIFIER, message, outcome, staged, transfer

SEEDS = range(6)
UNITS = 160

#: Seconds: a sweep takes mail of deleted mailboxes only.
KEEP = 1e9

ADDRESSES = [f"u{n}@example.test" for n in range(4)]
ALIASES = ["a@example.test", "b@example.test", ADDRESSES[0]]
BOXES = ["INBOX", "Archive", "Lists", "Work"]
TREE = [*BOXES, "Work/a", "Work/a/b", "Lists/a"]
FLAGS = ["\\Seen", "\\Deleted", "$Forwarded", "$forwarded", "work"]
OWNERS = ["node/1", "node/2", "other/1"]
DOMAINS = ["one.test", "two.test", "three.test"]


class History:
    """Makes units by chance; the leases that were answered decide what outcomes can be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.leased: list = []
        self.makers = [
            (10, self.accept),
            (3, self.flags),
            (3, self.expunge),
            (3, self.lease),
            (4, self.outcomes),
            (2, self.act),
            (1, self.account),
            (1, self.other),
            (2, self.aliases),
            (3, self.mailboxes),
            (3, self.messages),
        ]

    def unit(self, body, now: float):
        weights, makers = zip(*self.makers, strict=True)
        return self.chance.choices(makers, weights)[0](body, now)

    def some(self, values, at_most=3):
        return tuple(self.chance.sample(list(values), self.chance.randint(0, at_most)))

    def filings(self):
        pick = self.chance.choice
        return tuple(
            Filing(
                self.chance.randint(1, 5), pick(BOXES), frozenset(self.some(FLAGS)), pick([b"", b"X: y\r\n"])
            )
            for _ in range(self.chance.randint(0, 3))
        )

    def accept(self, body, now):
        sent = None
        if self.chance.random() < 0.4:
            pick = self.chance.choice
            handling = Handling(priority=pick([0, 0, 9, -9]), hold_until=now + pick([0, 0, 60]))
            sent = transfer(*(f"a@{d}" for d in self.some(DOMAINS)), handling=handling)
        return Accept(body, now, self.filings(), sent)

    def flags(self, body, now):
        uids = self.some(range(1, 12), 6)
        change = self.chance.choice(list(FlagChange))
        # Both engines' modseqs differ by then, but not about none and about all.
        since = self.chance.choice([None, 0, 1 << 40])
        return StoreFlags(*self.box(), uids, change, frozenset(self.some(FLAGS)), since)

    def expunge(self, body, now):
        return Expunge(*self.box(), self.some(range(1, 12), 4))

    def box(self):
        """Ids of an account and a mailbox, which is mostly its own."""
        mailbox_id = self.chance.randint(1, 26)
        guess = (mailbox_id - 1) // len(NEW_ACCOUNT_MAILBOXES) + 1
        return self.chance.choice([guess, guess, guess, self.chance.randint(1, 5)]), mailbox_id

    def lease(self, body, now):
        limit, busy = self.chance.randint(1, 5), frozenset(self.some(DOMAINS, 1))
        return LeaseDue(self.chance.choice(OWNERS), 100.0, limit, busy)

    def outcomes(self, body, now):
        states = [RecipientState.WAITING, RecipientState.DELIVERED, RecipientState.FAILED]
        recipients = self.some(self.leased[-8:], min(2, len(self.leased)))
        outcomes = tuple(
            outcome(r, self.chance.choice(states), now + self.chance.choice([0, 50, 500])) for r in recipients
        )
        owner = recipients[0].lease_owner if recipients else OWNERS[0]
        return RecordOutcomes(owner, outcomes, (Accept(body, now, self.filings()),))

    def act(self, body, now):
        if self.chance.random() < 0.2:
            return SetRoute(self.chance.choice(["", "lmtp:a.test:24"]), self.some(range(1, 30), 6))
        return ActOnQueue(self.chance.choice(list(QueueAction)), self.some(range(1, 30), 6))

    def account(self, body, now):
        address = self.chance.choice(ADDRESSES)
        return self.chance.choice(
            [
                AddAccount(address, VERIFIER),
                RemoveAccount(address),
                SetAccount(address, (("mail_quota", self.chance.choice([None, 800, 3000])),)),
                SetAccount(address, (("message_quota", self.chance.choice([None, 2, 9])),)),
            ]
        )

    def other(self, body, now):
        return self.chance.choice(
            [
                CreateMailbox(self.chance.randint(1, 5), self.chance.choice(BOXES)),
                VoidLeases(self.chance.choice(OWNERS)),
                RenewLeases(self.chance.choice(OWNERS), self.some(range(1, 20)), 100.0),
            ]
        )

    def aliases(self, body, now):
        pick = self.chance.choice
        address, targets = pick(ALIASES), self.some(ALIASES + ADDRESSES)
        return pick(
            [
                AddAlias(address, targets, pick([None, True, False]), pick([None, "", ADDRESSES[0]])),
                RemoveAlias(address, targets),
                RemoveAlias(pick(ADDRESSES), targets[:1]),
                GrantAddress(address, pick(ADDRESSES)),
                RevokeAddress(address, pick(ADDRESSES)),
            ]
        )

    def mailboxes(self, body, now):
        pick = self.chance.choice
        account_id = self.chance.randint(1, 5)
        return pick(
            [
                CreateMailbox(account_id, pick(TREE), subscribe=False),
                DeleteMailbox(account_id, pick(TREE)),
                RenameMailbox(account_id, pick(TREE), pick(TREE)),
                SetSubscription(account_id, pick(TREE), pick([True, False])),
            ]
        )

    def messages(self, body, now):
        pick = self.chance.choice
        account_id, mailbox_id = self.chance.randint(1, 5), self.chance.randint(1, 26)
        uids = self.some(range(1, 12), 6)
        new = NewMessage(body, now - 5, frozenset(self.some(FLAGS)))
        return pick(
            [
                CopyMessages(account_id, mailbox_id, uids, pick(TREE)),
                MoveMessages(account_id, mailbox_id, uids, pick(TREE)),
                AppendMessages(account_id, pick(TREE), (new,) * self.chance.randint(1, 3)),
                AppendMessages(account_id, pick(TREE), (new,), (mailbox_id, self.chance.randint(1, 4))),
            ]
        )


class Agreement(TestCase):
    async def setUp(self):
        # So that a short queue too is walked from destination to destination.
        self.patch(queue, "_SCAN", 2)
        self.clock = Clock()
        self.clock.advance(1_700_000_000)

    async def open_stores(self):
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        sqlite = SQLiteStore(folder / "mail.sqlite", folder / "blobs", reactor, self.clock, 5000)
        self.addCleanup(sqlite.stop)
        stores = (MemoryStore(self.clock.seconds, 5000), sqlite)
        for store in stores:
            await store.start()
            for address in ADDRESSES:
                await store.commit(AddAccount(address, VERIFIER))
        return stores

    async def test_same_history_same_answers(self):
        """Every unit gets the same answer or the same refusal from both, and all that can be read at the end
        is the same but for the numbers of bodies and the gaps between modseqs."""
        for seed in SEEDS:
            stores = await self.open_stores()
            history = History(seed)
            for number in range(UNITS):
                self.clock.advance(history.chance.choice([0, 1, 40]))
                about = history.chance.randint(1, 30)
                text = message("re: x" if about % 2 else "x", f"{about}@x", f"{about // 2}@x")
                bodies = [await staged(store, text) for store in stores]
                unit = history.unit(bodies[0], self.clock.seconds())
                answers = [await self.answer(store, unit) for store in stores]
                self.assertEqual(answers[0], answers[1], (seed, number, unit))
                if isinstance(unit, LeaseDue):
                    history.leased += [r for m in answers[0] for r in m.recipients]
            self.assertEqual(await self.everything(stores[0]), await self.everything(stores[1]), seed)

    async def answer(self, store, unit):
        try:
            answer = await store.commit(unit)
        except StoreFault as fault:
            return type(fault), getattr(fault, "account_ids", None)
        if isinstance(unit, StoreFlags):
            return answer.modseq > 0, answer.refused
        if isinstance(unit, LeaseDue):
            return tuple(self.without_body(m) for m in answer)
        if isinstance(unit, DeleteMailbox) and isinstance(store, SQLiteStore):
            # At once, as the plain engine does it: threads end with their last message.
            while await store.commit(Sweep(KEEP, KEEP, store._blobs, 0)):
                pass
        if isinstance(unit, CreateMailbox | DeleteMailbox):
            return replace(answer, modseq=0)
        if isinstance(unit, RenameMailbox):
            return tuple(replace(mailbox, modseq=0) for mailbox in answer)
        return answer

    def without_body(self, holder):
        return replace(holder, body=replace(holder.body, id=0))

    async def everything(self, store):
        accounts = await store.read(Accounts())
        everywhere = QueueFilter(states=frozenset(RecipientState))
        queued = await store.read(QueueList(everywhere))
        found = [
            accounts,
            tuple(self.without_body(m) for m in queued),
            [await store.read(QueueAttempts(m.id)) for m in queued],
            await store.read(NextDue()),
            await store.read(Aliases()),
            await store.read(Grants()),
        ]
        for account in accounts:
            boxes = await store.read(Mailboxes(account.id))
            states = [await store.read(MailboxSince(account.id, box.name)) for box in boxes]
            gone = [(await store.read(MailboxSince(account.id, box.name, 1))).vanished for box in boxes]
            numbers = sorted({m.modseq for s in states for m in s.messages} | {b.modseq for b in boxes})
            rank = {modseq: place for place, modseq in enumerate(numbers)}
            found.append(
                [
                    await store.read(MailUsage(account.id)),
                    await store.read(Subscriptions(account.id)),
                    [replace(box, modseq=rank[box.modseq]) for box in boxes],
                    [
                        [replace(self.without_body(m), modseq=rank[m.modseq]) for m in s.messages]
                        for s in states
                    ],
                    gone,
                ]
            )
        return found
