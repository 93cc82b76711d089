"""Email/parse: RFC 8621 section 4.9. A message that is a blob, looked at as if it were an Email."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mailftp.message.index import Part
from mailftp.store.emails import Email
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.blobs import Blob, find_blob
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.emails import METADATA, EmailType, PartSizes, contents, read_body_arguments
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.importing import begins_a_message
from mailftp.web.jmap.octets import Read, each_read

#: Section 4.9's own default.
_USUAL = (
    "messageId",
    "inReplyTo",
    "references",
    "sender",
    "from",
    "to",
    "cc",
    "bcc",
    "replyTo",
    "subject",
    "sentAt",
    "hasAttachment",
    "preview",
    "bodyValues",
    "textBody",
    "htmlBody",
    "attachments",
)
#: Messages of one call.
_MOST = 100


async def parse_emails(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Email/parse. Raises MethodError."""
    context.check_account(arguments)
    blob_ids = arguments.ids("blobIds")
    named = arguments.strings("properties", None, nullable=True)
    kind = EmailType()
    for name in named or ():
        if not kind.has(name):
            raise invalid_arguments(f"Email has no property {name[:100]}")
    body = read_body_arguments(arguments)
    arguments.done()
    if len(blob_ids) > _MOST:
        raise MethodError("requestTooLarge", f"at most {_MOST} messages at a time")
    names = _USUAL if named is None else named
    parsed: dict[str, Mapping[str, Any]] = {}
    missing, strange = [], []
    for blob_id in blob_ids:
        blob = await find_blob(context.store, context.account.id, blob_id)
        if blob is None:
            missing.append(blob_id)
            continue
        made = await _parse(context, blob, names, body)
        if made is None:
            strange.append(blob_id)
        else:
            parsed[blob_id] = made
    return {
        "accountId": context.account_id,
        "parsed": parsed or None,
        "notParsable": strange or None,
        "notFound": missing or None,
    }


async def _parse(context: Context, blob: Blob, names: tuple[str, ...], body: Any) -> Mapping[str, Any] | None:
    """None: it is no message."""
    prefix = blob.prefix if blob.part is None else b""
    email = Email(0, 0, blob.body, prefix, 0.0, ())

    def work(read: Read) -> Mapping[str, Any] | None:
        root = read.index.root if blob.part is None else message_within(blob.part)
        if root is None or not prefix and not begins_a_message(read.data[root.header : root.header + 300]):
            return None
        inner = replace(read, index=replace(read.index, root=root))
        more = [name for name in names if name not in METADATA]
        made = contents(inner, more, body, PartSizes(), blob.id)
        # What only an Email of the store has is null (section 4.9).
        made.update(dict.fromkeys(METADATA))
        made["blobId"] = blob.id
        if blob.part is None:
            made["size"] = email.size
        else:
            made["size"] = blob.part.end - blob.part.body
        return {name: made[name] for name in names}

    found = [each async for _, each in each_read(context.store, [email], context.ground.run, work)]
    return found[0] if found else None


def message_within(part: Part) -> Part | None:
    """The root of a message/rfc822 part, whose offsets are the whole's; None for any other part."""
    return part.parts[0] if part.media_type == "message/rfc822" and part.parts else None
