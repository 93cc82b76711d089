"""The change feed's subscribers, told on the reactor thread after each group commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from mailftp.store.records import Change
from mailftp.wire.journal import Journal

Hear = Callable[[tuple[Change, ...]], None]


def merge(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change for each thing that changed, with its highest modseq and all its entries, in the order of
    first mention."""
    latest: dict[tuple[str, int, int], Change] = {}
    for change in changes:
        what = (change.kind, change.account_id, change.mailbox_id)
        known = latest.get(what)
        if known is None:
            latest[what] = change
        elif change.entries:
            latest[what] = replace(known, entries=known.entries | change.entries)
        elif known.modseq < change.modseq:
            latest[what] = change
    return tuple(latest.values())


class Feed:
    class Subscription:
        __slots__ = ("_feed", "hear")

        def __init__(self, feed: Feed, hear: Hear) -> None:
            self._feed = feed
            self.hear = hear

        def cancel(self) -> None:
            self._feed._subscriptions.pop(self, None)

    def __init__(self) -> None:
        self._subscriptions: dict[Feed.Subscription, None] = {}
        self._journal = Journal("store")

    def subscribe(self, hear: Hear) -> Feed.Subscription:
        subscription = Feed.Subscription(self, hear)
        self._subscriptions[subscription] = None
        return subscription

    def present(self) -> tuple[Feed.Subscription, ...]:
        """Who listens now."""
        return tuple(self._subscriptions)

    def tell(self, changes: tuple[Change, ...], listeners: Iterable[Feed.Subscription]) -> None:
        """One listener that fails must not keep the news from the others."""
        if not changes:
            return
        for subscription in listeners:
            if subscription not in self._subscriptions:
                continue  # Cancelled meanwhile.
            try:
                subscription.hear(changes)
            except Exception:
                self._journal.fault("change feed listener failed", listener=repr(subscription.hear))
