"""The capability of mail, and what reads: RFC 8621 section 1.3."""

from __future__ import annotations

from mailftp.store.email_units import PLACES_LIMIT
from mailftp.store.names import NAME_LIMIT
from mailftp.web.jmap.changing import add_changes
from mailftp.web.jmap.email_filters import SORTED_BY, SORTED_BY_KEYWORD
from mailftp.web.jmap.email_queries import EmailQueries
from mailftp.web.jmap.getting import add_get
from mailftp.web.jmap.mailboxes import MailboxType
from mailftp.web.jmap.querying import add_query
from mailftp.web.jmap.quotas import QuotaType
from mailftp.web.jmap.registry import MAIL, QUOTA, Registry
from mailftp.web.jmap.snippets import add_snippets
from mailftp.web.jmap.threads import ThreadType

#: Octets of all attachments of one message that a client makes.
ATTACHMENTS = 50_000_000


def add_mail(registry: Registry) -> None:
    of_account = {
        "maxMailboxesPerEmail": PLACES_LIMIT,
        # No limit but how many there are.
        "maxMailboxDepth": None,
        # In UTF-8 a character has up to four octets.
        "maxSizeMailboxName": NAME_LIMIT,
        "maxSizeAttachmentsPerEmail": ATTACHMENTS,
        "emailQuerySortOptions": [*SORTED_BY, *SORTED_BY_KEYWORD],
        "mayCreateTopLevelMailbox": True,
    }
    registry.offer(MAIL, {}, of_account)
    mailboxes, threads, emails = MailboxType(), ThreadType(), EmailQueries()
    add_get(registry, mailboxes)
    add_changes(registry, mailboxes)
    add_query(registry, mailboxes)
    add_get(registry, threads)
    add_changes(registry, threads)
    add_get(registry, emails)
    add_changes(registry, emails)
    add_query(registry, emails)
    add_snippets(registry)


def add_quotas(registry: Registry) -> None:
    """RFC 9425."""
    quotas = QuotaType()
    registry.offer(QUOTA)
    add_get(registry, quotas)
    add_changes(registry, quotas)
    add_query(registry, quotas)
