"""JMAP clients that we did not write compose, send, move and remove, and IMAP sees it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from tests.interop.imap import PASSWORD, Account
from tests.interop.running import program
from tests.interop.test_jmap_clients import NODE, _Account


def subjects(account: Account, mailbox: str) -> list[bytes]:
    """Of what IMAP finds there."""
    imap = account.imaplib()
    imap.select(mailbox, readonly=True)
    _, data = imap.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    imap.logout()
    return sorted(each[1].strip() for each in data if isinstance(each, tuple))


class JmapcWritingTests(TestCase):
    def test_writing(self) -> None:
        """A mailbox, a draft, its submission to oneself, flags, a move, and the end of all of it."""
        try:
            import jmapc
            from jmapc import methods
        except ImportError:
            raise SkipTest("needs jmapc: pip install .[test]") from None
        account = _Account(self)
        self.patch(os, "environ", {**os.environ, "REQUESTS_CA_BUNDLE": str(account.server.ca)})
        client = jmapc.Client.create_with_password(account.host, account.user, PASSWORD)

        def ask(method: Any) -> Any:
            return client.request(method, raise_errors=True)

        boxes = {each.role: each.id for each in ask(methods.MailboxGet(ids=None)).data}
        made = ask(methods.MailboxSet(create={"w": jmapc.Mailbox(name="Work")})).created["w"]
        [identity] = ask(methods.IdentityGet()).data
        self.assertEqual(identity.email, account.user)
        draft = jmapc.Email(
            mailbox_ids={boxes["drafts"]: True},
            keywords={"$draft": True},
            mail_from=[jmapc.EmailAddress(name="Mé", email=account.user)],
            to=[jmapc.EmailAddress(email=account.user)],
            subject="Grüße",
            text_body=[jmapc.EmailBodyPart(part_id="1", type="text/plain")],
            body_values={"1": jmapc.EmailBodyValue(value="Schönen Tag\n")},
        )
        email_id = ask(methods.EmailSet(create={"d": draft})).created["d"].id
        results = ask(
            [
                methods.EmailSubmissionSet(
                    create={"s": jmapc.EmailSubmission(email_id=email_id, identity_id=identity.id)},
                    on_success_update_email={
                        "#s": {
                            f"mailboxIds/{boxes['drafts']}": None,
                            f"mailboxIds/{boxes['sent']}": True,
                            "keywords/$draft": None,
                        }
                    },
                )
            ]
        )
        sent = results[0].response.created["s"]
        self.assertEqual(results[1].response.updated, {email_id: None})
        [submission] = ask(methods.EmailSubmissionGet(ids=[sent.id])).data
        self.assertEqual(submission.delivery_status[account.user].delivered.value, "yes")
        self.assertEqual(subjects(account, "Sent"), subjects(account, "INBOX"))
        [arrived] = ask(
            methods.EmailQuery(filter=jmapc.EmailQueryFilterCondition(in_mailbox=boxes["inbox"]))
        ).ids
        update = {arrived: {"mailboxIds": {made.id: True}, "keywords/$seen": True}}
        self.assertEqual(ask(methods.EmailSet(update=update)).updated, {arrived: None})
        self.assertEqual((subjects(account, "INBOX"), len(subjects(account, "Work"))), ([], 1))
        self.assertEqual(ask(methods.EmailSet(destroy=[email_id])).destroyed, [email_id])
        gone = ask(methods.MailboxSet(destroy=[made.id], on_destroy_remove_emails=True))
        self.assertEqual(gone.destroyed, [made.id])
        self.assertEqual(ask(methods.EmailQuery()).ids, [])


class JamWritingTests(TestCase):
    def test_writing(self) -> None:
        """What node/jmap-writing.mjs does, as it saw it and as IMAP finds it."""
        node = program("node", "nodejs")
        if not (NODE / "node_modules" / "jmap-jam").is_dir():
            raise SkipTest(f"needs jmap-jam: npm ci --prefix {NODE.relative_to(Path(__file__).parents[2])}")
        account = _Account(self)
        account.environment = lambda: {  # type: ignore[method-assign]
            **Account.environment(account),
            "NODE_EXTRA_CA_CERTS": str(account.server.ca),
        }
        url = f"https://{account.host}/.well-known/jmap"
        told = json.loads(
            account.client(node, NODE / "jmap-writing.mjs", url, account.user, PASSWORD).splitlines()[-1]
        )
        self.assertEqual(told["kept"], {"mailboxIds": 1, "keywords": ["$flagged", "$seen"], "size": 256})
        self.assertEqual((told["moved"], told["refused"]), (["Archive"], "invalidProperties"))
        self.assertEqual(told["undo"], ["pending", "canceled"])
        self.assertEqual(subjects(account, "Archive"), [b"Subject: from jam"])
        self.assertEqual(subjects(account, "Drafts"), [])
