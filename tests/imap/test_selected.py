"""Sequence numbers of several sessions over one mailbox, against a plain model of RFC 9051."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.mailbox_state import _SPARE_SETS, MailboxState
from mailftp.imap.selected import News, SelectedView
from mailftp.store.records import Mailbox, MailboxListing

FLAGS = tuple(map(frozenset, ((), ("\\Seen",), ("\\Seen", "\\Flagged"), ("$Forwarded",))))


class Kept:
    """The store's side: a mailbox that answers what is newer than a modseq."""

    def __init__(self) -> None:
        self.modseq = 1
        self.uidnext = 1
        self.messages: dict[int, tuple[int, frozenset[str]]] = {}
        self.tombstones: dict[int, int] = {}

    def add(self, flags: frozenset[str] = FLAGS[0]) -> int:
        self.modseq += 1
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.messages[uid] = (self.modseq, flags)
        return uid

    def change(self, uid: int, flags: frozenset[str]) -> None:
        self.modseq += 1
        self.messages[uid] = (self.modseq, flags)

    def expunge(self, *uids: int) -> None:
        self.modseq += 1
        for uid in uids:
            del self.messages[uid]
            self.tombstones[uid] = self.modseq

    def since(self, modseq: int) -> MailboxListing:
        rows = [(uid, at, flags) for uid, (at, flags) in sorted(self.messages.items()) if at > modseq]
        uids = [uid for uid, *_ in rows]
        sets = tuple(sorted({flags for *_, flags in rows}, key=sorted))
        gone = sorted(uid for uid, at in self.tombstones.items() if at > modseq) if modseq else ()
        return MailboxListing(
            Mailbox(7, 1, "INBOX", 1, self.uidnext, self.modseq),
            array("I", uids),
            array("Q", [at for _, at, _ in rows]),
            array("Q", [100 + uid for uid in uids]),
            array("d", map(float, uids)),
            array("I", [sets.index(flags) for *_, flags in rows]),
            sets,
            array("I", gone),
        )

    def state(self) -> MailboxState:
        changes = self.since(0)
        state = MailboxState(changes.mailbox)
        state.apply(changes)
        return state

    def refresh(self, state: MailboxState) -> None:
        state.apply(self.since(state.modseq))


class Client:
    """What a client believes: it knows of messages only by what it is told."""

    def __init__(self, kept: Kept, state: MailboxState) -> None:
        self.view = SelectedView(state)
        self.believed = sorted(kept.messages)
        self.flags = {uid: flags for uid, (_, flags) in kept.messages.items()}

    def hear(self, news: News, state: MailboxState) -> None:
        named = []
        for number in news.expunged:
            named.append(self.believed.pop(number - 1))
        assert sorted(named) == list(news.vanished), (named, news)
        if news.exists is not None:
            assert news.exists > len(self.believed)
            for number in range(len(self.believed) + 1, news.exists + 1):
                uid = self.view.uid_of(number)
                self.believed.append(uid)
                self.flags[uid] = state.flags(state.index(uid))
        for uid in news.changed:
            self.flags[uid] = state.flags(state.index(uid))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add", "add", "change", "expunge", "expunge many", "refresh", "stale", "news", "poll"]
        ),
        st.integers(0, 30),
        st.integers(0, 3),
    ),
    max_size=60,
)


class SelectedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.kept = Kept()
        for _ in range(5):
            self.kept.add()

    def check(self, client: Client) -> None:
        view, believed = client.view, client.believed
        self.assertEqual(view.exists, len(believed))
        self.assertEqual(list(view.uids()), believed)
        for number, uid in enumerate(believed, 1):
            self.assertEqual((view.uid_of(number), view.number_of(uid)), (uid, number))
        for number in (-1, 0, len(believed) + 1):
            self.assertRaises(LookupError, view.uid_of, number)
        for uid in {0, self.kept.uidnext, *self.kept.messages} - set(believed):
            self.assertIsNone(view.number_of(uid))

    @given(STEPS)
    @settings(max_examples=300, deadline=None)
    def test_model(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever three sessions are told, and when: each one's numbers are right at every time, and in the
        end all know the mailbox as it is."""
        kept = Kept()
        self.kept = kept
        for _ in range(4):
            kept.add()
        state = kept.state()
        clients = [Client(kept, state) for _ in range(3)]
        reads = [kept.since(state.modseq)]
        for what, number, choice in steps:
            self.step(what, number, choice, state, clients, reads)
            for client in clients:
                self.check(client)
        kept.refresh(state)
        for client in clients:
            client.hear(client.view.take_news(expunges=True), state)
            self.check(client)
            self.assertEqual(client.believed, sorted(kept.messages))
            self.assertEqual(
                {uid: client.flags[uid] for uid in client.believed},
                {uid: flags for uid, (_, flags) in kept.messages.items()},
            )
            self.assertFalse(client.view.take_news(expunges=True))

    def step(self, what, number, choice, state, clients, reads) -> None:
        kept = self.kept
        there = sorted(kept.messages)
        client = clients[choice % len(clients)]
        if what == "add":
            kept.add(FLAGS[choice])
        elif what == "change" and there:
            kept.change(there[number % len(there)], FLAGS[choice])
        elif what == "expunge" and there:
            kept.expunge(there[number % len(there)])
        elif what == "expunge many":
            kept.expunge(*there[number : number + 12])
        elif what == "refresh":
            reads.append(kept.since(state.modseq))
            state.apply(reads[-1])
        elif what == "stale":
            # A read that was overtaken, or one given twice.
            state.apply(reads[number % len(reads)])
        elif what in ("news", "poll"):
            client.hear(client.view.take_news(expunges=what == "news"), state)

    def test_expunge_waits(self) -> None:
        """During FETCH, STORE and SEARCH nobody's numbers move, and what came is told all the same."""
        state = self.kept.state()
        view = SelectedView(state)
        self.kept.expunge(2, 4)
        self.kept.add()
        self.kept.refresh(state)
        self.assertEqual(view.take_news(expunges=False), News(exists=6))
        self.assertEqual(list(view.uids()), [1, 2, 3, 4, 5, 6])
        self.assertTrue(view.is_gone(2))
        self.assertFalse(view.is_gone(3))
        self.assertEqual(view.take_news(expunges=True), News((4, 2), (2, 4)))
        self.assertEqual(list(view.uids()), [1, 3, 5, 6])

    def test_came_and_went(self) -> None:
        """Of a message that nobody was told of, nobody hears that it is gone."""
        state = self.kept.state()
        view = SelectedView(state)
        uid = self.kept.add()
        self.kept.refresh(state)
        self.kept.expunge(uid)
        self.kept.refresh(state)
        self.assertFalse(view.take_news(expunges=True))

    def test_own_change(self) -> None:
        """What a client set silently it is not told, unless somebody changed it again."""
        state = self.kept.state()
        view = SelectedView(state)
        for uid in (1, 2):
            self.kept.change(uid, FLAGS[1])
        mine = self.kept.modseq
        self.kept.change(2, FLAGS[2])
        self.kept.refresh(state)
        view.forget((1, 2, 99), mine)
        self.assertEqual(view.take_news(expunges=True), News(changed=(2,)))

    def test_overtaken_read(self) -> None:
        """A read that comes after a later one brings no old flags back, and nobody who is gone."""
        state = self.kept.state()
        view = SelectedView(state)
        self.kept.change(1, FLAGS[1])
        self.kept.add()
        overtaken = self.kept.since(state.modseq)
        self.kept.change(1, FLAGS[2])
        self.kept.expunge(2, 6)
        self.kept.refresh(state)
        view.take_news(expunges=True)
        state.apply(overtaken)
        self.assertFalse(view.take_news(expunges=True))
        self.assertEqual((list(state.uids), state.flags(0)), ([1, 3, 4, 5], FLAGS[2]))
        self.assertEqual(state.modseq, self.kept.modseq)

    def test_closed(self) -> None:
        """A view that was closed is told nothing, and the state may be forgotten."""
        state = self.kept.state()
        view = SelectedView(state)
        self.assertTrue(state.watched)
        view.close()
        view.close()
        self.assertFalse(state.watched)
        self.kept.expunge(1)
        self.kept.refresh(state)
        self.assertFalse(view.is_gone(1))

    def test_columns(self) -> None:
        """All columns stay in step when a few and when many go."""
        for _ in range(40):
            self.kept.add(FLAGS[1])
        state = self.kept.state()
        for gone in ((3,), tuple(range(5, 30))):
            self.kept.expunge(*gone)
            self.kept.refresh(state)
            self.assertEqual(list(state.uids), sorted(self.kept.messages))
            self.assertEqual(list(state.sizes), [100 + uid for uid in state.uids])
            self.assertEqual(list(state.received), list(map(float, state.uids)))
            self.assertEqual(
                [(state.modseqs[at], state.flags(at)) for at in range(len(state))],
                [self.kept.messages[uid] for uid in state.uids],
            )

    def test_flag_sets_bounded(self) -> None:
        """A client that sets another keyword each time does not fill the memory."""
        state = self.kept.state()
        for n in range(_SPARE_SETS * 2):
            self.kept.change(1, frozenset({f"k{n}"}))
            self.kept.refresh(state)
            self.assertLessEqual(len(state.flag_sets), len(state) + _SPARE_SETS)
        self.assertEqual(state.flags(0), frozenset({f"k{n}"}))
        self.assertEqual(state.flags(4), FLAGS[0])

    def test_another_mailbox(self) -> None:
        """Changes of another mailbox are refused."""
        state = self.kept.state()
        state.mailbox = Mailbox(8, 1, "Sent", 2, 1, 1)
        self.assertRaises(ValueError, state.apply, self.kept.since(0))
