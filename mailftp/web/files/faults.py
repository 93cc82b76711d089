"""What a home refuses, as answers (RFC 9457 problem details)."""

from __future__ import annotations

import json
from http import HTTPStatus

from mailftp.files.home import (
    AlreadyThere,
    Busy,
    Cut,
    Denied,
    FileFault,
    FolderNotEmpty,
    IsAFolder,
    NoRoom,
    NoSuchFile,
    NotAFolder,
)
from mailftp.web.pages import Answer

_STATUSES: dict[type[FileFault], HTTPStatus] = {
    NoSuchFile: HTTPStatus.NOT_FOUND,
    NotAFolder: HTTPStatus.CONFLICT,
    IsAFolder: HTTPStatus.CONFLICT,
    AlreadyThere: HTTPStatus.CONFLICT,
    FolderNotEmpty: HTTPStatus.CONFLICT,
    Cut: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.FORBIDDEN,
    Busy: HTTPStatus.LOCKED,
    NoRoom: HTTPStatus.INSUFFICIENT_STORAGE,
}


def problem(status: HTTPStatus, words: str, **headers: str) -> Answer:
    """`words` say what to do."""
    told = {"title": status.phrase, "status": status.value, "detail": words}
    return Answer(
        json.dumps(told).encode() + b"\n",
        "application/problem+json",
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def refused(fault: FileFault) -> Answer:
    """For what a home says."""
    status = _STATUSES.get(type(fault), HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {"Retry_After": "5"} if status is HTTPStatus.LOCKED else {}
    return problem(status, str(fault), **headers)
