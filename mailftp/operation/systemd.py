"""What systemd is told: sd_notify(3), by hand. Socket activation is Twisted's `systemd:` endpoint.

Without NOTIFY_SOCKET in the environment nothing is sent.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from mailftp.wire.journal import Journal

_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)


class SystemdNotifier:
    """Tells the service manager how the server fares.

    A watchdog (`WatchdogSec=`) is fed twice in its time, from the reactor: a reactor that hangs is
    restarted.
    """

    def __init__(self, environment: Mapping[str, str], clock: IReactorTime) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._journal = Journal("systemd")
        self._clock = clock
        self._watchdog: LoopingCall | None = None
        self._watched = _watchdog_seconds(environment)

    def ready(self) -> None:
        """The server serves, for the first time or again after `reloading`."""
        self._tell(f"READY=1\nMAINPID={os.getpid()}")
        if self._watched and self._watchdog is None and self._address:
            self._watchdog = LoopingCall(self._tell, "WATCHDOG=1")
            self._watchdog.clock = self._clock
            self._watchdog.start(self._watched / 2)

    def reloading(self) -> None:
        # sd_notify(3): Type=notify-reload wants the clock with it.
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1")
        if self._watchdog is not None and self._watchdog.running:
            self._watchdog.stop()
        self._watchdog = None

    def status(self, words: str) -> None:
        """One line for `systemctl status`."""
        self._tell("STATUS=" + words.replace("\n", " "))

    def _tell(self, state: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        # sd_notify(3): "@" stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
                channel.sendto(state.encode(), address)
        except OSError as fault:
            self._journal.warn("not told", state=state.partition("\n")[0], fault=fault.strerror)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """sd_watchdog_enabled(3): 0.0 when there is none, or when it is another process's."""
    given = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(given) / 1_000_000 if _DIGITS.fullmatch(given) else 0.0
