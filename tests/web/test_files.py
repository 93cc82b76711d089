"""Files by HTTP, in memory: a home on the disk that answers at once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mailftp.accounts.avatars import IMailAccount
from mailftp.files.home import IHome
from mailftp.files.policy import Patterns, Policy, Rule
from mailftp.web.authentication import Unauthenticated
from mailftp.web.files.furnishing import add_files
from mailftp.web.pages import Visit, refusal
from mailftp.wire.reading import FileReader
from tests.files.inline import home_in, partials
from tests.web.site import Response, WebCase, responses


class Whoever:
    """Lets in who says "Authorization: Basic ..." of anything."""

    async def account_of(self, visit: Visit) -> Any:
        if "authorization" not in visit.fields:
            raise Unauthenticated(refusal(401, "who are you?"))
        return object()


class FilesCase(WebCase):
    policy = Policy()
    quota: int | None = None

    def setUp(self) -> None:
        super().setUp()
        self.top = Path(self.mktemp())
        self.top.mkdir()

        async def home_of(avatar: IMailAccount) -> IHome:
            return home_in(self.top, policy=self.policy, quota=self.quota)

        whoever: Any = Whoever()
        add_files(self.root, whoever, home_of, FileReader())

    def said(self, target: str, *headers: str, **more: Any) -> Response:
        return self.ask(target, "Authorization: Basic YTpi", *headers, **more)

    def told(self, target: str, *headers: str, status: int = 200, **more: Any) -> Any:
        response = self.said(target, *headers, **more)
        self.assertEqual(response.status, status, response.text)
        return json.loads(response.body)

    def command(self, target: str, status: int = 201, **command: Any) -> Any:
        return self.told(target, method="POST", body=json.dumps(command).encode(), status=status)


class Reading(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.octets = os.urandom(700_000)
        (self.top / "scans").mkdir()
        (self.top / "scans" / "a b%.pdf").write_bytes(self.octets)
        self.path = "/files/scans/a%20b%25.pdf"

    def test_whole(self) -> None:
        response = self.said(self.path)
        self.assertEqual((response.status, response.body), (200, self.octets))
        self.assertEqual(response.headers["Accept-Ranges"], "bytes")
        self.assertEqual(
            response.headers["Content-Disposition"],
            "attachment; filename=\"a b%.pdf\"; filename*=UTF-8''a%20b%25.pdf",
        )
        head = self.said(self.path, method="HEAD")
        self.assertEqual((head.status, head.headers["Content-Length"]), (200, "700000"))

    def test_nothing_runs_in_our_origin(self) -> None:
        (self.top / "x.html").write_text("<script>alert(1)</script>")
        response = self.said("/files/x.html")
        self.assertEqual(response.headers["Content-Type"], "application/octet-stream")
        self.assertEqual(response.headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("sandbox", response.headers["Content-Security-Policy"])
        self.assertTrue(response.headers["Content-Disposition"].startswith("attachment;"))

    def test_ranges(self) -> None:
        for field, start, end in (("0-9", 0, 10), ("699990-", 699990, 700000), ("-5", 699995, 700000)):
            response = self.said(self.path, f"Range: bytes={field}")
            self.assertEqual((response.status, response.body), (206, self.octets[start:end]))
            self.assertEqual(response.headers["Content-Range"], f"bytes {start}-{end - 1}/700000")
        response = self.said(self.path, "Range: bytes=700000-")
        self.assertEqual(response.status, 416)
        self.assertEqual(response.headers["Content-Range"], "bytes */700000")

    def test_conditions(self) -> None:
        tag = self.said(self.path).headers["ETag"]
        self.assertEqual(self.said(self.path, f"If-None-Match: {tag}").status, 304)
        self.assertEqual(self.said(self.path, 'If-Match: "other"').status, 412)
        part = self.said(self.path, f"If-Range: {tag}", "Range: bytes=0-0")
        self.assertEqual(part.status, 206)
        (self.top / "scans" / "a b%.pdf").write_bytes(b"new")
        whole = self.said(self.path, f"If-Range: {tag}", "Range: bytes=0-0")
        self.assertEqual((whole.status, whole.body), (200, b"new"))

    def test_descriptors_are_closed(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for field in ("Range: bytes=0-9", "Range: bytes=900000-", 'If-Match: "x"', "If-None-Match: *"):
            self.said(self.path, field)
        self.said(self.path, method="HEAD")
        client = self.connect()
        client.exchange(
            f"GET {self.path} HTTP/1.1\r\nHost: mx.a.test\r\nAuthorization: Basic YTpi\r\n\r\n".encode()
        )
        client.transport.abortConnection()
        client.pump()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_listing(self) -> None:
        (self.top / os.fsdecode(b"caf\xe9")).write_bytes(b"12")
        found = self.told("/files/")
        self.assertEqual(found["path"], "/")
        byname = {entry["path"]: entry for entry in found["entries"]}
        self.assertEqual(set(byname), {"/scans/", "/caf%E9"})
        self.assertEqual(byname["/scans/"]["kind"], "dir")
        self.assertEqual((byname["/caf%E9"]["name"], byname["/caf%E9"]["size"]), ("caf\ufffd", 2))
        self.assertEqual(self.said("/files/caf%E9").body, b"12")
        self.assertEqual(
            [each["path"] for each in self.told("/files/scans/")["entries"]], ["/scans/a%20b%25.pdf"]
        )
        (self.top / "empty").mkdir()
        self.assertEqual(self.told("/files/empty/"), {"path": "/empty/", "entries": []})

    def test_many_names(self) -> None:
        for number in range(1000):
            (self.top / "scans" / str(number)).write_bytes(b"")
        self.assertEqual(len(self.told("/files/scans/")["entries"]), 1001)

    def test_folder_without_slash(self) -> None:
        response = self.said("/files/scans")
        self.assertEqual(
            (response.status, response.headers["Location"]), (308, "http://mx.a.test/files/scans/")
        )

    def test_facts_digest_room(self) -> None:
        facts = self.told(f"{self.path}?facts")
        self.assertEqual((facts["kind"], facts["size"], facts["name"]), ("file", 700000, "a b%.pdf"))
        digest = self.told(f"{self.path}?digest=SHA-256")
        self.assertEqual(digest["digest"], hashlib.sha256(self.octets).hexdigest())
        self.told(f"{self.path}?digest=rot13", status=400)
        self.assertGreater(self.told("/files/?room")["room"], 0)

    def test_not_there(self) -> None:
        self.told("/files/nothing", status=404)
        self.told("/files/nothing/", status=404)

    def test_who_asks(self) -> None:
        for method in ("GET", "PUT", "POST", "DELETE"):
            self.assertEqual(self.ask(self.path, method=method, body=b"x" * (method == "PUT")).status, 401)
        self.assertEqual((self.top / "scans" / "a b%.pdf").read_bytes(), self.octets)

    def test_traversal(self) -> None:
        """Every way to write two dots, a slash or a NUL; nothing outside is read, written or removed."""
        secret = self.top.parent / f"secret-{self.top.name}"
        secret.write_bytes(b"secret")
        self.addCleanup(secret.unlink)
        os.symlink(secret.absolute(), self.top / "link")
        name = secret.name
        for way in ("..", "%2e%2e", ".%2E", "..%2f..", "%2e%2e%2f", "scans/..", "..%00", "scans%2f..%2f.."):
            for method in ("GET", "PUT", "DELETE", "POST"):
                response = self.said(f"/files/{way}/{name}", method=method, body=b"{}" * (method != "GET"))
                self.assertIn(response.status, (400, 404), (way, method))
        for to in (f"/../{name}", f"/%2e%2e/{name}", f"/..%2f{name}", name, "/a\0b", ""):
            self.command(self.path, status=400, do="copy", to=to)
        self.assertEqual(self.said("/files/link").status, 403)
        self.assertEqual(self.said("/files/link", method="PUT", body=b"x").status, 403)
        self.assertEqual(secret.read_bytes(), b"secret")


class Writing(FilesCase):
    def put(self, target: str, body: bytes, *headers: str) -> Response:
        return self.said(target, *headers, method="PUT", body=body)

    def test_new_and_over(self) -> None:
        first = self.put("/files/a.txt", b"one")
        self.assertEqual((first.status, json.loads(first.body)["size"]), (201, 3))
        second = self.put("/files/a.txt", b"second")
        self.assertEqual((second.status, (self.top / "a.txt").read_bytes()), (200, b"second"))
        self.assertEqual(self.put("/files/empty", b"").status, 201)
        self.assertEqual((self.top / "empty").read_bytes(), b"")

    def test_conditions(self) -> None:
        self.assertEqual(self.put("/files/a", b"1", 'If-Match: "x"').status, 412)
        tag = self.put("/files/a", b"1", "If-None-Match: *").headers["ETag"]
        self.assertEqual(self.put("/files/a", b"2", "If-None-Match: *").status, 412)
        self.assertEqual(self.put("/files/a", b"2", f"If-Match: {tag}").status, 200)
        self.assertEqual(self.put("/files/a", b"3", f"If-Match: {tag}").status, 412)
        self.assertEqual((self.top / "a").read_bytes(), b"2")

    def test_parts(self) -> None:
        """As a page sends a large file, and goes on after a reload."""
        part = self.put("/files/big", b"0123", "Content-Range: bytes 0-3/10")
        self.assertEqual((part.status, json.loads(part.body)), (202, {"path": "/big", "arrived": 4}))
        self.assertFalse((self.top / "big").exists())
        self.assertEqual(self.told("/files/")["entries"], [])
        facts = self.told("/files/big?facts")
        self.assertEqual((facts["kind"], facts["arrived"]), ("part", 4))
        whole = self.put("/files/big", b"456789", "Content-Range: bytes 4-9/10")
        self.assertEqual((whole.status, (self.top / "big").read_bytes()), (201, b"0123456789"))
        self.assertEqual(partials(self.top), [])

    def test_part_beyond_what_came(self) -> None:
        self.assertEqual(self.put("/files/big", b"456", "Content-Range: bytes 4-6/7").status, 404)

    def test_wrong_parts(self) -> None:
        for field in ("bytes 0-9/5", "bytes 0-1/10", "bytes=0-3", "bytes 3-0/10"):
            self.assertEqual(self.put("/files/x", b"0123", f"Content-Range: {field}").status, 400, field)
        self.assertEqual(list(self.top.iterdir()), [])

    def test_cut_off(self) -> None:
        """What came of an upload whose client is gone is kept, under no name of its own."""
        client = self.connect()
        head = "PUT /files/cut HTTP/1.1\r\nHost: mx.a.test\r\nAuthorization: Basic YTpi\r\n"
        client.exchange(f"{head}Content-Length: 10\r\n\r\n01234".encode())
        client.transport.abortConnection()
        client.pump()
        self.assertEqual(self.told("/files/cut?facts")["arrived"], 5)
        self.assertEqual(self.put("/files/cut", b"56789", "Content-Range: bytes 5-9/10").status, 201)
        self.assertEqual((self.top / "cut").read_bytes(), b"0123456789")

    def test_chunked(self) -> None:
        client = self.connect()
        head = "PUT /files/c HTTP/1.1\r\nHost: mx.a.test\r\nAuthorization: Basic YTpi\r\n"
        said = client.exchange(
            f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode()
        )
        [response] = responses(said)
        self.assertEqual((response.status, (self.top / "c").read_bytes()), (201, b"abcde"))

    def test_commands(self) -> None:
        self.assertEqual(self.command("/files/new", do="make")["kind"], "dir")
        self.put("/files/new/a", b"1")
        self.assertEqual(self.command("/files/new/a", do="rename", to="/b%20c")["path"], "/b%20c")
        self.command("/files/b%20c", do="copy", to="/new/d")
        self.assertEqual((self.top / "new" / "d").read_bytes(), b"1")
        self.put("/files/e", b"2")
        self.command("/files/e", status=409, do="rename", to="/new/d")
        self.assertEqual((self.top / "new" / "d").read_bytes(), b"1")
        self.command("/files/e", do="rename", to="/new/d", overwrite=True)
        self.assertEqual((self.top / "new" / "d").read_bytes(), b"2")
        self.command("/files/new", status=409, do="make")

    def test_wrong_commands(self) -> None:
        for body in (
            b"",
            b"{",
            b"[]",
            b'{"do":"rename"}',
            b'{"do":"eat"}',
            b'{"do":"copy","to":7}',
            b"[" * 9999,
        ):
            self.told("/files/x", method="POST", body=body, status=400)
        self.told("/files/x", method="POST", body=b" " * 20000, status=403)

    def test_delete(self) -> None:
        (self.top / "f").mkdir()
        (self.top / "f" / "a").write_bytes(b"1")
        self.told("/files/f", method="DELETE", status=409)
        self.told("/files/f/", method="DELETE", status=409)
        self.assertEqual(self.said("/files/f/a", method="DELETE").status, 204)
        self.assertEqual(self.said("/files/f/", method="DELETE").status, 204)
        (self.top / "g" / "h").mkdir(parents=True)
        (self.top / "g" / "h" / "a").write_bytes(b"1")
        self.assertEqual(self.said("/files/g/?with-all=yes", method="DELETE").status, 204)
        self.assertEqual(list(self.top.iterdir()), [])
        self.told("/files/g/", method="DELETE", status=404)


class Quota(FilesCase):
    quota = 100

    def test_upload_bomb(self) -> None:
        response = self.said("/files/big", method="PUT", body=b"x" * 101)
        self.assertEqual(response.status, 507, response.text)
        self.assertFalse((self.top / "big").exists())
        self.assertEqual(self.said("/files/small", method="PUT", body=b"x" * 50).status, 201)
        self.assertEqual(self.said("/files/small2", method="PUT", body=b"x" * 60).status, 507)


class Rules(FilesCase):
    """The one policy of the homes holds here too."""

    policy = Policy(read_only=True, rules=(Rule(hidden=Patterns([".*"]), forbidden=Patterns(["*.exe"])),))

    def test_read_only(self) -> None:
        (self.top / "a").write_bytes(b"1")
        (self.top / ".hidden").write_bytes(b"1")
        self.assertEqual([each["name"] for each in self.told("/files/")["entries"]], ["a"])
        self.told("/files/.hidden", status=404)
        self.told("/files/b", method="PUT", body=b"x", status=403)
        self.told("/files/a", method="DELETE", status=403)
        self.command("/files/a", status=403, do="rename", to="/b")
        self.command("/files/b", status=403, do="make")
        self.assertEqual((self.top / "a").read_bytes(), b"1")


class Description(FilesCase):
    def test_it_names_what_there_is(self) -> None:
        found = json.loads(self.ask("/files.openapi.json").body)
        operations = found["paths"]["/files/{path}"]
        self.assertEqual(set(operations) - {"parameters"}, {"get", "put", "post", "delete"})
