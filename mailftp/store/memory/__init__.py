"""The plain engine: everything in dictionaries, gone when the process ends.

For tests and `mailftp.testing`. Commits at once, answers fired Deferreds and starts no thread.
"""

from mailftp.store.memory.engine import MemoryStore

__all__ = ["MemoryStore"]
