"""A server in a process of its own, for tests of what only a process shows: signals, ports, exit statuses."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Password hashes that cost nothing: these tests are about other things.
CHEAP = "argon2 = { time_cost = 1, memory_cost = 8 }"

#: Seconds that a server may take for anything that is asked of it here.
PATIENCE = 60.0


def environment(**more: str) -> dict[str, str]:
    """This process's, with our package to be found."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def settings_text(
    data: Path | str = "data", services: Sequence[str] = ("smtp", "submission"), more: str = ""
) -> str:
    """Settings with ports that the kernel chooses; `more` is further tables."""
    listen = "\n".join(f'{service} = ["tcp:0:interface=127.0.0.1"]' for service in services)
    return f'data = "{data}"\n[auth]\n{CHEAP}\n[listen]\n{listen}\n{more}\n'


def mailftp(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """The `mailftp` command."""
    return subprocess.run(
        [sys.executable, "-m", "mailftp", *arguments],
        env=environment(),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class Serving:
    """`twistd -n ...` with the arguments given; everything that it writes is kept."""

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        twistd: Sequence[str] = (),
        prelude: str = "",
        inherit: Sequence[int] = (),
        **more: str,
    ) -> None:
        """`more` are variables of its environment, `inherit` descriptors that it has, `prelude` Python that
        it runs first."""
        command = [sys.executable, "-c", prelude + _TWISTD, "-n", "--pidfile=", *twistd, *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**more),
            pass_fds=tuple(inherit),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self._out = self.process.stdout
        os.set_blocking(self._out.fileno(), False)
        self.written = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until something like it was written; AssertionError with everything that was when it is not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            match = re.search(pattern, self.written)
            if match is not None:
                return match
            left = deadline - time.monotonic()
            ended = self.process.poll() is not None
            select.select([self._out], [], [], 0 if ended else max(0.0, min(left, 1.0)))
            piece = self._out.read()
            if piece:
                self.written += piece.decode("utf-8", "replace")
            elif ended or left <= 0:
                match = re.search(pattern, self.written)
                if match is not None:
                    return match
                raise AssertionError(f"{pattern!r} was not written:\n{self.written}")

    def ports(self) -> dict[str, int]:
        """Service -> port, once it serves."""
        line = self.wait_for(r" server started listening=(.*)\n")[1]
        return {service: int(port) for service, port in re.findall(r"(\w+)=[^,\s]*:(\d+)", line)}

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status: 0, or minus the signal that ended it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.written += (self._out.read() or b"").decode("utf-8", "replace")
        self._out.close()
        return status


#: What the console script does; it may not be installed where the tests run.
_TWISTD = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
