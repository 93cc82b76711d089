"""QUOTA: RFC 9208. One quota root, which every mailbox of the account is under."""

from __future__ import annotations

from typing import Any

from mailftp.imap.commands import Command, No, Ok, State
from mailftp.imap.context import Context
from mailftp.imap.mailbox_names import write_name
from mailftp.imap.parser import Parser
from mailftp.imap.responses import quoted
from mailftp.store.queries import AccountWithVerifier, Mailboxes, MailUsage
from mailftp.store.quota import UNLIMITED, MailQuota
from mailftp.store.records import Account

#: The one root's name.
ROOT = b"mail"


def _parse_root(parser: Parser) -> bytes:
    parser.space()
    return parser.astring()


def _parse_set(parser: Parser) -> bytes:
    root = _parse_root(parser)
    parser.space()
    parser.open()
    while parser.peek() != b")":
        parser.keyword()
        parser.space()
        parser.number(0, 2**63 - 1)
        if parser.peek() != b")":
            parser.space()
    parser.close()
    return root


async def _get(context: Context, root: bytes) -> Ok:
    """GETQUOTA, RFC 9208 section 4.1.2."""
    if root != ROOT:
        raise No("there is no such quota root", b"NONEXISTENT")
    await _tell(context)
    return Ok()


def _parse_mailbox(parser: Parser) -> str:
    parser.space()
    return parser.mailbox()


async def _get_root(context: Context, name: str) -> Ok:
    """GETQUOTAROOT, RFC 9208 section 4.1.3."""
    boxes = await context.store.read(Mailboxes(context.account.id))
    if name not in {box.name for box in boxes}:
        raise No("there is no such mailbox", b"NONEXISTENT")
    context.respond(b"QUOTAROOT %b %b" % (quoted(write_name(name, context.utf8)), quoted(ROOT)))
    await _tell(context)
    return Ok()


async def _tell(context: Context) -> None:
    """What is not limited is no resource (RFC 9208 section 3)."""
    found = await context.store.read(AccountWithVerifier(context.account.address))
    account = context.account if found is None else found[0]
    limits = quota_of(context, account)
    octets, messages = await context.store.read(MailUsage(account.id))
    resources = []
    if limits.octets not in (None, UNLIMITED):
        # In units of 1,024 octets; what is begun counts, or a full account would seem to have room.
        resources.append(b"STORAGE %d %d" % (-(-octets // 1024), limits.octets // 1024))
    if limits.messages not in (None, UNLIMITED):
        # RFC 9208 section 5.2: in all mailboxes together; a copy is a message of its own.
        resources.append(b"MESSAGE %d %d" % (messages, limits.messages))
    context.respond(b"QUOTA %b (%b)" % (quoted(ROOT), b" ".join(resources)))


def quota_of(context: Context, account: Account) -> MailQuota:
    """What it may take: its own limits, and the server's where it has none."""
    default = context.link.settings.quota
    return MailQuota(default.mail, default.messages).of(account.mail_quota, account.message_quota)


async def _set(context: Context, root: bytes) -> Ok:
    """SETQUOTA, RFC 9208 section 4.1.1; QUOTASET is not offered."""
    raise No("quotas are set by the administrator: mailftp account set", b"NOPERM")


COMMANDS: tuple[Command[Any], ...] = (
    Command(b"GETQUOTA", State.LOGGED_IN, _parse_root, _get),
    Command(b"GETQUOTAROOT", State.LOGGED_IN, _parse_mailbox, _get_root),
    Command(b"SETQUOTA", State.LOGGED_IN, _parse_set, _set),
)
