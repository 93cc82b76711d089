# An application that takes mail: what comes for tickets.example.test becomes files, everything else is the server's.
# `twistd -ny hooks.tac`; the settings are those beside it, or the file that MAILFTP_CONFIG names.
import os
from pathlib import Path

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from mailftp.app import make_server
from mailftp.intake.hooks import TAKEN, MailHook
from mailftp.intake.refused import Refused
from mailftp.settings.file import read_settings

tickets = Path(os.environ.get("TICKETS", "tickets"))


class Tickets(MailHook):
    def rcpt(self, envelope, address):
        if address.domain == "tickets.example.test":
            if not address.local.startswith("ticket-"):
                raise Refused(550, "5.1.1", "A ticket's address begins with ticket-")
            return TAKEN

    async def data(self, envelope, body):
        if any(recipient.application for recipient in envelope.recipients):
            await deferToThread(self.keep, envelope.id, body)

    def keep(self, name, body):
        tickets.mkdir(exist_ok=True)
        with open(tickets / name, "wb") as file:
            file.write(body.path.read_bytes() if body.data is None else body.data)
            file.flush()
            os.fsync(file.fileno())


settings = read_settings(Path(os.environ.get("MAILFTP_CONFIG", "mailftp.toml")))

application = Application("tickets")
make_server(settings, reactor, hooks=[Tickets()]).setServiceParent(application)
