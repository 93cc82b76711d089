"""JMAP clients that we did not write: jmapc, jmap-jam, curl, while IMAP changes what they see."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from tests.interop.imap import PASSWORD, Account, message
from tests.interop.running import PATIENCE, RunningServer, program

NODE = Path(__file__).parent / "node"


class _Server(RunningServer):
    services = ("imap", "imaps", "https")


class _Account(Account):
    kind = _Server

    @property
    def host(self) -> str:
        return f"localhost:{self.server.ports['https']}"


class JmapcTests(TestCase):
    def test_reading(self) -> None:
        """Mailboxes, a query with what it refers to, changes made by IMAP, a download, an event."""
        try:
            import jmapc
            from jmapc import methods
        except ImportError:
            raise SkipTest("needs jmapc: pip install .[test]") from None
        account = _Account(self)
        account.append([message(1), message(2)])
        self.patch(os, "environ", {**os.environ, "REQUESTS_CA_BUNDLE": str(account.server.ca)})
        client = jmapc.Client.create_with_password(account.host, account.user, PASSWORD)
        self.assertEqual(client.jmap_session.username, account.user)
        mailboxes = client.request(methods.MailboxGet(ids=None), raise_errors=True).data
        inbox = next(each for each in mailboxes if each.role == "inbox")
        self.assertEqual((inbox.total_emails, inbox.unread_emails), (2, 2))
        results = client.request(
            [
                methods.EmailQuery(
                    filter=jmapc.EmailQueryFilterCondition(in_mailbox=inbox.id),
                    sort=[jmapc.Comparator(property="subject")],
                ),
                methods.EmailGet(
                    ids=jmapc.Ref("/ids"), properties=["id", "subject", "from", "keywords", "threadId"]
                ),
            ],
            raise_errors=True,
        )
        emails = results[1].response
        self.assertEqual([each.subject for each in emails.data], ["message 1", "message 2"])
        self.assertEqual(emails.data[0].mail_from[0].email, "carol@sender.test")
        events = self._events(client)
        imap = account.imaplib()
        imap.select("INBOX")
        imap.store("1", "+FLAGS", r"(\Seen)")
        imap.logout()
        changes = client.request(methods.EmailChanges(since_state=emails.state), raise_errors=True)
        self.assertEqual((changes.updated, changes.created), ([emails.data[0].id], []))
        [seen] = client.request(
            methods.EmailGet(ids=[emails.data[0].id], properties=["keywords"]), raise_errors=True
        ).data
        self.assertTrue(seen.keywords["$seen"])
        thread = client.request(methods.ThreadGet(ids=[emails.data[0].thread_id]), raise_errors=True).data
        self.assertEqual(thread[0].email_ids, [emails.data[0].id])
        [event] = events()
        self.assertEqual(event.data.changed[client.account_id].email, changes.new_state)

    def _events(self, client: Any) -> Any:
        """Listens in a thread; what is given waits for the first event."""
        heard: list[Any] = []
        # Told before anything changes: the session, and the answer's header.
        response = client.requests_session.get(
            client.jmap_session.event_source_url.format(types="*", closeafter="state", ping=0),
            stream=True,
            timeout=PATIENCE,
        )
        self.addCleanup(response.close)
        self.assertEqual(response.headers["Content-Type"], "text/event-stream")

        def listen() -> None:
            from jmapc.models import Event  # type: ignore[import-untyped]
            from sseclient import Event as Sent  # type: ignore[import-untyped]

            text = response.content.decode()
            heard.extend(
                Event.load_from_sseclient_event(Sent.parse(block))
                for block in text.split("\n\n")
                if block.startswith("event: state")
            )

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()

        def first() -> list[Any]:
            thread.join(PATIENCE)
            return heard

        return first


class JamTests(TestCase):
    def test_reading(self) -> None:
        """What node/jmap.mjs does, as it saw it."""
        node = program("node", "nodejs")
        if not (NODE / "node_modules" / "jmap-jam").is_dir():
            raise SkipTest(f"needs jmap-jam: npm ci --prefix {NODE.relative_to(Path(__file__).parents[2])}")
        account = _Account(self)
        large = b"From: dora@sender.test\r\nSubject: octets\r\n\r\n" + b"many octets\r\n" * 20_000
        account.append([message(1), large])
        self.patch(os, "environ", {**os.environ, "NODE_EXTRA_CA_CERTS": str(account.server.ca)})
        account.environment = lambda: {  # type: ignore[method-assign]
            **Account.environment(account),
            "NODE_EXTRA_CA_CERTS": str(account.server.ca),
        }
        url = f"https://{account.host}/.well-known/jmap"
        told = json.loads(
            account.client(node, NODE / "jmap.mjs", url, account.user, PASSWORD).splitlines()[-1]
        )
        self.assertLessEqual({"inbox", "sent", "drafts", "trash", "junk", "archive"}, set(told["roles"]))
        self.assertEqual((told["total"], told["subjects"]), (2, ["message 1", "octets"]))
        self.assertEqual(told["senders"], ["carol@sender.test", "dora@sender.test"])
        self.assertEqual(told["texts"][1], "many octets\n" * 20_000)
        self.assertEqual((told["threads"], told["marked"], told["unchanged"]), ([1, 1], 1, 0))
        self.assertEqual((told["blob"], told["error"]), (256, "unsupportedFilter"))
        self.assertEqual(told["source"], len(message(1)))


class CurlTests(TestCase):
    def test_curl(self) -> None:
        """Discovery, a call, an upload in chunks with 100-continue, a wrong password."""
        curl = program("curl", "curl")
        account = _Account(self)
        common = [curl, "-sS", "--cacert", str(account.server.ca), "--max-time", str(int(PATIENCE))]
        known = [*common, "-u", f"{account.user}:{PASSWORD}"]
        base = f"https://{account.host}"
        session = json.loads(account.client(*known, f"{base}/.well-known/jmap"))
        self.assertTrue(session["apiUrl"].startswith(base))
        call = {"using": ["urn:ietf:params:jmap:core"], "methodCalls": [["Core/echo", {"a": "ä"}, "x"]]}
        json_type = ["-H", "Content-Type: application/json", "-d", json.dumps(call)]
        answer = json.loads(account.client(*known, *json_type, session["apiUrl"]))
        self.assertEqual(answer["methodResponses"], [["Core/echo", {"a": "ä"}, "x"]])
        data = account.folder / "data"
        data.write_bytes(os.urandom(3_000_000))
        [account_id] = session["accounts"]
        where = session["uploadUrl"].replace("{accountId}", account_id)
        chunked = [
            "-H",
            "Transfer-Encoding: chunked",
            "-H",
            "Expect: 100-continue",
            "-T",
            str(data),
            "-X",
            "POST",
        ]
        uploaded = json.loads(account.client(*known, *chunked, where))
        self.assertEqual(uploaded["size"], 3_000_000)
        url = session["downloadUrl"]
        for name, value in (
            ("accountId", account_id),
            ("blobId", uploaded["blobId"]),
            ("name", "x"),
            ("type", "a/b"),
        ):
            url = url.replace(f"{{{name}}}", value)
        got = account.folder / "got"
        account.client(*known, "-o", str(got), url)
        self.assertEqual(got.read_bytes(), data.read_bytes())
        status = ["-o", str(got), "-w", "%{http_code}"]
        said = account.client(*common, *status, "-u", f"{account.user}:wrong", f"{base}/.well-known/jmap")
        self.assertEqual(said, "401")
        said = account.client(*common, *status, "-u", f"{account.user}:wrong", *chunked, where)
        self.assertEqual(said, "401")
