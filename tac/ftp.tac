# FTP alone: `twistd -ny ftp.tac`. The accounts and limits are those of mailftp.toml, or of the file that
# MAILFTP_CONFIG names; whatever else it listens on stays off. `mailftp account add` makes accounts.
import os
from dataclasses import replace
from pathlib import Path

from twisted.application.service import Application
from twisted.internet import reactor

from mailftp.app import make_server
from mailftp.settings.file import read_settings

settings = read_settings(Path(os.environ.get("MAILFTP_CONFIG", "mailftp.toml")))
listen = {service: where for service, where in settings.listen.items() if service in ("ftp", "ftps")}

application = Application("ftp")
make_server(replace(settings, listen=listen), reactor).setServiceParent(application)
