"""Two server processes at one maildrop: the lock is the kernel's, and ends with the process that has it."""

from __future__ import annotations

import poplib
import signal
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.serving import PATIENCE, Serving

#: POP3 for bob, over mail of its own and a lock that is everybody's.
_TAC = """
from pathlib import Path

from twisted.application.service import Application
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor

from mailftp.accounts.login import Login
from mailftp.accounts.maildrop import MaildropLocks
from mailftp.accounts.passwords import make_verifier
from mailftp.accounts.realm import MailRealm
from mailftp.accounts.sasl import Mechanisms
from mailftp.accounts.sessions import Sessions
from mailftp.pop3.server import POP3Factory
from mailftp.settings import Argon2, Settings
from mailftp.store.memory import MemoryStore
from mailftp.store.units import AddAccount
from mailftp.wire.connection import Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.listener import ListenerService

store = MemoryStore()
store.start()
for name in ("bob", "alice"):
    store.commit(AddAccount(f"{name}@example.test", make_verifier("hungry", Argon2(1, 8, 1))))
locks = MaildropLocks()
locks.share(Path("../maildrops.lock"))
realm = MailRealm(store, Sessions(store), lambda *_: None, domains=("example.test",), locks=locks)
users = InMemoryUsernamePasswordDatabaseDontUse()
for name in ("bob", "alice"):
    users.addUser(f"{name}@example.test".encode(), b"hungry")
portal = Portal(realm, [users])
settings = Settings(folder=Path("."), data=Path("."))
wiring = Wiring("pop3", "pop3", settings, reactor, ConnectionLimits(100, 100))
login = Login(portal, settings.auth, ("example.test",), reactor)
factory = POP3Factory(wiring, login, Mechanisms(portal))
listener = ListenerService("tcp:0:interface=127.0.0.1", factory, reactor, drain_seconds=0.1)
application = Application("a POP3 server")
listener.setServiceParent(application)
reactor.callWhenRunning(lambda: print(f"port={listener.addresses[0].port}.", flush=True))
"""


class ProcessTests(SynchronousTestCase):
    def serve(self, name: str) -> tuple[Serving, int]:
        folder = self.folder / name
        folder.mkdir()
        (folder / "one.tac").write_text(_TAC)
        serving = Serving("-y", "one.tac", folder=folder)
        self.addCleanup(lambda: serving.process.poll() is None and serving.stop(signal.SIGKILL))
        return serving, int(serving.wait_for(r"port=(\d+)\.")[1])

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)

    def enter(self, port: int, name: str = "bob@example.test") -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", port, timeout=60)
        self.addCleanup(client.close)
        client.user(name)
        client.pass_("hungry")
        return client

    def enter_soon(self, port: int) -> poplib.POP3:
        """As soon as the server has noticed that another connection is gone."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.enter(port)
            except poplib.error_proto as refused:
                self.assertIn("[IN-USE]", str(refused))
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)

    def refused(self, port: int, name: str = "bob@example.test") -> None:
        with self.assertRaises(poplib.error_proto) as caught:
            self.enter(port, name)
        self.assertEqual(str(caught.exception), "b'-ERR [IN-USE] another session has this maildrop'")

    def test_lock(self) -> None:
        """One session in both processes; free after QUIT, after a lost connection, and after kill -9; another
        maildrop and another folder are not held up."""
        first, one = self.serve("first")
        _, two = self.serve("second")
        session = self.enter(one)
        self.refused(two)
        self.refused(one)
        self.enter(two, "alice@example.test").quit()
        self.enter(two, "bob@example.test#Sent").quit()
        session.quit()
        session = self.enter(two)
        self.refused(one)
        session.quit()
        session = self.enter(one)
        self.refused(two)
        session.close()
        session = self.enter_soon(two)
        session.quit()
        session = self.enter(one)
        self.refused(two)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(60)
        self.enter(two).quit()
