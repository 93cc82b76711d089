"""HTTP/1.1 on our connections: twisted.web parses and answers, the clocks, counts and limits are the house's.

Twisted's own server has no limit for a body (and writes a large one to a file on the reactor's thread), one
clock that every octet winds up again, and no end of connections.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site
from zope.interface import implementer

from mailftp.web.pages import Answer
from mailftp.web.reception import Reception
from mailftp.web.root import Root
from mailftp.wire.connection import Connection, ConnectionFactory, Expiry, Wiring
from mailftp.wire.peer import Peer

#: Octets of a request line with its header, and lines of a header. A request before its login takes no more.
HEADER = 16 * 1024
FIELDS = 100
#: Seconds for a header, from its first octet (or the connection's beginning) to its end: slow loris.
HEADER_SECONDS = 20.0
#: Seconds that a body may take, and octets a second that earn it more.
BODY_SECONDS = 30.0
BODY_RATE = 1000
#: What is thrown away of a request that was refused before its end, octets and seconds: a client that is
#: still sending would lose the refusal with the connection (RFC 9112 section 9.6).
DROPPED = 1024 * 1024
DROP_SECONDS = 3.0

_ABSOLUTE = re.compile(rb"https?://([^/?#@]*)(.*)", re.IGNORECASE | re.DOTALL)


@implementer(ITransport, IConsumer, IPushProducer)
class _Outlet:
    """What the channel has for a transport."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self.producer: Any = None

    @property
    def disconnecting(self) -> bool:
        """The line reader asks after each line: what stands behind a refused request is not parsed."""
        return self._connection.refusing

    def write(self, data: bytes) -> None:
        # The channel would say "100 Continue" to a body that was refused.
        if not self._connection.refusing:
            self._connection.send(data)

    def writeSequence(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def loseConnection(self) -> None:
        self._connection.finish()

    def abortConnection(self) -> None:
        self._connection.abort()

    def getPeer(self) -> Any:
        return self._connection.transport.getPeer()

    def getHost(self) -> Any:
        return self._connection.transport.getHost()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self._connection.pause()

    def resumeProducing(self) -> None:
        self._connection.resume()

    def stopProducing(self) -> None:
        self._connection.finish()


class WebRequest(Request):
    """A request whose body has a limit and stays in memory."""

    defaultContentType = None
    channel: Channel
    #: Of the connection: what PROXY told, IPv4-mapped addresses made IPv4.
    peer: Peer
    #: The host of a target in absolute form, which holds in the place of Host (RFC 9112 section 3.2.2).
    named_host: str | None = None
    #: Where the page takes the body as it comes.
    reception: Reception | None = None
    #: What became of it: what its taker gave, an Answer, or a Failure.
    received: Any = None
    #: What answers for as long as nobody ends it (`end()`).
    endless: Any = None
    #: Octets of the body that are taken, and that have come.
    _most = _kept = 0

    def __init__(self, channel: Channel, *arguments: Any, **more: Any) -> None:
        super().__init__(channel, *arguments, **more)  # type: ignore[no-untyped-call]  # upstream
        self.peer = channel.connection.peer

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()
        self._most = self.channel.site.resource.body_limit(self.channel.target)
        if length != 0:
            self._begin()
        if length is not None and length > self._most:
            # A page that was asked says it in its own words.
            if self.reception is not None and self.reception.answer is not None:
                self.channel.connection.refuse_with(self.reception.answer)
            else:
                self._too_large()

    def _begin(self) -> None:
        """The header has come: the page may want the body as it comes."""
        channel = self.channel
        self.method, self.uri, self.clientproto = channel.request_line
        if self._take_target():
            self.reception = channel.site.resource.begin(self, self._hold)

    def _hold(self, held: bool) -> None:
        connection = self.channel.connection
        (connection.pause if held else connection.resume)()

    def handleContentChunk(self, data: bytes) -> None:
        connection = self.channel.connection
        connection.body_moved(len(data))
        if self._kept + len(data) > self._most:
            self._too_large()
        elif not connection.refusing and self.content is not None:
            self._kept += len(data)
            if self.reception is None:
                self.content.write(data)
            elif self.reception.answer is None:
                self.reception.write(data)
            elif self._kept > DROPPED:
                # It would be read to its end, only for the connection to be kept.
                connection.refuse_with(self.reception.answer)

    def process(self) -> None:
        if not self._take_target():
            # "*", and the authority form of CONNECT: we are no proxy.
            self.channel.connection.refuse(HTTPStatus.BAD_REQUEST, "the target is no path")
        elif self.reception is not None:
            self.reception.done.addBoth(self._taken)
            self.reception.finish()
        else:
            super().process()  # type: ignore[no-untyped-call]  # upstream

    def _taken(self, received: Any) -> None:
        """The body is where it belongs, or a Failure says why not."""
        self.received = received
        if not self._disconnected:
            super().process()  # type: ignore[no-untyped-call]  # upstream

    def connectionLost(self, reason: Failure) -> None:
        if self.reception is not None:
            self.reception.abort()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # upstream

    def _take_target(self) -> bool:
        """False for a target that is no path."""
        match = _ABSOLUTE.fullmatch(self.uri)
        if match is not None:
            self.named_host = match[1].decode("latin-1")
            self.uri = match[2] if match[2].startswith(b"/") else b"/" + match[2]
        self.path = self.uri.partition(b"?")[0]
        return self.uri.startswith(b"/")

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource below the root raised. Twisted's own page would say more than a stranger should read."""
        connection = self.channel.connection
        connection.journal.fault("page failed", reason)
        if self.startedWriting:
            connection.abort()
        else:
            connection.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here, try again later")
        return reason

    def _too_large(self) -> None:
        words = f"at most {self._most} octets are taken here"
        self.channel.connection.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)


class Channel(HTTPChannel):
    """twisted.web's parser with our limits. Its own clock stays off: the connection has better ones."""

    maxHeaders = FIELDS
    totalHeadersSize = HEADER
    MAX_LENGTH = HEADER
    timeOut = None
    requestFactory = WebRequest  # type: ignore[assignment]  # upstream names the class and not its like
    site: WebSite
    #: What the request that is arriving asks for.
    target: bytes = b""

    def __init__(self, connection: HTTPConnection, site: WebSite) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # upstream
        self.connection, self.site = connection, site

    @property
    def request_line(self) -> tuple[bytes, bytes, bytes]:
        """Of the request whose header has come: method, target, version."""
        return self._command, self._path, self._version

    def isSecure(self) -> bool:
        return self.connection.secure

    def lineReceived(self, line: bytes) -> None:
        if self._receivedHeaderSize == 0 and line:
            self.target = (line.split(b" ", 2) + [b"", b""])[1]
        super().lineReceived(line)  # type: ignore[no-untyped-call]  # upstream

    def lineLengthExceeded(self, line: bytes) -> None:
        self._header_too_large()

    def allHeadersReceived(self) -> None:
        self.connection.body_begins()
        super().allHeadersReceived()  # type: ignore[no-untyped-call]  # upstream

    def allContentReceived(self) -> None:
        if not self.connection.refusing:
            self.connection.answering()
            super().allContentReceived()  # type: ignore[no-untyped-call]  # upstream

    def requestDone(self, request: WebRequest) -> None:
        self.connection.answered(request)
        super().requestDone(request)  # type: ignore[no-untyped-call]  # upstream

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > HEADER or self._receivedHeaderCount > FIELDS:
            self._header_too_large()
        else:
            self.connection.refuse(HTTPStatus.BAD_REQUEST, "the request cannot be read")

    def _header_too_large(self) -> None:
        words = f"a header has at most {HEADER} octets in {FIELDS} lines"
        self.connection.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, words)


class WebSite(Site):
    """What a channel asks of its site. Nothing listens for it: no clock of it ever runs."""

    resource: Root
    requestFactory = WebRequest

    def __init__(self, root: Root, clock: Any) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # upstream
            root, timeout=None, reactor=clock, parsePOSTFormSubmission=False
        )


class HTTPConnection(Connection):
    """One client, request after request."""

    factory: HTTPFactory
    #: The request that arrives was refused, or the connection is about to close: nothing more is parsed.
    refusing = False
    _channel: Channel
    _outlet: _Outlet
    _answering = False
    _arriving = False
    _heard_all = False
    _dropped = 0
    #: Of the body that arrives.
    _body_since = 0.0
    _body = 0

    # What wire tells.

    def opened(self) -> None:
        self._outlet = _Outlet(self)
        self._channel = Channel(self, self.factory.site)
        self._channel.makeConnection(self._outlet)  # type: ignore[no-untyped-call]  # upstream
        self._deadline(HEADER_SECONDS)

    def received(self, data: bytes) -> None:
        if self.refusing:
            self._dropped += len(data)
            if self._dropped > DROPPED:
                self.close()
            return
        if not self._answering and not self._arriving:
            self._arriving = True
            self._deadline(HEADER_SECONDS)
        self._channel.dataReceived(data)  # type: ignore[no-untyped-call]  # upstream

    def expired(self, clock: Expiry) -> None:
        if self._arriving and not self.refusing:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request took too long")
        else:
            # Between two requests nobody waits for words (RFC 9110 section 15.5.9).
            self.close()

    def ended(self) -> None:
        """`printf ... | nc` reads on."""
        self._heard_all = True
        if not self._answering:
            self.close()

    def drain(self) -> None:
        if not self._answering:
            self.close()
            return
        self._channel.persistent = False
        for request in tuple(self._channel.requests):
            if request.endless is not None:
                request.endless.end()

    def closed(self, reason: Failure) -> None:
        self._channel.connectionLost(reason)  # type: ignore[no-untyped-call]  # upstream

    def unread(self, full: bool) -> None:
        super().unread(full)
        producer = self._outlet.producer
        if producer is not None:
            (producer.pauseProducing if full else producer.resumeProducing)()

    def refusal(self, reason: str) -> bytes:
        return _short(HTTPStatus.SERVICE_UNAVAILABLE, reason)

    # What the channel tells.

    def body_begins(self) -> None:
        self._body_since, self._body = self.factory.wiring.clock.seconds(), 0
        self._deadline(BODY_SECONDS)

    def body_moved(self, octets: int) -> None:
        self._body += octets
        self.login_deadline = self._body_since + BODY_SECONDS + self._body / BODY_RATE

    def answering(self) -> None:
        """A request is whole: what it takes to answer is ours."""
        self._arriving, self._answering = False, True
        self.login_deadline = self.idle_limit = None

    def answered(self, request: WebRequest) -> None:
        self._answering = False
        self.idle_limit = self.factory.idle_limit
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        self.journal.detail(
            "request",
            method=method,
            path=path[:500],
            status=request.code,
            octets=request.sentLength,
            peer=str(self.peer),
        )
        if self._heard_all:
            self._channel.persistent = False

    def refuse(self, status: HTTPStatus, words: str) -> None:
        """Say so and close, without waiting for the rest of the request."""
        if not self.refusing:
            self.send(_short(status, words))
            self.finish()

    def refuse_with(self, answer: Answer) -> None:
        """As `refuse`, in a page's own words."""
        if not self.refusing:
            self.send(_whole(answer.status, answer.body, {"Content-Type": answer.kind, **answer.headers}))
            self.finish()

    def finish(self) -> None:
        """Close when what was sent has left, and when the client has, if he is still sending."""
        if self.refusing:
            return
        self.refusing = True
        if not self._arriving or self._heard_all:
            self.close()
            return
        self._deadline(DROP_SECONDS)

    def _deadline(self, seconds: float) -> None:
        self.login_deadline = self.factory.wiring.clock.seconds() + seconds


class HTTPFactory(ConnectionFactory):
    """One endpoint's connections."""

    protocol = HTTPConnection

    def __init__(self, wiring: Wiring, root: Root) -> None:
        super().__init__(wiring)
        self.site = WebSite(root, wiring.clock)


def _short(status: HTTPStatus, words: str) -> bytes:
    body = f"{status.value} {status.phrase}: {words}\n".encode()
    return _whole(status, body, {"Content-Type": "text/plain; charset=utf-8"})


def _whole(status: int, body: bytes, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines += [f"Content-Length: {len(body)}", "X-Content-Type-Options: nosniff", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
