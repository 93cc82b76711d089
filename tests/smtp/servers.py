"""SMTP services over a house in memory, with logins that are answered at once."""

from __future__ import annotations

from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.credentials import IPassword
from mailftp.accounts.login import Login
from mailftp.accounts.realm import Submitter
from mailftp.accounts.sasl import Mechanisms
from mailftp.settings import Auth
from mailftp.smtp.server import SMTPFactory
from tests.certificates import service
from tests.connector import Client, connect, wiring
from tests.intake.houses import HouseTestCase

PLAIN_ALICE = b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAByaWdodA==\r\n"
PLAIN_WRONG = b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdAB3cm9uZw==\r\n"


class OnePassword:
    """A checker: everybody's password is "right"; answers wait while `held` is a list."""

    credentialInterfaces = (IPassword,)

    def __init__(self) -> None:
        self.held: list[Deferred[bytes]] | None = None

    def requestAvatarId(self, credentials: Any) -> Deferred[bytes]:
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return (
            succeed(credentials.username) if credentials.password == b"right" else fail(UnauthorizedLogin())
        )


@implementer(IRealm)
class Residents:
    """A realm of submitters; `logouts` counts those who left, `minds` has what ends a session."""

    def __init__(self, house: ServerTestCase) -> None:
        self.house = house
        self.logouts = 0
        self.minds: list[Any] = []

    def requestAvatar(self, avatar_id: bytes, mind: Any, *interfaces: Any) -> Any:
        self.minds.append(mind)
        name = avatar_id.decode()
        address = name if "@" in name else f"{name}@example.test"
        return ISubmitter, Submitter(address, self.house.alice.id), self._logout

    def _logout(self) -> None:
        self.logouts += 1


class ServerTestCase(HouseTestCase):
    """`serve("submission")` gives a factory; `alice`'s password is "right"."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.realm, self.checker = Residents(self), OnePassword()
        self.portal = Portal(self.realm, [self.checker])  # type: ignore[list-item]
        self.tls = service(self.mktemp(), "smtp")

    def serve(
        self,
        name: str,
        *,
        tls: bool = True,
        login: bool = True,
        mechanisms: Any = None,
        implicit_tls: bool = False,
    ) -> SMTPFactory:
        made = wiring(
            name,
            "smtp",
            tls=self.tls if tls else None,
            implicit_tls=implicit_tls or name == "submissions",
            settings=self.settings,
            clock=self.clock,
        )
        logins = Login(self.portal, Auth(failure_delay=0.0), self.settings.domains, self.clock)
        if not login:
            return SMTPFactory(made, self.intake)
        return SMTPFactory(made, self.intake, logins, mechanisms or Mechanisms(self.portal))

    def connect(self, name: str, **arguments: Any) -> Client:
        """A client that has read the greeting."""
        client = connect(self.serve(name), **arguments)
        self.assertTrue(client.received().startswith(b"220 mx.example.test ESMTP "))
        return client

    def codes(self, client: Client, said: bytes) -> list[bytes]:
        """The last lines' codes of the replies to what is said."""
        return [line[:3] for line in client.exchange(said).split(b"\r\n") if line[3:4] == b" "]
