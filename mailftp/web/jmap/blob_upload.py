"""Blob/upload: RFC 9404 section 4.1. Small blobs without a request of their own, put together from others."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from mailftp.store.engine import StoreFault
from mailftp.store.uploads import KeepUpload
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.blob_methods import MOST
from mailftp.web.jmap.blobs import find_blob, read_blob
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.email_set import stage
from mailftp.web.jmap.faults import MethodError, SetError, invalid_arguments
from mailftp.web.jmap.ids import ID

#: Pieces of one blob; the session says so.
SOURCES = 64


async def upload_blobs(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Blob/upload. Raises MethodError."""
    context.check_account(arguments)
    create = arguments.mapping("create")
    arguments.done()
    most = context.ground.limits.max_objects_in_set
    if len(create) > most:
        raise MethodError("requestTooLarge", f"at most {most} blobs at a time")
    if any(ID.fullmatch(name) is None for name in create):
        raise invalid_arguments("a key of create is no Id")
    created: dict[str, Mapping[str, Any]] = {}
    refused: dict[str, Mapping[str, Any]] = {}
    for name, given in create.items():
        try:
            created[name] = await _upload(context, given)
            context.created_ids[name] = created[name]["id"]
        except SetError as error:
            refused[name] = error.arguments
    return {"accountId": context.account_id, "created": created or None, "notCreated": refused or None}


async def _upload(context: Context, given: Any) -> Mapping[str, Any]:
    """Raises SetError."""
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the upload")
    sources = values.objects("data")
    kind = values.string("type", None, nullable=True)
    values.done()
    if len(sources) > SOURCES:
        raise SetError("invalidProperties", f"at most {SOURCES} sources")
    pieces: list[bytes] = []
    for source in sources:
        pieces.append(await _source(context, source))
        if sum(map(len, pieces)) > MOST:
            raise SetError("tooLarge", f"at most {MOST} octets: upload it by itself", maxSize=MOST)
    body = await stage(context, pieces)
    try:
        kept = await context.store.commit(KeepUpload(context.account.id, body))
    except StoreFault as fault:
        raise SetError("serverFail", str(fault)) from None
    return {"id": f"U{kept.id}", "type": kind, "size": body.size}


async def _source(context: Context, given: Mapping[str, Any]) -> bytes:
    """Raises SetError."""
    values = Arguments(given, lambda text: SetError("invalidProperties", text), "the data source")
    if "data:asText" in values:
        made = str(values.string("data:asText")).encode("utf-8", "replace")
    elif "data:asBase64" in values:
        try:
            made = base64.b64decode(values.string("data:asBase64"), validate=True)
        except (binascii.Error, ValueError):
            raise SetError("invalidProperties", "that is no base64") from None
    else:
        made = await _piece(context, values)
    values.done()
    return made


async def _piece(context: Context, values: Arguments) -> bytes:
    name = context.resolved(values.string("blobId"))
    offset = values.unsigned("offset", 0, nullable=True) or 0
    length = values.unsigned("length", None, nullable=True)
    blob = await find_blob(context.store, context.account.id, name) if name is not None else None
    if blob is None:
        raise SetError("blobNotFound", "", notFound=[name] if name else [])
    octets = await read_blob(context.ground, blob, MOST)
    if octets is None:
        raise SetError("tooLarge", f"at most {MOST} octets: upload it by itself", maxSize=MOST)
    end = len(octets) if length is None else offset + length
    if offset > len(octets) or end > len(octets):
        raise SetError("invalidProperties", "the blob has not so many octets")
    return octets[offset:end]
