"""Where the full-text indexes are: a folder beside the database, with a file for each account."""

from __future__ import annotations

import os
from pathlib import Path

from mailftp.store.owner import make_folder


class IndexFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, account_id: int) -> Path:
        return self._folder / f"{account_id}.sqlite"

    def prepare(self) -> None:
        make_folder(self._folder)

    def accounts(self) -> set[int]:
        """Those that have one."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return set()
        stems = (name.removesuffix(".sqlite") for name in names)
        return {int(stem) for stem in stems if stem.isascii() and stem.isdigit()}

    def remove(self, account_id: int) -> None:
        """Idempotent. Who has it open reads on, of what is no more."""
        for suffix in ("", "-wal", "-shm"):
            path = self.path(account_id)
            path.with_name(path.name + suffix).unlink(missing_ok=True)
