"""An SMTP server that does as it is told, for the client's and the delivery's tests."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import ssl
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

#: A reply's text, None for silence, or a function of the command line that gives one of these.
Answer = str | None | Callable[[str], "str | None"]


@dataclass
class Taken:
    mail: str
    rcpts: list[str]
    #: As it came, stuffed, with the final dot.
    raw: bytes

    @property
    def message(self) -> bytes:
        return self.raw[:-3].replace(b"\r\n..", b"\r\n.").removeprefix(b"." if self.raw[:2] == b".." else b"")


@dataclass
class Behaviour:
    greeting: Answer = "220 far.test ESMTP"
    extensions: tuple[str, ...] = ("PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES")
    #: Verb -> reply; the longest that the line starts with counts ("RCPT TO:<bad@b.test>" before "RCPT").
    answers: dict[str, Answer] = field(default_factory=dict)
    tls: ssl.CertificateOptions | None = None
    #: Sent in one segment with the reply to STARTTLS.
    injected: str = ""
    lmtp: bool = False
    #: Verbs after whose reply the connection is closed ("." is the end of the message).
    closes_after: frozenset[str] = frozenset()
    #: Octets of a message after which something is said and the connection closed.
    refuses_after: int | None = None


class _Session(Protocol):
    factory: FarSide

    def connectionMade(self) -> None:
        self.factory.sessions.append(self)
        self.lines: list[str] = []
        self.closed = False
        self.secure = False
        self._buffer = b""
        self._in_data = False
        #: Of BDAT: octets that the piece still has and whether it is the last; what came of the message.
        self._chunk: tuple[int, bool] | None = None
        self._pieces = b""
        self._mail, self._rcpts = "", []
        self._say(self.factory.behaviour.greeting, "")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed = True
        self.factory.lost(self)

    def dataReceived(self, data: bytes) -> None:
        self.factory.segments.append(data)
        self._buffer += data
        while not self.closed and self._step():
            pass

    def _step(self) -> bool:
        behaviour = self.factory.behaviour
        if self._in_data:
            early = behaviour.refuses_after
            if early is not None and len(self._buffer) > early:
                self._buffer, self._in_data = b"", False
                self._say("552 5.2.3 too much", ".")
                self._end()
                return False
            end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
            if end < 2 and not self._buffer.startswith(b".\r\n"):
                return False
            raw, self._buffer = self._buffer[: end + 3], self._buffer[end + 3 :]
            self._in_data = False
            self._taken(raw)
            return True
        if self._chunk is not None:
            return self._piece(*self._chunk)
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        self._command(line.decode())
        return True

    def _piece(self, size: int, last: bool) -> bool:
        """RFC 3030 section 2; with as much memory as the client sends ahead."""
        if len(self._buffer) < size:
            return False
        self._pieces, self._buffer = self._pieces + self._buffer[:size], self._buffer[size:]
        self._chunk = None
        if not last:
            self._say(self._answer(f"BDAT {size}", "250 2.0.0 so far"), "BDAT")
            return True
        message, self._pieces = self._pieces, b""
        # As DATA would have brought it.
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        self._taken((b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
        return True

    def _taken(self, raw: bytes) -> None:
        behaviour = self.factory.behaviour
        self.factory.taken.append(Taken(self._mail, self._rcpts, raw))
        for rcpt in self._rcpts if behaviour.lmtp else ["."]:
            key = f". {rcpt}" if behaviour.lmtp and f". {rcpt}" in behaviour.answers else "."
            self._say(self._answer(key, "250 2.0.0 taken"), key)
        self._mail, self._rcpts = "", []
        if "." in behaviour.closes_after:
            self._end()

    def _command(self, line: str) -> None:
        self.lines.append(line)
        verb = line.split(" ")[0].upper()
        if (
            verb == "STARTTLS"
            and self.factory.behaviour.tls
            and "STARTTLS" not in self.factory.behaviour.answers
        ):
            self._say("220 2.0.0 go ahead\r\n" + self.factory.behaviour.injected, line)
            self.transport.startTLS(self.factory.behaviour.tls)
            self.secure = True
            return
        if verb == "BDAT":
            words = line.split(" ")
            self._chunk = int(words[1]), words[2:] == ["LAST"]
            return
        reply = self._answer(line, self._usual(verb))
        if verb == "MAIL" and (reply or "")[:1] == "2":
            self._mail, self._rcpts = line, []
        elif verb == "RCPT" and (reply or "")[:1] == "2":
            self._rcpts.append(line)
        elif verb == "DATA" and (reply or "")[:1] == "3":
            self._in_data = True
        self._say(reply, line)
        if verb == "QUIT" or verb in self.factory.behaviour.closes_after:
            self._end()

    def _usual(self, verb: str) -> str:
        if verb in ("EHLO", "LHLO"):
            words = [w for w in self.factory.behaviour.extensions if w != "STARTTLS" or not self.secure]
            lines = ["far.test", *words]
            return "\r\n".join([*(f"250-{word}" for word in lines[:-1]), f"250 {lines[-1]}"])
        if verb == "DATA":
            return "354 go ahead" if self._rcpts else "503 5.5.1 no recipients"
        if verb == "RCPT" and not self._mail:
            return "503 5.5.1 no sender"
        return {"QUIT": "221 2.0.0 bye"}.get(verb, "250 2.0.0 ok")

    def _answer(self, line: str, usual: str) -> str | None:
        answers = self.factory.behaviour.answers
        keys = [key for key in answers if line.upper().startswith(key.upper())]
        answer = answers[max(keys, key=len)] if keys else usual
        return answer(line) if callable(answer) else answer

    def _say(self, reply: Answer, line: str) -> None:
        if callable(reply):
            reply = reply(line)
        if reply is not None:
            self.transport.write(reply.removesuffix("\r\n").encode("latin-1") + b"\r\n")

    def _end(self) -> None:
        self.closed = True
        self.transport.loseConnection()


class FarSide(Factory):
    """`far = FarSide(Behaviour(...)); far.listen(reactor)`; afterwards `await far.stop()`."""

    protocol = _Session
    noisy = False

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.sessions: list[_Session] = []
        self.segments: list[bytes] = []
        self.taken: list[Taken] = []
        #: Who connected.
        self.peers: list[str] = []
        self._losing: dict[_Session, Deferred[None]] = {}

    def listen(self, reactor, interface: str = "127.0.0.1", port: int = 0) -> int:
        self.listening = reactor.listenTCP(port, self, interface=interface)
        self.port = self.listening.getHost().port
        return self.port

    def buildProtocol(self, addr):
        self.peers.append(addr.host)
        session = super().buildProtocol(addr)
        self._losing[session] = Deferred()
        return session

    def lost(self, session: _Session) -> None:
        self._losing.pop(session).callback(None)

    @property
    def lines(self) -> list[str]:
        """Every command of every connection."""
        return [line for session in self.sessions for line in session.lines]

    async def stop(self) -> None:
        await self.listening.stopListening()
        waiting = list(self._losing.values())
        for session in list(self._losing):
            if session.transport is not None:
                session.transport.abortConnection()
        await gatherResults(waiting)


@cache
def certificate(host: str = "far.test") -> tuple[ssl.CertificateOptions, ssl.Certificate]:
    """A server's side with a self-signed certificate for `host`, and that certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server = ssl.PrivateCertificate.loadPEM(pem + private)
    return server.options(), ssl.Certificate.loadPEM(pem)
