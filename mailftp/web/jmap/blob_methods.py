"""Blob/get and Blob/lookup: RFC 9404 sections 4.2 and 4.3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.blobs import Blob, find_blob, read_blob
from mailftp.web.jmap.context import Context
from mailftp.web.jmap.faults import MethodError, invalid_arguments
from mailftp.web.jmap.ids import EMAIL, MAILBOX, THREAD, spell
from mailftp.web.jmap.registry import BLOB, Registry

#: Octets of what one Blob/get reads, of all blobs.
MOST = 8 << 20

_DATA = ("data", "data:asText", "data:asBase64")
_DIGESTS = {"digest:sha": hashlib.sha1, "digest:sha-256": hashlib.sha256, "digest:sha-512": hashlib.sha512}
_TYPES = ("Mailbox", "Thread", "Email")


def add_blobs(registry: Registry) -> None:
    of_account = {
        "maxSizeBlobSet": MOST,
        "maxDataSources": 64,
        "supportedTypeNames": list(_TYPES),
        "supportedDigestAlgorithms": [name.removeprefix("digest:") for name in _DIGESTS],
    }
    registry.offer(BLOB, {}, of_account)
    registry.add("Blob/get", _get, BLOB)
    registry.add("Blob/lookup", _lookup, BLOB)


async def _get(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Blob/get."""
    context.check_account(arguments)
    ids = _ids(context, arguments)
    named = arguments.strings("properties", None, nullable=True)
    names = ("data", "size") if named is None else named
    for name in names:
        if name not in (*_DATA, *_DIGESTS, "size", "id"):
            raise invalid_arguments(f"a blob has no property {name[:100]}")
    offset = arguments.unsigned("offset", 0, nullable=True) or 0
    length = arguments.unsigned("length", None, nullable=True)
    arguments.done()
    made, missing, room = [], [], MOST
    for given in ids:
        blob = await _blob(context, given)
        if blob is None:
            missing.append(given)
            continue
        data = await read_blob(context.ground, blob, room)
        if data is None:
            raise MethodError("requestTooLarge", f"at most {MOST} octets at a time: download it")
        room -= len(data)
        made.append({"id": given, **_told(data, names, offset, length)})
    return {"accountId": context.account_id, "list": made, "notFound": missing}


def _told(data: bytes, names: tuple[str, ...], offset: int, length: int | None) -> Mapping[str, Any]:
    part = data[offset:] if length is None else data[offset : offset + length]
    made: dict[str, Any] = {}
    if offset > len(data) or length is not None and offset + length > len(data):
        made["isTruncated"] = True
    for name in names:
        if name == "size":
            made["size"] = len(data)
        elif name in _DIGESTS:
            made[name] = base64.b64encode(_DIGESTS[name](part).digest()).decode()
        elif name != "id":
            made.update(_as(name, part))
    return made


def _as(name: str, part: bytes) -> Mapping[str, Any]:
    text = None
    if name != "data:asBase64":
        try:
            text = part.decode("utf-8")
        except UnicodeDecodeError:
            if name == "data:asText":
                return {"data:asText": None, "isEncodingProblem": True}
    if text is not None:
        return {"data:asText": text}
    problem = {"isEncodingProblem": True} if name == "data" else {}
    return {"data:asBase64": base64.b64encode(part).decode(), **problem}


async def _lookup(context: Context, arguments: Arguments) -> Mapping[str, Any]:
    """Blob/lookup."""
    context.check_account(arguments)
    types = arguments.strings("typeNames")
    ids = _ids(context, arguments)
    arguments.done()
    for name in types:
        if name not in _TYPES:
            raise MethodError("unknownDataType", f"nothing is looked up by {name[:100]} here")
    made, missing = [], []
    for given in ids:
        blob = await _blob(context, given)
        if blob is None:
            missing.append(given)
        else:
            made.append({"id": given, "matchedIds": {name: _matched(name, blob) for name in types}})
    return {"accountId": context.account_id, "list": made, "notFound": missing}


def _matched(name: str, blob: Blob) -> list[str]:
    if not blob.email_id:
        return []
    if name == "Email":
        return [spell(EMAIL, blob.email_id)]
    if name == "Thread":
        return [spell(THREAD, blob.thread_id)]
    return [spell(MAILBOX, each) for each in blob.mailbox_ids]


def _ids(context: Context, arguments: Arguments) -> tuple[str, ...]:
    ids: tuple[str, ...] = arguments.ids("ids")
    most = context.ground.limits.max_objects_in_get
    if len(ids) > most:
        raise MethodError("requestTooLarge", f"at most {most} ids at a time")
    return ids


async def _blob(context: Context, given: str) -> Blob | None:
    resolved = context.resolved(given)
    return None if resolved is None else await find_blob(context.store, context.account.id, resolved)
