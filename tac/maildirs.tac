# SMTP and POP3 inside an application that is there already: its own portal, realm, users and maildirs, and no
# store of ours. `twistd -ny maildirs.tac`; then for one: swaks --server 127.0.0.1:2525 --to alice@example.test
import os
import time
from mailbox import Maildir
from pathlib import Path

from twisted.application.service import Application, MultiService
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.mail.interfaces import IMailboxPOP3
from zope.interface import implementer

from mailftp.accounts.login import Login
from mailftp.accounts.sasl import Mechanisms
from mailftp.intake.envelope import Recipient, received_field
from mailftp.intake.refused import Refused
from mailftp.message.trace import return_path
from mailftp.pop3.server import POP3Factory
from mailftp.settings import Limits, Settings
from mailftp.smtp.server import SMTPFactory
from mailftp.store.memory import MemoryStore
from mailftp.store.records import Accepted
from mailftp.wire.connection import Wiring
from mailftp.wire.limits import ConnectionLimits
from mailftp.wire.listener import ListenerService

folder = Path(os.environ.get("MAILDIRS", "maildirs")).absolute()
endpoints = {
    "smtp": os.environ.get("MAILDIRS_SMTP", "tcp:2525:interface=127.0.0.1"),
    "pop3": os.environ.get("MAILDIRS_POP3", "tcp:2110:interface=127.0.0.1"),
}
DOMAIN = "example.test"

# What the application has already: users, a maildir for each, and a realm that hands them out.
users = InMemoryUsernamePasswordDatabaseDontUse(alice=b"secret")
folder.mkdir(parents=True, exist_ok=True)
for user in users.users:
    Maildir(folder / user.decode())


@implementer(IMailboxPOP3)
class MaildirMailbox:
    """Deletions are asked for at QUIT and not before."""

    def __init__(self, path):
        self._maildir = Maildir(path)
        self._keys = sorted(self._maildir.keys())

    def listMessages(self, index=None):
        sizes = [self._size(key) for key in self._keys]
        return sizes if index is None else sizes[index]

    def _size(self, key):
        with self._maildir.get_file(key) as file:
            file.seek(0, os.SEEK_END)
            return file.tell()

    def getMessage(self, index):
        return self._maildir.get_file(self._keys[index])

    def getUidl(self, index):
        return self._keys[index].encode()

    def deleteMessage(self, index):
        self._maildir.remove(self._keys[index])

    def undeleteMessages(self):
        pass

    def sync(self):
        pass


@implementer(IRealm)
class MaildirRealm:
    def requestAvatar(self, avatarId, mind, *interfaces):
        if IMailboxPOP3 not in interfaces:
            raise NotImplementedError(f"a maildir is none of {interfaces}")
        return IMailboxPOP3, MaildirMailbox(folder / avatarId.decode()), lambda: None


# What mailftp adds. SMTP asks this object who may send, to whom, where the octets go, and to keep the message: 250
# is said when the Deferred of `accept` fires. Refused is said as it is.
class MaildirIntake:
    def __init__(self):
        self._bodies = MemoryStore()

    def now(self):
        return time.time()

    def sender(self, origin, sender):
        pass

    def recipient(self, origin, address, sender=None):
        if address.domain != DOMAIN or address.local.lower().encode() not in users.users:
            raise Refused(550, "5.1.1", f"{address} is nobody here")
        return Recipient(address, None)

    def stage(self, envelope):
        return self._bodies.stage()

    def accept(self, envelope, body):
        trace = return_path(envelope.reverse_path) + received_field(envelope, settings.hostname, time.time())
        message = (trace + body.data).replace(b"\r\n", b"\n")
        names = {recipient.address.local.lower() for recipient in envelope.recipients}
        return deferToThread(self._keep, names, message).addCallback(lambda _: Accepted((), None))

    def _keep(self, names, message):
        for name in names:
            Maildir(folder / name).add(message)


# A message is in memory while it arrives: ten megabytes at most.
settings = Settings(
    folder, folder, hostname="mx.example.test", domains=(DOMAIN,), limits=Limits(message_size=10_000_000)
)
limits = ConnectionLimits(settings.limits.connections, settings.limits.connections_per_ip)
portal = Portal(MaildirRealm(), [users])
login = Login(portal, settings.auth, settings.domains, reactor)


def wiring(service):
    return Wiring(service=service, protocol=service, settings=settings, clock=reactor, limits=limits)


factories = {
    "smtp": SMTPFactory(wiring("smtp"), MaildirIntake()),
    "pop3": POP3Factory(wiring("pop3"), login, Mechanisms(portal)),
}

application = Application("an application with mail")
services = MultiService()
services.setServiceParent(application)
for service, factory in factories.items():
    ListenerService(endpoints[service], factory, reactor, key=service).setServiceParent(services)
