"""kill -9 under load, then a ledger: nothing acknowledged is missing, torn or there twice.

MAILFTP_CRASH_MESSAGES and MAILFTP_CRASH_ROUNDS make the run longer (2000 and 5 for a full one).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from poplib import POP3

from twisted.trial.unittest import SynchronousTestCase

from tests.crash.ledger import Ledger, opened, sealed
from tests.interop.running import RunningDNS, RunningServer

MESSAGES = int(os.environ.get("MAILFTP_CRASH_MESSAGES", "300"))
ROUNDS = int(os.environ.get("MAILFTP_CRASH_ROUNDS", "1"))


class KillTests(SynchronousTestCase):
    def maildrop(self, server: RunningServer, name: str) -> list[int]:
        pop = POP3(server.address, server.ports["pop3"], timeout=60)
        pop.user(name)
        pop.pass_("hungry")
        count, _ = pop.stat()
        found = [opened(b"\r\n".join(pop.retr(n)[1]) + b"\r\n") for n in range(1, count + 1)]
        pop.quit()
        return found

    def test_mailbox_and_queue(self) -> None:
        """Half the messages for a mailbox here, half relayed to a server that is down; killed in the middle.

        After the restart each acknowledged message is in the mailbox, or reaches the other server from the
        queue: whole and once.
        """
        for seed in range(ROUNDS):
            self.one_round(random.Random(seed))

    def one_round(self, chance: random.Random) -> None:
        dns = RunningDNS(self, {"b.test": "127.0.0.2"})
        b = RunningServer(self, "b.test", "127.0.0.2")
        b.add_account("bob", "hungry")
        a = RunningServer(self, "a.test", "127.0.0.1")
        a.configure(
            f'[dns]\nservers = ["{dns.server}"]\n[delivery]\nport = {b.ports["smtp"]}\nretry = ["1h"]\n'
        )
        alice = a.add_account("alice", "hungry")
        a.start()
        jobs = []
        for number in range(MESSAGES):
            size = 100_000 if chance.random() < 0.05 else chance.randrange(100, 8000)
            recipient = chance.choice((b"alice@a.test", b"bob@b.test"))
            jobs.append((number, recipient, sealed(number, size)))
        ledger = Ledger()
        assert a.process is not None
        pid = a.process.pid
        after = chance.randrange(MESSAGES // 4, MESSAGES * 3 // 4)
        asyncio.run(
            ledger.run(
                "127.0.0.1",
                a.ports["submission"],
                jobs,
                40,
                lambda: os.kill(pid, signal.SIGKILL),
                after,
                (alice, "hungry"),
            )
        )
        a.kill()
        b.start()
        a.start()
        self.deliver_everything(a, b)
        acknowledged, unheard = ledger.check(self.maildrop(a, "alice") + self.maildrop(b, "bob"))
        if "MAILFTP_CRASH_MESSAGES" in os.environ:
            figures = f"{acknowledged} acknowledged, none lost, torn or doubled; {unheard} more kept"
            print(f"\n{MESSAGES} sent: {figures}")

    def deliver_everything(self, a: RunningServer, b: RunningServer) -> None:
        """Retry until the queue is empty; each round hears at least one message arrive."""
        while waiting := a.queue():
            done = a.cli("queue", "retry", *(str(message["id"]) for message in waiting))
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            for _ in waiting:
                a.wait_for("delivered")
