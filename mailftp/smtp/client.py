"""The SMTP (and LMTP) client that delivery drives: RFC 5321, PIPELINING, SIZE, 8BITMIME, STARTTLS, CHUNKING.

One `SMTPClient` is one connection; it can carry several messages, one after the other. What is said is
decided in mailftp.smtp.client_session; here are the transport, the clock, TLS and the file that is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailftp.smtp.client_body import DotStuffer, LineEnds, OutgoingBody
from mailftp.smtp.client_dane import TLSA, authenticates, chain_of
from mailftp.smtp.client_envelope import Envelope, Wishes
from mailftp.smtp.client_reply import Reply
from mailftp.smtp.client_session import (
    PATIENCE,
    ClientSession,
    ConnectionFault,
    Event,
    Greeter,
    Phase,
    TransactionResult,
)
from mailftp.smtp.client_tls import Opportunistic, describe, verified
from mailftp.store.records import ForwardPath
from mailftp.wire.socks import SOCKSEndpoint

__all__ = [
    "ConnectionFault",
    "OutgoingBody",
    "Reply",
    "SMTPClient",
    "Target",
    "TransactionResult",
    "Wishes",
    "connect",
]

NO_WISHES = Wishes()

#: Read from a file, and handed to the transport, at a time.
PIECE = 256 * 1024
#: The most that one BDAT carries: each is a round trip where the far side does not offer PIPELINING.
CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to connect."""

    host: str
    address: str
    port: int
    helo: str
    lmtp: bool = False
    #: "opportunistic" (no certificate is checked, cleartext if STARTTLS fails on a fresh
    #: connection), "required" (STARTTLS with a certificate for `host`), "dane" (STARTTLS, and `tlsa` are kept
    #: to), "encrypted" (STARTTLS, and no certificate is checked), "implicit" (a certificate for `host`, from
    #: the first octet) or "none".
    tls: str = "opportunistic"
    tlsa: tuple[TLSA, ...] = ()
    #: The domain that the mail is for: a name that DANE-TA allows beside the host's.
    domain: str = ""
    #: For a smarthost.
    username: str = ""
    password: str = ""
    #: Local address to bind to, or "".
    source: str = ""
    #: A SOCKS5 proxy's address and port, and the login there.
    socks: tuple[str, int] | None = None
    socks_login: tuple[str, str] | None = None
    #: CHUNKING is used where it is offered.
    chunking: bool = True

    @property
    def private(self) -> bool:
        """Nothing leaves this machine, so nobody listens in."""
        return ip_address(self.address.partition("%")[0]).is_loopback


class SMTPClient:
    """Made by `connect`."""

    #: Keywords of the EHLO reply, upper case -> parameters.
    extensions: dict[str, str]
    #: "TLSv1.3 TLS_AES_256_GCM_SHA384", or "".
    tls: str
    #: Name and address of the far side, for the log.
    remote: str

    def __init__(self, shell: _Shell, remote: str) -> None:
        self._shell = shell
        self.extensions, self.tls, self.remote = shell.session.extensions, shell.session.tls, remote

    @property
    def usable(self) -> bool:
        """Another message may be sent: the far side has not closed, and nothing is under way."""
        return self._shell.session.phase is Phase.READY

    def send(
        self,
        reverse_path: str,
        recipients: tuple[ForwardPath, ...],
        body: OutgoingBody,
        ret: str = "",
        envid: str = "",
        wishes: Wishes = NO_WISHES,
    ) -> Deferred[TransactionResult]:
        """One transaction; `ret` and `envid` are RFC 3461's. Fails with ConnectionFault when the connection
        breaks; recipients that
        had no reply are then
        to be tried again. A message that does not fit the far side's SIZE is refused locally as
        552 5.3.4. Raises ValueError for a body in a file when `connect` was given no threads."""
        envelope = Envelope(
            reverse_path, recipients, body.size, body.eightbit, body.smtputf8, ret, envid, wishes
        )
        return self._shell.send(envelope, body)

    def quit(self) -> Deferred[None]:
        """QUIT and close; fires when the connection is gone, never fails."""
        return self._shell.quit()

    def explain(self, words: str) -> None:
        """Put a remark into the dialogue of the first message."""
        self._shell.session.dialogue.add("*", words)

    def abort(self) -> None:
        """Close now; a transaction under way fails with ConnectionFault."""
        self._shell.fail("given up here")


def connect(
    reactor: IReactorTime,
    target: Target,
    timeout: float = 30.0,
    *,
    threads: ThreadPool | None = None,
    creator: IOpenSSLClientConnectionCreator | None = None,
) -> Deferred[SMTPClient]:
    """Greeting, EHLO (HELO where it is not known), STARTTLS, EHLO again, AUTH. Fails with ConnectionFault.

    Timeouts per phase are those of RFC 5321 section 4.5.3.2, `timeout` is the TCP connect's. `threads` read
    bodies that are files. `creator` makes the TLS connection instead of what `target.tls` says, for a host
    with an authority of its own.
    """
    return Deferred.fromCoroutine(_connect(reactor, target, timeout, threads, creator))


async def _connect(
    reactor: IReactorTime,
    target: Target,
    timeout: float,
    threads: ThreadPool | None,
    creator: IOpenSSLClientConnectionCreator | None,
) -> SMTPClient:
    try:
        return await _open(reactor, target, timeout, threads, creator)
    except ConnectionFault as fault:
        if not fault.tls_failed or target.tls != "opportunistic" or (target.username and not target.private):
            raise
        failed, before = str(fault), fault.dialogue
    try:
        # RFC 7435 section 3: TLS that cannot be had is no reason not to deliver.
        client = await _open(reactor, replace(target, tls="none"), timeout, threads, None)
        client.explain(f"in the clear, TLS failed: {failed}")
        return client
    except ConnectionFault as fault:
        fault.dialogue = f"{before}\n*: again, in the clear\n{fault.dialogue}"
        raise


async def _open(
    reactor: IReactorTime,
    target: Target,
    timeout: float,
    threads: ThreadPool | None,
    creator: IOpenSSLClientConnectionCreator | None,
) -> SMTPClient:
    remote = f"{target.host} [{target.address}]:{target.port}"
    endpoint = _endpoint(reactor, target, timeout)
    shell = _Shell(reactor, target, threads, creator)
    try:
        await endpoint.connect(_Once(shell))
    except Exception as fault:
        # Whatever the network says to a connect: no route, refused, no descriptors, given up.
        raise ConnectionFault(f"{remote}: {str(fault) or type(fault).__name__}")
    await shell.ready
    return SMTPClient(shell, remote)


def _endpoint(reactor: IReactorTime, target: Target, timeout: float) -> IStreamClientEndpoint:
    address, port = target.socks or (target.address, target.port)
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    source = (target.source, 0) if target.source else None
    endpoint: IStreamClientEndpoint = kind(IReactorTCP(reactor), address, port, timeout, source)
    if target.socks is not None:
        endpoint = SOCKSEndpoint(reactor, endpoint, target.address, target.port, target.socks_login)
    return endpoint


def _greeter(target: Target) -> Greeter:
    return Greeter(
        helo=target.helo,
        lmtp=target.lmtp,
        tls=target.tls in ("opportunistic", "encrypted", "required", "dane"),
        tls_required=target.tls in ("encrypted", "required", "dane"),
        username=target.username,
        password=target.password,
        private=target.private,
        chunking=target.chunking,
    )


class _Once(ClientFactory):
    """For one connection. Twisted's own logs two lines about each."""

    noisy = False

    def __init__(self, shell: _Shell) -> None:
        self._shell = shell

    def buildProtocol(self, addr: IAddress | None) -> _Shell:
        return self._shell


@implementer(IHandshakeListener, IPushProducer)
class _Shell(Protocol):
    """A connection: carries octets, counts seconds, starts TLS, reads files."""

    #: TCP's, which is TLS's too once that is started; no one interface of Twisted says so.
    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        target: Target,
        threads: ThreadPool | None,
        creator: IOpenSSLClientConnectionCreator | None,
    ) -> None:
        self.session = ClientSession(_greeter(target))
        self.ready: Deferred[None] = Deferred(lambda _: self.fail("given up here"))
        self._clock, self._target, self._threads = clock, target, threads
        self._creator = creator
        self._running: Deferred[TransactionResult] | None = None
        self._gone: Deferred[None] = Deferred()
        self._timer: IDelayedCall | None = None
        self._body: OutgoingBody | None = None
        #: While the transport wants no more: fires when it does again.
        self._full: Deferred[None] | None = None
        #: While too many pieces are unanswered: fires when one is.
        self._answered: Deferred[None] | None = None

    # What the transport says.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._watch()
        if self._target.tls == "implicit":
            self._start_tls()

    def dataReceived(self, data: bytes) -> None:
        heard = self.session.heard
        try:
            events = self.session.receive(data)
        except ConnectionFault as fault:
            self._broken(fault)
            return
        if self.session.heard != heard:
            self._watch()
        self._act(events)

    def handshakeCompleted(self) -> None:
        connection = self.transport.getHandle()
        description = describe(connection)
        target = self._target
        if target.tls == "dane":
            names = [name for name in (target.host, target.domain) if name]
            if not authenticates(target.tlsa, chain_of(connection), names):
                self._broken(self.session.fault("its certificate is none that its TLSA records name"))
                return
        if self._target.tls == "implicit":
            self.session.tls = description
            return
        self.session.secured(description)
        self._watch()
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._broken(self.session.fault(f"the connection was lost: {reason.getErrorMessage()}"))
        self._gone.callback(None)

    # What the session says.

    def _act(self, events: list[Event]) -> None:
        """Octets leave first: what a result sets off may send the next message from within."""
        self._flush()
        for event in events:
            if event is Event.START_TLS:
                self._start_tls()
            elif event is Event.READY:
                self.ready.callback(None)
            elif event is Event.SEND_BODY:
                self._send_body()
            elif event is Event.SEND_MORE:
                self._go_on()
            elif event is Event.DONE:
                running, self._running = self._running, None
                if running is not None:
                    running.callback(self.session.result)
            elif event is Event.CLOSE:
                self._close()

    def _flush(self) -> None:
        octets = self.session.take()
        if octets:
            self.transport.write(octets)

    def _start_tls(self) -> None:
        target = self._target
        default = Opportunistic if target.tls in ("opportunistic", "encrypted", "dane") else verified
        self.transport.startTLS(self._creator or default(target.host))

    # What delivery says.

    def send(self, envelope: Envelope, body: OutgoingBody) -> Deferred[TransactionResult]:
        if body.data is None and self._threads is None:
            raise ValueError("a body in a file needs threads that read it")
        running: Deferred[TransactionResult] = Deferred(lambda _: self.fail("given up here"))
        if self.session.phase is not Phase.READY:
            running.errback(self.session.fault("the connection is closed"))
            return running
        self._running, self._body = running, body
        events = self.session.begin(envelope, at_hand=body.data is not None)
        self._watch()
        self._act(events)
        return running

    def quit(self) -> Deferred[None]:
        if self.session.phase is Phase.READY:
            self.session.quit()
            self._watch()
            self._flush()
        else:
            self.fail("given up here")
        gone: Deferred[None] = Deferred()
        self._gone.addCallback(lambda _: gone.callback(None))
        return gone

    def fail(self, text: str) -> None:
        if self.session.phase is not Phase.CLOSED:
            self._broken(self.session.fault(text))

    def _broken(self, fault: ConnectionFault) -> None:
        self._close()
        running, self._running = self._running, None
        if not self.ready.called:
            self.ready.errback(fault)
        elif running is not None:
            running.errback(fault)

    def _close(self) -> None:
        """At once: nothing that is still to be sent matters any more, and a far side that does not read must
        not keep us."""
        self._stop_watching()
        if self.transport is not None:
            self.transport.abortConnection()
        self.resumeProducing()
        self._go_on()

    # The clock.

    def _watch(self) -> None:
        """Begin anew the time that the far side has in this phase."""
        self._stop_watching()
        seconds = PATIENCE.get(self.session.phase)
        if seconds is not None:
            self._timer = self._clock.callLater(seconds, self._expired, seconds)

    def _stop_watching(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expired(self, seconds: float) -> None:
        self._timer = None
        waited_for = self.session.phase.value
        self.fail(f"no reply in {seconds:.0f} seconds ({waited_for})")

    # The message.

    def _send_body(self) -> None:
        body, self._body = self._body, None
        assert body is not None
        if self.session.chunked:
            Deferred.fromCoroutine(self._stream_chunks(body)).addErrback(self._unreadable)
        elif body.data is not None:
            stuffer = DotStuffer()
            self.transport.write(stuffer.feed(body.prefix + body.data) + stuffer.finish())
            self._body_sent()
        else:
            Deferred.fromCoroutine(self._stream(body)).addErrback(self._unreadable)

    def _body_sent(self) -> None:
        self.session.body_sent()
        self._watch()

    async def _stream(self, body: OutgoingBody) -> None:
        """The prefix, then the file piece by piece, each when the last has left. A refusal or a broken
        connection in between changes the phase, and nothing more is sent."""
        stuffer = DotStuffer()
        self.transport.registerProducer(self, True)
        try:
            self.transport.write(stuffer.feed(body.prefix))
            offset = 0
            while offset < body.length:
                piece = await self._read(body, offset, PIECE)
                if not piece:
                    return
                offset += len(piece)
                self.transport.write(stuffer.feed(piece))
                self._watch()
                if self._full is not None:
                    await self._full
                    if not self._sending():
                        return
        finally:
            self.transport.unregisterProducer()
        self.transport.write(stuffer.finish())
        self._body_sent()

    async def _stream_chunks(self, body: OutgoingBody) -> None:
        """The same by BDAT (RFC 3030). A message that is at hand and fits one piece leaves at once."""
        ends, offset = LineEnds(), 0
        ahead = ends.feed(body.prefix)
        self.transport.registerProducer(self, True)
        try:
            while True:
                piece = b""
                if offset < body.length:
                    piece = await self._read(body, offset, CHUNK)
                    if not piece:
                        return
                offset += len(piece)
                last = offset == body.length
                octets = ahead + ends.feed(piece) + (ends.finish() if last else b"")
                ahead = b""
                self.session.chunk(len(octets), last)
                self.transport.write(self.session.take() + octets)
                self._watch()
                if last:
                    return
                if not await self._may_go_on():
                    return
        finally:
            self.transport.unregisterProducer()

    async def _may_go_on(self) -> bool:
        """When the transport wants more and the far side has answered enough; False when it is over."""
        while self._sending() and (self._full is not None or not self.session.may_send):
            if self._full is not None:
                await self._full
            else:
                self._answered = Deferred()
                await self._answered
        return self._sending()

    async def _read(self, body: OutgoingBody, offset: int, most: int) -> bytes:
        """The next octets; none when nothing more is to be sent."""
        if body.data is not None:
            return body.data[offset : offset + most]
        assert self._threads is not None
        piece = await deferToThreadPool(
            self._clock,  # type: ignore[arg-type]  # the reactor; its clock is what we call it for
            self._threads,
            os.pread,
            body.descriptor,
            min(most, body.length - offset),
            offset,
        )
        if not self._sending():
            return b""
        if not piece:
            # Without its end the far side keeps nothing of it.
            self.fail(f"the message ends at {offset} of its {body.length} octets")
        return piece

    def _go_on(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(None)

    def _sending(self) -> bool:
        return self.session.phase is Phase.BODY

    def _unreadable(self, failure: Failure) -> None:
        self.fail(f"the message cannot be read: {failure.getErrorMessage()}")

    def pauseProducing(self) -> None:
        if self._full is None:
            self._full = Deferred()

    def resumeProducing(self) -> None:
        full, self._full = self._full, None
        if full is not None:
            full.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()
