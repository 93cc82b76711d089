"""What the mail of one account may take, as every engine holds it."""

from __future__ import annotations

from typing import NamedTuple

#: An account's own "no limit", which wins over a limit of the server's.
UNLIMITED = 2**63 - 1


class MailQuota(NamedTuple):
    """None: no limit."""

    octets: int | None = None
    messages: int | None = None

    def of(self, octets: int | None, messages: int | None) -> MailQuota:
        """That of an account with these of its own, where self is the server's."""
        return MailQuota(
            self.octets if octets is None else octets, self.messages if messages is None else messages
        )

    def exceeded(self, octets: int, messages: int, before: tuple[int, int] = (0, 0)) -> bool:
        """By what there is. What was more than the limit `before` and has not grown does not count."""
        return (self.octets is not None and octets > max(self.octets, before[0])) or (
            self.messages is not None and messages > max(self.messages, before[1])
        )
