"""Emails with all their places, threads, counts, and what has changed: mixed with Conformance."""

from __future__ import annotations

import random

from mailftp.store.email_listing import MailCounts
from mailftp.store.email_units import (
    OBJECT_OCTETS,
    EmailPatch,
    FlagsPatch,
    MailboxHasChild,
    MailboxHasEmail,
    MailboxPatch,
    PutEmail,
    PutMailbox,
    RemoveMailbox,
    RoleTaken,
    SetEmails,
    SetObjects,
    StateMismatch,
)
from mailftp.store.emails import (
    CountMailboxes,
    EmailsById,
    EmailsSince,
    ListEmails,
    MailboxesSince,
    Objects,
    ObjectsSince,
    ThreadsById,
    ThreadsSince,
)
from mailftp.store.engine import (
    LimitReached,
    MailboxExists,
    MailboxRefused,
    NoSuchAccount,
    NoSuchMailbox,
    OverQuota,
    StoreFault,
)
from mailftp.store.names import TOMBSTONES_AGE
from mailftp.store.queries import Mailboxes
from mailftp.store.records import Filing
from mailftp.store.units import (
    CopyMessages,
    CreateMailbox,
    DeleteMailbox,
    Expunge,
    FlagChange,
    MoveMessages,
    NewMessage,
    RenameMailbox,
    SetAccount,
    SetSubscription,
    StoreFlags,
)
from tests.store.messages import message, staged

OTHERS = ["copy", "move", "expunge", "box", "sweep", "set", "set", "put", "put"]
SEEN, DELETED, FLAGGED = frozenset({"\\Seen"}), frozenset({"\\Deleted"}), frozenset({"\\Flagged"})
BOXES = ["INBOX", "Archive", "Trash", "Work", "Work/a", "Work/a/b", "Lists"]


class Client:
    """What a JMAP client keeps: what it was told was created, changed or destroyed, and nothing else."""

    def __init__(self, store, account_id):
        self.store, self.account_id = store, account_id
        self.states = [0, 0, 0]
        self.emails, self.threads, self.mailboxes = {}, {}, {}

    async def learn(self, number, query, kept):
        """The ids of `kept` that are to be fetched."""
        changed = await self.store.read(query(self.account_id, self.states[number]))
        self.states[number] = changed.modseq
        lists = [set(dated.ids) for dated in (changed.created, changed.updated, changed.destroyed)]
        assert len(set().union(*lists)) == sum(map(len, lists)), "an id is in two lists"
        for dated in (changed.created, changed.updated, changed.destroyed):
            assert list(dated.modseqs) == sorted(dated.modseqs)
            assert all(at <= changed.modseq for at in dated.modseqs)
        # One that was hidden meanwhile and is shown again is created, though the client knows it.
        # What a client does not know it need not look at.
        for gone in lists[2]:
            kept.pop(gone, None)
        return tuple(lists[0] | (lists[1] & kept.keys())), changed.properties | lists[0]

    async def sync(self):
        ids, _ = await self.learn(0, EmailsSince, self.emails)
        for email in (await self.store.read(EmailsById(self.account_id, ids))).emails:
            self.emails[email.id] = (email.thread_id, email.mailbox_ids, email.flags, email.size)
        ids, _ = await self.learn(1, ThreadsSince, self.threads)
        self.threads.update((await self.store.read(ThreadsById(self.account_id, ids))).threads)
        ids, whole = await self.learn(2, MailboxesSince, self.mailboxes)
        for each in (await self.store.read(CountMailboxes(self.account_id))).mailboxes:
            if each.mailbox.id in ids:
                known = self.mailboxes.get(each.mailbox.id)
                properties = properties_of(each) if each.mailbox.id in whole else known[0]
                self.mailboxes[each.mailbox.id] = properties, each.counts


def properties_of(each):
    return each.parent_id, each.own_name, each.role, each.mailbox.subscribed, each.mailbox.sort_order


class Emailing:
    async def listing(self):
        return await self.store.read(ListEmails(self.alice.id))

    async def emails(self, *ids, account=None):
        found = await self.store.read(EmailsById((account or self.alice).id, ids))
        return found.emails

    async def counts(self):
        found = await self.store.read(CountMailboxes(self.alice.id))
        return {each.mailbox.name: each for each in found.mailboxes}

    async def changed(self, query, since):
        found = await self.store.read(query(self.alice.id, since))
        return [list(dated.ids) for dated in (found.created, found.updated, found.destroyed)]

    async def test_email_in_two_mailboxes(self):
        """An Email has all its places; its flags are those of any place, but \\Seen only where all have
        it."""
        await self.accept(
            message(),
            Filing(self.alice.id, flags=SEEN | FLAGGED),
            Filing(self.alice.id, "Archive", flags=frozenset({"$work"})),
            Filing(self.bob.id),
        )
        (uid,) = (await self.listing()).uids
        (email,) = await self.emails(uid, uid, 999)
        boxes = {m.id: m.name for m in await self.store.read(Mailboxes(self.alice.id))}
        self.assertEqual([boxes[place.mailbox_id] for place in email.places], ["INBOX", "Archive"])
        self.assertEqual(email.flags, {"\\Flagged", "$work"})
        self.assertEqual(email.size, len(message()))
        inbox, archive = email.places
        await self.store.commit(
            StoreFlags(self.alice.id, archive.mailbox_id, (archive.uid,), FlagChange.ADD, SEEN)
        )
        (email,) = await self.emails(uid)
        self.assertIn("\\Seen", email.flags)
        self.assertEqual(await self.emails(uid, account=self.bob), ())
        await self.store.commit(
            StoreFlags(self.alice.id, inbox.mailbox_id, (inbox.uid,), FlagChange.ADD, DELETED)
        )
        (email,) = await self.emails(uid)
        self.assertEqual((email.mailbox_ids, email.flags), ((archive.mailbox_id,), {"$work", "\\Seen"}))
        await self.store.commit(Expunge(self.alice.id, archive.mailbox_id, (archive.uid,)))
        self.assertEqual(await self.emails(uid), ())
        self.assertEqual(list((await self.listing()).uids), [])

    async def test_no_such_account(self):
        for query in (EmailsById(99, (1,)), ThreadsById(99, (1,)), ListEmails(99), CountMailboxes(99)):
            await self.assertFailure(self.store.read(query), NoSuchAccount)
        for query in (EmailsSince, ThreadsSince, MailboxesSince):
            await self.assertFailure(self.store.read(query(99, 0)), NoSuchAccount)

    async def test_threads(self):
        """A thread's Emails are in the order in which they were received; one that JMAP does not see is not
        in it, nor are another account's."""
        for name, ago in (("a", 50), ("b", 100), ("c", 0)):
            self.clock.advance(100 - ago)
            await self.accept(message(message_id=f"{name}@x", references="a@x"), Filing(self.alice.id))
        await self.accept(message(message_id="z@x", references="a@x"), Filing(self.bob.id))
        listing = await self.listing()
        (thread_id,) = set(listing.thread_ids)
        found = await self.store.read(ThreadsById(self.alice.id, (thread_id, thread_id, 999)))
        order = sorted(zip(listing.received, listing.uids, strict=True))
        self.assertEqual(found.threads, {thread_id: tuple(uid for _, uid in order)})
        self.assertEqual(found.modseq, listing.modseq)
        (email,) = await self.emails(order[1][1])
        (place,) = email.places
        await self.store.commit(
            StoreFlags(self.alice.id, place.mailbox_id, (place.uid,), FlagChange.ADD, DELETED)
        )
        found = await self.store.read(ThreadsById(self.alice.id, (thread_id,)))
        self.assertEqual(found.threads, {thread_id: (order[0][1], order[2][1])})
        found = await self.store.read(ThreadsById(self.bob.id, (thread_id,)))
        self.assertEqual(found.threads, {})

    async def test_counts(self):
        """RFC 8621 section 2: Emails and threads of a mailbox; one Email in the trash and nowhere else makes
        a thread unread there alone, one in another mailbox makes it unread in all but the trash."""
        await self.accept(message(message_id="a@x"), Filing(self.alice.id, flags=SEEN))
        await self.accept(message(message_id="b@x", references="a@x"), Filing(self.alice.id, "Trash"))
        counts = await self.counts()
        self.assertEqual(counts["INBOX"].counts, MailCounts(1, 0, 1, 0))
        self.assertEqual(counts["Trash"].counts, MailCounts(1, 1, 1, 1))
        self.assertEqual(counts["Archive"].counts, MailCounts())
        await self.accept(message(message_id="c@x", references="a@x"), Filing(self.alice.id, "Archive"))
        draft = frozenset({"\\Draft"})
        await self.accept(message("other"), Filing(self.alice.id, "Drafts", flags=draft))
        counts = await self.counts()
        self.assertEqual(counts["INBOX"].counts, MailCounts(1, 0, 1, 1))
        self.assertEqual(counts["Archive"].counts, MailCounts(1, 1, 1, 1))
        self.assertEqual(counts["Trash"].counts, MailCounts(1, 1, 1, 1))
        self.assertEqual(counts["Drafts"].counts, MailCounts(1, 0, 1, 0))
        # Read in the trash: the thread is not unread there, though one of its Emails elsewhere is.
        uid = next(u for u, w in zip(*await self.where(), strict=True) if "Trash" in w)
        (email,) = await self.emails(uid)
        await self.store.commit(
            StoreFlags(self.alice.id, email.places[0].mailbox_id, (1,), FlagChange.ADD, SEEN)
        )
        self.assertEqual((await self.counts())["Trash"].counts, MailCounts(1, 0, 1, 0))

    async def where(self):
        """Email ids, and the names of their mailboxes."""
        listing = await self.listing()
        names = {m.id: m.name for m in await self.store.read(Mailboxes(self.alice.id))}
        sets = [[names[each] for each in mailboxes] for mailboxes in listing.mailbox_sets]
        return list(listing.uids), [sets[number] for number in listing.mailbox_numbers]

    async def test_tree(self):
        """A mailbox's parent is the nearest name above that is one; a use that is there twice is one role."""
        for name in ("Work/a", "Work/a/b/c"):
            await self.store.commit(CreateMailbox(self.alice.id, name))
        await self.store.commit(CreateMailbox(self.alice.id, "Sent 2", special_use="\\Sent"))
        counts = await self.counts()
        ids = {name: each.mailbox.id for name, each in counts.items()}
        work = counts["Work/a"]
        self.assertEqual((work.parent_id, work.own_name), (0, "Work/a"))
        deep = counts["Work/a/b/c"]
        self.assertEqual((deep.parent_id, deep.own_name), (ids["Work/a"], "b/c"))
        self.assertEqual({each.role for each in counts.values()}, {*ROLES, ""})
        self.assertEqual((counts["Sent"].role, counts["Sent 2"].role), ("sent", ""))
        since = (await self.listing()).modseq
        await self.store.commit(CreateMailbox(self.alice.id, "Work"))
        made = (await self.counts())["Work"].mailbox.id
        found = await self.store.read(MailboxesSince(self.alice.id, since))
        self.assertEqual(list(found.created.ids), [made])
        # Beneath another mailbox now.
        self.assertIn(ids["Work/a"], found.properties)
        self.assertEqual((await self.counts())["Work/a"].parent_id, made)

    async def test_changes(self):
        """What came, changed and went, each in one list; what came and went meanwhile in none."""
        await self.accept(message("one"), Filing(self.alice.id))
        await self.accept(message("two"), Filing(self.alice.id))
        one, two = (await self.listing()).uids
        since = (await self.listing()).modseq
        self.assertEqual(await self.changed(EmailsSince, since), [[], [], []])
        await self.accept(message("three"), Filing(self.alice.id))
        await self.accept(message("four"), Filing(self.alice.id))
        three, four = (await self.listing()).uids[2:]
        inbox = (await self.counts())["INBOX"].mailbox.id
        await self.store.commit(StoreFlags(self.alice.id, inbox, (2, 3), FlagChange.ADD, SEEN))
        await self.store.commit(Expunge(self.alice.id, inbox, (1, 4)))
        for query in (EmailsSince, ThreadsSince):
            updated = [two] if query is EmailsSince else []
            self.assertEqual(await self.changed(query, since), [[three], updated, [one]])
        found = await self.store.read(MailboxesSince(self.alice.id, since))
        self.assertEqual((list(found.updated.ids), found.properties), ([inbox], frozenset()))
        self.assertEqual(await self.changed(EmailsSince, 0), [[two, three], [], []])
        await self.assertNoneSince((await self.listing()).modseq + 1)

    async def assertNoneSince(self, since):
        for query in (EmailsSince, ThreadsSince, MailboxesSince):
            self.assertIsNone(await self.store.read(query(self.alice.id, since)))

    async def test_left_one_mailbox(self):
        """An Email that is taken from one of its mailboxes has changed."""
        await self.accept(message(), Filing(self.alice.id), Filing(self.alice.id, "Archive"))
        listing = await self.listing()
        inbox = (await self.counts())["INBOX"].mailbox.id
        await self.store.commit(Expunge(self.alice.id, inbox, (1,)))
        self.assertEqual(await self.changed(EmailsSince, listing.modseq), [[], list(listing.uids), []])

    async def test_hidden_and_shown(self):
        """\\Deleted in all places is the end of an Email for JMAP; it comes into being when that is taken
        back."""
        await self.accept(message(), Filing(self.alice.id))
        listing = await self.listing()
        (uid,) = listing.uids
        inbox = (await self.counts())["INBOX"].mailbox.id
        await self.store.commit(StoreFlags(self.alice.id, inbox, (1,), FlagChange.ADD, DELETED))
        self.assertEqual(await self.changed(EmailsSince, listing.modseq), [[], [], [uid]])
        self.assertEqual((await self.counts())["INBOX"].counts, MailCounts())
        modseq = (await self.listing()).modseq
        await self.store.commit(StoreFlags(self.alice.id, inbox, (1,), FlagChange.REMOVE, DELETED))
        self.assertEqual(await self.changed(EmailsSince, modseq), [[uid], [], []])
        self.assertEqual(list((await self.listing()).uids), [uid])

    async def test_mailbox_removed_piece_by_piece(self):
        """The Emails of a mailbox that is deleted are destroyed at once, before their rows are removed."""
        for subject in "abc":
            await self.accept(message(subject), Filing(self.alice.id, "Work"))
        await self.accept(message("d"), Filing(self.alice.id, "Work"), Filing(self.alice.id))
        listing = await self.listing()
        work = (await self.counts())["Work"].mailbox.id
        await self.store.commit(DeleteMailbox(self.alice.id, "Work"))
        for _ in range(2):
            changed = await self.changed(EmailsSince, listing.modseq)
            self.assertEqual(changed, [[], list(listing.uids[3:]), list(listing.uids[:3])])
            self.assertEqual(list((await self.listing()).uids), list(listing.uids[3:]))
            found = await self.store.read(MailboxesSince(self.alice.id, listing.modseq))
            self.assertEqual(list(found.destroyed.ids), [work])
            await self.sweep()

    async def test_forgotten(self):
        """What is gone is remembered for a time; who was away for longer starts afresh."""
        await self.accept(message(), Filing(self.alice.id))
        first = (await self.listing()).modseq
        inbox = (await self.counts())["INBOX"].mailbox.id
        await self.store.commit(Expunge(self.alice.id, inbox, (1,)))
        last = (await self.listing()).modseq
        self.clock.advance(TOMBSTONES_AGE)
        await self.sweep()
        await self.assertNoneSince(first)
        self.assertEqual(await self.changed(EmailsSince, last), [[], [], []])

    async def set(self, *patches, **fields):
        return await self.store.commit(SetEmails(self.alice.id, patches, **fields))

    async def test_set_emails(self):
        """Mailboxes and flags change together, each Email as a whole; IMAP sees it by a modseq."""
        await self.accept(message("one"), Filing(self.alice.id, flags=frozenset({"$Work"})))
        await self.accept(message("two"), Filing(self.alice.id))
        listing = await self.listing()
        one, two = listing.uids
        boxes = {m.name: m.id for m in await self.store.read(Mailboxes(self.alice.id))}
        inbox, archive, trash = boxes["INBOX"], boxes["Archive"], boxes["Trash"]
        answer = await self.set(
            EmailPatch(one, MailboxPatch(frozenset({archive, trash}), frozenset({inbox}))),
            EmailPatch(two, None, FlagsPatch(SEEN | FLAGGED)),
            EmailPatch(999, None, FlagsPatch(SEEN)),
            state=listing.modseq,
        )
        self.assertEqual((answer.before, answer.faults), (listing.modseq, {999: "notFound"}))
        self.assertEqual(answer.modseq, (await self.listing()).modseq)
        first, second = await self.emails(one, two)
        self.assertEqual(
            (first.mailbox_ids, first.flags),
            ((trash, archive) if trash < archive else (archive, trash), {"$Work"}),
        )
        self.assertEqual((second.mailbox_ids, second.flags), ((inbox,), SEEN | FLAGGED))
        self.assertEqual(await self.changed(EmailsSince, listing.modseq), [[], [two, one], []])
        seen = await self.mailbox(self.alice, "INBOX", listing.modseq)
        self.assertEqual((seen.vanished, [m.uid for m in seen.messages]), ((1,), [2]))
        answer = await self.set(EmailPatch(one, None, FlagsPatch(remove=frozenset({"$WORK"}))))
        self.assertEqual((await self.emails(one))[0].flags, frozenset())
        for patch, fault in (
            (MailboxPatch(frozenset(), frozenset({inbox})), "invalidProperties"),
            (MailboxPatch(frozenset({999})), "invalidProperties"),
            (MailboxPatch(replace=True), "invalidProperties"),
        ):
            answer = await self.set(EmailPatch(two, patch, FlagsPatch(replace=True)))
            self.assertEqual(answer.faults, {two: fault})
        many = frozenset(f"k{n}" for n in range(101))
        answer = await self.set(EmailPatch(two, None, FlagsPatch(many)))
        self.assertEqual(answer.faults, {two: "tooManyKeywords"})
        self.assertEqual((await self.emails(two))[0].flags, SEEN | FLAGGED)
        answer = await self.set(destroy=(one, 999))
        self.assertEqual(answer.faults, {999: "notFound"})
        self.assertEqual(list((await self.listing()).uids), [two])
        await self.refused(StateMismatch, SetEmails(self.alice.id, (), (two,), state=listing.modseq))

    async def test_set_emails_of_another(self):
        """Another account's Emails are as none, and its mailboxes too."""
        await self.accept(message(), Filing(self.alice.id), Filing(self.bob.id))
        (mine,) = (await self.listing()).uids
        (theirs,) = (await self.store.read(ListEmails(self.bob.id))).uids
        box = (await self.store.read(Mailboxes(self.bob.id)))[0].id
        answer = await self.set(
            EmailPatch(theirs, None, FlagsPatch(SEEN)),
            EmailPatch(mine, MailboxPatch(frozenset({box}))),
            destroy=(theirs,),
        )
        self.assertEqual(answer.faults, {theirs: "notFound", mine: "invalidProperties"})
        self.assertEqual((await self.emails(theirs, account=self.bob))[0].flags, frozenset())
        for unit in (
            PutMailbox(self.alice.id, box, own_name="x"),
            PutMailbox(self.alice.id, None, box, "x"),
            RemoveMailbox(self.alice.id, box),
            PutEmail(self.alice.id, NewMessage(await staged(self.store, message()), 1.0), (box,)),
        ):
            await self.refused(NoSuchMailbox, unit)

    async def test_set_emails_quota(self):
        """One more place counts; a move does not."""
        await self.accept(message(), Filing(self.alice.id))
        (uid,) = (await self.listing()).uids
        boxes = {m.name: m.id for m in await self.store.read(Mailboxes(self.alice.id))}
        await self.store.commit(SetAccount(self.alice.address, (("message_quota", 1),)))
        more = MailboxPatch(frozenset({boxes["Archive"]}))
        answer = await self.set(EmailPatch(uid, more))
        self.assertEqual(answer.faults, {uid: "overQuota"})
        answer = await self.set(EmailPatch(uid, MailboxPatch(frozenset({boxes["Archive"]}), replace=True)))
        self.assertEqual(answer.faults, {})
        body = await staged(self.store, message("more"))
        await self.refused(OverQuota, PutEmail(self.alice.id, NewMessage(body, 1.0), (boxes["INBOX"],)))

    async def test_put_email(self):
        """One Email in several mailboxes at once, in the thread that it belongs to."""
        await self.accept(message(message_id="a@x"), Filing(self.alice.id))
        (first,) = (await self.listing()).uids
        boxes = [m.id for m in await self.store.read(Mailboxes(self.alice.id))][:2]
        body = await staged(self.store, message(message_id="b@x", references="a@x"))
        uid, thread = await self.store.commit(
            PutEmail(self.alice.id, NewMessage(body, 7.0, SEEN), tuple(boxes))
        )
        (email,) = await self.emails(uid)
        self.assertEqual(
            (email.mailbox_ids, email.flags, email.received, email.thread_id),
            (tuple(sorted(boxes)), SEEN, 7.0, thread),
        )
        self.assertEqual((await self.emails(first))[0].thread_id, thread)

    async def test_mailboxes_by_id(self):
        """Made beneath another, renamed, moved with what is beneath, ordered, given a role, removed."""

        def put(*values, **fields):
            return self.store.commit(PutMailbox(self.alice.id, *values, **fields))

        work = await put(None, 0, "Work", sort_order=5)
        deep = await put(None, work.id, "deep", subscribed=False)
        self.assertEqual((work.sort_order, deep.name, deep.subscribed), (5, "Work/deep", False))
        await put(work.id, own_name="Job")
        old = await put(None, 0, "Old")
        moved = await put(work.id, old.id)
        self.assertEqual(moved.name, "Old/Job")
        counts = await self.counts()
        self.assertEqual(counts["Old/Job/deep"].mailbox.id, deep.id)
        self.assertEqual((await put(deep.id, 0)).name, "deep")
        await put(deep.id, special_use="")
        names = {m.name: m.id for m in await self.store.read(Mailboxes(self.alice.id))}
        for fault, unit in (
            (RoleTaken, PutMailbox(self.alice.id, deep.id, special_use="\\Sent")),
            (MailboxExists, PutMailbox(self.alice.id, deep.id, own_name="Sent")),
            (MailboxExists, PutMailbox(self.alice.id, None, 0, "Sent")),
            (MailboxRefused, PutMailbox(self.alice.id, old.id, work.id)),
            (MailboxRefused, PutMailbox(self.alice.id, names["INBOX"], own_name="x")),
            (MailboxRefused, PutMailbox(self.alice.id, None, 0, "a/b")),
            (MailboxRefused, PutMailbox(self.alice.id, None, 0, "a\r\nb")),
            (MailboxRefused, PutMailbox(self.alice.id, None, 0, "")),
            (LimitReached, PutMailbox(self.alice.id, None, 0, "x" * 1001)),
            (MailboxHasChild, RemoveMailbox(self.alice.id, old.id, True)),
            (MailboxRefused, RemoveMailbox(self.alice.id, names["INBOX"], True)),
        ):
            await self.refused(fault, unit)
        await self.accept(message(), Filing(self.alice.id, "deep"))
        await self.refused(MailboxHasEmail, RemoveMailbox(self.alice.id, deep.id))
        await self.store.commit(RemoveMailbox(self.alice.id, deep.id, True))
        self.assertEqual(list((await self.listing()).uids), [])

    async def test_objects(self):
        """Small objects come, change and go under the account's modseq; each is its account's alone."""

        def put(**fields):
            return self.store.commit(SetObjects(self.alice.id, "thing", **fields))

        made = await put(create=("one", "two"))
        one, two = made.created
        found = await self.store.read(Objects(self.alice.id, "thing"))
        self.assertEqual((found.modseq, found.objects), (made.modseq, {one: "one", two: "two"}))
        changed = await put(create=("three",), update=((one, "ONE"), (999, "")), destroy=(two, 998))
        self.assertEqual(changed.missing, {998, 999})
        self.assertEqual(
            (await self.store.read(Objects(self.alice.id, "thing"))).objects,
            {one: "ONE", changed.created[0]: "three"},
        )
        since = await self.store.read(ObjectsSince(self.alice.id, "thing", made.modseq))
        lists = [list(dated.ids) for dated in (since.created, since.updated, since.destroyed)]
        self.assertEqual(lists, [[changed.created[0]], [one], [two]])
        self.assertIsNone(await self.store.read(ObjectsSince(self.alice.id, "thing", since.modseq + 9)))
        theirs = await self.store.commit(SetObjects(self.bob.id, "thing", (), ((one, "x"),), (one,)))
        self.assertEqual(theirs.missing, {one})
        self.assertEqual((await self.store.read(Objects(self.alice.id, "other"))).objects, {})
        await put(create=("four",), keep=2)
        found = (await self.store.read(Objects(self.alice.id, "thing"))).objects
        self.assertEqual(sorted(found.values()), ["four", "three"])
        await self.refused(LimitReached, SetObjects(self.alice.id, "thing", ("x" * (OBJECT_OCTETS + 1),)))
        self.assertEqual([each.entries for each in await self.news() if each.kind == "object"][0], {"thing"})

    async def test_client_follows(self):
        """A client that asks what changed since its last state has what there is, whatever happened."""
        for seed in range(4):
            chance = random.Random(seed)
            client = Client(self.store, self.alice.id)
            for step in range(60):
                try:
                    await self.happen(chance, step)
                except StoreFault:
                    continue
                if chance.random() < 0.4:
                    await client.sync()
                    await self.check_client(client, (seed, step))

    async def check_client(self, client, where):
        listing = await self.listing()
        self.assertEqual(
            client.emails,
            {
                email.id: (email.thread_id, email.mailbox_ids, email.flags, email.size)
                for email in await self.emails(*listing.uids)
            },
            where,
        )
        found = await self.store.read(ThreadsById(self.alice.id, tuple(listing.thread_ids)))
        self.assertEqual(client.threads, found.threads, where)
        counted = await self.store.read(CountMailboxes(self.alice.id))
        now = {each.mailbox.id: (properties_of(each), each.counts) for each in counted.mailboxes}
        self.assertEqual(client.mailboxes, now, where)
        self.check_listing(listing, client, where)

    def check_listing(self, listing, client, where):
        """It is changed where something changed, and is as if it was made anew."""
        rows = {
            uid: (thread_id, listing.mailbox_sets[boxes], listing.flag_sets[flags], size)
            for uid, thread_id, boxes, flags, size in zip(
                listing.uids,
                listing.thread_ids,
                listing.mailbox_numbers,
                listing.flag_numbers,
                listing.sizes,
                strict=True,
            )
        }
        self.assertEqual(rows, client.emails, where)
        self.assertEqual(list(listing.uids), sorted(listing.uids))
        ages = [listing.received[at] for at in listing.by_received]
        self.assertEqual(ages, sorted(listing.received, reverse=True))

    async def happen(self, chance, step):
        alice = self.alice.id
        boxes = await self.store.read(Mailboxes(alice))
        box = chance.choice(boxes)
        uids = tuple(chance.sample(range(1, 20), 4))
        references = " ".join(f"{chance.randint(1, 6)}@x" for _ in range(chance.randint(0, 2)))
        what = chance.choice(["accept"] * 5 + ["flags"] * 4 + OTHERS)
        self.clock.advance(1)
        if what == "accept":
            text = message("s", message_id=f"{chance.randint(1, 6)}@x", references=references)
            to = [Filing(alice, name) for name in chance.sample(BOXES, chance.randint(1, 3))]
            await self.accept(text, *to)
        elif what == "flags":
            change = chance.choice(list(FlagChange))
            flags = chance.choice([SEEN, DELETED, FLAGGED, SEEN | DELETED])
            await self.store.commit(StoreFlags(alice, box.id, uids, change, flags))
        elif what in ("copy", "move"):
            unit = CopyMessages if what == "copy" else MoveMessages
            await self.store.commit(unit(alice, box.id, uids, chance.choice(BOXES)))
        elif what == "expunge":
            await self.store.commit(Expunge(alice, box.id, uids))
        elif what == "box":
            name = chance.choice(BOXES)
            unit = chance.choice(
                [
                    CreateMailbox(alice, name),
                    DeleteMailbox(alice, name),
                    RenameMailbox(alice, name, chance.choice([*BOXES, "New", "New/a"])),
                    SetSubscription(alice, name, chance.random() < 0.5),
                ]
            )
            await self.store.commit(unit)
        elif what == "set":
            await self.store.commit(self.some_set(chance, boxes))
        elif what == "put":
            await self.store.commit(self.some_put(chance, boxes, await staged(self.store, message("put"))))
        else:
            await self.sweep()

    def some_set(self, chance, boxes):
        ids = [box.id for box in boxes] + [999]
        flags = chance.choice([SEEN, FLAGGED, frozenset({"$Work"}), frozenset({"$work"})])
        patches = tuple(
            EmailPatch(
                email_id,
                chance.choice(
                    [None, MailboxPatch(self.few(chance, ids), self.few(chance, ids), chance.random() < 0.3)]
                ),
                chance.choice(
                    [None, FlagsPatch(flags, SEEN, chance.random() < 0.3), FlagsPatch(remove=flags)]
                ),
            )
            for email_id in chance.sample(range(1, 30), 4)
        )
        return SetEmails(self.alice.id, patches, tuple(chance.sample(range(1, 30), 1)))

    @staticmethod
    def few(chance, ids):
        return frozenset(chance.sample(ids, chance.randint(0, min(2, len(ids)))))

    def some_put(self, chance, boxes, body):
        box = chance.choice(boxes)
        pick = chance.choice
        return pick(
            [
                PutEmail(self.alice.id, NewMessage(body, 1.0, SEEN), (box.id, pick(boxes).id)),
                PutMailbox(
                    self.alice.id, pick([None, box.id]), pick([None, 0, pick(boxes).id]), pick(["a", "b"])
                ),
                PutMailbox(
                    self.alice.id, box.id, sort_order=pick([1, 2]), subscribed=pick([None, True, False])
                ),
                RemoveMailbox(self.alice.id, box.id, chance.random() < 0.5),
            ]
        )


ROLES = {"inbox", "drafts", "sent", "junk", "trash", "archive"}
