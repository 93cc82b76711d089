# Every service that mailftp.toml names, and logins by OAuth 2.0 tokens beside those by password. Whose a token is, the
# server that issued it says (RFC 7662): INTROSPECTION is its address, CLIENT is our "name:secret" there.
# INTROSPECTION=https://id.example.org/introspect CLIENT=mail:secret twistd -ny tokens.tac
import json
import os
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from twisted.application.service import Application
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from zope.interface import implementer

from mailftp.accounts.credentials import IBearerToken
from mailftp.app import make_server
from mailftp.settings.file import read_settings


@implementer(ICredentialsChecker)
class Introspection:
    """Asks the issuer about each token. A fault of its is no failed login: it says that it cannot tell."""

    credentialInterfaces = (IBearerToken,)
    scope = "mail"

    def __init__(self, url, client):
        self.agent = Agent(reactor, connectTimeout=10, pool=HTTPConnectionPool(reactor))
        self.url = url.encode()
        self.headers = Headers(
            {
                b"Authorization": [b"Basic " + b64encode(client.encode())],
                b"Content-Type": [b"application/x-www-form-urlencoded"],
                b"Accept": [b"application/json"],
            }
        )

    def requestAvatarId(self, credentials):
        return Deferred.fromCoroutine(self.ask(credentials.token)).addTimeout(20, reactor)

    async def ask(self, token):
        form = FileBodyProducer(BytesIO(urlencode({"token": token}).encode()))
        response = await self.agent.request(b"POST", self.url, self.headers, form)
        answer = json.loads(await readBody(response))
        if response.code != 200:
            raise RuntimeError(f"the issuer answers {response.code}")
        if not answer.get("active") or self.scope not in answer.get("scope", "").split():
            raise UnauthorizedLogin
        return answer["username"].encode()


settings = read_settings(Path(os.environ.get("MAILFTP_CONFIG", "mailftp.toml")))
tokens = Introspection(os.environ["INTROSPECTION"], os.environ["CLIENT"])

application = Application("mailftp")
make_server(settings, reactor, checkers=[tokens]).setServiceParent(application)
