"""The methods that write mail: RFC 8621 sections 2.5 and 4.6 to 4.8."""

from __future__ import annotations

from mailftp.web.jmap.blob_upload import upload_blobs
from mailftp.web.jmap.changing import add_changes
from mailftp.web.jmap.email_set import EmailSetting
from mailftp.web.jmap.getting import add_get
from mailftp.web.jmap.identities import IdentityType
from mailftp.web.jmap.importing import copy_blobs, copy_emails, import_emails
from mailftp.web.jmap.mailbox_set import MailboxSetting
from mailftp.web.jmap.parsing import parse_emails
from mailftp.web.jmap.querying import add_query
from mailftp.web.jmap.registry import BLOB, MAIL, SUBMISSION, VACATION, Registry
from mailftp.web.jmap.sending import HOLD
from mailftp.web.jmap.setting import add_set
from mailftp.web.jmap.submissions import SubmissionType
from mailftp.web.jmap.vacation import VacationType


def add_writing(registry: Registry) -> None:
    add_set(registry, MailboxSetting())
    add_set(registry, EmailSetting())
    registry.add("Email/import", import_emails, MAIL)
    registry.add("Email/copy", copy_emails, MAIL)
    registry.add("Email/parse", parse_emails, MAIL)
    registry.add("Blob/copy", copy_blobs)
    registry.add("Blob/upload", upload_blobs, BLOB)


def add_submission(registry: Registry) -> None:
    """Section 1.3.2: what is sent, and as whom."""
    registry.offer(
        SUBMISSION, {}, {"maxDelayedSend": HOLD, "submissionExtensions": {"FUTURERELEASE": [], "DSN": []}}
    )
    registry.offer(VACATION)
    vacation = VacationType()
    add_get(registry, vacation)
    add_set(registry, vacation)
    identities = IdentityType()
    submissions = SubmissionType(identities)
    add_get(registry, identities)
    add_changes(registry, identities)
    add_set(registry, identities)
    add_get(registry, submissions)
    add_changes(registry, submissions)
    add_query(registry, submissions)
    add_set(registry, submissions)
