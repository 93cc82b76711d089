"""Upload and download: RFC 8620 sections 6.1 and 6.2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailftp.accounts.avatars import IMailAccount
from mailftp.store.engine import BodySink, StoreFull
from mailftp.store.records import StagedBody
from mailftp.store.uploads import KeepUpload
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.jmap.blobs import blob_pieces, find_blob
from mailftp.web.jmap.context import Ground
from mailftp.web.jmap.faults import RequestError
from mailftp.web.jmap.ids import ACCOUNT, spell
from mailftp.web.jmap.ijson import write_json
from mailftp.web.jmap.pages import AccountPage, problem
from mailftp.web.pages import Answer, Page, Visit, refusal
from mailftp.web.reception import Begun, BodyTaker
from mailftp.wire.eager import eager

#: A media type and its parameters, as they may stand in a header field.
_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:; ?[ -~]{1,200})?")
_UNNAMED = "application/octet-stream"
#: Of a file's name, characters that some system gives a meaning.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\\ud800-\udfff]")

#: Whatever a blob says it is, a browser that is led to it runs nothing of it with the rights of our pages.
_SANDBOX = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, immutable, max-age=31536000",
}


@dataclass(frozen=True, slots=True)
class _Uploaded:
    account_id: int
    body: StagedBody
    sink: BodySink


class _Upload:
    """Takes the body to the store as it comes."""

    def __init__(self, account_id: int, sink: BodySink, over: Callable[[], None]) -> None:
        self._account_id, self._sink, self._over = account_id, sink, over
        self._ended = False

    def write(self, data: bytes) -> Deferred[None] | None:
        return self._sink.write(data)

    def finish(self) -> Deferred[_Uploaded]:
        return eager(self._finish())

    async def _finish(self) -> _Uploaded:
        body = await self._sink.finish()
        self._end()
        return _Uploaded(self._account_id, body, self._sink)

    def abort(self) -> None:
        self._sink.abort()
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._over()


class UploadPage(Page):
    """Beneath it is the account's id."""

    methods = ("POST",)

    def __init__(self, authentication: Authentication, ground: Ground) -> None:
        self._authentication, self._ground = authentication, ground
        self.body_limit = ground.limits.max_size_upload
        #: Account id -> uploads under way.
        self._busy: Counter[int] = Counter()

    def begin(self, visit: Visit) -> Begun:
        return eager(self._begin(visit))

    async def _begin(self, visit: Visit) -> BodyTaker | Answer:
        limits = self._ground.limits
        try:
            account_id = (await self._authentication.account_of(visit)).account.id
            if tuple(filter(None, visit.rest)) != (spell(ACCOUNT, account_id),):
                return refusal(HTTPStatus.NOT_FOUND, "there is no such account, or it is not yours")
            if self._busy[account_id] >= limits.max_concurrent_upload:
                words = f"{limits.max_concurrent_upload} uploads are under way"
                raise RequestError("limit", words, limit="maxConcurrentUpload")
            length = visit.fields.get("content-length", "0")
            if len(length) > 12 or int(length) > limits.max_size_upload:
                words = f"a blob has at most {limits.max_size_upload} octets"
                raise RequestError("limit", words, limit="maxSizeUpload")
        except Unauthenticated as refused:
            return refused.answer
        except RequestError as error:
            return problem(error)
        self._busy[account_id] += 1
        return _Upload(account_id, self._ground.store.stage(), lambda: self._over(account_id))

    def _over(self, account_id: int) -> None:
        self._busy[account_id] -= 1
        if not self._busy[account_id]:
            del self._busy[account_id]

    def not_taken(self, failure: Failure) -> Answer | None:
        full = failure.check(StoreFull)  # type: ignore[no-untyped-call]  # untyped upstream
        words = "the disk is full, try again later"
        return refusal(HTTPStatus.INSUFFICIENT_STORAGE, words) if full else None

    def answer(self, visit: Visit) -> Deferred[Answer]:
        return eager(self._answer(visit.received, visit))

    async def _answer(self, uploaded: _Uploaded, visit: Visit) -> Answer:
        try:
            kept = await self._ground.store.commit(KeepUpload(uploaded.account_id, uploaded.body))
        except StoreFull:
            uploaded.sink.abort()
            return refusal(HTTPStatus.INSUFFICIENT_STORAGE, "the disk is full, try again later")
        except BaseException:
            uploaded.sink.abort()
            raise
        told = {
            "accountId": spell(ACCOUNT, uploaded.account_id),
            "blobId": f"U{kept.id}",
            "type": _media_type(visit.fields.get("content-type", "")),
            "size": kept.body.size,
        }
        return Answer(write_json(told), "application/json", HTTPStatus.CREATED)


class DownloadPage(AccountPage):
    """Beneath it are the account's id, the blob's, and a name."""

    def __init__(self, authentication: Authentication, ground: Ground) -> None:
        super().__init__(authentication)
        self._ground = ground

    async def answer_for(self, avatar: IMailAccount, visit: Visit) -> Answer:
        account_id, missing = avatar.account.id, refusal(HTTPStatus.NOT_FOUND, "there is no such blob")
        if len(visit.rest) != 3 or visit.rest[0] != spell(ACCOUNT, account_id):
            return missing
        blob = await find_blob(self._ground.store, account_id, visit.rest[1])
        if blob is None:
            return missing
        name = _UNSAFE.sub("_", visit.rest[2])[:200]
        # The name is no part of the path's plain characters: only its escaped form is sent (RFC 6266).
        disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}" if name else "attachment"
        headers: dict[str, Any] = {**_SANDBOX, "Content-Disposition": disposition}
        if blob.size is not None:
            headers["Content-Length"] = str(blob.size)
        kind = _media_type(visit.query.get("accept", ""))
        return Answer(b"", kind, headers=headers, pieces=blob_pieces(self._ground, blob))


def _media_type(text: str) -> str:
    return text if _TYPE.fullmatch(text) else _UNNAMED
