"""POP3 over a connection: login, TLS, the maildrop, back-pressure. The protocol itself is session.py."""

from __future__ import annotations

from collections.abc import Coroutine
from math import ceil
from typing import Any

from twisted.cred.credentials import ICredentials
from twisted.internet.defer import CancelledError, Deferred
from twisted.mail.interfaces import IMailboxPOP3
from twisted.python.failure import Failure

from mailftp.accounts.avatars import IMaildrop, MaildropLocked
from mailftp.accounts.credentials import Password, ScramProof
from mailftp.accounts.login import LoggedIn, Login, LoginRefused, LoginThrottled, LoginUnavailable
from mailftp.accounts.names import split_folder
from mailftp.accounts.sasl import Challenge, Exchange, Mechanisms, Proven, SASLFault
from mailftp.pop3.retrieval import Retrieval
from mailftp.pop3.session import (
    Abandon,
    Authenticate,
    Close,
    Fetch,
    LogIn,
    Offer,
    Respond,
    Session,
    StartTLS,
    Update,
    Wish,
    error,
)
from mailftp.pop3.visits import Visits
from mailftp.wire.connection import Connection, ConnectionFactory, Expiry, Wiring
from mailftp.wire.eager import eager

#: Octets of replies in one turn of the reactor. A client can ask for ten thousand messages in one chunk and
#: read none of them: what is beyond this waits until the transport has room. Before the login there is
#: nothing to be had that is worth as much.
TURN, TURN_BEFORE_LOGIN = 128 * 1024, 16 * 1024


class POP3Connection(Connection):
    factory: POP3Factory
    session: Session

    #: A wish is being fulfilled; nothing is read, no command is looked at.
    _work: Deferred[None] | None = None
    #: Replies wait for the transport or for the next turn.
    _waiting = False
    _full = False
    #: In `_run`: what finishes at once is answered there.
    _running = False
    _reply = b""
    _closing = _draining = _ending = _updating = False
    _failures = 0
    _exchange: Exchange | None = None
    #: Logged in by SCRAM, and the client has not yet acknowledged our signature.
    _proven: LoggedIn | None = None
    #: Why it was refused, which is said when the client has acknowledged the mechanism's own words.
    _refused = ""
    _folder = b""
    _logged_in: LoggedIn | None = None
    _maildrop: IMaildrop | None = None
    _retrieval: Retrieval | None = None

    # What happened.

    def opened(self) -> None:
        self.session = Session(self._offer())
        self.send(self.session.greeting())

    def received(self, data: bytes) -> None:
        self.session.feed(data)
        self._run()

    def secured(self) -> None:
        self.session.secured(self._offer())

    def expired(self, clock: Expiry) -> None:
        """RFC 1939 section 3: an autologout sends no response and removes no message."""
        self.session.end()
        self.close()

    def ended(self) -> None:
        self._ending = True
        if self._work is None and not self._waiting:
            self.close()

    def drain(self) -> None:
        self._draining = True
        if self._work is None and not self._waiting:
            self._run()

    def closed(self, reason: Failure) -> None:
        """Whatever the reason, nothing is deleted but what an UPDATE under way deletes."""
        self.session.end()
        self._waiting, self._closing = False, True
        # RFC 1939 section 6: QUIT was said, so its deletions are carried out with or without the client.
        if not self._updating:
            if self._work is not None:
                self._work.cancel()
            self._leave()

    def refusal(self, reason: str) -> bytes:
        return error(reason, "SYS/TEMP")

    def unread(self, full: bool) -> None:
        super().unread(full)
        self._full = full
        if not full and self._waiting:
            self.factory.wiring.clock.callLater(0, self._go_on)

    # The commands of what was received, as far as they can be answered now.

    def _run(self, reply: bytes = b"") -> None:
        # One reply alone goes out as it is: with nothing beside it, join() copies nothing.
        replies = [reply] if reply else []
        octets = len(reply)
        most = TURN if self._maildrop is not None else TURN_BEFORE_LOGIN
        self._running = True
        try:
            while self._work is None and not self._closing:
                if self._draining and not self.session.midway:
                    self._finish()
                    replies.append(error("the server is stopping", "SYS/TEMP"))
                    break
                if octets >= most or self._full:
                    self._wait()
                    break
                answer = self.session.next()
                if answer is None:
                    break
                if not isinstance(answer, bytes):
                    answer = self._fulfil(answer, replies)
                if answer:
                    replies.append(answer)
                    octets += len(answer)
        finally:
            self._running = False
        self._emit(replies)
        if self._work is None and (self._closing or (self._ending and not self._waiting)):
            self.close()

    def _emit(self, replies: list[bytes]) -> None:
        data = b"".join(replies)
        replies.clear()
        if data:
            self.send(data)

    def _wait(self) -> None:
        """Go on in the next turn, or when the client has read."""
        self._waiting = True
        self.pause()
        if not self._full:
            self.factory.wiring.clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self._waiting and not self._full:
            self._waiting = False
            self.resume()
            self._run()

    def _finish(self) -> None:
        self.session.end()
        self._closing = True

    # Wishes.

    def _fulfil(self, wish: Wish, replies: list[bytes]) -> bytes:
        """The reply, or b"" when it comes later. What is answered already goes out before anything is begun
        that writes by itself."""
        if isinstance(wish, Fetch):
            assert self._retrieval is not None
            ready = self._retrieval.ready(wish, self.session.deleted)
            if ready is not None:
                return ready
            self._emit(replies)
            return self._begin(self._retrieval.fetch(wish, self.session.deleted))
        if isinstance(wish, Close):
            self._closing = True
            return wish.reply
        if isinstance(wish, StartTLS):
            replies.append(b"+OK begin TLS\r\n")
            self._emit(replies)
            self.start_tls()
            return b""
        if isinstance(wish, Abandon):
            refused = self._refused
            self._end_exchange()
            return self._deny(refused, "AUTH") if refused else wish.reply
        if isinstance(wish, Update):
            return self._begin(self._update(wish))
        if isinstance(wish, LogIn):
            # Without the folder, which no checker but ours would look past.
            username, folder = split_folder(wish.username)
            return self._begin(self._log_in(Password(username, wish.password), folder))
        if isinstance(wish, Authenticate):
            return self._begin(self._authenticate(wish))
        return self._begin(self._respond(wish))

    def _begin(self, work: Coroutine[Deferred[Any], Any, bytes]) -> bytes:
        """Start it; b"" unless it is done at once. Nothing is read from the client until it is."""
        self._reply = b""
        done = eager(self._answered(work)).addCallback(self._done)
        if not done.called:
            self._work = done
            self.pause()
        reply, self._reply = self._reply, b""
        return reply

    def _done(self, reply: bytes) -> None:
        self._work = None
        if self._running:
            self._reply = reply
        else:
            self.resume()
            self._run(reply)

    async def _answered(self, work: Coroutine[Deferred[Any], Any, bytes]) -> bytes:
        """Whatever goes wrong has an answer and a line in the log."""
        try:
            return await work
        except CancelledError:
            # The client is gone.
            return b""
        except Exception:
            self.journal.fault("command failed", peer=str(self.peer))
            return error("this cannot be done just now", "SYS/TEMP")

    # Logging in.

    def _offer(self) -> Offer:
        channel = self.factory.login.channel(self)
        stls = self.factory.wiring.tls is not None and not self.secure
        policy = self.factory.wiring.settings.pop3
        kept = policy.expire_after_retrieval
        return Offer(
            stls,
            channel.plaintext_allowed,
            self.factory.mechanisms.offered(channel),
            None if kept is None else int(kept // 86400),
            ceil(policy.login_delay),
        )

    async def _log_in(self, credentials: ICredentials, folder: bytes, refusal: bytes | None = None) -> bytes:
        found = await self._attempt(credentials, refusal)
        return found if isinstance(found, bytes) else await self._open(found, folder)

    async def _attempt(self, credentials: ICredentials, refusal: bytes | None = None) -> LoggedIn | bytes:
        """Response codes: RFC 2449 section 8.1, RFC 3206. `refusal` is the mechanism's word before them."""
        try:
            return await self.factory.login.attempt(
                credentials,
                peer=self.peer,
                service=self.factory.wiring.service,
                context=self.context,
                interfaces=(IMaildrop, IMailboxPOP3),
                close=self._evict,
            )
        except LoginRefused as refused:
            if refusal is not None:
                self._refused = str(refused)
                return self.session.challenged(refusal)
            return self._deny(str(refused), "AUTH")
        except LoginThrottled as throttled:
            return self._deny(str(throttled), "LOGIN-DELAY")
        except LoginUnavailable as unavailable:
            return self.session.refused(str(unavailable), "SYS/TEMP")

    def _deny(self, text: str, code: str = "") -> bytes:
        reply = self.session.refused(text, code)
        self._failures += 1
        if self._failures >= self.factory.wiring.settings.auth.failures_closed:
            self._finish()
        return reply

    async def _open(self, found: LoggedIn, folder: bytes) -> bytes:
        maildrop: Any = found.avatar
        clock, policy = self.factory.wiring.clock, self.factory.wiring.settings.pop3
        wait = self.factory.visits.too_soon(found.name, policy.login_delay, clock.seconds())
        if wait:
            found.logout()
            return self.session.refused(f"come again in {ceil(wait)} seconds", "LOGIN-DELAY")
        try:
            drops = await maildrop.open(folder.decode() if folder else "INBOX")
        except MaildropLocked:
            found.logout()
            return self.session.refused("another session has this maildrop", "IN-USE")
        except (LookupError, UnicodeDecodeError):
            found.logout()
            return self.session.refused("there is no such folder", "SYS/PERM")
        except BaseException:
            maildrop.release()
            found.logout()
            self.session.refused("")
            raise
        self._logged_in, self._maildrop = found, maildrop
        self._retrieval = Retrieval(self, maildrop, drops)
        self.login_deadline = None
        self.read_much(True)
        return self.session.opened(drops)

    async def _authenticate(self, wish: Authenticate) -> bytes:
        """AUTH, RFC 5034 section 4."""
        self._exchange = self.factory.mechanisms.begin(wish.mechanism, self.factory.login.channel(self))
        if self._exchange is None:
            return self.session.refused("this mechanism is not offered")
        if wish.initial is None and self._exchange.client_first:
            return self.session.challenged(b"")
        return await self._step(wish.initial or b"")

    async def _respond(self, wish: Respond) -> bytes:
        if self._refused:
            # RFC 7628 section 3.2.3: the response is a control-A; what else it may be changes nothing.
            refused, self._refused = self._refused, ""
            return self._deny(refused, "AUTH")
        proven, self._proven = self._proven, None
        if proven is None:
            return await self._step(wish.response)
        if wish.response:
            # RFC 5802 section 5: after the server's signature the client has nothing to say.
            proven.logout()
            return self._deny("malformed response")
        return await self._open(proven, self._folder)

    async def _step(self, response: bytes) -> bytes:
        exchange = self._exchange
        assert exchange is not None
        try:
            result = await exchange.step(response)
        except SASLFault as fault:
            self._end_exchange()
            return self._deny(str(fault))
        if isinstance(result, Challenge):
            return self.session.challenged(result.data)
        self._exchange = None
        return await self._prove(result)

    async def _prove(self, proven: Proven) -> bytes:
        credentials: Any = proven.credentials
        username, folder = split_folder(credentials.username)
        if not isinstance(credentials, ScramProof):
            # What a SCRAM proof is over has the name as it was sent.
            credentials.username = username
        if proven.final is None:
            return await self._log_in(credentials, folder, proven.refusal)
        found = await self._attempt(credentials)
        if isinstance(found, bytes):
            return found
        self._proven, self._folder = found, folder
        return self.session.challenged(proven.final)

    def _end_exchange(self) -> None:
        self._exchange, self._refused = None, ""
        proven, self._proven = self._proven, None
        if proven is not None:
            proven.logout()

    # Leaving.

    async def _update(self, wish: Update) -> bytes:
        """QUIT, RFC 1939 section 6."""
        assert self._maildrop is not None
        self._updating, self._closing = True, True
        try:
            await self._maildrop.update(wish.deleted, wish.retrieved)
        except Exception:
            self.journal.fault("messages not deleted", name=self._name, count=len(wish.deleted))
            return error("some deleted messages were not removed", "SYS/TEMP")
        else:
            self.journal.record("maildrop updated", name=self._name, deleted=len(wish.deleted))
            return b"+OK bye\r\n"
        finally:
            self._updating = False
            self._leave()

    @property
    def _name(self) -> str:
        return "" if self._logged_in is None else self._logged_in.name

    def _leave(self) -> None:
        """Give up the lock and the login; idempotent."""
        maildrop, self._maildrop = self._maildrop, None
        if maildrop is not None:
            maildrop.release()
        logged_in, self._logged_in = self._logged_in, None
        if logged_in is not None:
            logged_in.logout()
        self._retrieval = None
        self._end_exchange()

    def _evict(self) -> None:
        """The account's password changed, or it was disabled or removed."""
        if self._updating:
            return
        if self._work is not None or self._waiting:
            self.abort()
            return
        self._finish()
        self.send(error("the account has changed, log in again", "AUTH"))
        self.close()


class POP3Factory(ConnectionFactory):
    """One service, "pop3" or "pop3s"."""

    protocol = POP3Connection

    def __init__(
        self, wiring: Wiring, login: Login, mechanisms: Mechanisms, visits: Visits | None = None
    ) -> None:
        """Factories over the same accounts share `visits`."""
        super().__init__(wiring)
        self.visits = visits or Visits()
        self.login = login
        self.mechanisms = mechanisms
