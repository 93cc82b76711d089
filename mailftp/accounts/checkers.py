"""The checkers of the store's accounts: passwords and SCRAM proofs, client certificates.

A right password, a wrong one and an unknown name take the same time.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailftp.accounts.app_passwords import AppPasswordUses, keys_of, named, of_keys, opens
from mailftp.accounts.credentials import (
    ClientCertificate,
    IClientCertificate,
    IPassword,
    IScramKeys,
    IScramProof,
    Password,
    ScramProof,
    WrongProtocol,
)
from mailftp.accounts.external import certified_addresses
from mailftp.accounts.names import full_name
from mailftp.accounts.passwords import SCRAM_ITERATIONS, SCRAM_SALT_OCTETS, Passwords
from mailftp.accounts.scram import fitting
from mailftp.store.engine import Store
from mailftp.store.queries import AccountWithVerifier
from mailftp.store.records import Account, AppPassword, ScramKeys, Verifier
from mailftp.wire.eager import eager

#: An address that no account has, so that a name that cannot be one costs a look-up too.
_NOBODY = "nobody@invalid"


class AvatarId(bytes):
    """What the checker answers, as twisted.cred wants it: octets, here with the account that was read.

    `mark` is Sessions' from before it was read.
    """

    account: Account
    mark: int
    app_password: AppPassword | None

    @classmethod
    def of(cls, account: Account, mark: int, app_password: AppPassword | None = None) -> AvatarId:
        avatar_id = cls(account.address.encode("utf-8"))
        avatar_id.account, avatar_id.mark, avatar_id.app_password = account, mark, app_password
        return avatar_id


@implementer(IScramKeys)
class StoreChecker:
    """Fails with UnauthorizedLogin for wrong, unknown and disabled alike; with Busy or StoreFault when it
    cannot tell."""

    credentialInterfaces = (IPassword, IScramProof)

    def __init__(
        self,
        store: Store,
        passwords: Passwords,
        domains: tuple[str, ...],
        *,
        secret: bytes,
        mark: Callable[[], int] = lambda: 0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`secret` must be the same at each start: from it come the salts that unknown names are given, and
        a salt that changes tells that a name is unknown. `mark` is `Sessions.mark`; `now` gives seconds since
        the epoch."""
        self._store = store
        self._passwords = passwords
        self._domains = domains
        self._secret = secret
        self._mark = mark
        self._uses = AppPasswordUses(store, now)

    # The three names and their case are ICredentialsChecker's.
    def requestAvatarId(self, credentials: Password | ScramProof) -> Deferred[bytes | tuple[()]]:
        if isinstance(credentials, ScramProof):
            return eager(self._check_proof(credentials))
        return eager(self._check_password(credentials))

    def scram_keys(self, username: bytes) -> Deferred[ScramKeys]:
        """RFC 5802 section 5.1: salt and iterations, made up where there is no such account."""
        return eager(self._scram_keys(username))

    async def _find(self, username: bytes) -> tuple[Account, Verifier] | None:
        name = full_name(username, self._domains)
        return await self._store.read(AccountWithVerifier(name or _NOBODY))

    async def _check_password(self, credentials: Password) -> bytes | tuple[()]:
        mark = self._mark()
        found = await self._find(credentials.username)
        name = stored = ""
        app_password = None
        if found is not None:
            name, stored = found[0].address, found[1].password
            app_password = named(credentials.password, found[1])
            if app_password is not None:
                # In place of the account's own: a second argon2 would tell that there is an account.
                stored = app_password.verifier.password
        right = await self._passwords.verify(name, credentials.password, stored)
        # A disabled account is refused only here, after the same work.
        if found is None or not right or found[0].disabled:
            raise UnauthorizedLogin
        return self._let_in(credentials, found[0], mark, app_password)

    async def _check_proof(self, credentials: ScramProof) -> bytes | tuple[()]:
        """RFC 5802 section 3."""
        mark = self._mark()
        found = await self._find(credentials.username)
        keys = keys_of(found[1]) if found is not None else None
        real = keys is not None
        known = fitting(
            keys or self._made_up(credentials.username), credentials.proof, credentials.auth_message
        )
        if found is None or not real or known is None or found[0].disabled:
            raise UnauthorizedLogin
        return self._let_in(credentials, found[0], mark, of_keys(found[1], known))

    def _let_in(
        self,
        credentials: Password | ScramProof,
        account: Account,
        mark: int,
        app_password: AppPassword | None,
    ) -> bytes:
        if app_password is not None:
            credentials.app_password = app_password.name
            if not opens(app_password, credentials.service):
                raise WrongProtocol
            self._uses.note(app_password)
        return AvatarId.of(account, mark, app_password)

    async def _scram_keys(self, username: bytes) -> ScramKeys:
        found = await self._find(username)
        made_up = self._made_up(username)
        # A name that is nobody's goes all of the same way: 3 us less told it in 59 of 100 attempts.
        nobody = Verifier("", made_up)
        return keys_of(nobody if found is None else found[1]) or made_up

    def _made_up(self, username: bytes) -> ScramKeys:
        # By the full name: "Bob" and "bob@example.test" are one account, so they must have one salt.
        name = (full_name(username, self._domains) or "").encode("utf-8") or username
        salt, stored, server = (
            hmac.digest(self._secret, purpose + b"\0" + name, "sha256")
            for purpose in (b"salt", b"stored key", b"server key")
        )
        return ScramKeys(salt[:SCRAM_SALT_OCTETS], SCRAM_ITERATIONS, stored, server)


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Client certificates of the store's accounts: one opens the accounts whose addresses it names, and no
    other. Fails with UnauthorizedLogin, or StoreFault when it cannot tell."""

    credentialInterfaces = (IClientCertificate,)

    def __init__(
        self, store: Store, domains: tuple[str, ...], *, mark: Callable[[], int] = lambda: 0
    ) -> None:
        """`mark` is `Sessions.mark`."""
        self._store = store
        self._domains = domains
        self._mark = mark

    # Its name and case are ICredentialsChecker's.
    def requestAvatarId(self, credentials: ClientCertificate) -> Deferred[bytes | tuple[()]]:
        return eager(self._check(credentials))

    async def _check(self, credentials: ClientCertificate) -> bytes | tuple[()]:
        """RFC 4422 appendix A: the authorization identity must be one that the certificate may act as."""
        mark = self._mark()
        name = full_name(credentials.username, self._domains)
        if name is None or name not in certified_addresses(credentials.certificate):
            raise UnauthorizedLogin
        found = await self._store.read(AccountWithVerifier(name))
        if found is None or found[0].disabled:
            raise UnauthorizedLogin
        return AvatarId.of(found[0], mark)
