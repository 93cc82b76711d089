"""App passwords: one for each program that logs in to an account, made here, each for some protocols only.

The first group of one says which of the account's it is, so that a login costs one argon2 however many there
are: an account with fifty takes as long as one with none, and as long as a name that is nobody's. The other
four groups have 79 bits, which nobody guesses from a stolen store even by SCRAM's keys; without those the
programs that choose SCRAM where it is offered could not use one. SCRAM sends a salt before it knows which
password the client has, so all of an account's share one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailftp.accounts.passwords import READABLE, readable_group
from mailftp.settings import IMPLICIT_TLS
from mailftp.store.engine import Store
from mailftp.store.records import AppPassword, ScramKeys, Verifier
from mailftp.store.units import NoteAppPasswordUse
from mailftp.wire.journal import Journal

#: Seconds between two notes that one was used: a commit for each login would cost more than the login.
NOTED_EVERY = 3600.0
#: App passwords of which that is remembered, the latest noted ones.
_REMEMBERED = 10_000

_SHAPE = re.compile(rb"([%b]{4})(?:-[%b]{4}){4}" % ((READABLE.encode(),) * 2))

#: What one can be for.
PROTOCOLS = ("ftp", "http", "imap", "pop3", "smtp")
#: Services whose protocol has another name than they have.
_SERVICES = {name: name.removesuffix("s") for name in IMPLICIT_TLS} | {
    "submission": "smtp",
    "submissions": "smtp",
    "lmtp": "smtp",
}


def protocol_of(service: str) -> str:
    """The protocol that a service speaks: "imap" for "imaps", "smtp" for "submission"."""
    return _SERVICES.get(service, service)


def generate_app_password(taken: Collection[str] = ()) -> tuple[str, str]:
    """(its selector, the password); `taken` are the selectors that the account has."""
    selector = readable_group()
    while selector in taken:
        selector = readable_group()
    return selector, "-".join((selector, *(readable_group() for _ in range(4))))


def named(password: bytes, verifier: Verifier) -> AppPassword | None:
    """The app password that this one says it is; None where it is none of the account's."""
    shape = _SHAPE.fullmatch(password)
    if shape is None:
        return None
    selector = shape[1].decode("ascii")
    return next((each for each in verifier.app_passwords if each.selector == selector), None)


def opens(app_password: AppPassword, service: str) -> bool:
    """Whether it is for this service; one for some protocols is for no service that has no name."""
    return not app_password.protocols or protocol_of(service) in app_password.protocols


def keys_of(verifier: Verifier) -> ScramKeys | None:
    """The account's SCRAM keys with those of its app passwords; None where it has none."""
    own = verifier.scram
    if own is None:
        return None
    salted = (own.salt, own.iterations)
    found = (each.verifier.scram for each in verifier.app_passwords)
    # Not of the same salt: the account's password was set by what did not know of this.
    return replace(
        own, others=tuple(keys for keys in found if keys and (keys.salt, keys.iterations) == salted)
    )


def of_keys(verifier: Verifier, keys: ScramKeys) -> AppPassword | None:
    """Whose the keys are; None for the account's own."""
    return next((each for each in verifier.app_passwords if each.verifier.scram == keys), None)


class AppPasswordUses:
    """Notes in the store when an app password was used, at most once an hour; no login waits for it."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        """`now` gives seconds since the epoch."""
        self._store = store
        self._now = now
        self._journal = Journal.new("accounts")
        #: Id -> when it was last noted, oldest first.
        self._noted: OrderedDict[int, float] = OrderedDict()

    def note(self, used: AppPassword) -> Deferred[None] | None:
        """The Deferred fires when it is done, and never fails; None where there is nothing to note."""
        now = self._now()
        known = self._noted.get(used.id)
        if known is not None and known <= now < known + NOTED_EVERY:
            return None
        self._noted[used.id] = now
        self._noted.move_to_end(used.id)
        if len(self._noted) > _REMEMBERED:
            self._noted.popitem(last=False)
        return self._store.commit(NoteAppPasswordUse(used.id)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._journal.fault("app password use not noted", failure)
