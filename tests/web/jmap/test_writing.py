"""Messages that a client composes: what becomes of hostile and of large ones, and of what lies in others."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

from mailftp.store.emails import EmailsById, ListEmails
from mailftp.store.queries import Bodies
from tests.imap.on_disk import SQLiteTestCase
from tests.web.jmap.site import ALICE, BOB, JMAPCase
from tests.web.jmap.test_dialogs import Dialogs

#: Each would begin a field of the attacker's, or end the header.
BREAKS = [
    "\r\nBcc: x@evil.test",
    "\nBcc: x@evil.test",
    "\rBcc: x@evil.test",
    "\r\n\r\nbody",
    "\0",
    "\x0b",
    "\x85",
]


class Writing(Dialogs):
    def box(self: Any, name: str = "INBOX") -> str:
        found: str = self.mailbox_ids()[name]
        return found

    def create(self: Any, email: dict[str, Any], who: str = BOB) -> Any:
        given = {"mailboxIds": {self.box("Drafts"): True}, **email}
        return self.call("Email/set", {"create": {"k": given}}, who)

    def made(self: Any, email: dict[str, Any]) -> bytes:
        """The stored octets of what is created."""
        answer = self.create(email)
        assert answer["created"], answer
        number = int(answer["created"]["k"]["id"][1:])
        found = self.successResultOf(self.store.read(EmailsById(self.ids["bob"], (number,))))
        [octets] = self.successResultOf(self.store.read(Bodies((found.emails[0].body,))))
        assert len(octets) == answer["created"]["k"]["size"]
        return bytes(octets)

    def refused(self: Any, email: dict[str, Any], kind: str = "invalidProperties") -> Any:
        answer = self.create(email)
        assert answer["created"] is None, (email, answer)
        error = answer["notCreated"]["k"]
        self.assertEqual(error["type"], kind, email)
        return error

    def test_header_injection(self: Any) -> None:
        """No text of a client becomes a line of the header's."""
        for bad in BREAKS:
            person = [{"name": f"n{bad}", "email": "a@example.com"}]
            for email in (
                {"subject": f"s{bad}"},
                {"to": person},
                {"from": [{"name": None, "email": f"a@example.com{bad}"}]},
                {"messageId": [f"a@b{bad}"]},
                {"references": ["x@y", f"a@b{bad}"]},
                {"header:X-A": f"v{bad}"},
                {"header:X-A:asText:all": ["fine", f"v{bad}"]},
                {f"header:X-A{bad}": "v"},
                {"header:List-Post:asURLs": [f"mailto:a{bad}"]},
                {"header:X-A:asDate": f"2024-01-01T00:00:00Z{bad}"},
                {"header:To:asGroupedAddresses": [{"name": f"g{bad}", "addresses": []}]},
            ):
                self.refused(email)
            for part in (
                {"name": f"a{bad}.txt"},
                {"type": f"text/plain{bad}"},
                {"disposition": f"attachment{bad}"},
                {"cid": f"c{bad}"},
                {"language": [f"de{bad}"]},
                {"location": f"http://x/{bad}"},
                {"header:X-A": f"v{bad}"},
            ):
                self.refused(
                    {
                        "bodyValues": {"1": {"value": "hi"}},
                        "bodyStructure": {"partId": "1", "type": "text/plain", **part},
                    }
                )

    def test_refused(self: Any) -> None:
        """Section 4.6's rules for what a client may not say."""
        text = {"bodyValues": {"1": {"value": "hi"}}}
        part = {"partId": "1", "type": "text/plain"}
        for email in (
            {"headers": []},
            {"from": [], "header:From": "x"},
            {"header:From:asText": "x"},
            {"header:Subject:asAddresses": []},
            {"header:Content-Type": "text/plain"},
            {"header:MIME-Version": "1.0"},
            {"id": "M1"},
            {"preview": "x"},
            {"keywords": {"a b": True}},
            {"keywords": {"$seen": False}},
            {"mailboxIds": {}},
            {"mailboxIds": {"F999": True}},
            {"receivedAt": "yesterday"},
            {"subject": 5},
            {"to": [{"email": "a@b", "more": 1}]},
            {"to": [{"email": "a@b, c@d"}]},
            {"to": {"email": "a@b"}},
            {"inReplyTo": ["a b"]},
            {**text, "textBody": [part, part]},
            {**text, "textBody": [{**part, "type": "text/html"}]},
            {**text, "htmlBody": [part]},
            {**text, "textBody": [{**part, "charset": "utf-8"}]},
            {**text, "textBody": [{**part, "blobId": "B1"}]},
            {**text, "textBody": [{"type": "text/plain"}]},
            {**text, "textBody": [{**part, "partId": "2"}]},
            {**text, "textBody": [part], "bodyStructure": part},
            {**text, "textBody": [{**part, "header:Content-Transfer-Encoding": "8bit"}]},
            {**text, "textBody": [{**part, "header:Content-Type": "text/html"}]},
            {**text, "subject": "a", "bodyStructure": {**part, "header:Subject": "b"}},
            {**text, "bodyStructure": {"type": "multipart/mixed", "subParts": []}},
            {**text, "bodyStructure": {**part, "subParts": [part]}},
            {**text, "bodyStructure": {"type": "nonsense", "partId": "1"}},
            {"bodyValues": {"1": {"value": "x", "isTruncated": True}}, "textBody": [part]},
            {"bodyValues": {"1": {"value": 1}}, "textBody": [part]},
        ):
            self.refused(email)
        deep: dict[str, Any] = {"partId": "1", "type": "text/plain"}
        for _ in range(22):
            deep = {"type": "multipart/mixed", "subParts": [deep]}
        self.refused({**text, "bodyStructure": deep})
        wide = {"type": "multipart/mixed", "subParts": [part] * 1001}
        self.refused({**text, "bodyStructure": wide})

    def test_read_by_another(self: Any) -> None:
        """What Python's own parser makes of a message with everything in it."""
        self.do_put("INBOX", "whole")
        [number] = self.successResultOf(self.store.read(ListEmails(self.ids["bob"]))).uids
        [email] = self.call("Email/get", {"ids": [f"M{number}"], "properties": ["attachments", "blobId"]})[
            "list"
        ]
        pdf = next(each for each in email["attachments"] if each["type"] == "application/pdf")
        picture = {"type": "image/png", "cid": "pic@x", "disposition": "inline", "name": "ü ß.png"}
        octets = self.made(
            {
                "from": [{"name": "Bob", "email": "bob@example.test"}],
                "to": [{"name": f"Nämé {n} " + "long " * 9, "email": f"a{n}@example.com"} for n in range(20)],
                "subject": "Ünïcödé " * 20,
                "references": [f"{n}@example.test" for n in range(50)],
                "textBody": [{"partId": "t", "type": "text/plain"}],
                "htmlBody": [{"partId": "h", "type": "text/html"}],
                "bodyValues": {
                    "t": {"value": "From me\n.dot\nlong " + "x" * 2000 + "\n= ü\n"},
                    "h": {"value": "日本語" * 500},
                },
                "attachments": [
                    {"blobId": pdf["blobId"], **picture},
                    {
                        "blobId": pdf["blobId"],
                        "type": "application/pdf",
                        "name": "résumé " + "x" * 90 + ".pdf",
                    },
                    {"blobId": email["blobId"], "type": "message/rfc822"},
                ],
            }
        )
        lines = octets.split(b"\r\n")
        self.assertTrue(all(len(line) <= 998 and b"\n" not in line and b"\r" not in line for line in lines))
        self.assertLess(max(map(len, octets.partition(b"\r\n\r\n")[0].split(b"\r\n"))), 79)
        read = message_from_bytes(octets, policy=policy.default)
        self.assertEqual([defect for part in read.walk() for defect in part.defects], [])
        self.assertEqual(
            [part.get_content_type() for part in read.walk()][:7],
            [
                "multipart/mixed",
                "multipart/alternative",
                "text/plain",
                "multipart/related",
                "text/html",
                "image/png",
                "application/pdf",
            ],
        )
        parts = list(read.walk())
        self.assertEqual(
            parts[2].get_content().replace("\r\n", "\n"), "From me\n.dot\nlong " + "x" * 2000 + "\n= ü\n"
        )
        self.assertEqual(parts[4].get_content().strip(), "日本語" * 500)
        self.assertEqual(parts[5].get_filename(), "ü ß.png")
        self.assertEqual(parts[5]["Content-ID"], "<pic@x>")
        self.assertEqual(parts[6].get_payload(decode=True), b"%PDF-1.4\n")
        self.assertEqual(parts[6].get_filename(), "résumé " + "x" * 90 + ".pdf")
        self.assertEqual(read["Subject"].strip(), ("Ünïcödé " * 20).strip())
        self.assertEqual(len(read["To"].addresses), 20)
        self.assertEqual(read["To"].addresses[3].addr_spec, "a3@example.com")
        self.assertEqual(len(read["References"].split()), 50)
        self.assertIn("Message-ID", read)
        self.assertIn("Date", read)

    def test_blob_of_nobody(self: Any) -> None:
        """All that are not there are named; another account's are not there."""
        self.do_put("INBOX", "whole")
        [number] = self.successResultOf(self.store.read(ListEmails(self.ids["bob"]))).uids
        blobs = [f"B{number}", f"B{number}_2", "B999", f"B{number}_1", "nonsense", f"B{number}_999"]
        for who, missing in ((BOB, blobs[2:]), (ALICE, blobs)):
            given = {
                "mailboxIds": {self.drafts_of(who): True},
                "attachments": [{"blobId": each, "type": "text/plain"} for each in blobs],
            }
            answer = self.call("Email/set", {"create": {"k": given}}, who)
            self.assertEqual(answer["notCreated"], {"k": {"type": "blobNotFound", "notFound": missing}})

    def drafts_of(self: Any, who: str) -> str:
        found = self.call("Mailbox/query", {"filter": {"role": "drafts"}}, who)["ids"]
        return str(found[0])

    def test_another_account(self: Any) -> None:
        """Ids of another account's are as none, in each argument."""
        self.do_put("INBOX", "one")
        [number] = self.successResultOf(self.store.read(ListEmails(self.ids["bob"]))).uids
        email, box, own = f"M{number}", self.box(), self.drafts_of(ALICE)
        answer = self.call("Email/set", {"destroy": [email]}, ALICE)
        self.assertEqual(answer["notDestroyed"], {email: {"type": "notFound"}})
        answer = self.call("Email/set", {"update": {email: {"keywords/$seen": True}}}, ALICE)
        self.assertEqual(answer["notUpdated"], {email: {"type": "notFound"}})
        answer = self.call("Email/set", {"create": {"k": {"mailboxIds": {box: True}}}}, ALICE)
        self.assertEqual(answer["notCreated"]["k"]["type"], "invalidProperties")
        answer = self.call(
            "Mailbox/set",
            {
                "create": {"k": {"name": "x", "parentId": box}},
                "update": {box: {"name": "x"}, own: {"parentId": box}},
                "destroy": [],
                "onDestroyRemoveEmails": True,
            },
            ALICE,
        )
        self.assertEqual(answer["notCreated"]["k"]["properties"], ["parentId"])
        self.assertEqual(answer["notUpdated"][box], {"type": "notFound"})
        self.assertEqual(answer["notUpdated"][own]["properties"], ["parentId"])
        answer = self.call("Mailbox/set", {"destroy": [box], "onDestroyRemoveEmails": True}, ALICE)
        self.assertEqual(answer["notDestroyed"], {box: {"type": "notFound"}})
        for name in ("Email/set", "Mailbox/set"):
            answer = self.call(name, {"accountId": f"A{self.ids['bob']}", "destroy": []}, ALICE)
            self.assertEqual(answer["error"], "accountNotFound")
        self.assertEqual(len(self.successResultOf(self.store.read(ListEmails(self.ids["bob"]))).uids), 1)

    def test_many(self: Any) -> None:
        """A thousand in one call, and not one more."""
        box = self.box("Drafts")
        email = {"mailboxIds": {box: True}, "subject": "s"}
        answer = self.call("Email/set", {"create": {f"k{n}": email for n in range(1001)}})
        self.assertEqual(answer["error"], "requestTooLarge")
        answer = self.call("Email/set", {"create": {f"k{n}": email for n in range(100)}})
        self.assertEqual(len({each["id"] for each in answer["created"].values()}), 100)
        ids = [each["id"] for each in answer["created"].values()]
        answer = self.call("Email/set", {"update": {each: {"keywords/$seen": True} for each in ids}})
        self.assertEqual(len(answer["updated"]), 100)
        answer = self.call("Email/set", {"destroy": ids})
        self.assertEqual(sorted(answer["destroyed"]), sorted(ids))


class WritingTests(Writing, JMAPCase):
    """Over the memory store."""


class SQLiteWritingTests(Writing, JMAPCase, SQLiteTestCase):
    """Over SQLite."""
