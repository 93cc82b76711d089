"""Email/import, Email/copy and Blob/copy: RFC 8621 sections 4.7 and 4.8, RFC 8620 section 6.3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from mailftp.message.dates import parse_date
from mailftp.message.fields import find, header_end, value
from mailftp.message.line_ends import to_crlf
from mailftp.store.units import NewMessage
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.blobs import find_blob, read_blob
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_patches import flags_in, mailboxes_in
from mailftp.web.jmap.email_set import put_email, stage
from mailftp.web.jmap.faults import MethodError, SetError, invalid_arguments
from mailftp.web.jmap.ids import ID
from mailftp.web.jmap.states import mail_state

# The first line of a message: a field (RFC 5322 section 2.2).
_FIELD = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")


def begins_a_message(octets: bytes) -> bool:
    """Whether they begin with a header field."""
    return _FIELD.match(octets) is not None


async def import_emails(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Email/import. Raises MethodError."""
    context.check_account(arguments)
    if_in_state = arguments.string("ifInState", None, nullable=True)
    emails = arguments.mapping("emails")
    arguments.done()
    most = context.ground.limits.max_objects_in_set
    if len(emails) > most:
        raise MethodError("requestTooLarge", f"at most {most} messages at a time")
    if any(ID.fullmatch(name) is None for name in emails):
        raise invalid_arguments("a key of emails is no Id")
    old_state = await mail_state(context)
    if if_in_state not in (None, old_state):
        raise MethodError("stateMismatch", f"the state is {old_state}")
    created: dict[str, Mapping[str, Any]] = {}
    refused: dict[str, Mapping[str, Any]] = {}
    for name, given in emails.items():
        try:
            created[name] = await _import(context, given)
            context.created_ids[name] = created[name]["id"]
        except SetError as error:
            refused[name] = error.arguments
    return {
        "accountId": context.account_id,
        "oldState": old_state,
        "newState": await mail_state(context),
        "created": created or None,
        "notCreated": refused or None,
    }


async def _import(context: Context, given: Any) -> Mapping[str, Any]:
    """Raises SetError."""
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the EmailImport")
    blob_id = values.string("blobId")
    mailbox_ids = mailboxes_in(context, values.take("mailboxIds", {}))
    flags = flags_in(values.take("keywords", None) or {})
    received = values.utc_date("receivedAt", None, nullable=True)
    values.done()
    blob = await find_blob(context.store, context.account.id, blob_id)
    if blob is None:
        raise SetError("invalidProperties", "there is no such blob", properties=["blobId"])
    most = context.ground.limits.max_size_upload
    read = await read_blob(context.ground, blob, most)
    if read is None:
        raise SetError("tooLarge", f"a message has at most {most} octets", maxSize=most)
    octets = await context.ground.run(partial(to_crlf, read))
    if not begins_a_message(octets) or b"\0" in octets:
        raise SetError("invalidEmail", "that is no message: it begins with a header field, and has no NUL")
    if received is None:
        received = _received(octets[: header_end(octets)])
    when = context.ground.now() if received is None else received
    return await put_email(context, NewMessage(await stage(context, [octets]), when, flags), mailbox_ids)


def _received(header: bytes) -> float | None:
    """When the last server that had it took it (RFC 5321 section 4.4)."""
    field = find(header, "Received")
    return None if field is None else parse_date(value(header, field).rpartition(b";")[2])


async def copy_emails(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Email/copy. A login has one account, so there is none to copy from. Raises MethodError."""
    context.check_account(arguments)
    context.check_account(arguments, "fromAccountId")
    raise invalid_arguments("both accounts are the same: Email/set puts an Email into further mailboxes")


async def copy_blobs(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Blob/copy. Raises MethodError."""
    from_account = arguments.id("fromAccountId")
    context.check_account(arguments)
    if from_account != context.account_id:
        raise MethodError("fromAccountNotFound", "there is no such account, or it is not yours")
    blob_ids = arguments.ids("blobIds")
    arguments.done()
    most = context.ground.limits.max_objects_in_set
    if len(blob_ids) > most:
        raise MethodError("requestTooLarge", f"at most {most} blobs at a time")
    copied: dict[str, str] = {}
    refused: dict[str, Mapping[str, Any]] = {}
    for blob_id in blob_ids:
        if await find_blob(context.store, context.account.id, blob_id) is None:
            refused[blob_id] = SetError("notFound").arguments
        else:
            copied[blob_id] = blob_id
    return {
        "fromAccountId": from_account,
        "accountId": context.account_id,
        "copied": copied or None,
        "notCopied": refused or None,
    }
