"""AUTH on one connection: the SASL exchange, the login, and the avatar while it lasts (RFC 4954)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred

from mailftp.accounts.avatars import ISubmitter
from mailftp.accounts.login import LoggedIn, Login, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.sasl import Challenge, Channel, Exchange, Mechanisms, Proven, SASLFault
from mailftp.smtp.syntax import Reply
from mailftp.wire.peer import Peer

_NO_EXCHANGE = Reply(501, "5.5.2", "No exchange is under way")
_WRONG = Reply(535, "5.7.8", "Wrong name or password")
_DONE = Reply(235, "2.7.0", "Authenticated")


class Authentication:
    """`begin` and `go_on` give what to say: a Reply that ends the exchange, or the octets of a challenge."""

    def __init__(
        self,
        login: Login,
        mechanisms: Mechanisms,
        channel: Channel,
        *,
        peer: Peer,
        service: str,
        context: str,
        close: Callable[[], None],
    ) -> None:
        """`close` ends the connection: the account was removed, or its password changed."""
        self._login, self._mechanisms, self._channel = login, mechanisms, channel
        self._peer, self._service, self._context, self._close = peer, service, context, close
        self._exchange: Exchange | None = None
        #: Logged in, while SCRAM's last word has not been acknowledged.
        self._proven: LoggedIn | None = None
        #: Refused, while the client has not acknowledged why (OAUTHBEARER).
        self._refused: Reply | None = None
        self._logged_in: LoggedIn | None = None
        self._attempt: Deferred[LoggedIn] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The mechanisms on offer."""
        return self._mechanisms.offered(self._channel)

    @property
    def submitter(self) -> ISubmitter | None:
        return cast(ISubmitter, self._logged_in.avatar) if self._logged_in else None

    def end(self) -> None:
        """Log out, and forget an exchange that is under way; idempotent."""
        self._exchange = self._refused = None
        if self._attempt is not None:
            self._attempt.cancel()
        for logged_in in (self._proven, self._logged_in):
            if logged_in is not None:
                logged_in.logout()
        self._proven = self._logged_in = None

    async def begin(self, mechanism: str, response: bytes | None) -> Reply | bytes:
        """RFC 4954 section 4."""
        self.end()
        self._exchange = self._mechanisms.begin(mechanism, self._channel)
        if self._exchange is None:
            return Reply(504, "5.5.4", "That mechanism is not offered")
        if response is None and self._exchange.client_first:
            return b""
        return await self.go_on(response or b"")

    async def go_on(self, response: bytes) -> Reply | bytes:
        """The client's answer to a challenge."""
        if self._proven is not None:
            self._logged_in, self._proven = self._proven, None
            return _DONE
        if self._refused is not None:
            refused, self._refused = self._refused, None
            return refused
        exchange = self._exchange
        if exchange is None:
            return _NO_EXCHANGE
        try:
            step = await exchange.step(response)
        except SASLFault as fault:
            self._exchange = None
            return Reply(501, "5.5.2", f"Authentication failed: {fault}")
        if self._exchange is not exchange:
            # The client went away meanwhile: nobody is to be logged in, as nobody would log out.
            return _NO_EXCHANGE
        if isinstance(step, Challenge):
            return step.data
        self._exchange = None
        return await self._try(step)

    async def _try(self, proven: Proven) -> Reply | bytes:
        self._attempt = self._login.attempt(
            proven.credentials,
            peer=self._peer,
            service=self._service,
            context=self._context,
            interfaces=(ISubmitter,),
            close=self._close,
        )
        try:
            logged_in = await self._attempt
        except LoginRefused:
            if proven.refusal is None:
                return _WRONG
            self._refused = _WRONG
            return proven.refusal
        except LoginThrottled as throttled:
            return Reply(454, "4.7.0", str(throttled).capitalize())
        except LoginUnavailable:
            return Reply(454, "4.7.0", "Logins cannot be checked just now, try again later")
        finally:
            self._attempt = None
        if proven.final is not None:
            self._proven = logged_in
            return proven.final
        self._logged_in = logged_in
        return _DONE
