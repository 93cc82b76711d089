"""Opening the database: settings of a connection, the schema's version, upgrades.

The schema is numbered .sql files. `PRAGMA user_version` is the number of the last one that was run;
those that are missing are run, all in one transaction, and a newer database is refused.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from mailftp.store.engine import SchemaTooNew, StoreFault
from mailftp.store.owner import give_to_owner
from mailftp.store.sqlite.blobs import sync_folder

#: "mlft": `file` and a human with a hex viewer can tell what this is.
APPLICATION_ID = 0x6D6C6674

#: STRICT tables came with 3.37.
_OLDEST_SQLITE = (3, 37, 0)

#: Set when the file is made. A filing touches half a dozen pages far apart, and each goes into the WAL
#: whole: 4096 accepted 1.1 to 1.5 times as many messages as 8192 and 16384.
_PAGE_SIZE = 4096

#: Pages in the WAL at which COMMIT also copies them into the database. 4000 (16 MiB) was 1.15 times as fast
#: as SQLite's 1000, and faster than no limit: a WAL written over costs its fsync less than one that grows.
_CHECKPOINT_PAGES = 4000

#: How long a connection waits for another's lock. Only the command line on a stopped server or a backup
#: tool can be that other.
_BUSY_TIMEOUT_MS = 5000


@functools.cache
def shipped() -> Mapping[int, str]:
    """Number -> SQL of the schema files of this version. Kept, so that they can be read before privileges are
    dropped: whom the server runs as need not be able to read where it is installed."""
    files = resources.files("mailftp.store.sqlite").iterdir()
    return {int(f.name[:4]): f.read_text("utf-8") for f in files if f.name.endswith(".sql")}


def open_writer(path: Path, scripts: Mapping[int, str] | None = None) -> sqlite3.Connection:
    """The one connection that writes; makes or upgrades the database. Raises SchemaTooNew, StoreFault."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreFault(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is needed")
    try:
        make_file(path)
        connection = _connect(path)
    except (OSError, sqlite3.Error) as fault:
        raise StoreFault(f"cannot open {path}: {fault}") from fault
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
        _upgrade(connection, path, shipped() if scripts is None else scripts)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: the WAL is synced at each commit, so that what was answered survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        # 8 MiB: it was no slower than 32, which the server then had for itself after the first messages.
        # What a large batch changes beyond it goes to the WAL before its COMMIT.
        connection.execute("PRAGMA cache_size = -8192")
        sync_folder(path.parent)
    except sqlite3.Error as fault:
        connection.close()
        raise StoreFault(f"cannot use {path}: {fault}") from fault
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    # 4 MiB, the upper levels of the trees; the rest is in the system's page cache, once for all.
    connection.execute("PRAGMA cache_size = -4096")
    return connection


def make_file(path: Path) -> None:
    """Made by us and not by SQLite, for its mode and owner; its -wal and -shm take after it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        give_to_owner(descriptor, path.parent)
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,  # We say BEGIN and COMMIT ourselves.
        # Readers are closed by another thread than theirs; none is ever used by two at once.
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _upgrade(connection: sqlite3.Connection, path: Path, scripts: Mapping[int, str]) -> None:
    latest = max(scripts)
    # IMMEDIATE: two processes that open an old store at once must not both upgrade it.
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise StoreFault(f"{path} is a database, but not one of mailftp")
        if version > latest:
            raise SchemaTooNew(
                f"{path} has schema {version} and this version of mailftp knows {latest}: use a later version"
            )
        for number in range(version + 1, latest + 1):
            for statement in _statements(scripts[number]):
                connection.execute(statement)
        if version < latest:
            if broken := connection.execute("PRAGMA foreign_key_check").fetchone():
                raise StoreFault(f"{path} cannot be upgraded: a row of {broken[0]} names nothing")
            connection.execute(f"PRAGMA user_version = {latest}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """One at a time: executescript would commit before it starts."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
