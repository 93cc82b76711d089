"""What a JMAP client waits for in an INBOX of 100,000 messages, and what 1,000 open event sources weigh.

    python -m benchmarks.jmap_reading [--count 100000] [--sources 1000] [--rounds 5]

A server is started as a user starts it, on a store that was filled before. Milliseconds and octets as the
client sees them, over a connection that stays open (without TLS); each row's first time, then the median of
the rounds, which the server answers from the result that it remembers.
Memory is the server's own (VmRSS), before and with the event sources.
"""

from __future__ import annotations

import argparse
import base64
import json
import resource
import socket
import statistics
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from benchmarks.large_maildrop import PASSWORD, Case, resident
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import Filing
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.units import Accept, AddAccount
from mailftp.web.jmap.registry import MAIL
from mailftp.web.jmap.request import CORE
from tests.interop.running import RunningServer

#: What a list of messages shows.
SHOWN = ["threadId", "mailboxIds", "keywords", "from", "subject", "receivedAt", "preview", "hasAttachment"]


#: Accounts whose changes are listened to.
LISTENERS = 50


class _Server(RunningServer):
    services = ("http", "smtp")


class _Client:
    def __init__(self, port: int, user: str) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=600)
        basic = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        self.headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
        session = self._ask("GET", "/.well-known/jmap", b"")[0]
        [self.account] = session["accounts"]

    def _ask(self, method: str, path: str, body: bytes) -> tuple[Any, int]:
        self.connection.request(method, path, body, self.headers)
        response = self.connection.getresponse()
        octets = response.read()
        assert response.status == 200, octets
        return json.loads(octets), len(octets)

    def call(self, *calls: tuple[str, dict[str, Any]]) -> tuple[list[Any], int, float]:
        """(responses, octets, milliseconds)."""
        made = [
            [name, {"accountId": self.account, **given}, str(at)] for at, (name, given) in enumerate(calls)
        ]
        body = json.dumps({"using": [CORE, MAIL], "methodCalls": made}).encode()
        began = time.perf_counter()
        answer, octets = self._ask("POST", "/jmap/api", body)
        taken = 1000 * (time.perf_counter() - began)
        responses = answer["methodResponses"]
        assert not [each for each in responses if each[0] == "error"], responses
        return responses, octets, taken


def listing(client: _Client, inbox: str, **query: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    """A window of a list, as a webmail asks for it."""
    given = {"filter": {"inMailbox": inbox}, "limit": 50, "calculateTotal": True, **query}
    ids = {"resultOf": "1", "name": "Email/query", "path": "/ids"}
    return (
        ("Mailbox/get", {"ids": None}),
        ("Email/query", given),
        ("Email/get", {"#ids": ids, "properties": SHOWN}),
    )


def rows(client: _Client, rounds: int) -> None:
    [[_, mailboxes, _]], _, taken = client.call(("Mailbox/get", {"ids": None}))
    print(f"{'Mailbox/get, the server knows nothing':45} {taken:9.1f} ms")
    inbox = next(each["id"] for each in mailboxes["list"] if each["role"] == "inbox")
    newest = [{"property": "receivedAt", "isAscending": False}]
    asked: list[tuple[str, dict[str, Any]]] = [
        ("the first 50, newest first", {"sort": newest}),
        ("50 from the middle", {"sort": newest, "position": 50_000}),
        ("the first 50 conversations", {"sort": newest, "collapseThreads": True}),
        ("the first 50 unread", {"sort": newest, "filter": {"inMailbox": inbox, "notKeyword": "$seen"}}),
        ("the first 50 by size", {"sort": [{"property": "size"}]}),
        ("the first 50 with a word", {"sort": newest, "filter": {"inMailbox": inbox, "text": "nomatch"}}),
        ("the first 50 with another word", {"sort": newest, "filter": {"text": "written"}}),
        ("the first 50 by sender", {"sort": [{"property": "from"}]}),
    ]
    for words, query in asked:
        measured = [client.call(*listing(client, inbox, **query))[1:] for _ in range(rounds)]
        times = [taken for _, taken in measured]
        again = statistics.median(times[1:])
        print(f"{words:45} {times[0]:9.1f} ms, again {again:7.1f} ms, {measured[0][0]:8} octets")


def sources(port: int, pid: int, count: int) -> None:
    before = resident(pid)
    opened = []
    for number in range(count):
        login = f"bob{number % LISTENERS}@example.test:{PASSWORD}"
        request = (
            "GET /jmap/eventsource?types=*&closeafter=no&ping=300 HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n\r\n"
        ).encode()
        if number == LISTENERS:
            # What the logins themselves took is there.
            before = resident(pid)
        opened.append(socket.create_connection(("127.0.0.1", port)))
        opened[-1].sendall(request)
        said = opened[-1].recv(4096)
        assert b" 200 " in said, said
    weight = 1024 * (resident(pid) - before) / max(1, count - LISTENERS)
    print(f"{count} event sources: {weight:.1f} KiB each, {resident(pid) - before:.1f} MiB in all")
    for each in opened:
        each.close()


def message(number: int) -> bytes:
    """2 KiB; every third is an answer to the one before."""
    answer = f"In-Reply-To: <{number - 1}@one.test>\r\n" if number % 3 == 2 else ""
    head = (
        f"From: Sender {number % 500} <s{number % 500}@one.test>\r\nTo: bob@example.test\r\n"
        f"Subject: {'Re: ' if answer else ''}message {number - bool(answer)}\r\n"
        f"Message-ID: <{number}@one.test>\r\n{answer}\r\n"
    ).encode()
    return head + b"A line of words that anybody might have written to anybody.\r\n" * 30


async def fill(reactor: Any, data: Path, count: int) -> None:
    store = SQLiteStore(data / "mail.sqlite", data / "blobs", reactor, reactor)
    await store.start()
    found = await store.read(AccountWithVerifier("bob@example.test"))
    assert found is not None
    filing = (Filing(found[0].id),)
    for number in range(LISTENERS):
        await store.commit(AddAccount(f"bob{number}@example.test", found[1]))

    async def put(number: int) -> None:
        sink = store.stage()
        sink.write(message(number))
        await store.commit(Accept(await sink.finish(), 1e9 + 60.0 * number, filing))

    for start in range(0, count, 500):
        flight = range(start, min(start + 500, count))
        await gatherResults([Deferred.fromCoroutine(put(number)) for number in flight], consumeErrors=True)
    await store.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--sources", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, given.sources + 200)), hard))
    with ExitStack() as stack:
        settings = "[limits]\nconnections = 5000\nconnections_per_ip = 5000\n"
        server = _Server(Case(stack), "example.test", settings=settings)
        user = server.add_account("bob", PASSWORD)
        try:
            react(lambda reactor: Deferred.fromCoroutine(fill(reactor, server.folder / "data", given.count)))
        except SystemExit as done:
            if done.code:
                raise
        server.start()
        assert server.process is not None
        client = _Client(server.ports["http"], user)
        # First: what a large search leaves behind would be taken for room that was there before.
        sources(server.ports["http"], server.process.pid, given.sources)
        rows(client, given.rounds)


if __name__ == "__main__":
    main()
