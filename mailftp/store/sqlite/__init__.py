"""The SQLite engine: one writer with group commit, readers on their own threads, large bodies as files."""

from mailftp.store.sqlite.engine import SQLiteStore

__all__ = ["SQLiteStore"]
