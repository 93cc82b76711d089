"""The SMTP servers: MX and submission. Sessions meet the transport, the clock, TLS, logins and intake here.

Which of the two a connection is to says `wiring.service`: "smtp" takes mail for this house from anybody;
"submission" and "submissions" take mail for anywhere from those who log in (RFC 6409); "lmtp" takes mail for
this house from a server beside it (RFC 2033).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailftp.accounts.login import Login
from mailftp.accounts.sasl import Mechanisms
from mailftp.intake.hooks import TAKEN, IMailHook, Stages
from mailftp.intake.intake import Envelope, Intake, Origin, Recipient, Refused
from mailftp.intake.refused import HungUp
from mailftp.origin.policy import Refusal
from mailftp.origin.strangers import Strangers, Visitor
from mailftp.smtp import events
from mailftp.smtp.acceptance import FULL, Acceptance
from mailftp.smtp.asking import tell_address, tell_members
from mailftp.smtp.authentication import Authentication
from mailftp.smtp.data import LineEnds
from mailftp.smtp.handling import handling_of, latest_release
from mailftp.smtp.reception import Reception
from mailftp.smtp.rules import Terms
from mailftp.smtp.session import OK, START, Session
from mailftp.smtp.syntax import RcptTo, Reply
from mailftp.smtp.trail import Trail
from mailftp.store.engine import BodySink, StoreFull
from mailftp.wire.connection import ConnectionFactory, Expiry, Wiring
from mailftp.wire.peer import Peer

T = TypeVar("T")

#: Octets that may wait unread behind a command that is being worked on, before nothing more is read from the
#: network. One read more may come on top, 64 KiB.
UNREAD = 4096

_SUBMISSION = frozenset({"submission", "submissions"})
_FAULT = Reply(451, "4.3.0", "Something went wrong here, try again later")


class SMTPConnection(Reception):
    """One client's connection: a thin shell around `Session`."""

    _acceptance: Acceptance
    _authentication: Authentication | None = None
    _envelope: Envelope | None = None
    _sink: BodySink | None = None
    #: Why the message that is arriving will be refused at its end.
    _trouble: Reply | None = None
    _advancing = False
    #: Until then nothing is said; then the connection is closed.
    _silence: IDelayedCall | None = None
    #: The client sends no more, but may wait for replies.
    _heard_all = False
    #: Closed, or about to be: answers that come now have nobody to go to.
    _over = False

    # What wire tells.

    def opened(self) -> None:
        self._session = Session(self.factory.terms)
        self._trail = Trail(self.journal, self.peer)
        self._acceptance = Acceptance(self.factory.intake, self.factory.stages, self._trail)
        if self.secure:
            self._session.secured()
        if not self.factory.terms.login_required:
            self.login_deadline = None
        self._offer()
        self._receive()

    def received(self, data: bytes) -> None:
        if self._pace is not None:
            self._pace.octets += len(data)
        if self._line_since is not None and b"\n" in data:
            self._line_since = None
        self._session.receive(data)
        self._advance()

    def secured(self) -> None:
        self._session.secured()
        self._offer()

    def expired(self, clock: Expiry) -> None:
        if clock is Expiry.IDLE and (self._session.waiting or self._blocked):
            # It is we who are slow.
            return
        self._session.expire()
        self._advance()

    def ended(self) -> None:
        self._heard_all = True
        self._advance()

    def drain(self) -> None:
        self._session.drain()
        self._advance()

    def closed(self, reason: Failure) -> None:
        self._over = True
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._leave()
        self._forget()
        if self._authentication is not None:
            self._authentication.end()

    def refusal(self, reason: str) -> bytes:
        return Reply(421, "4.7.0", f"{self.factory.terms.hostname}: {reason}").encode()

    # The session's events.

    def _advance(self) -> None:
        """Do what the session asks until it waits, and send its replies.

        An answer that comes at once is given inside of an event's method; the loop then goes on here, so
        that a thousand pipelined recipients are not a thousand calls deep.
        """
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self._blocked and not self._over:
                event = self._session.next_event()
                if event is None:
                    break
                _METHODS[type(event)](self, event)
        finally:
            self._advancing = False
        self._flush_replies()
        busy = self._session.waiting or self._blocked
        if busy and self._session.unread > UNREAD:
            self.pause()
        elif not self._blocked:
            self.resume()
        if self._heard_all and not busy:
            self.close()

    def _flush_replies(self) -> None:
        replies = self._session.replies()
        if replies:
            self.send(replies)

    def _answer(self, reply: Reply) -> None:
        """Answer the event that waits, now or later."""
        if not self._over:
            self._session.answer(reply)
            self._advance()

    def _offer(self) -> None:
        factory = self.factory
        starttls = factory.wiring.tls is not None and not self.secure
        self._authentication = None
        names: tuple[str, ...] = ()
        if factory.terms.login_required and factory.login is not None and factory.mechanisms is not None:
            service = factory.wiring.service
            if factory.login.offers(secure=self.secure, peer=self.peer, service=service):
                self._authentication = Authentication(
                    factory.login,
                    factory.mechanisms,
                    factory.login.channel(self),
                    peer=self.peer,
                    service=service,
                    context=self.context,
                    close=self.abort,
                )
                names = self._authentication.names
        self._session.offer(names, starttls, latest_release(factory.intake.now()))

    def _ask(self, stage: str, what: tuple[object, ...], then: Callable[[object], None]) -> None:
        """Ask the hooks; `then` goes on with what they answer."""
        stages = self.factory.stages
        if not stages:
            then(None)
            return
        stages.ask(stage, *what).addCallbacks(then, self._stage_failed).addErrback(self._faulted)

    def _stage_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, Refused):
            self._say_no(failure.value)
        else:
            self._faulted(failure)

    def _origin(self) -> Origin:
        submitter = self._authentication.submitter if self._authentication else None
        session = self._session
        return Origin(
            self.peer,
            session.helo,
            session.with_protocol,
            self.context,
            submitter,
            self.tls_description,
            self.local,
        )

    def _meet(self, event: events.HelloSaid) -> None:
        if self._too_fast():
            return
        self.read_much(False)
        self._forget()
        if self.factory.stages:
            self._ask("ehlo", (self._origin(),), lambda _: self._answer(OK))
        else:
            self._answer(OK)

    def _begin_mail(self, event: events.MailBegun) -> None:
        if self._too_fast():
            return
        origin, mail = self._origin(), event.mail
        try:
            handling = handling_of(mail, self.factory.intake.now(), trusted=origin.submitter is not None)
            checked = self.factory.intake.sender(origin, mail.sender)
        except Refused as refused:
            self._say_no(refused, sender=mail.sender)
            return
        envelope = Envelope(
            origin,
            mail.sender,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
            handling=handling,
            binary=mail.binary,
        )
        if checked is None:
            self._ask_about_sender(envelope)
            return
        checked.addCallbacks(
            lambda _: self._ask_about_sender(envelope),
            self._not_taken,
            errbackKeywords={"sender": mail.sender},
        )
        checked.addErrback(self._faulted)

    def _ask_about_sender(self, envelope: Envelope) -> None:
        self._ask("mail", (envelope,), lambda _: self._open_envelope(envelope))

    def _open_envelope(self, envelope: Envelope) -> None:
        if not self._over:
            self._envelope = envelope
            self._answer(OK)

    def _name_recipient(self, event: events.RecipientNamed) -> None:
        if self._too_fast():
            return
        rcpt = event.rcpt
        self._ask(
            "rcpt",
            (self._current, rcpt.recipient),
            lambda answer: self._find_recipient(rcpt, answer == TAKEN),
        )

    def _find_recipient(self, rcpt: RcptTo, taken: bool) -> None:
        address = rcpt.recipient
        if self._over:
            return
        if taken:
            self._take_recipient(Recipient(address, None, application=True), rcpt)
            return
        try:
            found = self.factory.intake.recipient(self._current.origin, address, self._current.sender)
        except Refused as refused:
            self._say_no(refused, to=address)
            return
        if isinstance(found, Deferred):
            found.addCallbacks(
                self._take_recipient,
                self._not_taken,
                callbackArgs=(rcpt,),
                errbackKeywords={"to": address},
            )
            found.addErrback(self._faulted)
        else:
            self._take_recipient(found, rcpt)

    def _take_recipient(self, recipient: Recipient, rcpt: RcptTo) -> None:
        visitor = self._visitor
        if self._over:
            return
        if visitor is None or not visitor.asks_recipients:
            self._add_recipient(recipient, rcpt)
            return
        asked = visitor.recipient(self._current.reverse_path, str(rcpt.recipient))
        self._start(asked, lambda refusal: self._add_recipient(recipient, rcpt, refusal))

    def _add_recipient(self, recipient: Recipient, rcpt: RcptTo, refusal: Refusal | None = None) -> None:
        if self._over:
            return
        if refusal is not None:
            self._say_no(Refused(refusal.code, refusal.status, refusal.text), to=rcpt.recipient)
            return
        if rcpt.parameters:
            recipient = replace(recipient, orcpt=rcpt.orcpt, notify=rcpt.notify)
        self._current.recipients.append(recipient)
        self._answer(OK)

    def _not_taken(self, failure: Failure, **fields: object) -> None:
        """A sender or a recipient."""
        if isinstance(failure.value, Refused):
            self._say_no(failure.value, **fields)
        else:
            self._faulted(failure)

    def _tell_address(self, event: events.AddressAsked) -> None:
        if not self._too_fast():
            self._start(tell_address(self.factory.intake, self._stranger(), event.address), self._answer)

    def _tell_members(self, event: events.ExpansionAsked) -> None:
        if not self._too_fast():
            self._start(tell_members(self.factory.intake, self._stranger(), event.address), self._answer)

    def _stranger(self) -> Origin:
        """What may be told does not depend on who asks."""
        session = self._session
        return Origin(self.peer, session.helo, session.with_protocol, self.context, local=self.local)

    def _begin_data(self, event: events.DataAsked) -> None:
        self._trouble = None
        self._sink = self.factory.intake.stage(self._current)
        self._begin_pace()
        self.read_much(True)
        self._answer(START)

    def _take_body(self, event: events.BodyReceived) -> None:
        if self._sink is None:
            return
        wait = self._sink.write(event.data)
        if wait is not None:
            self._blocked = True
            self.pause()
            wait.addErrback(self._body_failed).addCallback(self._unblock).addErrback(self._faulted)

    def _body_failed(self, failure: Failure) -> None:
        """The rest of the message is read, as the client sends it anyway, and dropped."""
        self._abort_body()
        if isinstance(failure.value, StoreFull):
            self._trouble = FULL
        else:
            self._trouble = _FAULT
            self._trail.fault(failure)

    def _unblock(self, _: object) -> None:
        self._blocked = False
        self._advance()

    def _spoil_body(self, event: events.BodySpoiled) -> None:
        self._trail.refused(event.reply, sender=self._current.sender)
        self._forget()

    def _end_body(self, event: events.BodyEnded) -> None:
        self.read_much(False)
        envelope, sink, trouble = self._current, self._sink, self._trouble
        # From here on the message is the coroutine's: it is kept even if the client goes away now.
        self._envelope = self._sink = None
        if sink is None or trouble is not None:
            self._trail.refused(trouble or _FAULT, sender=envelope.sender)
            self._answer(trouble or _FAULT)
            return
        envelope.eightbit = event.eightbit
        if self.factory.terms.lmtp:
            self._start(self._acceptance.accept_each(envelope, sink), self._answer_each)
        else:
            self._start(self._acceptance.accept(envelope, sink), self._answer)

    def _answer_each(self, replies: list[Reply]) -> None:
        if not self._over:
            self._session.answer_each(replies)
            self._advance()

    def _drop(self, event: events.TransactionDropped) -> None:
        self.read_much(False)
        self._forget()

    def _begin_login(self, event: events.LoginBegun) -> None:
        if self._authentication is None:
            self._answer(Reply(504, "5.5.4", "That mechanism is not offered"))
            return
        self._start(self._authentication.begin(event.mechanism, event.response), self._login_step)

    def _continue_login(self, event: events.LoginContinued) -> None:
        if self._authentication is None:
            self._answer(_FAULT)
            return
        self._start(self._authentication.go_on(event.response), self._login_step)

    def _login_step(self, said: Reply | bytes) -> None:
        if self._over:
            return
        if isinstance(said, bytes):
            self._session.challenge(said)
            self._advance()
            return
        if said.code < 400:
            self.login_deadline = None
        self._answer(said)

    def _begin_tls(self, event: events.TLSAsked) -> None:
        self._forget()
        if self._authentication is not None:
            self._authentication.end()
        self._flush_replies()
        self.start_tls()

    def _close(self, event: events.Closed) -> None:
        self._over = True
        self._forget()
        if event.reply.code >= 400:
            self._trail.closed(event.reply)
        self._flush_replies()
        self.close()

    # What several of them do.

    @property
    def _current(self) -> Envelope:
        if self._envelope is None:
            raise AssertionError("no transaction")
        return self._envelope

    def _forget(self) -> None:
        self._abort_body()
        self._envelope = None

    def _abort_body(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.abort()

    def _start(self, work: Coroutine[Any, Any, T], then: Callable[[T], None]) -> None:
        """Run a coroutine; whatever goes wrong in it is logged and answered."""
        Deferred.fromCoroutine(work).addCallback(then).addErrback(self._faulted)

    def _hang_up(self, after: float) -> None:
        """Nothing is said any more."""
        self._over = True
        self._forget()
        self._silence = self.factory.wiring.clock.callLater(after, self.abort)

    def _faulted(self, failure: Failure) -> None:
        if isinstance(failure.value, HungUp):
            self._hang_up(failure.value.after)
            return
        if not isinstance(failure.value, CancelledError):
            self._trail.fault(failure)
        if not self._over and self._session.waiting:
            self._answer(_FAULT)

    def _say_no(self, refused: Refused, **fields: object) -> None:
        reply = Reply(refused.code, refused.status, refused.text)
        self._trail.refused(reply, **fields)
        visitor = self._visitor
        delay = visitor.unknown_recipient() if visitor and refused.status == "5.1.1" else 0.0
        if delay:
            waiting = self._hold_back(delay).addCallback(lambda _: self._answer(reply))
            waiting.addErrback(self._faulted)
        else:
            self._answer(reply)


_METHODS: Mapping[type[Any], Callable[[SMTPConnection, Any], None]] = MappingProxyType(
    {
        events.HelloSaid: SMTPConnection._meet,
        events.MailBegun: SMTPConnection._begin_mail,
        events.RecipientNamed: SMTPConnection._name_recipient,
        events.AddressAsked: SMTPConnection._tell_address,
        events.ExpansionAsked: SMTPConnection._tell_members,
        events.DataAsked: SMTPConnection._begin_data,
        events.BodyReceived: SMTPConnection._take_body,
        events.BodySpoiled: SMTPConnection._spoil_body,
        events.BodyEnded: SMTPConnection._end_body,
        events.TransactionDropped: SMTPConnection._drop,
        events.LoginBegun: SMTPConnection._begin_login,
        events.LoginContinued: SMTPConnection._continue_login,
        events.TLSAsked: SMTPConnection._begin_tls,
        events.Closed: SMTPConnection._close,
    }
)


class SMTPFactory(ConnectionFactory):
    """One SMTP service. Without `login` and `mechanisms` nobody can log in; without `strangers` nobody is
    one."""

    protocol = SMTPConnection

    def __init__(
        self,
        wiring: Wiring,
        intake: Intake,
        login: Login | None = None,
        mechanisms: Mechanisms | None = None,
        hooks: Sequence[IMailHook] = (),
        strangers: Strangers | None = None,
    ) -> None:
        super().__init__(wiring)
        self._strangers = strangers
        self.stages = Stages(hooks, wiring.clock)
        self.intake, self.login, self.mechanisms = intake, login, mechanisms
        submission = wiring.service in _SUBMISSION
        settings = wiring.settings
        self.terms = Terms(
            hostname=settings.hostname,
            size=settings.limits.message_size,
            recipients=settings.limits.recipients,
            login_required=submission,
            failures_closed=settings.auth.failures_closed,
            line_ends=LineEnds.NORMALISED if submission else LineEnds.STRICT,
            lmtp=wiring.service == "lmtp",
            expands=settings.submission.expand,
        )

    def visitor(self, peer: Peer) -> Visitor | None:
        """A client that has just come; None: it is no stranger."""
        if self._strangers is None or self.terms.lmtp:
            return None
        return self._strangers.visitor(peer, public=not self.terms.login_required)
