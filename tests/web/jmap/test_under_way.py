"""Requests that take their time, clients that go, and requests that are made to cost much."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.pages import APIPage
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import CORE, Limits
from tests.connector import Client
from tests.web.jmap.site import BOB, JMAPCase
from tests.web.site import responses


class UnderWay(JMAPCase):
    limits = Limits(max_concurrent_requests=2)

    def setUp(self) -> None:
        super().setUp()
        self.waiting: list[Deferred[None]] = []
        self.ended: list[str] = []
        registry = Registry()
        registry.offer(CORE)
        for name in ("Slow/get", "Slow/set"):
            registry.add(name, self._slow)
        self.root.at("/slow", APIPage(self.authentication, self.ground, registry))

    async def _slow(self, context: Context, arguments: Arguments) -> dict[str, Any]:
        self.waiting.append(Deferred())
        try:
            await self.waiting[-1]
        except CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return {}

    def begin(self, *names: str) -> Client:
        calls = [[name, {}, "0"] for name in names]
        body = json.dumps({"using": [CORE], "methodCalls": calls}).encode()
        head = f"POST /slow HTTP/1.1\r\nHost: localhost\r\n{BOB}\r\nContent-Type: application/json\r\n"
        client = self.browser()
        client.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return client

    def test_reading_stops(self) -> None:
        """Nobody waits for it any more: the calls behind are not begun."""
        client = self.begin("Slow/get", "Slow/get")
        client.drop()
        self.assertEqual((self.ended, len(self.waiting)), (["cancelled"], 1))

    def test_writing_goes_on(self) -> None:
        """What was asked to be changed is changed, to its end."""
        client = self.begin("Slow/set", "Slow/get")
        client.drop()
        for number in range(2):
            self.waiting[number].callback(None)
        self.assertEqual(self.ended, ["done", "done"])

    def test_many(self) -> None:
        """Beyond the limit of an account they are refused, and the limit is free again after."""
        clients = [self.begin("Slow/get") for _ in range(2)]
        [response] = responses(self.begin("Slow/get").received())
        self.assertEqual(json.loads(response.body)["limit"], "maxConcurrentRequests")
        clients.pop().drop()
        client = self.begin("Slow/get")
        self.waiting[-1].callback(None)
        client.pump()
        [response] = responses(client.received())
        self.assertEqual(response.status, 200)


class Costly(JMAPCase):
    def test_filters(self) -> None:
        """Depth, number and texts of a filter are bounded."""
        nested: Any = {"hasKeyword": "a"}
        for _ in range(17):
            nested = {"operator": "NOT", "conditions": [nested]}
        self.assertEqual(self.call("Email/query", {"filter": nested})["error"], "unsupportedFilter")
        many = {"operator": "OR", "conditions": [{"hasKeyword": "a"}] * 201}
        self.assertEqual(self.call("Email/query", {"filter": many})["error"], "unsupportedFilter")
        self.assertEqual(
            self.call("Email/query", {"filter": {"text": "x" * 1001}})["error"], "unsupportedFilter"
        )
        sort = [{"property": "size"}] * 11
        self.assertEqual(self.call("Email/query", {"sort": sort})["error"], "unsupportedSort")

    def test_ids(self) -> None:
        many = [f"M{number}" for number in range(1, 1002)]
        for name in ("Email/get", "Thread/get", "Mailbox/get"):
            self.assertEqual(self.call(name, {"ids": many})["error"], "requestTooLarge", name)

    def test_references(self) -> None:
        """An answer that grows with each reference to the one before ends at a limit."""
        calls: list[list[Any]] = [["Core/echo", {"a": [["x"] * 100] * 100}, "0"]]
        for number in range(1, 5):
            path = "/a/*" if number == 1 else "/a"
            reference = {"resultOf": str(number - 1), "name": "Core/echo", "path": path}
            calls.append(["Core/echo", {"#a": reference, "#b": reference}, str(number)])
        answered = self.calls(*calls)
        self.assertLess(len(json.dumps(answered)), 1_000_000)
        # Each twice the one before.
        calls = [["Core/echo", {"a": "x" * 100}, "0"]]
        for number in range(1, 32):
            whole = {"resultOf": str(number - 1), "name": "Core/echo", "path": ""}
            calls.append(["Core/echo", {"#a": whole, "#b": whole}, str(number)])
        answered = self.calls(*calls)
        self.assertLess(len(json.dumps(answered)), 8_000_000)
        self.assertEqual(
            {each[1]["type"] for each in answered if each[0] == "error"}, {"invalidResultReference"}
        )
        deep = {"resultOf": "0", "name": "Core/echo", "path": "/a" * 40}
        [_, [name, error, _]] = self.calls(["Core/echo", {"a": 1}, "0"], ["Core/echo", {"#b": deep}, "1"])
        self.assertEqual((name, error["type"]), ("error", "invalidResultReference"))

    def test_another_account(self) -> None:
        """Whatever names something of another account names nothing."""
        self.put(b"Subject: alice's\r\n\r\ntext\r\n", account="alice")
        alice = f"A{self.ids['alice']}"
        for name in ("Email/query", "Mailbox/get", "Email/changes", "Quota/get", "Thread/get", "Blob/get"):
            self.assertEqual(self.call(name, {"accountId": alice})["error"], "accountNotFound", name)
        self.assertEqual(self.call("Email/get", {"ids": ["M1"]})["notFound"], ["M1"])
        self.assertEqual(self.call("Thread/get", {"ids": ["T1"]})["notFound"], ["T1"])
        self.assertEqual(self.call("Blob/get", {"ids": ["B1"]})["notFound"], ["B1"])
        self.assertEqual(self.call("SearchSnippet/get", {"emailIds": ["M1"]})["notFound"], ["M1"])
        self.assertEqual(self.call("Email/query", {"filter": {"text": "alice"}})["ids"], [])
        account = f"A{self.ids['bob']}"
        self.assertEqual(self.ask(f"/jmap/download/{account}/B1/x", BOB).status, 404)
