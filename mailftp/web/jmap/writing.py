"""The methods that write mail: RFC 8621 sections 2.5 and 4.6 to 4.8."""

from __future__ import annotations

from mailftp.web.jmap.email_set import EmailSetting
from mailftp.web.jmap.mailbox_set import MailboxSetting
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.setting import add_set


def add_writing(registry: Registry) -> None:
    add_set(registry, MailboxSetting())
    add_set(registry, EmailSetting())
