"""An FTP server on loopback with an account (alice, wonderland) and real files, for real clients."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.checkers import (
    AllowAnonymousAccess,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface import implementer

from mailftp.accounts.credentials import IClientCertificate
from mailftp.accounts.login import Login
from mailftp.files.home import IHome
from mailftp.files.homes import Homes
from mailftp.files.threads import FileThreads, Runner
from mailftp.ftp.server import FTPFactory
from mailftp.settings import FTP, Auth, Settings
from mailftp.wire.connection import Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.reading import PooledReader
from mailftp.wire.tls import Certificates
from mailftp.wire.transport import install
from tests.certificates import settings as certificates

NAME, PASSWORD = "alice", "wonderland"


@implementer(IRealm)
class OneRealm:
    """Everybody has a home below one folder."""

    def __init__(self, homes: Homes, quota: int | None) -> None:
        self.homes = homes
        self.quota = quota
        self.logouts = 0

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Any:
        if avatarId == ():
            home: Any = self.homes.anonymous()
        else:
            home = self.homes.home_for(f"{avatarId.decode().partition('@')[0]}@example.test", self.quota)
        return IHome, home, self._logout

    def _logout(self) -> None:
        self.logouts += 1


@implementer(ICredentialsChecker)
class AnyCertificate:
    """The name that is asked for: whether the certificate has it was looked at before."""

    credentialInterfaces = (IClientCertificate,)

    def requestAvatarId(self, credentials: Any) -> Any:
        return credentials.username


def portal(realm: OneRealm) -> Portal:
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    for name in (NAME, f"{NAME}@example.test"):
        checker.addUser(name.encode(), PASSWORD.encode())
    checker.addUser(b"bob", b"builder")
    return Portal(realm, [checker, AllowAnonymousAccess(), AnyCertificate()])


def settings(folder: Path, **ftp: Any) -> Settings:
    ftp.setdefault("durable", False)
    ftp.setdefault("passive_ports", None)
    return Settings(
        folder=folder,
        data=folder,
        hostname="ftp.example.test",
        auth=Auth(failure_delay=0.0),
        ftp=FTP(root=folder / "files", **ftp),
    )


def factory(
    known: Settings,
    clock: Any,
    connector: Any,
    threads: Runner,
    *,
    service: str = "ftp",
    quota: int | None = None,
    **wiring: Any,
) -> FTPFactory:
    """A factory; its `realm` tells of logouts."""
    realm = OneRealm(Homes(known, threads), quota)
    limits = ConnectionLimits(known.limits.connections, known.limits.connections_per_ip)
    made = FTPFactory(
        Wiring(service, "ftp", known, clock, limits, implicit_tls=service == "ftps", **wiring),
        Login(portal(realm), known.auth, known.domains, clock),
        connector,
    )
    made.realm = realm  # type: ignore[attr-defined]
    return made


class SiteCase(TestCase):
    """Servers for `ftp` and `ftps` on free ports of loopback, with real threads and real files."""

    timeout = 60
    #: What differs from the usual [ftp].
    ftp: dict[str, Any] = {}
    quota: int | None = None

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir(parents=True)
        self.top = self.top.resolve()
        self.settings = settings(self.top, **self.ftp)
        self.home = self.top / "files" / "example.test" / NAME
        self.home.mkdir(parents=True)
        tls = Certificates(certificates(self.top))
        for service in (threads := FileThreads(reactor), reader := PooledReader(reactor)):  # type: ignore[arg-type]
            service.startService()  # type: ignore[no-untyped-call]
            self.addCleanup(service.stopService)
        self.threads = threads
        self.ports = {}
        self.factories = {}
        for service_name in ("ftp", "ftps"):
            made = self.factories[service_name] = factory(
                self.settings,
                reactor,
                reactor,
                threads,
                service=service_name,
                quota=self.quota,
                tls=tls.service(service_name),
                reader=reader,
            )
            served: Any = made if service_name == "ftp" else tls.service(service_name).wrap(made)
            port = reactor.listenTCP(0, served, interface="127.0.0.1")  # type: ignore[attr-defined]
            install(port)
            self.addCleanup(port.stopListening)
            self.addCleanup(made.drain, 1.0)
            self.ports[service_name] = port.getHost().port

    def url(self, path: str = "", service: str = "ftp") -> str:
        return f"{service}://127.0.0.1:{self.ports[service]}/{path}"

    async def program(
        self, name: str, *arguments: str, package: str | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run a client; the test is skipped, naming the Debian package, when there is none."""
        path = shutil.which(name)
        if path is None:
            raise SkipTest(f"needs the Debian package {package or name}")
        out, err, code = await getProcessOutputAndValue(
            path,
            arguments,
            env={**os.environ, "HOME": str(self.top), "LC_ALL": "C.UTF-8"},
            path=str(self.top),
        )
        return code, out, err

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> Deferred[None]:
        """Fires when a condition that other processes bring about holds."""
        return Deferred.fromCoroutine(self._wait_for(condition, seconds))

    async def _wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        from twisted.internet.task import deferLater

        for _ in range(int(seconds / 0.02)):
            if condition():
                return
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]
        self.fail("it did not come about")
