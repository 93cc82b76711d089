"""What a server process takes, as the kernel counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.interop.running import RunningServer

KIB, MIB = 1024, 1024 * 1024


class Meter:
    """Memory and processor time of a server from now on."""

    def __init__(self, server: RunningServer) -> None:
        assert server.process is not None
        self._folder = Path(f"/proc/{server.process.pid}")
        try:
            # The peak begins anew (proc(5), clear_refs).
            (self._folder / "clear_refs").write_text("5")
        except OSError as fault:
            raise SkipTest(f"needs Linux' /proc: {fault}") from None
        self._before, self._began = self._status("VmRSS"), self._seconds()

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s*(\d+) kB$", (self._folder / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * KIB

    def _seconds(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak(self) -> int:
        """Octets that the process has held at most, above what it held at the start."""
        return self._status("VmHWM") - self._before

    @property
    def seconds(self) -> float:
        """Processor time since the start, all threads."""
        return self._seconds() - self._began
