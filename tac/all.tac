# Every service that mailftp.toml names, as a .tac file: `twistd -ny all.tac`.
# The settings are those beside it, or the file that MAILFTP_CONFIG names.
import os
from pathlib import Path

from twisted.application.service import Application
from twisted.internet import reactor

from mailftp.app import make_server
from mailftp.settings.file import read_settings

settings = read_settings(Path(os.environ.get("MAILFTP_CONFIG", "mailftp.toml")))

application = Application("mailftp")
make_server(settings, reactor).setServiceParent(application)
