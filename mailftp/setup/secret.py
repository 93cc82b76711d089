"""A secret of this server that is the same at each start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mailftp.setup.authority import write_new
from mailftp.store.owner import give_to_owner

_OCTETS = 32


def read_or_make_secret(data: Path) -> bytes:
    """`<data>/secret`, made at the first start. The caller holds the lock of the folder. Raises OSError."""
    file = data / "secret"
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        found = b""
    if len(found) == _OCTETS:
        return found
    # A file that is short was being written when the power went: nothing depends on it yet that lasts.
    made = secrets.token_bytes(_OCTETS)
    fresh = data / "secret.new"
    fresh.unlink(missing_ok=True)
    write_new(fresh, made, 0o600)
    give_to_owner(fresh, data)
    os.replace(fresh, file)
    return made
