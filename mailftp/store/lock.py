"""One process writes: whoever holds `<data>/lock`.

The server takes it for as long as it runs; the command line takes it to work on a stopped server.
The kernel drops it when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from mailftp.store.engine import StoreFault
from mailftp.store.owner import give_to_owner


class DataLock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> DataLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def acquire(data: Path) -> DataLock:
    """Take the lock of a data folder, which must exist. Raises StoreFault, naming who has it."""
    path = data / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as fault:
        raise StoreFault(f"cannot open {path}: {fault.strerror}") from fault
    try:
        give_to_owner(descriptor, data)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise StoreFault(f"{data} is in use by another process (pid {holder or 'unknown'})") from None
    except OSError as fault:
        os.close(descriptor)
        raise StoreFault(f"cannot lock {path}: {fault.strerror}") from fault
    # For people only: the lock is the kernel's, not the number's.
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return DataLock(descriptor)
