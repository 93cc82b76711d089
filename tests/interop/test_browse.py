"""The files' page in Chromium: playwright-core drives it, axe-core looks at it."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

from tests.interop.test_webmail import BrowserCase

PDF = b"%PDF-1.4\n" * 1000


class FilesPage(BrowserCase):
    def test_files(self) -> None:
        """At a desk and on a phone: names are made, uploaded, looked at, renamed, moved and deleted; what was
        cut goes on; nothing is wrong in the console or for axe."""
        told = self.script("browse.mjs")
        self.assertEqual(told, {"desk": [], "phone": []})

    def test_mail_and_files(self) -> None:
        """An attachment is saved in a folder that is made for it, and goes out with another mail, octet for
        octet."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "carol@sender.test", self.account.user, "Plans"
        message.set_content("See there.")
        message.add_attachment(PDF, "application", "pdf", filename="plan & more.pdf")
        self.account.append([message.as_bytes(policy=SMTP)])
        self.assertEqual(self.script("keeping.mjs"), [])
        client = self.account.imaplib()
        client.select("Sent", readonly=True)
        _, lines = client.fetch("1", "(BODY[])")
        [(_, octets)] = [line for line in lines if isinstance(line, tuple)]
        sent = message_from_bytes(octets, policy=SMTP)
        [attachment] = sent.iter_attachments()
        self.assertEqual(attachment.get_filename(), "plan & more.pdf")
        self.assertEqual(attachment.get_content(), PDF)
