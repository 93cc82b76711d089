# FTP inside an application that is there already: its own portal, Twisted's own realm and checkers, and no store of
# ours. `twistd -ny embedded.tac`; then for one: curl -u alice:secret ftp://127.0.0.1:2121/
import os
from pathlib import Path

from twisted.application.internet import TimerService
from twisted.application.service import Application, MultiService
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.logger import Logger
from twisted.protocols.ftp import FTPRealm

from mailftp.accounts.login import Login
from mailftp.ftp.server import FTPFactory
from mailftp.settings import Settings
from mailftp.wire.connection import Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.listener import ListenerService

homes = Path(os.environ.get("EMBEDDED_HOMES", "homes")).absolute()
endpoint = os.environ.get("EMBEDDED_FTP", "tcp:2121:interface=127.0.0.1")

# What the application has already: users, and a realm that gives each a folder below `homes`.
users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")
(homes / "alice").mkdir(parents=True, exist_ok=True)
portal = Portal(FTPRealm(anonymousRoot=str(homes / "public"), userHome=str(homes)), [users])

# What mailftp adds: a factory, and a listener for it. Timeouts, limits and passive ports are Settings'.
settings = Settings(folder=homes, data=homes, hostname="ftp.example.test")
wiring = Wiring(
    service="ftp",
    protocol="ftp",
    settings=settings,
    clock=reactor,
    limits=ConnectionLimits(settings.limits.connections, settings.limits.connections_per_ip),
)
login = Login(portal, settings.auth, settings.domains, reactor)
ftp = ListenerService(endpoint, FTPFactory(wiring, login, reactor), reactor, key="ftp")

application = Application("an application with FTP")
services = MultiService()
services.setServiceParent(application)
# Something else that the application does.
TimerService(3600, Logger(namespace="embedded").info, "still here").setServiceParent(services)
ftp.setServiceParent(services)
