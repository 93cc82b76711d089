"""Passwords: what one may be, argon2id, SCRAM keys, a thread pool to hash on, and what was verified lately.

The same password must give the same result by every mechanism, so all of them go through
`prepare_password`. It is SASLprep (RFC 4013), which SCRAM's clients apply too (RFC 5802 section 2.2): spaces
of every kind become one kind, invisible marks vanish, NFKC, no control characters. RFC 8265's
OpaqueString would differ from it in compatibility characters only; clients that do it meet us in ASCII and
in all that NFC leaves alone. Code points newer than Unicode 3.2 are let
through, or nobody could use an emoji.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailftp.settings import Argon2
from mailftp.store.records import ScramKeys, Verifier

#: Octets. Longer ones would only be work for the hash.
LONGEST_PASSWORD = 1024

#: RFC 7677 asks for at least 4,096. The key can be had by guessing from a stolen store, so more is better;
#: the client pays for it at every login, on a phone too, so not much more.
SCRAM_ITERATIONS = 20_000
SCRAM_SALT_OCTETS = 16

#: No 0 and o, no 1, l and i: a generated password is read aloud and typed from paper.
READABLE = "abcdefghjkmnpqrstuvwxyz23456789"

P = ParamSpec("P")
R = TypeVar("R")


class PasswordFault(ValueError):
    """Not usable as a password; the text says why, for people."""


class Busy(Exception):
    """More passwords wait to be hashed than this server takes on at a time."""


def prepare_password(password: bytes) -> bytes:
    """The form of a password that is hashed: SASLprep, UTF-8. Raises PasswordFault.

    RFC 4013 section 2. Control characters are refused because no text protocol could carry them.
    """
    if not password:
        raise PasswordFault("the password is empty")
    if len(password) > LONGEST_PASSWORD:
        raise PasswordFault(f"the password is longer than {LONGEST_PASSWORD} octets")
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        raise PasswordFault("the password is not UTF-8") from None
    if not text.isascii():
        text = _saslprep(text)
    if any(character < " " or character == "\x7f" for character in text):
        raise PasswordFault("the password has control characters")
    prepared = text.encode("utf-8")
    # NFKC turns one character into as many as eighteen.
    if not 0 < len(prepared) <= LONGEST_PASSWORD:
        raise PasswordFault(f"the password is empty or longer than {LONGEST_PASSWORD} octets when normalised")
    return prepared


def _saslprep(text: str) -> str:
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    text = unicodedata.normalize("NFKC", mapped)
    for character in text:
        if (
            stringprep.in_table_c12(character)
            or stringprep.in_table_c21_c22(character)
            or stringprep.in_table_c3(character)
            or stringprep.in_table_c4(character)
            or stringprep.in_table_c5(character)
            or stringprep.in_table_c6(character)
            or stringprep.in_table_c7(character)
            or stringprep.in_table_c8(character)
            or stringprep.in_table_c9(character)
        ):
            raise PasswordFault(f"the password holds U+{ord(character):04X}")
    # RFC 3454 section 6: right-to-left text stands alone and at both ends, or it would show in two orders.
    if any(map(stringprep.in_table_d1, text)):
        ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not ends or any(map(stringprep.in_table_d2, text)):
            raise PasswordFault("the password mixes right-to-left and left-to-right text")
    return text


def generate_password() -> str:
    """A password that can be read aloud: sixteen letters and digits in four groups, 79 bits."""
    return "-".join(readable_group() for _ in range(4))


def readable_group() -> str:
    """Four letters and digits."""
    return "".join(secrets.choice(READABLE) for _ in range(4))


def make_verifier(password: str | bytes, settings: Argon2, like: ScramKeys | None = None) -> Verifier:
    """What is stored of a password; with `like`, its SCRAM keys are by the same salt and iterations.

    Raises PasswordFault. It takes as long as argon2: call it in a thread.
    """
    raw = password.encode("utf-8", "surrogateescape") if isinstance(password, str) else password
    prepared = prepare_password(raw)
    keys = make_scram_keys(prepared, like.salt, like.iterations) if like else make_scram_keys(prepared)
    return Verifier(_hasher(settings).hash(prepared), keys)


def make_scram_keys(
    prepared: bytes, salt: bytes | None = None, iterations: int = SCRAM_ITERATIONS
) -> ScramKeys:
    """RFC 5802 section 3 with SHA-256 (RFC 7677) of a password that is prepared already."""
    salt = secrets.token_bytes(SCRAM_SALT_OCTETS) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return ScramKeys(salt, iterations, hashlib.sha256(client_key).digest(), server_key)


def _hasher(settings: Argon2) -> PasswordHasher:
    return PasswordHasher(settings.time_cost, settings.memory_cost, settings.parallelism, type=Type.ID)


class HashingThreads:
    """This room's own threads, so that a flood of logins holds up neither name resolution nor the store.

    Two are enough: argon2 is bound by memory bandwidth. What waits is bounded, because each waits
    for some 20 ms of work that an unknown client can ask for.
    """

    def __init__(self, reactor: IReactorFromThreads, threads: int = 2, waiting: int = 256) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=threads, name="mailftp-passwords")
        self._most = threads + waiting
        self._now = 0

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Wait for what is being hashed, at most `waiting` / `threads` hashes; idempotent."""
        if self._pool.started and not self._pool.joined:
            self._pool.stop()

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`work` in a thread. Raises Busy when too much is waiting."""
        if self._now >= self._most:
            raise Busy("too many passwords are being checked")
        self._now += 1

        def counted() -> R:
            try:
                return work(*args, **kwargs)
            finally:
                # Counted down when the work is done and not when its answer is waited for no longer:
                # clients that hang up would make room for more than the threads can do.
                self._reactor.callFromThread(self._done)

        return await deferToThreadPool(self._reactor, self._pool, counted)

    def _done(self) -> None:
        self._now -= 1


class Passwords:
    """Checks passwords against stored verifiers, remembering for minutes which ones were right.

    A mail client logs in every minute; each time would cost 20 ms of argon2. The memory's key is an HMAC,
    with a secret of this process, of name, password and the stored verifier: no password can be had from
    it, and a changed verifier misses it.
    """

    def __init__(
        self,
        threads: HashingThreads,
        settings: Argon2,
        clock: IReactorTime,
        *,
        remembered: int = 10_000,
        lifetime: float = 300.0,
    ) -> None:
        self._threads = threads
        self._settings = settings
        self._hasher = _hasher(settings)
        self._clock = clock
        self._remembered = remembered
        self._lifetime = lifetime
        self._secret = secrets.token_bytes(32)
        #: Key -> reactor time until which it holds; oldest first, because every lifetime is the same.
        self._verified: OrderedDict[bytes, float] = OrderedDict()
        self._dummy: str | None = None

    async def verify(self, name: str, password: bytes, stored: str) -> bool:
        """Whether the password belongs to the PHC string `stored`; "" is nobody's and takes as long.

        Raises Busy, and argon2's VerificationError or InvalidHashError when `stored` is damaged.
        """
        try:
            prepared = prepare_password(password)
        except PasswordFault:
            prepared, stored = b"?", ""
        key = self._key(name, prepared, stored)
        until = self._verified.get(key)
        if until is not None and until > self._clock.seconds():
            return True
        right = await self._threads.run(self._check, prepared, stored)
        if right:
            self._remember(key)
        return right

    async def make_verifier(self, password: str | bytes, like: ScramKeys | None = None) -> Verifier:
        """`make_verifier` in a thread. Raises PasswordFault or Busy."""
        return await self._threads.run(make_verifier, password, self._settings, like)

    def _check(self, prepared: bytes, stored: str) -> bool:
        nobody = not stored
        if nobody:
            if self._dummy is None:
                self._dummy = self._hasher.hash(secrets.token_bytes(16))
            stored = self._dummy
        try:
            return self._hasher.verify(stored, prepared) and not nobody
        except VerifyMismatchError:
            return False

    def _key(self, name: str, prepared: bytes, stored: str) -> bytes:
        # NUL stands in none of the three, so no two triples make the same text.
        text = b"\0".join((name.encode("utf-8", "surrogatepass"), prepared, stored.encode()))
        return hmac.digest(self._secret, text, "sha256")

    def _remember(self, key: bytes) -> None:
        now = self._clock.seconds()
        self._verified.pop(key, None)
        self._verified[key] = now + self._lifetime
        while self._verified:
            oldest, until = next(iter(self._verified.items()))
            if until > now and len(self._verified) <= self._remembered:
                return
            del self._verified[oldest]
