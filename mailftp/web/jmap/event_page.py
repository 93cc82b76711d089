"""The page that an event source is asked of: RFC 8620 section 7.3."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from mailftp.accounts.avatars import IMailAccount
from mailftp.web.authentication import Authentication, Unauthenticated
from mailftp.web.jmap.event_source import (
    MOST,
    PING_LEAST,
    PING_MOST,
    EventSource,
    EventSources,
    modseq_now,
    told_last,
)
from mailftp.web.jmap.pages import AccountPage
from mailftp.web.pages import Answer, Visit, refusal
from mailftp.wire.eager import eager

_PING = re.compile(r"[0-9]{1,6}")
_TYPES = re.compile(r"[A-Za-z]{1,64}(?:,[A-Za-z]{1,64}){0,63}")


class EventSourcePage(AccountPage):
    def __init__(self, authentication: Authentication, sources: EventSources) -> None:
        super().__init__(authentication)
        self._sources = sources

    async def answer_for(self, avatar: IMailAccount, visit: Visit) -> Answer:
        types, ping = visit.query.get("types", "*"), visit.query.get("ping", "0")
        close_after = visit.query.get("closeafter", "no")
        if types != "*" and _TYPES.fullmatch(types) is None:
            return refusal(HTTPStatus.BAD_REQUEST, "types is * or names with a comma between them")
        if _PING.fullmatch(ping) is None or close_after not in ("no", "state"):
            words = "ping is a number of seconds, and closeafter is state or no"
            return refusal(HTTPStatus.BAD_REQUEST, words)
        account_id = avatar.account.id
        if self._sources.count(account_id) >= MOST:
            words = f"{MOST} event sources of this account are open: close one"
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, words, Retry_After="60")
        now = await modseq_now(avatar.store, account_id)
        last = told_last(visit.fields.get("last-event-id", ""))
        # RFC 8620 section 7.3: what was missed is told at once.
        missed = "last-event-id" in visit.fields and last != now
        source = EventSource(
            self._sources,
            account_id,
            None if types == "*" else frozenset(types.split(",")),
            close_after_state=close_after == "state",
            ping=min(max(int(ping), PING_LEAST), PING_MOST) if int(ping) else 0,
            known=now,
            check=lambda: eager(self._may(visit, account_id)),
        )

        def take(request: Any) -> None:
            source.begin(request, missed)

        # A proxy that gathers answers would keep it to itself.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Answer(b"", "text/event-stream", headers=headers, take=take)

    async def _may(self, visit: Visit, account_id: int) -> bool:
        """Whether he who began to listen would be let in now."""
        try:
            avatar = await self._authentication.account_of(visit)
        except Unauthenticated:
            return False
        return bool(avatar.account.id == account_id)
