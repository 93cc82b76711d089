"""Blobs that a client has uploaded and nothing names yet (RFC 8620 section 6.1): kept for a day, or until
newer ones take their room."""

from __future__ import annotations

from dataclasses import dataclass

from mailftp.store.queries import Query
from mailftp.store.records import BodyRef, StagedBody
from mailftp.store.units import Unit

#: Seconds; RFC 8620 wants an hour at least.
UPLOAD_AGE = 86400.0
#: Of one account, what is kept at most: how many, and octets of all. The oldest go first.
UPLOADS_LIMIT = 1_000
UPLOADS_OCTETS = 500_000_000


@dataclass(frozen=True, slots=True)
class Upload:
    id: int
    body: BodyRef


@dataclass(frozen=True, slots=True)
class KeepUpload(Unit[Upload]):
    """Raises MissingBody."""

    account_id: int
    body: StagedBody


@dataclass(frozen=True, slots=True)
class UploadsById(Query[tuple[Upload, ...]]):
    """Those of the account that are still there, by id."""

    account_id: int
    upload_ids: tuple[int, ...]
