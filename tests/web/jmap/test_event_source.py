"""The event source."""

from __future__ import annotations

import json
from typing import Any

from mailftp.store.units import SetAccount
from mailftp.web.authentication import KNOWN_SECONDS
from mailftp.web.jmap import event_source
from tests.connector import Client, advance
from tests.web.jmap.site import BOB, JMAPCase
from tests.web.site import chunks

MESSAGE = b"From: ann@example.test\r\nSubject: one\r\n\r\ntext\r\n"


class EventSourceTests(JMAPCase):
    def listen(self, query: str = "types=*&closeafter=no&ping=0", *headers: str, who: str = BOB) -> Client:
        client = self.browser()
        lines = [f"GET /jmap/eventsource?{query} HTTP/1.1", "Host: localhost", who, *headers, "", ""]
        said = client.exchange("\r\n".join(lines).encode())
        head, _, self.rest = said.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        self.head = head.decode().lower()
        return client

    def events(self, client: Client) -> list[dict[str, Any]]:
        """What came since it was asked last."""
        client.pump()
        octets, self.rest = self.rest + client.received(), b""
        if not octets.endswith(b"0\r\n\r\n"):
            octets += b"0\r\n\r\n"
        found = []
        for block in chunks(octets)[0].decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
            if fields:
                fields["data"] = json.loads(fields["data"])
                found.append(fields)
        return found

    def state(self) -> str:
        state = self.call("Mailbox/get", {"ids": []})["state"]
        assert isinstance(state, str)
        return state

    def test_states(self) -> None:
        """Mail that comes is told to who asks for its types; a flag is no delivery."""
        client = self.listen()
        self.assertEqual(self.status, 200)
        self.assertIn("content-type: text/event-stream", self.head)
        self.assertEqual(self.events(client), [])
        self.put(MESSAGE)
        advance(self.web, 1)
        [event] = self.events(client)
        state, account = self.state(), f"A{self.ids['bob']}"
        self.assertEqual((event["event"], event["id"]), ("state", state))
        types = dict.fromkeys(("Email", "EmailDelivery", "Mailbox", "Thread"), state)
        self.assertEqual(event["data"], {"@type": "StateChange", "changed": {account: types}})
        imap = self.enter("INBOX")
        imap.exchange(b"a STORE 1 +FLAGS (\\Seen)\r\n")
        advance(self.web, 1)
        [event] = self.events(client)
        self.assertEqual(sorted(event["data"]["changed"][account]), ["Email", "Mailbox", "Thread"])
        self.assertEqual(event["data"]["changed"][account]["Email"], self.state())
        self.put(MESSAGE, account="alice")
        advance(self.web, 1)
        self.assertEqual(self.events(client), [])

    def test_types(self) -> None:
        client = self.listen("types=EmailDelivery,Calendar&closeafter=no&ping=0")
        self.put(MESSAGE)
        advance(self.web, 1)
        [event] = self.events(client)
        self.assertEqual(event["data"]["changed"], {f"A{self.ids['bob']}": {"EmailDelivery": self.state()}})
        self.enter("INBOX").exchange(b"a STORE 1 +FLAGS (\\Seen)\r\n")
        advance(self.web, 1)
        self.assertEqual(self.events(client), [])

    def test_many_at_once(self) -> None:
        """A burst is a few events, the last of which has the last state."""
        client = self.listen("types=Email&closeafter=no&ping=0")
        for _ in range(50):
            self.put(MESSAGE)
        advance(self.web, 2)
        events = self.events(client)
        self.assertLessEqual(len(events), 2)
        self.assertEqual(events[-1]["id"], self.state())

    def test_missed(self) -> None:
        """Last-Event-ID: what happened meanwhile is told at once, and only then."""
        self.put(MESSAGE)
        state = self.state()
        client = self.listen("types=*&closeafter=no&ping=0", f"Last-Event-ID: {state}")
        self.assertEqual(self.events(client), [])
        self.put(MESSAGE)
        for last in (state, "nonsense", "99999"):
            client = self.listen("types=Email&closeafter=no&ping=0", f"Last-Event-ID: {last}")
            advance(self.web, 1)
            [event] = self.events(client)
            self.assertEqual(event["id"], self.state(), last)

    def test_close_after_state(self) -> None:
        client = self.listen("types=*&closeafter=state&ping=0")
        self.put(MESSAGE)
        advance(self.web, 1)
        client.pump()
        self.assertTrue((self.rest + client.received()).endswith(b"0\r\n\r\n"))
        # The connection is there for the next request.
        said = client.exchange(
            b"GET /.well-known/jmap HTTP/1.1\r\nHost: localhost\r\n" + BOB.encode() + b"\r\n\r\n"
        )
        self.assertTrue(said.startswith(b"HTTP/1.1 200"))

    def test_pings(self) -> None:
        """So long after what was sent last; too short and too long ones are changed."""
        client = self.listen("types=*&closeafter=no&ping=300")
        advance(self.web, 299)
        self.assertEqual(self.events(client), [])
        advance(self.web, 2)
        [ping] = self.events(client)
        self.assertEqual((ping["event"], ping["data"]), ("ping", {"interval": 300}))
        self.assertNotIn("id", ping)
        client = self.listen("types=*&closeafter=no&ping=1")
        advance(self.web, event_source.PING_LEAST + 1)
        [ping] = self.events(client)
        self.assertEqual(ping["data"], {"interval": event_source.PING_LEAST})

    def test_refused(self) -> None:
        for query in (
            "types=&ping=0",
            "types=a,,b",
            "types=*&ping=x",
            "types=*&ping=-1",
            "types=*&closeafter=yes",
        ):
            self.listen(query)
            self.assertEqual(self.status, 400, query)
        self.listen(who="X-Y: z")
        self.assertEqual(self.status, 401)
        for _ in range(event_source.MOST):
            self.listen()
            self.assertEqual(self.status, 200)
        client = self.listen()
        self.assertEqual(self.status, 429)
        client.drop()

    def test_ends_with_the_account(self) -> None:
        """A password that is changed, an account that is disabled: he listens no more."""
        client = self.listen()
        advance(self.web, KNOWN_SECONDS + 1)
        self.successResultOf(self.store.commit(SetAccount("bob@example.test", (("disabled", True),))))
        client.pump()
        self.assertTrue(client.received().endswith(b"0\r\n\r\n"))
        self.put(MESSAGE)
        advance(self.web, 1)
        self.assertEqual(client.received(), b"")

    def test_left(self) -> None:
        """Who goes leaves no clock and no ear behind."""
        clients = [self.listen("types=*&closeafter=no&ping=30") for _ in range(3)]
        self.put(MESSAGE)
        for client in clients:
            client.drop()
        advance(self.web, 100)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if "ping" in str(call.func)], [])

    def test_server_stops(self) -> None:
        """A server that stops does not wait for them."""
        client = self.listen()
        for connection in tuple(self.web.connections):
            connection.drain()
        client.pump()
        self.assertTrue((self.rest + client.received()).endswith(b"0\r\n\r\n"))
        self.assertTrue(client.closed)
