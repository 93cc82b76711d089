"""Names as every engine reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from mailftp.store.engine import (
    AnnotationTooLarge,
    LimitReached,
    MailboxExists,
    MailboxRefused,
    NoSuchMailbox,
    StoreFault,
    TooManyAnnotations,
)
from mailftp.store.records import Handling, Verifier

#: RFC 1939 section 7.
_UIDL = re.compile(rb"[!-~]{1,70}\Z")

#: Between the levels of a mailbox's name.
SEPARATOR = "/"

#: What a client can make the store keep for one account: mailboxes, subscribed names, characters of a name.
#: Each LIST reads all of the former two.
MAILBOXES_LIMIT = 10_000
SUBSCRIPTIONS_LIMIT = 20_000
NAME_LIMIT = 1_000

#: What of expunges is remembered: seconds, and how many of a mailbox (of an account, for JMAP). A client that
#: was away for longer, or missed more, compares all UIDs. The schema has this limit too.
TOMBSTONES_AGE = 100 * 86400.0
TOMBSTONES_LIMIT = 100_000

#: Annotations (RFC 5464): of one mailbox or account, octets of one, octets of all that an account has.
ANNOTATIONS_LIMIT = 200
ANNOTATION_OCTETS = 64 * 1024
ANNOTATIONS_OCTETS = 4 * 1024 * 1024

#: Targets of one alias; RFC 5321 section 4.5.3.1.8 has as many recipients for a message.
TARGETS_LIMIT = 1_000

#: Addresses that are suppressed, or counted: about 20 MiB where all are kept in memory.
SUPPRESSIONS_LIMIT = 100_000
#: Domains of which it is remembered that they took mail over STARTTLS; the oldest go first.
TLS_MEMORIES_LIMIT = 100_000
#: App passwords of one account: each login by SCRAM tries all of them.
APP_PASSWORDS_LIMIT = 50
#: Browsers that an account is logged in by.
WEB_SESSIONS = 100

#: What SetAccount may set.
ACCOUNT_FIELDS = frozenset(
    {
        "disabled",
        "mail_quota",
        "message_quota",
        "files_quota",
        "daily_messages",
        "daily_new_recipients",
        "file_sent",
    }
)
#: Those of them that are true or false.
ACCOUNT_FLAGS = frozenset({"disabled", "file_sent"})

#: Where what was sent is filed when no mailbox has that use, and its flags.
SENT = "Sent"
SENT_FLAGS = frozenset({"\\Seen"})


def mailbox_name(name: str) -> str:
    """INBOX has no case (RFC 9051 section 5.1); every other name is taken as it is."""
    # Its ASCII letters have none: a dotless i, which upper() makes an I of, is a letter of another name.
    return "INBOX" if name.isascii() and name.upper() == "INBOX" else name


def check_name(name: str) -> None:
    """Of a mailbox or subscription that a client makes. Raises LimitReached."""
    if len(name) > NAME_LIMIT:
        raise LimitReached(f"a mailbox name has at most {NAME_LIMIT} characters")


def check_mailboxes(there: int) -> None:
    """Before one is made. Raises LimitReached."""
    if there >= MAILBOXES_LIMIT:
        raise LimitReached(f"there are {there} mailboxes already: delete some first")


def check_subscriptions(there: int) -> None:
    """Before one is made. Raises LimitReached."""
    if there >= SUBSCRIPTIONS_LIMIT:
        raise LimitReached(f"there are {there} subscriptions already: remove some first")


def entry_name(entry: str) -> str:
    """Of an annotation: it has no case (RFC 5464 section 3.1)."""
    return entry.lower()


def check_annotations(entries: Iterable[tuple[str, bytes | None]], there: int, octets: int) -> None:
    """Set these, and what there is then: annotations of the same mailbox, octets of all the account's. Raises
    AnnotationTooLarge, TooManyAnnotations; what only removes is always allowed."""
    sizes = [len(value) for _, value in entries if value is not None]
    if sizes and max(sizes) > ANNOTATION_OCTETS:
        raise AnnotationTooLarge(f"an annotation has at most {ANNOTATION_OCTETS} octets", ANNOTATION_OCTETS)
    if sizes and (there > ANNOTATIONS_LIMIT or octets > ANNOTATIONS_OCTETS):
        raise TooManyAnnotations(
            f"there are at most {ANNOTATIONS_LIMIT} annotations of a mailbox, and {ANNOTATIONS_OCTETS} octets"
            " of all together: remove some first"
        )


def effective(own: int | None, general: int) -> int:
    """The limit of an account, where `general` holds for all that have none of their own."""
    return general if own is None else own


def first_attempt(handling: Handling, now: float) -> tuple[float, float]:
    """(when the first attempt is to be, how many seconds before that it counts as due): of those that are due
    the oldest go first, and one of the next higher priority as if it were ten seconds older (RFC 6710 section
    5.1)."""
    if handling.hold_until > now:
        return handling.hold_until, 0.0
    return now, 10.0 * (9 + handling.priority)


def check_targets(address: str, there: int) -> None:
    """Of an alias as it is about to be. Raises LimitReached."""
    if there > TARGETS_LIMIT:
        raise LimitReached(f"{address} would lead to {there} addresses, and {TARGETS_LIMIT} is the most")


def check_app_passwords(address: str, there: int) -> None:
    """Of an account as it is about to be. Raises LimitReached."""
    if there > APP_PASSWORDS_LIMIT:
        raise LimitReached(f"{address} has {APP_PASSWORDS_LIMIT} app passwords, the most: remove some first")


def check_salt(new: Verifier, own: Verifier) -> None:
    """SCRAM sends the salt before it knows by which password somebody logs in, so an account has one
    (RFC 5802 section 5.1). Raises StoreFault."""
    if new.scram is None:
        return
    if own.scram is None or (own.scram.salt, own.scram.iterations) != (new.scram.salt, new.scram.iterations):
        raise StoreFault("the account's password was changed meanwhile: try again")


def renamed(names: Collection[str], old: str, new: str) -> dict[str, str]:
    """Old name -> new name of the mailbox `old`, which is not INBOX, and all beneath it; `names` are the
    account's.

    Renamed in this order none comes upon the name that another still has: only when the new name is above the
    old one can one get the name that another had, which is the shorter of the two.

    Raises NoSuchMailbox, MailboxExists, MailboxRefused, LimitReached.
    """
    beneath = old + SEPARATOR
    moved = sorted((name for name in names if name == old or name.startswith(beneath)), key=len)
    if not moved:
        raise NoSuchMailbox(f"there is no mailbox {old}")
    if new.startswith(beneath):
        raise MailboxRefused(f"{old} cannot become {new}, which is beneath it")
    result = {name: new + name[len(old) :] for name in moved}
    taken = {new, *result.values()} & (set(names) - set(moved))
    if taken or new == old:
        raise MailboxExists(f"there is a mailbox {min(taken, default=new)} already")
    check_name(max(result.values(), key=len))
    return result


def check_uidl(uidl: bytes, uidvalidity: int) -> str:
    """A UIDL that a message may be given in a mailbox of this UIDVALIDITY. Raises StoreFault."""
    if _UIDL.match(uidl) is None:
        raise StoreFault(f"{uidl!r} is no UIDL")
    validity, dot, number = uidl.partition(b".")
    if dot and validity == b"%d" % uidvalidity and number.isdigit():
        raise StoreFault(f"{uidl!r} has the form of the store's own UIDLs")
    return uidl.decode("ascii")


def domain_of(address: str) -> str:
    """Where mail for `address` goes, for the queue: what follows the last @, lower case."""
    return address.rpartition("@")[2].lower()
