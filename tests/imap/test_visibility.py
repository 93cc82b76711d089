"""UIDs become visible in their order: several writers, and readers that poll (RFC 9051 section 2.3.1.1)."""

from __future__ import annotations

import imaplib
import re
import smtplib
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.running import RunningServer

QUICK = "[auth]\nfailure_delay = 0\nargon2 = { time_cost = 1, memory_cost = 8 }\n"
MESSAGE = b"From: a@far.test\r\nSubject: x\r\n\r\nx\r\n"
EACH = 40


class VisibilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = RunningServer(self, "see.test", settings=QUICK)
        self.bob = self.server.add_account("bob", "hungry")
        self.server.start()
        self.faults: list[str] = []

    def client(self, mailbox: str = "") -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"], timeout=60)
        client.login("bob", "hungry")
        if mailbox:
            client.select(mailbox)
        return client

    def deliver(self) -> None:
        with smtplib.SMTP("127.0.0.1", self.server.ports["smtp"], timeout=60) as client:
            for _ in range(EACH):
                client.sendmail("a@far.test", [self.bob], MESSAGE)

    def append(self) -> None:
        client = self.client()
        for _ in range(EACH):
            assert client.append("INBOX", "", "", MESSAGE)[0] == "OK"
        client.logout()

    def copy(self) -> None:
        client = self.client()
        for _ in range(4):
            client.append("Archive", "", "", MESSAGE)
        client.select("Archive")
        for number in range(EACH):
            verb = "MOVE" if number % 10 == 9 else "COPY"
            assert client.uid(verb, str(number // 10 + 1), "INBOX")[0] == "OK"
        client.logout()

    def watch(self, look: Callable[[imaplib.IMAP4], set[int]], done: threading.Event) -> None:
        """Until everybody is done, and once more: what is new is above all that was there."""
        client = self.client("INBOX")
        seen: set[int] = set()
        last = False
        while not last:
            last = done.is_set()
            client.noop()
            uidnext = int(re.findall(rb"UIDNEXT (\d+)", client.status("INBOX", "(UIDNEXT)")[1][0])[0])
            found = look(client)
            new = found - seen
            if new and seen and min(new) <= max(seen):
                self.faults.append(f"{min(new)} after {max(seen)}")
            client.noop()
            later = look(client)
            if any(uid < uidnext for uid in later - found):
                self.faults.append(f"{sorted(later - found)} after UIDNEXT {uidnext}")
            seen |= found | later
        self.last = seen
        client.logout()

    def by_search(self, client: imaplib.IMAP4) -> set[int]:
        return {int(uid) for uid in client.uid("SEARCH", "ALL")[1][0].split()}

    def by_fetch(self, client: imaplib.IMAP4) -> set[int]:
        lines = client.uid("FETCH", "1:*", "(UID)")[1]
        return {int(found[1]) for line in lines if line and (found := re.search(rb"UID (\d+)", line))}

    def test_several_writers(self) -> None:
        """Deliveries, APPEND, COPY and MOVE at one time; two readers that poll never see a UID appear below
        one that they have seen, nor below a UIDNEXT that they were told."""
        done = threading.Event()
        broken: list[BaseException] = []

        def guarded(work: Callable[..., None], *arguments: object) -> threading.Thread:
            def run() -> None:
                try:
                    work(*arguments)
                except BaseException as error:
                    broken.append(error)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        readers = [guarded(self.watch, look, done) for look in (self.by_search, self.by_fetch)]
        writers = [guarded(work) for work in (self.deliver, self.append, self.append, self.copy)]
        for thread in writers:
            thread.join(120)
        done.set()
        for thread in readers:
            thread.join(120)
        self.assertEqual((broken, self.faults), ([], []))
        self.assertEqual(self.last, set(range(1, 4 * EACH + 1)))
