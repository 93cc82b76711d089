"""Browsers that are logged in: opened by a password, known by a cookie, closed by their owner."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from mailftp.store.engine import Store
from mailftp.store.queries import FindWebSession, WebSessions
from mailftp.store.records import Account, WebSession
from mailftp.store.units import CloseWebSessions, OpenWebSession, UseWebSession
from mailftp.web.pages import Visit
from mailftp.web.webmail.cookies import token_of
from mailftp.web.webmail.crossing import from_our_pages
from mailftp.wire.eager import eager
from mailftp.wire.journal import Journal

#: Seconds between two notes that a session is used: a page asks often, and a note is a commit.
NOTED_EVERY = 600.0
#: Characters of a User-Agent that are kept.
AGENT = 200


class Browsers:
    """`now` gives seconds since the epoch; `idle` and `lifetime` are the seconds that a session lasts unused
    and at most."""

    def __init__(self, store: Store, now: Callable[[], float], idle: float, lifetime: float) -> None:
        self._store, self._now = store, now
        self.idle, self.lifetime = idle, lifetime
        self._journal = Journal.new("webmail")

    async def open(self, visit: Visit, account: Account) -> str:
        """A session for an account whose password was checked; answers the token for its cookie. What the
        store keeps of it is a hash: who reads the store is logged in nowhere."""
        token = secrets.token_urlsafe(32)
        agent = visit.fields.get("user-agent", "")[:AGENT]
        address = str(visit.origin.peer.address or "")
        await self._store.commit(
            OpenWebSession(
                account.id,
                _hash(token),
                account.verifier_version,
                address,
                agent,
                stale=self._now() - self.idle,
            )
        )
        return token

    def find(self, visit: Visit) -> Deferred[tuple[WebSession, Account] | None]:
        """Who asks: the session of the request's cookie, and its account as it is now. None without a cookie,
        with one that is over, and where the request was not made by our own pages."""
        token = token_of(visit)
        if token is None or not from_our_pages(visit):
            return succeed(None)
        return eager(self._find(token))

    async def _find(self, token: str) -> tuple[WebSession, Account] | None:
        found = await self._store.read(FindWebSession(_hash(token)))
        if found is None:
            return None
        session, now = found[0], self._now()
        if now - session.used > self.idle or now - session.opened > self.lifetime:
            return None
        if now - session.used > NOTED_EVERY:
            # Nobody waits for it; where it fails, the session ends earlier than it might.
            self._store.commit(UseWebSession(session.id)).addErrback(self._not_noted)
        return found

    def _not_noted(self, failure: object) -> None:
        self._journal.fault("session not noted", failure)  # type: ignore[arg-type]  # an errback's Failure

    async def listed(self, account: Account) -> tuple[WebSession, ...]:
        now = self._now()
        return tuple(
            session
            for session in await self._store.read(WebSessions(account.id))
            if now - session.used <= self.idle and now - session.opened <= self.lifetime
        )

    def close(self, account: Account, ids: tuple[int, ...] | None = None) -> Deferred[int]:
        """All where `ids` is None; answers how many there were."""
        return self._store.commit(CloseWebSessions(account.id, ids))


def _hash(token: str) -> bytes:
    # No salt and no work: the token is 256 bits of chance, nobody guesses it.
    return hashlib.sha256(token.encode("ascii")).digest()
