"""Reaching the store: by the server when it runs, by `<data>/lock` when it does not."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailftp.cli.exits import CommandFailed
from mailftp.operation.admin import Refused, perform
from mailftp.operation.control import NotRunning, ask
from mailftp.settings import Settings
from mailftp.settings.file import SettingsFault, read_settings
from mailftp.setup.run_now import private_reactor, run_now
from mailftp.store.engine import Store, StoreFault
from mailftp.store.lock import acquire
from mailftp.store.open import open_store
from mailftp.wire.journal import Journal

#: Seconds to wait for a server that is just starting or stopping, or for another command.
PATIENCE = 10.0


def settings_of(config: str) -> Settings:
    """The settings for a command about what is kept; certificates need not be there."""
    try:
        return read_settings(Path(config), certificates=False)
    except SettingsFault as fault:
        raise CommandFailed(str(fault))


def become_owner(data: Path) -> None:
    """Root works as the owner of the data folder: what it makes, the server must be able to open."""
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(data)
    except FileNotFoundError:
        return
    if owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def request(settings: Settings, members: Mapping[str, object]) -> Any:
    """Have it done, by the server or here. Raises CommandFailed in words."""
    # Both before becoming somebody who may not be able to read where Python is installed.
    reactor = private_reactor()
    store = _store(settings, reactor)
    become_owner(settings.data)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask(settings.data, members)
        except NotRunning:
            pass
        except Refused as refused:
            raise CommandFailed(str(refused))
        try:
            settings.data.mkdir(0o700, parents=True, exist_ok=True)
            lock = acquire(settings.data)
        except OSError as fault:
            raise CommandFailed(f"{fault.filename}: {fault.strerror}")
        except StoreFault as fault:
            if time.monotonic() > deadline:
                raise CommandFailed(str(fault))
            time.sleep(0.1)
            continue
        with lock:
            return _perform_here(store, settings, members, reactor)


def _store(settings: Settings, reactor: Any) -> Store:
    try:
        return open_store(settings, reactor)
    except StoreFault as fault:
        raise CommandFailed(str(fault))


def _perform_here(store: Store, settings: Settings, members: Mapping[str, object], reactor: Any) -> Any:
    async def work() -> Any:
        await store.start()
        try:
            return await perform(store, settings, members, Journal("mailftp"))
        finally:
            await store.stop()

    try:
        return run_now(work, reactor)
    except (Refused, StoreFault) as fault:
        raise CommandFailed(str(fault))
    except OSError as fault:
        raise CommandFailed(f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault))
