"""Random names for connections and messages, which nobody must be able to meet by chance; no secrets."""

from __future__ import annotations

import secrets

#: Octets asked of the kernel at a time. A question for each message took 7 us, most of it in winning Python's
#: lock back from another thread.
_POOL = 1024


class Tokens:
    """Each call gives so many octets in hexadecimal digits."""

    __slots__ = ("_digits", "_left")

    def __init__(self, octets: int) -> None:
        self._digits = 2 * octets
        self._left = ""

    def __call__(self) -> str:
        if not self._left:
            self._left = secrets.token_hex(_POOL // self._digits * self._digits)
        token, self._left = self._left[: self._digits], self._left[self._digits :]
        return token
