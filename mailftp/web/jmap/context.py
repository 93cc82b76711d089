"""What a method may use: whose account, the store, the clock, and the answers that came before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from mailftp.intake.intake import Intake
from mailftp.settings import Settings
from mailftp.store.engine import Store
from mailftp.store.records import Account
from mailftp.web.jmap.arguments import Arguments
from mailftp.web.jmap.faults import MethodError
from mailftp.web.jmap.ids import ACCOUNT, spell
from mailftp.web.jmap.references import Response
from mailftp.web.jmap.request import Limits
from mailftp.wire.journal import Journal


@dataclass(frozen=True, slots=True)
class Ground:
    """What all requests stand on, for one reading of the settings."""

    settings: Settings
    store: Store
    #: Seconds since the epoch.
    now: Callable[[], float]
    limits: Limits = Limits()
    #: Runs what may take a while in a thread.
    run: Callable[[Callable[[], Any]], Deferred[Any]] = maybeDeferred
    #: Takes what is submitted; without it nothing can be.
    intake: Intake | None = None


@dataclass(slots=True)
class Context:
    """One request of one account."""

    ground: Ground
    account: Account
    using: frozenset[str]
    journal: Journal
    #: Creation id -> id, of this request's creations and those that the client named.
    created_ids: dict[str, str] = field(default_factory=dict)
    #: What a method answers beside its own response, after it and under the same call id
    #: (RFC 8620 section 5.4: the implicit /set of a /copy).
    implicit: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return self.ground.store

    @property
    def account_id(self) -> str:
        return spell(ACCOUNT, self.account.id)

    def check_account(self, arguments: Arguments, name: str = "accountId") -> None:
        """Takes the account's id. There is one account for each login; another's is as one that is not there.

        Raises MethodError.
        """
        given = arguments.id(name)
        if given != self.account_id:
            kind = "accountNotFound" if name == "accountId" else "fromAccountNotFound"
            raise MethodError(kind, "there is no such account, or it is not yours")

    def resolved(self, given: str) -> str | None:
        """An id, or a creation id with its "#"; None for one of nothing that was created."""
        return self.created_ids.get(given[1:]) if given.startswith("#") else given
