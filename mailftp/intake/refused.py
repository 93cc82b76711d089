"""How the house says no to an envelope or a message."""

from __future__ import annotations


class Refused(Exception):
    """An envelope is not for us: SMTP code, enhanced status code, words.

    `account_ids` are those because of whom the whole message is refused; without them, others could have it.
    """

    def __init__(self, code: int, status: str, text: str, account_ids: tuple[int, ...] = ()) -> None:
        super().__init__(f"{code} {status} {text}")
        self.account_ids = account_ids
        self.code, self.status, self.text = code, status, text


class HungUp(Exception):
    """The connection is to end without a word, after so many seconds in which nothing is said."""

    def __init__(self, after: float = 0.0) -> None:
        super().__init__(f"hung up after {after:g} s")
        self.after = after
