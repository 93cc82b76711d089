"""Responses about the selected mailbox, octet by octet."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailftp.imap.responses import PIECE, Told, flag_lines, flag_list, news
from mailftp.imap.selected import News, SelectedView
from tests.imap.test_selected import FLAGS, Kept


class ResponseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.kept = Kept()
        for _ in range(6):
            self.kept.add()
        self.state = self.kept.state()
        self.view = SelectedView(self.state)

    def happen(self) -> News:
        """Four of six go, one comes, one gets flags."""
        self.kept.expunge(1, 2, 3, 5)
        self.kept.add()
        self.kept.change(6, FLAGS[2])
        self.kept.refresh(self.state)
        return self.view.take_news(expunges=True)

    def test_expunge(self) -> None:
        """EXPUNGE lines, each right after those before it, then EXISTS and FETCH."""
        self.assertEqual(
            b"".join(news(self.view, self.happen(), Told())),
            b"* 5 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n"
            b"* 3 EXISTS\r\n* 2 FETCH (FLAGS (\\Flagged \\Seen))\r\n",
        )

    def test_vanished(self) -> None:
        """After ENABLE QRESYNC: VANISHED in one line, and MODSEQ and UID with FETCH."""
        told = Told(vanished=True, modseq=True, uid=True)
        modseq = self.kept.modseq + 3
        self.assertEqual(
            b"".join(news(self.view, self.happen(), told)),
            b"* VANISHED 1:3,5\r\n* 3 EXISTS\r\n"
            b"* 2 FETCH (UID 6 FLAGS (\\Flagged \\Seen) MODSEQ (%d))\r\n" % modseq,
        )

    def test_nothing(self) -> None:
        """No news, no line."""
        self.assertEqual(list(news(self.view, self.view.take_news(expunges=True), Told())), [])

    def test_those_that_are_gone(self) -> None:
        """A message that is gone has no flags any more; the others keep the numbers that the client knows."""
        self.kept.expunge(2)
        self.kept.add()
        self.kept.refresh(self.state)
        self.assertEqual(
            list(flag_lines(self.view, (3, 2, 7, 1, 99), Told(uid=True))),
            [b"* 3 FETCH (UID 3 FLAGS ())\r\n* 1 FETCH (UID 1 FLAGS ())\r\n"],
        )

    def test_pieces(self) -> None:
        """Many lines come in pieces of whole lines, in order."""
        for _ in range(2 * PIECE):
            self.kept.add(FLAGS[1])
        state = self.kept.state()
        pieces = list(flag_lines(SelectedView(state), state.uids, Told()))
        self.assertEqual([piece.count(b"\r\n") for piece in pieces], [PIECE, PIECE, 6])
        lines = b"".join(pieces).split(b"\r\n")
        self.assertEqual(lines[5:7], [b"* 6 FETCH (FLAGS ())", b"* 7 FETCH (FLAGS (\\Seen))"])
        self.assertEqual(lines[-2], b"* %d FETCH (FLAGS (\\Seen))" % (2 * PIECE + 6))
        gone = list(news(self.view, News(tuple(range(PIECE + 7, 0, -1)), (1,)), Told()))
        self.assertEqual([piece.count(b"EXPUNGE") for piece in gone], [PIECE, 7])

    def test_stretches(self) -> None:
        """Stretches and single messages get the same lines, whoever is gone between them or not known yet."""
        self.kept.change(4, FLAGS[1])
        self.kept.expunge(3)
        self.kept.add()
        self.kept.refresh(self.state)
        told = Told(modseq=True, uid=True)
        for uids in ([1, 2], [2, 4], [4, 5], [1, 2, 4, 5, 6], [6, 7], [7], [2, 1], [], [3], [5, 5]):
            one_by_one = [b"".join(flag_lines(self.view, (uid,), told)) for uid in uids]
            self.assertEqual(b"".join(flag_lines(self.view, uids, told)), b"".join(one_by_one))
        self.assertEqual(
            [self.view.stretch(uids) for uids in ([1, 2], [4, 5, 6], [2, 4], [6, 7], [])],
            [(1, 0), (4, 2), None, None, None],
        )
        self.assertEqual(
            b"".join(flag_lines(self.view, (4, 5), Told(uid=True))),
            b"* 4 FETCH (UID 4 FLAGS (\\Seen))\r\n* 5 FETCH (UID 5 FLAGS ())\r\n",
        )

    def test_flag_list(self) -> None:
        """One set of flags is always the same octets; a percent sign is one."""
        self.assertEqual(flag_list(frozenset({"b", "\\Seen", "a%d"})), b"(\\Seen a%d b)")
