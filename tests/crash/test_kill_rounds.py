"""kill -9 at random points, again and again on one store: each accepted message is delivered or returned.

A message for a far side that takes it must be there; one that it refuses must have come back; and twice comes
only what the far side had taken when the server died before it could note that. MAILFTP_CRASH_ROUNDS makes
the run longer (200 for a full one, ten minutes).
"""

from __future__ import annotations

import os
import random
import re
import signal
import socketserver
import threading
import time
from collections import Counter
from poplib import POP3

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.ledger import opened, sealed
from tests.hostile.raw import QUICK, Raw, plain
from tests.interop.running import PATIENCE, RunningServer

ROUNDS = int(os.environ.get("MAILFTP_CRASH_ROUNDS", "3"))
MESSAGES = 12
AT_ONCE = 3
#: What a server may be killed at: an acknowledgement of ours, each line that the far side hears, the end of a
#: message there before its answer, and after that; and how many of each there may be before it.
POINTS = {"acknowledged": MESSAGES, "line": 4 * MESSAGES, "message": MESSAGES // 2, "taken": MESSAGES // 2}
_RECIPIENT = re.compile(rb"RCPT TO:<([^>]*)>")
_RETURNED = re.compile(rb"^Final-Recipient: rfc822; *(\S+)@far\.test", re.MULTILINE)


class FarSide:
    """Takes mail for take-N@far.test, refuses the rest; tells each step to `step`."""

    def __init__(self, case: SynchronousTestCase, step) -> None:
        #: (the number of the round, the recipient's local part) of each message, in order.
        self.taken: list[tuple[int, str]] = []
        self.refused: set[str] = set()
        self.torn: list[str] = []
        self.round = 0
        self._step, self._lock = step, threading.Lock()
        far = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    far._serve(self)
                except (ConnectionError, ValueError):
                    # Killed in the middle; writing to what is gone already closed is a ValueError.
                    pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.port: int = self._server.server_address[1]
        case.addCleanup(self._stop)

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, session) -> None:
        session.connection.settimeout(PATIENCE)
        session.wfile.write(b"220 far.test\r\n")
        names: list[str] = []
        while line := session.rfile.readline():
            self._step("line")
            verb = line[:4].upper()
            if verb == b"EHLO":
                session.wfile.write(b"250-far.test\r\n250 PIPELINING\r\n")
            elif verb == b"RCPT":
                session.wfile.write(self._recipient(line, names))
            elif verb == b"DATA" and names:
                session.wfile.write(b"354 go on\r\n")
                self._message(session, names)
                names = []
            elif verb == b"DATA":
                session.wfile.write(b"503 5.5.1 nobody\r\n")
            elif verb == b"QUIT":
                session.wfile.write(b"221 bye\r\n")
                return
            else:
                names = []
                session.wfile.write(b"250 ok\r\n")

    def _recipient(self, line: bytes, names: list[str]) -> bytes:
        found = _RECIPIENT.match(line)
        assert found is not None, line
        name = found[1].decode().partition("@")[0]
        if name.startswith("take"):
            names.append(name)
            return b"250 ok\r\n"
        with self._lock:
            self.refused.add(name)
        return b"550 5.1.1 nobody here\r\n"

    def _message(self, session, names: list[str]) -> None:
        lines = []
        while (line := session.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise ConnectionError
            lines.append(line.removeprefix(b"."))
        self._step("message")
        try:
            number = opened(b"".join(lines))
            wrong = [name for name in names if name != f"take-{number}"]
        except AssertionError as fault:
            wrong = [f"{names}: {fault}"]
        with self._lock:
            self.torn += wrong
            # From here on it is its own, whether the answer is heard or not.
            self.taken += [(self.round, name) for name in names]
        session.wfile.write(b"250 kept\r\n")
        self._step("taken")


class RoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.far = FarSide(self, self.step)
        self.server = RunningServer(
            self,
            "a.test",
            settings=(
                f"{QUICK}[submission]\ndaily_messages = 0\ndaily_new_recipients = 0\n"
                f'[delivery]\nretry = ["1s"]\nconcurrency = {{ per_destination = {AT_ONCE} }}\n'
                f'[delivery.routes]\n"far.test" = "127.0.0.1:{self.far.port}"\n'
            ),
        )
        self.alice = self.server.add_account("alice", "hungry")
        self.acknowledged: set[str] = set()
        #: Rounds that ended with a kill at the chosen point.
        self.killed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._point, self._left = "", 0
        self._dead = threading.Event()

    def step(self, point: str) -> None:
        """Count down to the kill."""
        with self._lock:
            if self._point != point or self._dead.is_set():
                return
            self._left -= 1
            if self._left > 0 or self.server.process is None:
                return
            os.kill(self.server.process.pid, signal.SIGKILL)
            self.killed[point] += 1
            self._dead.set()

    def test_rounds(self) -> None:
        """Nothing acknowledged is lost or torn; what is noted as delivered is never sent again."""
        chance = random.Random(20)
        for number in range(ROUNDS):
            self.far.round = number
            with self._lock:
                self._dead.clear()
                self._point, most = chance.choice(list(POINTS.items()))
                self._left = chance.randint(1, most)
            self.server.start()
            self.submit(number, chance)
            # Where the point is not reached any more, it dies when there is nothing to do.
            self.until_dead_or_done()
            self.server.kill()
        with self._lock:
            self._point = ""
        self.far.round = ROUNDS
        self.server.start()
        self.until(lambda: not self.server.queue(), "an empty queue")
        returned = self.returned()
        self.server.stop()
        self.check(returned)

    def submit(self, number: int, chance: random.Random) -> None:
        try:
            with Raw(self.server.ports["submission"]) as client:
                client.reply()
                client.ask("EHLO client.test", "250")
                client.ask(b"AUTH PLAIN " + plain(self.alice, "hungry"), "235")
                for index in range(MESSAGES):
                    mark = number * MESSAGES + index
                    name = f"{'no' if chance.random() < 0.2 else 'take'}-{mark}"
                    size = 100_000 if chance.random() < 0.1 else chance.randrange(100, 4000)
                    client.ask(f"MAIL FROM:<{self.alice}>", "250")
                    client.ask(f"RCPT TO:<{name}@far.test>", "250")
                    client.ask("DATA", "354")
                    client.ask(sealed(mark, size) + b".", "250")
                    self.acknowledged.add(name)
                    self.step("acknowledged")
        except OSError:
            self.assertTrue(self._dead.is_set(), "the connection broke, and nobody had killed the server")

    def until_dead_or_done(self) -> None:
        self.until(lambda: self._dead.is_set() or not self.waiting(), "an end of the round")

    def waiting(self) -> set[str]:
        """What was acknowledged, and the far side has not seen."""
        with self.far._lock:
            return self.acknowledged - {name for _, name in self.far.taken} - self.far.refused

    def until(self, condition, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come about; {sorted(self.waiting())} not seen")
            self._dead.wait(0.05)

    def returned(self) -> Counter[str]:
        """Who the reports in alice's mailbox are about."""
        found: Counter[str] = Counter()
        pop = POP3("127.0.0.1", self.server.ports["pop3"], timeout=PATIENCE)
        pop.user("alice")
        pop.pass_("hungry")
        for number in range(1, pop.stat()[0] + 1):
            found.update(name.decode() for name in _RETURNED.findall(b"\n".join(pop.retr(number)[1])))
        pop.quit()
        return found

    def check(self, returned: Counter[str]) -> None:
        self.assertEqual(self.far.torn, [])
        arrived = Counter(name for _, name in self.far.taken)
        self.assertEqual(self.acknowledged - arrived.keys() - returned.keys(), set())
        # A report is committed with the outcome that it is about: there is no second one.
        self.assertEqual([name for name, times in returned.items() if times > 1], [])
        self.assertEqual({name for name in returned if not name.startswith("no-")}, set())
        noted = Counter(
            match[1]
            for line in self.server.output
            if '"event": "delivered"' in line and (match := re.search(r"([a-z]+-\d+)@far\.test", line))
        )
        self.assertTrue(noted)
        self.assertEqual([name for name, times in noted.items() if times > 1], [])
        twice = 0
        for name, times in arrived.items():
            rounds = [number for number, other in self.far.taken if other == name]
            # Once a life of the server: all but the last were cut off between the 250 and the commit.
            self.assertEqual(len(set(rounds)), times, f"{name} came twice in one life: {rounds}")
            twice += times - 1
        self.assertLessEqual(twice, AT_ONCE * ROUNDS)
        if "MAILFTP_CRASH_ROUNDS" in os.environ:
            print(
                f"\n{ROUNDS} rounds, killed at {dict(self.killed)}: {len(self.acknowledged)} acknowledged,"
                f" {len(arrived)} delivered, {sum(returned.values())} returned, none lost or torn;"
                f" {twice} second copies"
            )
