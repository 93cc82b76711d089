"""JMAP in HTTP: the session, the API endpoint (RFC 8620 sections 2.2 and 3.1)."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import IMailAccount
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.jmap.context import Context, Ground
from mailftp.web.jmap.faults import RequestError
from mailftp.web.jmap.ijson import write_json
from mailftp.web.jmap.processing import perform
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import parse_request
from mailftp.web.jmap.session import session_object
from mailftp.web.pages import Answer, Page, Visit
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal

_JSON = "application/json"


class AccountPage(Page):
    """A page for who has logged in."""

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    def answer(self, visit: Visit) -> Deferred[Answer]:
        return eager(self._answer(visit))

    async def _answer(self, visit: Visit) -> Answer:
        try:
            avatar = await self._authentication.account_of(visit)
        except Unauthenticated as refused:
            return refused.answer
        return await self.answer_for(avatar, visit)

    async def answer_for(self, avatar: IMailAccount, visit: Visit) -> Answer:
        raise NotImplementedError


class SessionPage(AccountPage):
    """RFC 8620 section 2; found by .well-known/jmap (section 2.2)."""

    def __init__(self, authentication: Authentication, registry: Registry) -> None:
        super().__init__(authentication)
        self._registry = registry

    async def answer_for(self, avatar: IMailAccount, visit: Visit) -> Answer:
        session = session_object(self._registry, avatar.account, visit.base)
        return Answer(
            write_json(session), _JSON, headers={"Cache-Control": "no-cache, no-store, must-revalidate"}
        )


class APIPage(AccountPage):
    """RFC 8620 section 3.1."""

    methods = ("POST",)

    def __init__(self, authentication: Authentication, ground: Ground, registry: Registry) -> None:
        super().__init__(authentication)
        self._ground, self._registry = ground, registry
        #: Account id -> requests under way.
        self._busy: Counter[int] = Counter()

    async def answer_for(self, avatar: IMailAccount, visit: Visit) -> Answer:
        account, limits = avatar.account, self._ground.limits
        try:
            if visit.media_type != _JSON:
                # A form of another site can send any other type without asking us first.
                raise RequestError("notJSON", f"the Content-Type is not {_JSON}")
            if self._busy[account.id] >= limits.max_concurrent_requests:
                words = f"{limits.max_concurrent_requests} requests are under way"
                raise RequestError("limit", words, limit="maxConcurrentRequests")
            request = parse_request(visit.body, self._registry.capabilities, limits)
        except RequestError as error:
            return problem(error)
        context = Context(self._ground, account, request.using, Journal.new("jmap"))
        state = session_object(self._registry, account, visit.base)["state"]
        self._busy[account.id] += 1
        try:
            return Answer(write_json(await perform(self._registry, request, context, state)), _JSON)
        finally:
            self._busy[account.id] -= 1
            if not self._busy[account.id]:
                del self._busy[account.id]


def problem(error: RequestError) -> Answer:
    """RFC 8620 section 3.6.1."""
    return Answer(write_json(error.problem), "application/problem+json", HTTPStatus(error.status))
