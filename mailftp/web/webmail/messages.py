"""What a frame of the page shows: "/message/<Email id>", of an account's own mail."""

from __future__ import annotations

import os
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from mailftp.store.emails import Email, EmailsById
from mailftp.store.engine import MissingBody, Store
from mailftp.store.queries import Bodies, OpenBody
from mailftp.store.records import Account
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.jmap.ids import EMAIL, number_of
from mailftp.web.pages import Answer, Page, Visit, refusal
from mailftp.web.webmail.documents import Document, document_of, policy
from mailftp.web.webmail.signing_in import told
from mailftp.wire.eager import eager

#: Octets of a mail that is shown so; it is in memory while it is cleaned.
LARGEST = 32 * 1024 * 1024


class Run(Protocol):
    """Work in a thread."""

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]: ...


class MessageDocument(Page):
    """`?pictures=1` with the pictures of elsewhere; `?about=1` answers what there is to show, as JSON:
    `{"html": whether there is HTML, "remote": how many pictures are elsewhere}`."""

    def __init__(self, authentication: Authentication, store: Store, run: Run) -> None:
        self._authentication, self._store, self._run = authentication, store, run

    def answer(self, visit: Visit) -> Deferred[Answer]:
        return eager(self._answer(visit))

    async def _answer(self, visit: Visit) -> Answer:
        try:
            avatar = await self._authentication.account_of(visit)
        except Unauthenticated as unknown:
            return unknown.answer
        email = await self._email(avatar.account, visit.rest)
        if email is None:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such mail")
        if email.body.size > LARGEST:
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "this mail is too large to be shown here")
        pictures = visit.query.get("pictures") == "1"
        try:
            document = await self._document(email, pictures)
        except MissingBody:
            return refusal(HTTPStatus.NOT_FOUND, "this mail has just been removed")
        if visit.query.get("about") == "1":
            return told({"html": document is not None, "remote": document.remote if document else 0})
        if document is None:
            return refusal(HTTPStatus.NOT_FOUND, "this mail has no HTML")
        headers = {"Content-Security-Policy": policy(pictures), "X-Frame-Options": "SAMEORIGIN"}
        return Answer(document.octets, "text/html; charset=utf-8", headers=headers)

    async def _email(self, account: Account, rest: tuple[str, ...]) -> Email | None:
        number = number_of(EMAIL, rest[0]) if len(rest) == 1 else None
        if number is None:
            return None
        found = await self._store.read(EmailsById(account.id, (number,)))
        return found.emails[0] if found.emails else None

    async def _document(self, email: Email, pictures: bool) -> Document | None:
        # No field that the server has put before the message is about its parts.
        if email.body.large:
            descriptor = await self._store.read(OpenBody(email.body))
            found: Document | None = await self._run(
                lambda: document_of(_read(descriptor), pictures=pictures)
            )
            return found
        (data,) = await self._store.read(Bodies((email.body,)))
        found = await self._run(lambda: document_of(data, pictures=pictures))
        return found


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
