"""Turns in which a thread sends a large file, and which way it is sent."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from mailftp.wire import moving, stream
from mailftp.wire.moving import AGAIN, MOST, Turn, Way, Ways
from mailftp.wire.stream import send_file
from tests.wire import test_stream
from tests.wire.test_stream import a_file


class Choice(SynchronousTestCase):
    def play(self, read: int, sendfile: int, turns: int) -> list[Way]:
        """The ways of so many turns, when each way has its speed."""
        ways, chosen = Ways(), []
        for _ in range(turns):
            chosen.append(way := ways.choose())
            ways.tell(way, MOST, MOST / (read if way is Way.READ else sendfile))
        return chosen

    def test_faster_one(self) -> None:
        """Both are tried, then the faster one goes on, and the other has a turn now and then."""
        for speeds, wins in (((3, 2), Way.READ), ((2, 3), Way.SENDFILE), ((3, 3), Way.SENDFILE)):
            chosen = self.play(*speeds, 2 + 2 * AGAIN)
            self.assertEqual(chosen[:2], [Way.READ, Way.SENDFILE])
            self.assertEqual(
                [way for way in chosen[2:] if way is not wins], [way for way in Way if way is not wins] * 2
            )

    def test_change_of_mind(self) -> None:
        """A client that becomes another kind of client is noticed."""
        ways = Ways()
        chosen = []
        for turn in range(20 * AGAIN):
            chosen.append(way := ways.choose())
            faster = Way.READ if turn < 5 * AGAIN else Way.SENDFILE
            ways.tell(way, MOST, 1.0 if way is faster else 2.0)
        self.assertEqual(chosen[4 * AGAIN : 5 * AGAIN].count(Way.SENDFILE), 1)
        self.assertEqual(chosen[-AGAIN:].count(Way.READ), 1)

    def test_small_turns_do_not_count(self) -> None:
        """The first turn, while buffers grow, says nothing."""
        ways = Ways()
        for _ in range(3):
            self.assertIs(ways.choose(), Way.READ)
            ways.tell(Way.READ, MOST // 4, 9.0)


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.ours.setblocking(False)
        # However slow the machine is, only what a test does ends a turn.
        self.patch(moving, "LONGEST", 60.0)
        self.before = len(os.listdir("/proc/self/fd"))

    def turn(self, way: Way, descriptor: int, offset: int, length: int) -> Turn:
        return Turn.of(way, self.ours.fileno(), descriptor, offset, length)

    def closed(self, turn: Turn) -> Turn:
        turn.run()
        self.assertEqual(len(os.listdir("/proc/self/fd")), self.before)
        return turn

    def test_all_of_it(self) -> None:
        """A range arrives, whatever the socket takes at a time."""
        self.patch(moving, "PATIENCE", 60_000)
        descriptor, content = a_file(self, 5_000_000)
        self.before += 1
        for way in Way:
            got = bytearray()
            wanted = len(content) - 1_000

            def read(got: bytearray = got, wanted: int = wanted) -> None:
                while len(got) < wanted:
                    got += self.theirs.recv(70_001)

            reader = threading.Thread(target=read)
            turn = self.turn(way, descriptor, 1_000, wanted)
            reader.start()
            turn.run()
            reader.join()
            self.assertEqual((turn.sent, turn.ended, turn.broken), (wanted, False, False))
            self.assertEqual(got, content[1_000:])

    def test_who_does_not_read(self) -> None:
        """A client that takes no more ends the turn; what it took is counted."""
        descriptor, content = a_file(self, 5_000_000)
        self.before += 1
        for way in Way:
            turn = self.closed(self.turn(way, descriptor, 0, len(content)))
            self.assertTrue(0 < turn.sent < len(content))
            self.assertFalse(turn.ended or turn.broken)
            self.theirs.setblocking(False)
            got = b""
            while len(got) < turn.sent:
                got += self.theirs.recv(1 << 20)
            self.assertEqual(got, content[: turn.sent])

    def test_shorter(self) -> None:
        """A file that became shorter ends the turn and says so."""
        descriptor, _content = a_file(self, 10_000)
        self.before += 1
        for way in Way:
            turn = self.closed(self.turn(way, descriptor, 0, 20_000))
            self.assertEqual((turn.sent, turn.ended, turn.broken), (10_000, True, False))

    def test_faults(self) -> None:
        """A client that is gone, a file that cannot be read, a turn that is not wanted any more."""
        descriptor, content = a_file(self, 10_000)
        self.before += 1
        with tempfile.TemporaryDirectory() as folder:
            unreadable = os.open(folder, os.O_RDONLY)
            for way in Way:
                turn = self.turn(way, unreadable, 0, 10)
                turn.run()
                self.assertTrue(turn.broken)
            os.close(unreadable)
        for way in Way:
            turn = self.turn(way, descriptor, 0, 10)
            turn.stopped = True
            self.assertEqual(self.closed(turn).sent, 0)
        self.theirs.close()
        self.before -= 1
        for way in Way:
            turn = self.closed(self.turn(way, descriptor, 0, len(content)))
            self.assertEqual((turn.sent, turn.broken), (0, True))


class Streams(test_stream.Sockets):
    """Streams that a thread sends from the first octet that it may."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(stream, "FAST", 0)
        self.turns: list[Turn] = []
        run = Turn.run

        def counted(turn: Turn) -> None:
            self.turns.append(turn)
            run(turn)

        self.patch(Turn, "run", counted)

    def turn(self) -> Deferred[None]:
        """The reactor's next one."""
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)  # type: ignore[attr-defined]  # the global reactor
        return turn

    def test_by_turns(self) -> Deferred[None]:
        """A large file arrives whole though turns are short and the client slow, and a thread sent it."""
        self.patch(stream, "MOST", 1_000_000)

        async def test() -> None:
            await self.transfer(9_000_000, fast=True)
            self.assertTrue(any(turn.sent for turn in self.turns))

        return Deferred.fromCoroutine(test())

    def test_lost_meanwhile(self) -> Deferred[None]:
        """A client that goes while a thread sends to it: the stream fails when the thread has stopped."""

        async def test() -> None:
            descriptor, content = a_file(self, 40_000_000)
            client, data = await self.connection(fast=True)
            # Else the kernel may hold all of it for a client that is gone.
            client.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.transport.pauseProducing()
            sent = send_file(data, descriptor, 0, len(content))
            while not self.turns:
                await self.turn()
            client.transport.abortConnection()
            with self.assertRaises(ConnectionLost):
                await sent

        return Deferred.fromCoroutine(test())

    def test_cancelled_meanwhile(self) -> Deferred[None]:
        """Nobody knows where the thread stops, so the connection is closed."""

        async def test() -> None:
            descriptor, content = a_file(self, 40_000_000)
            client, data = await self.connection(fast=True)
            client.transport.pauseProducing()
            sent = send_file(data, descriptor, 0, len(content))
            while not self.turns:
                await self.turn()
            sent.cancel()
            client.transport.resumeProducing()
            with self.assertRaises(CancelledError):
                await sent
            got = await client.lost
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(content[: len(got)]).digest())

        return Deferred.fromCoroutine(test())
