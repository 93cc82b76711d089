"""JMAP in HTTP: the session, the API endpoint (RFC 8620 sections 2.2 and 3.1)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from mailftp.accounts.avatars import IMailAccount
from mailftp.store.records import Account
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.jmap.context import Context, Ground
from mailftp.web.jmap.faults import RequestError
from mailftp.web.jmap.ijson import write_json
from mailftp.web.jmap.processing import perform
from mailftp.web.jmap.registry import Registry
from mailftp.web.jmap.request import JMAPRequest, parse_request, too_large
from mailftp.web.jmap.session import session_object
from mailftp.web.pages import Answer, Page, Visit
from mailftp.web.reception import Begun, BodyTaker
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal

_JSON = "application/json"
#: How the names of methods end that change nothing.
_READING = ("/get", "/changes", "/query", "/queryChanges", "/echo", "/lookup", "/parse")


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


@dataclass(frozen=True, slots=True)
class _Posted:
    avatar: IMailAccount
    octets: bytes


class _Octets:
    """A body in memory; of somebody who has logged in."""

    def __init__(self, avatar: IMailAccount) -> None:
        self._avatar = avatar
        self._kept = BytesIO()

    def write(self, data: bytes) -> None:
        self._kept.write(data)

    def finish(self) -> Deferred[_Posted]:
        return succeed(_Posted(self._avatar, self._kept.getvalue()))

    def abort(self) -> None:
        self._kept = BytesIO()


class APIPage(Page):
    """RFC 8620 section 3.1."""

    methods = ("POST",)

    def __init__(self, authentication: Authentication, ground: Ground, registry: Registry) -> None:
        self._authentication, self._ground, self._registry = authentication, ground, registry
        # One octet more, or nobody would be told which limit it was.
        self.body_limit = ground.limits.max_size_request + 1
        #: Account id -> requests under way.
        self._busy: Counter[int] = Counter()

    def begin(self, visit: Visit) -> Begun:
        return eager(self._begin(visit))

    async def _begin(self, visit: Visit) -> BodyTaker | Answer:
        try:
            avatar = await self._authentication.account_of(visit)
            if visit.media_type != _JSON:
                # A form of another site can send any other type without asking us first.
                raise RequestError("notJSON", f"the Content-Type is not {_JSON}")
            limits = self._ground.limits
            if self._busy[avatar.account.id] >= limits.max_concurrent_requests:
                words = f"{limits.max_concurrent_requests} requests are under way"
                raise RequestError("limit", words, limit="maxConcurrentRequests")
            length = visit.fields.get("content-length", "0")
            if len(length) > 12 or int(length) > limits.max_size_request:
                raise too_large(limits)
        except Unauthenticated as refused:
            return refused.answer
        except RequestError as error:
            return problem(error)
        return _Octets(avatar)

    def answer(self, visit: Visit) -> Deferred[Answer]:
        posted: _Posted = visit.received
        try:
            request = parse_request(posted.octets, self._registry.capabilities, self._ground.limits)
        except RequestError as error:
            return succeed(problem(error))
        answered = eager(self._answer(posted.avatar.account, request, visit))
        writes = not all(call.name.endswith(_READING) for call in request.calls)
        return _to_its_end(answered) if writes else answered

    async def _answer(self, account: Account, request: JMAPRequest, visit: Visit) -> Answer:
        context = Context(self._ground, account, request.using, Journal.new("jmap"))
        state = session_object(self._registry, account, visit.base)["state"]
        self._busy[account.id] += 1
        try:
            return Answer(write_json(await perform(self._registry, request, context, state)), _JSON)
        finally:
            self._busy[account.id] -= 1
            if not self._busy[account.id]:
                del self._busy[account.id]


def _to_its_end(answered: Deferred[Answer]) -> Deferred[Answer]:
    """Whoever hangs up stops what only reads. What he asked to be changed is changed: a page that is closed
    saves its draft last."""
    shield: Deferred[Answer] = Deferred()

    def ended(result: Answer | Failure) -> None:
        if not shield.called:
            shield.callback(result)
        elif isinstance(result, Failure):
            Journal("jmap").fault("page failed", result)

    answered.addBoth(ended)
    return shield


def problem(error: RequestError) -> Answer:
    """RFC 8620 section 3.6.1."""
    return Answer(write_json(error.problem), "application/problem+json", HTTPStatus(error.status))
