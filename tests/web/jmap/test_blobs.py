"""Upload and download."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mailftp.store.engine import SMALL_BODY
from mailftp.web.jmap.request import Limits
from tests.connector import advance
from tests.imap.on_disk import SQLiteTestCase
from tests.web.jmap.site import ALICE, BOB, JMAPCase
from tests.web.site import Response, responses

WHOLE = (Path(__file__).parent / "messages/whole.eml").read_bytes()


class Blobs:
    limits = Limits(max_size_upload=2_000_000, max_concurrent_upload=2)

    def upload(self: Any, data: bytes, *headers: str, who: str = BOB) -> Response:
        sent = headers or ("Content-Type: image/png",)
        account = self.ids["bob" if who is BOB else "alice"]
        return self.ask(f"/jmap/upload/A{account}/", who, *sent, method="POST", body=data)

    def download(
        self: Any, blob: str, name: str = "a", query: str = "", who: str = BOB, **more: Any
    ) -> Response:
        account = self.ids["bob"]
        return self.ask(f"/jmap/download/A{account}/{blob}/{name}{query}", who, **more)

    def test_round(self: Any) -> None:
        """What was uploaded comes back, small and large, and nobody else has it."""
        for size in (0, 1, 1000, SMALL_BODY + 1, 1_500_000):
            data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            response = self.upload(data)
            self.assertEqual(response.status, 201, response.text)
            told = json.loads(response.body)
            self.assertEqual((told["type"], told["size"]), ("image/png", size))
            self.assertEqual(told["accountId"], f"A{self.ids['bob']}")
            got = self.download(told["blobId"], "pic.png", "?accept=image/png")
            self.assertEqual((got.status, got.headers["Content-Type"]), (200, "image/png"))
            self.assertEqual(hashlib.sha256(got.body).digest(), hashlib.sha256(data).digest())
            self.assertEqual(self.download(told["blobId"], who=ALICE).status, 404)
            path = f"/jmap/download/A{self.ids['alice']}/{told['blobId']}/a"
            self.assertEqual(self.ask(path, ALICE).status, 404)

    def test_messages(self: Any) -> None:
        """A message as it is, and its parts' contents."""
        self.put(WHOLE)
        [email] = self.call("Email/query")["ids"]
        given = {"ids": [email], "properties": ["blobId", "attachments", "size"]}
        [told] = self.call("Email/get", given)["list"]
        got = self.download(told["blobId"], "m.eml", "?accept=message/rfc822")
        self.assertTrue(got.body.endswith(WHOLE))
        self.assertEqual(len(got.body), told["size"])
        contents = []
        for part in told["attachments"]:
            got = self.download(part["blobId"])
            self.assertEqual(len(got.body), part["size"])
            contents.append(got.body)
        self.assertEqual(contents[:2], [b"\x89PNG\r\n\x1a\n", b"%PDF-1.4\n"])
        for blob in ("B1_0", "B1_99", "B999", "U1", "B1_", "B01", "X", "B" + "9" * 30):
            self.assertEqual(self.download(blob).status, 404, blob)

    def test_nothing_runs(self: Any) -> None:
        """HTML is offered for saving, in a sandbox; a name or a type forges no field."""
        told = json.loads(self.upload(b"<script>alert(1)</script>").body)
        got = self.download(told["blobId"], "a%0d%0aX-Y:%20z%2f..%22.html", "?accept=text/html")
        self.assertIn("sandbox", got.headers["Content-Security-Policy"])
        self.assertEqual(got.headers["X-Content-Type-Options"], "nosniff")
        self.assertTrue(got.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''a__X-Y"))
        self.assertIsNone(got.headers["X-Y"])
        for query in ("?accept=text/html%0d%0aX-Y:z", "?accept=text", ""):
            got = self.download(told["blobId"], query=query)
            self.assertEqual(got.headers["Content-Type"], "application/octet-stream", query)
            self.assertIsNone(got.headers["X-Y"])
        got = self.download(told["blobId"], method="HEAD")
        self.assertEqual((got.status, got.headers["Content-Length"]), (200, "25"))

    def test_refused(self: Any) -> None:
        """Without a login, for another account, too large, too many: before anything is kept."""
        self.assertEqual(self.ask("/jmap/upload/A1", method="POST", body=b"x").status, 401)
        path = f"/jmap/upload/A{self.ids['alice']}"
        self.assertEqual(self.ask(path, BOB, method="POST", body=b"x").status, 404)
        self.assertEqual(self.ask("/jmap/upload", BOB, method="POST", body=b"x").status, 404)
        response = self.upload(bytes(2_000_001))
        self.assertEqual((response.status, json.loads(response.body)["limit"]), (400, "maxSizeUpload"))
        clients = []
        head = f"POST /jmap/upload/A{self.ids['bob']} HTTP/1.1\r\nHost: localhost\r\n{BOB}\r\n"
        for _ in range(2):
            clients.append(self.browser())
            clients[-1].send(head.encode() + b"Content-Length: 5\r\n\r\nab")
        response = self.upload(b"one more")
        self.assertEqual(json.loads(response.body)["limit"], "maxConcurrentUpload")
        clients.pop().drop()
        self.assertEqual(self.upload(b"one more").status, 201)
        [response] = responses(clients.pop().exchange(b"cde"))
        self.assertEqual(response.status, 201)

    def test_slow(self: Any) -> None:
        """An upload that trickles is ended, and its place is free."""
        client = self.browser()
        head = f"POST /jmap/upload/A{self.ids['bob']} HTTP/1.1\r\nHost: localhost\r\n{BOB}\r\n"
        client.send(head.encode() + b"Content-Length: 1000\r\n\r\nab")
        advance(self.web, 32)
        client.pump()
        [response] = responses(client.received())
        self.assertEqual(response.status, 408)
        self.assertEqual(self.upload(b"x").status, 201)


class MemoryBlobs(Blobs, JMAPCase):
    def test_old(self) -> None:
        """After a day an upload is forgotten."""
        told = json.loads(self.upload(b"x").body)
        self.clock.advance(86_500)
        self.assertEqual(self.upload(b"y").status, 201)
        self.assertEqual(self.download(told["blobId"]).status, 404)


class SQLiteBlobs(Blobs, JMAPCase, SQLiteTestCase):
    """Over SQLite, large ones in files."""
