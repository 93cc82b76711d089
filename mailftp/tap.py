"""What `twistd mailftp` calls: its options, and the service that they make.

Here and nowhere else: the quickstart's files, SIGHUP, the log observer, the exit status.
"""

from __future__ import annotations

import atexit
import os
import pwd
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from twisted.cred import strcred
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from mailftp.accounts.credentials import IBearerToken, IClientCertificate
from mailftp.app import Server, StartFault
from mailftp.files.policy import IFilePolicy
from mailftp.ftp.events import IFileWatcher
from mailftp.intake.hooks import IMailHook
from mailftp.operation.admin import Refused
from mailftp.operation.log_lines import LineObserver
from mailftp.operation.systemd import SystemdNotifier
from mailftp.settings import Settings
from mailftp.settings.file import SettingsFault, read_settings
from mailftp.setup.folder import FolderExists
from mailftp.setup.ownership import hand_over, load_everything
from mailftp.setup.quickstart import quickstart, welcome

#: Where twistd writes its log when it leaves the terminal and nothing else was said.
LOG_FILE = "twistd.log"


class Options(usage.Options, strcred.AuthOptionMixin):
    """The options of `twistd mailftp`; `--auth` may repeat, and takes the place of the store's accounts'
    passwords."""

    synopsis = "[--config FILE] [--auth METHOD] ..."
    longdesc = (
        "Without --config: ./mailftp.toml, or if there is none a server on loopback to try things with, "
        "made in ./mailftp-data at the first start."
    )
    optParameters = [["config", "c", None, "The settings file."]]
    supportedInterfaces = (IUsernamePassword, IClientCertificate, IBearerToken)


def makeService(options: Options, reactor: Any = None) -> TwistdServer:
    """The service, not started. With a fault: a line each on standard error, and SystemExit with 1."""
    if reactor is None:
        from twisted.internet import reactor as installed

        reactor = installed
    try:
        file, passwords = _settings_file(options)
        settings = read_settings(file)
        given_up_to = _runs_as(options)
        if given_up_to is not None:
            hand_over(settings, *given_up_to)
            load_everything()
        if passwords is not None:
            sys.stdout.write(welcome(file, settings, passwords))
            sys.stdout.flush()
        return TwistdServer(options, file, settings, reactor)
    except (SettingsFault, StartFault, FolderExists) as fault:
        fail(str(fault))
    except OSError as fault:
        fail(f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault))


def fail(words: str) -> NoReturn:
    print(words, file=sys.stderr)
    raise SystemExit(1)


def _settings_file(options: Options) -> tuple[Path, dict[str, str] | None]:
    """The file, and for the quickstart the passwords that it made."""
    if options["config"] is not None:
        return Path(options["config"]).absolute(), None
    here = Path("mailftp.toml").absolute()
    if here.exists():
        return here, None
    return quickstart(Path.cwd())


def _runs_as(options: Options) -> tuple[int, int] | None:
    """(user, group) that root gives its privileges up to, or None."""
    parent = getattr(options, "parent", None) or {}
    uid, gid = parent.get("uid"), parent.get("gid")
    if uid is None or os.geteuid() != 0:
        return None
    return uid, pwd.getpwuid(uid).pw_gid if gid is None else gid


class TwistdServer(Server):
    """The server below twistd."""

    def __init__(self, options: Options, file: Path, settings: Settings, reactor: Any) -> None:
        checkers = options.get("credCheckers") or ()
        super().__init__(
            settings,
            reactor,
            checkers=checkers,
            hooks=tuple(getPlugins(IMailHook)),
            watchers=tuple(getPlugins(IFileWatcher)),
            file_policies=tuple(getPlugins(IFilePolicy)),
            notifier=SystemdNotifier(os.environ, reactor),
            reread=lambda: read_settings(file),
        )
        # twistd turns these two into log events once it starts.
        self._stderr = sys.stderr
        self._log = _Log(getattr(options, "parent", None) or {})
        self._observer = LineObserver(self._log.write, settings.log.level, settings.log.format)
        self._before: Any = None
        self.heed = self._heed
        self.started.addErrback(self._fail_later)

    def setServiceParent(self, parent: Any) -> None:
        """Below an application of twistd's, log by our observer: that is where twistd looks for one."""
        if isinstance(parent, Componentized) and self._log.ours:
            parent.setComponent(ILogObserver, self._observer)  # type: ignore[no-untyped-call]  # upstream
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]  # untyped upstream

    def _heed(self, settings: Settings) -> None:
        self._observer.set(settings.log.level, settings.log.format)
        self._log.reopen()

    def privilegedStartService(self) -> None:
        self._or_exit(super().privilegedStartService)

    def startService(self) -> None:
        self._before = signal.signal(signal.SIGHUP, self._hang_up)
        self._or_exit(super().startService)

    def stopService(self) -> Any:
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)
            self._before = None
        return super().stopService()

    def _or_exit(self, start: Callable[[], None]) -> None:
        try:
            start()
        except StartFault as fault:
            print(fault, file=self._stderr, flush=True)
            raise SystemExit(1)

    def _fail_later(self, failure: Failure) -> None:
        """The reactor runs by now, and twistd has no way to be told an exit status."""
        print(failure.getErrorMessage(), file=self._stderr, flush=True)
        atexit.register(_exit_with_failure)
        self._reactor.stop()

    def _hang_up(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reload_by_signal)

    def _reload_by_signal(self) -> None:
        def refused(failure: Failure) -> None:
            # A refusal is a line of the log already.
            if not isinstance(failure.value, Refused):
                self._journal.warn("reload failed", reason=failure.getErrorMessage())

        Deferred.fromCoroutine(self.reload()).addErrback(refused)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class _Log:
    """Where twistd's options send the log. It is opened anew by a reload, for logrotate."""

    def __init__(self, options: Any) -> None:
        name = options.get("logfile")
        #: twistd's own observer is kept where it was asked for by name.
        self.ours = not (options.get("logger") or options.get("syslog"))
        self._file: LogFile | None = None
        self._stream = sys.stdout
        self._name = None if name == "-" or (not name and options.get("nodaemon", True)) else name or LOG_FILE

    def write(self, line: str) -> None:
        if self._name is None:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
            return
        if self._file is None:
            path = os.path.abspath(self._name)
            self._file = LogFile.fromFullPath(path, rotateLength=None)  # type: ignore[no-untyped-call]
        self._file.write(line)

    def reopen(self) -> None:
        if self._file is not None:
            self._file.reopen()  # type: ignore[no-untyped-call]  # untyped upstream
