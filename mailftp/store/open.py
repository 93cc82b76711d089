"""The store that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailftp.settings import Settings
from mailftp.store.engine import Store, StoreFault
from mailftp.store.memory import MemoryStore
from mailftp.store.sqlite import SQLiteStore
from mailftp.store.sqlite.schema import shipped


class Reactor(Protocol):
    """IReactorFromThreads and IReactorTime."""

    def callFromThread(self, callable: object, *args: object, **kwargs: object) -> None: ...
    def seconds(self) -> float: ...


def open_store(settings: Settings, reactor: Reactor) -> Store:
    """Made, not started. Raises StoreFault when the address is of no engine.

    `store.url` is "sqlite:PATH" or "memory:"; `store.blobs` is "file:PATH"; both paths start in the data
    folder.
    """
    scheme, _, rest = settings.store.url.partition(":")
    if scheme == "memory":
        return MemoryStore(
            reactor.seconds,
            settings.quota.mail,
            history=settings.delivery.history,
            message_quota=settings.quota.messages,
        )
    if scheme in ("postgres", "postgresql"):
        raise StoreFault("store.url: this release has only SQLite (sqlite:mail.sqlite) and memory:")
    if scheme != "sqlite" or not rest:
        raise StoreFault(f"store.url: {settings.store.url!r} is neither sqlite:PATH nor memory:")
    # Now, and not when it is opened, which may be after privileges were dropped.
    shipped()
    return SQLiteStore(
        settings.data / rest,
        _blob_folder(settings),
        cast(IReactorFromThreads, reactor),
        cast(IReactorTime, reactor),
        settings.quota.mail,
        history=settings.delivery.history,
        text_index=settings.store.text_index,
        message_quota=settings.quota.messages,
    )


def _blob_folder(settings: Settings) -> Path:
    scheme, _, rest = settings.store.blobs.partition(":")
    if scheme != "file" or not rest:
        raise StoreFault(f"store.blobs: {settings.store.blobs!r} is not file:PATH")
    return settings.data / rest


class StoreService(Service):
    """Starts and stops a store with the application.

    `started` fires when it is open, or fails with what `Store.start` fails with; services that need the
    store wait for it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.started: Deferred[None] = Deferred()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # untyped upstream
        self.store.start().chainDeferred(self.started)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]  # untyped upstream
        return self.store.stop()
