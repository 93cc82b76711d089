"""`[[delivery.rules]]`: which way a recipient's mail goes, by recipient, sender and number of the attempt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from mailftp.settings import DeliveryRule
from mailftp.store.records import QueueMessage, QueueRecipient


class Rules:
    """The first that fits holds."""

    def __init__(self, rules: Sequence[DeliveryRule]) -> None:
        self._rules = tuple(rules)

    def of(self, message: QueueMessage, recipient: QueueRecipient) -> DeliveryRule | None:
        sender = message.transfer.reverse_path
        for rule in self._rules:
            if (
                recipient.attempt >= rule.from_attempt
                and fits(rule.recipients, recipient.address)
                and fits(rule.senders, sender)
            ):
                return rule
        return None


def fits(patterns: Collection[str], address: str) -> bool:
    """A pattern is an address or a domain, `*` stands for anything, case does not count, and "<>" is the null
    sender; no patterns fit everything."""
    if not patterns:
        return True
    address = address.lower()
    domain = address.rpartition("@")[2]
    for pattern in patterns:
        pattern = pattern.lower()
        if pattern == "<>":
            if not address:
                return True
        elif address and fnmatchcase(address if "@" in pattern else domain, pattern):
            return True
    return False
