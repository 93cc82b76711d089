"""TLS contexts: certificate files that are watched and reloaded, one session context for each service.

A ticket never carries a login from one service, name or client CA to another: each has a context with a
session id of its own.

Contexts are made here by hand and not by `CertificateOptions`, which turns session tickets and the
session cache off: mail clients reconnect every few minutes, and FTPS clients open a data connection for
each file.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from mailftp.settings import TLS
from mailftp.wire.certificates import Certified, authorities, certified, folder, stamp
from mailftp.wire.peer import Peer

#: ALPN names that a service takes; a client that offers others and none of these came for another
#: protocol (ALPACA: a browser led to an FTP port that shares our certificate) and is refused.
ALPN = {
    "smtp": (b"smtp",),
    "submission": (b"smtp",),
    "submissions": (b"smtp",),
    "lmtp": (b"lmtp", b"smtp"),
    "pop3": (b"pop3",),
    "pop3s": (b"pop3",),
    "imap": (b"imap",),
    "imaps": (b"imap",),
    "ftp": (b"ftp", b"ftp-data"),
    "ftps": (b"ftp", b"ftp-data"),
    "http": (b"http/1.1",),
    "https": (b"http/1.1",),
}

#: Services that never ask for a client certificate. Nobody logs in to an MX, and other mail servers
#: present certificates of authorities that `client_ca` does not list: asking would refuse their mail.
ANONYMOUS = frozenset({"smtp", "lmtp", "dns"})

#: Forward secrecy and authenticated encryption first; then CBC with forward secrecy, for mail servers
#: that have nothing better and would send in the clear. TLS 1.3 has a list of its own.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!MD5"

#: Seconds for which a session may be resumed.
SESSION_SECONDS = 7200


class ForeignProtocol(SSL.Error):
    """The client's ALPN offer names protocols, and none that the service speaks."""

    def __init__(self, offered: list[bytes]) -> None:
        names = ", ".join(repr(name) for name in offered[:8])
        # The shape of OpenSSL's own errors, which Twisted takes apart.
        super().__init__([("mailftp", "alpn", f"the client speaks only {names}")])


class ServiceTLS:
    """The context of one service. The object stays; its certificate changes under it when reloaded."""

    def __init__(self, name: str, contexts: _Contexts) -> None:
        self.name = name
        #: Each connection has a session context of its own, which resumes no other's: for FTP, whose data
        #: connections can then be held to the one that they belong to. It costs most of a handshake.
        self.sessions_apart = False
        self._contexts = contexts

    def connection_creator(self, server_name: str = "") -> IOpenSSLServerConnectionCreator:
        """What `TLSMemoryBIOFactory` and `transport.startTLS` take. A name that was told before the handshake
        (FTP's HOST) chooses the certificate as SNI does."""
        return _ServerCreator(lambda: self._connection(server_name))

    def data_creator(self) -> IOpenSSLServerConnectionCreator:
        """The same for FTP data connections: with the certificate and the sessions of the control
        connection, so that a client which resumes the one on the other (as most do) can."""
        return _ServerCreator(lambda: self._connection(""))

    def wrap(self, factory: IProtocolFactory, clock: IReactorTime | None = None) -> TLSMemoryBIOFactory:
        """The factory for an implicit TLS port.

        With a clock, small writes are gathered until the next turn of the reactor: for protocols that
        write piecemeal, such as twisted.web's. A `Connection` gathers its replies itself.
        """
        return _LayerFactory(self.connection_creator(), False, factory, clock)

    def wrap_data(
        self, factory: IProtocolFactory, server_name: str = "", control: SSL.Connection | None = None
    ) -> TLSMemoryBIOFactory:
        """The factory for FTP data connections: session tickets wait until there is something else to say.

        `control` is OpenSSL's view of the control connection, whose sessions these resume.
        """
        creator = self.connection_creator(server_name)
        if isinstance(control, _ConnectionApart):
            apart = control.apart
            creator = _ServerCreator(lambda: SSL.Connection(apart.used, None))
        return _LayerFactory(creator, False, factory, None, _Reticent)

    def swap(self, contexts: _Contexts) -> None:
        """New connections use these; live ones keep what they began with."""
        self._contexts = contexts

    def _connection(self, server_name: str) -> SSL.Connection:
        if not self.sessions_apart:
            return SSL.Connection(self._contexts.named(server_name) or self._contexts.default, None)
        return _ConnectionApart(_Apart(self._contexts, server_name))


class Certificates:
    """Reads `[tls]`, hands out a `ServiceTLS` for each service name, reloads all of them at once."""

    def __init__(self, settings: TLS) -> None:
        """Raises ValueError, in a user's words and naming the file, when a certificate or key
        cannot be used."""
        self.settings = settings
        self._services: dict[str, ServiceTLS] = {}
        self._stamp = stamp(settings)
        self._material = _Material(settings)

    def service(self, name: str) -> ServiceTLS:
        """The TLS of a service, a key of `[listen]`; the same object whenever it is asked for."""
        if name not in self._services:
            self._services[name] = ServiceTLS(name, _Contexts(name, self._material))
        return self._services[name]

    def changed(self) -> bool:
        """Whether any file differs from what was last read, or tried. Asks the disk: not for the reactor's
        thread."""
        return stamp(self.settings) != self._stamp

    def reload(self) -> None:
        """Read the files again; on error the old certificate stays and ValueError says why."""
        self.prepare()()

    def prepare(self) -> Callable[[], None]:
        """The slow half of a reload, for a thread: read and check everything. What it gives is the other
        half, to be called on the reactor's thread. Raises ValueError and changes nothing on error."""
        # Before reading: a change while we read must be seen as one the next time. And before failing, so
        # that a broken file is complained of once and not every minute.
        self._stamp = stamp(self.settings)
        material = _Material(self.settings)
        fresh = {name: _Contexts(name, material) for name in list(self._services)}

        def swap() -> None:
            self._material = material
            for name, service in self._services.items():
                service.swap(fresh.get(name) or _Contexts(name, material))

        return swap


class _Material:
    """What the files of `[tls]` hold at one time."""

    def __init__(self, settings: TLS) -> None:
        self.default = certified(settings.certificate, settings.key)
        self.others: list[Certified] = []
        if settings.certificates is not None:
            self.others = [certified(chain, key) for chain, key in folder(settings.certificates)]
        self.client_ca: list[x509.Certificate] = []
        if settings.client_ca is not None:
            self.client_ca = authorities(settings.client_ca)


class _Contexts:
    """The contexts of one service: one for the default certificate and one for each of the folder's."""

    def __init__(self, service: str, material: _Material) -> None:
        self.service, self.material = service, material
        self.default = _context(service, material.default, material.client_ca)
        self._named: dict[str, SSL.Context] = {}
        for other in material.others:
            context = _context(service, other, material.client_ca)
            for name in other.names:
                self._named.setdefault(name, context)
        if self._named:
            self.default.set_tlsext_servername_callback(self._choose)

    def _choose(self, connection: SSL.Connection) -> None:
        """SNI, RFC 6066 section 3: an exact name, else the wildcard that covers it, else the default."""
        asked = connection.get_servername()
        if asked is None:
            return
        # latin-1 takes every octet; a name that is not ASCII matches nothing.
        context = self.named(asked.decode("latin-1").lower())
        if context is not None:
            connection.set_context(context)

    def named(self, name: str) -> SSL.Context | None:
        return self._named.get(name) or self._named.get("*." + name.partition(".")[2])


class _Apart:
    """The contexts of one connection: the default one, and the one that SNI asks for."""

    def __init__(self, shared: _Contexts, server_name: str) -> None:
        self._shared = shared
        #: What the connection uses, and its data connections with it.
        self.used = self._make(self._certified(server_name) or shared.material.default)
        if not server_name and shared.material.others:
            self.used.set_tlsext_servername_callback(self._choose)

    def _certified(self, name: str) -> Certified | None:
        wanted = (name, "*." + name.partition(".")[2])
        return next(
            (one for each in wanted for one in self._shared.material.others if each in one.names), None
        )

    def _make(self, certified: Certified) -> SSL.Context:
        return _context(self._shared.service, certified, self._shared.material.client_ca)

    def _choose(self, connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        certified = None if asked is None else self._certified(asked.decode("latin-1").lower())
        if certified is not None:
            self.used = self._make(certified)
            connection.set_context(self.used)


class _ConnectionApart(SSL.Connection):
    """A connection that knows its contexts. (Twisted has put something of its own into its app data.)"""

    def __init__(self, apart: _Apart) -> None:
        super().__init__(apart.used, None)
        self.apart = apart


def resumed(handle: SSL.Connection) -> bool:
    """Whether a handshake resumed a session. pyOpenSSL has no public word for it; a test says when its
    private one goes."""
    return bool(SSL._lib.SSL_session_reused(handle._ssl))  # type: ignore[attr-defined]


def _context(service: str, ours: Certified, client_ca: list[x509.Certificate]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # Renegotiation lets a client make us compute for free (CVE-2011-1473), and nothing of ours needs it.
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    # An idle connection gives its 34 KiB of buffers back: ten thousand of them wait in IMAP IDLE.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS)
    try:
        context.use_certificate(ours.chain[0])
        for further in ours.chain[1:]:
            context.add_extra_chain_cert(further)
        context.use_privatekey(ours.key)
    except SSL.Error as error:
        # For example an RSA key of 512 bits.
        raise ValueError(f"certificate {ours.chain[0].subject.rfc4514_string()}: {_words(error)}")
    context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
    context.set_timeout(SESSION_SECONDS)
    identity = [service.encode(), *sorted(name.encode() for name in ours.names)]
    if client_ca and service not in ANONYMOUS:
        identity += [ca.public_bytes(Encoding.DER) for ca in client_ca]
        store = context.get_cert_store()
        assert store is not None  # the store belongs to the context, and is there from the start
        for ca in client_ca:
            store.add_cert(_x509(ca))
        context.set_client_ca_list([_x509(ca).get_subject() for ca in client_ca])
        context.set_verify(SSL.VERIFY_PEER, None)
    context.set_session_id(sha256(b"\0".join(identity)).digest())
    allowed = ALPN.get(service, ())

    def choose(connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in allowed:
            if protocol in offered:
                return protocol
        raise ForeignProtocol(offered)

    context.set_alpn_select_callback(choose)
    return context


def _x509(certificate: x509.Certificate) -> crypto.X509:
    return crypto.X509.from_cryptography(certificate)


def _words(error: SSL.Error) -> str:
    reasons = [reason for _, _, reason in error.args[0]] if error.args else []
    return "; ".join(reasons) or "OpenSSL does not take it"


def client_creator(
    hostname: str, verify: bool, roots: list[x509.Certificate] | None = None
) -> IOpenSSLClientConnectionCreator:
    """For a connection that we make to `hostname`, a DNS name or an IP address as text.

    With `verify` the far side must prove that name to the platform's authorities (or to `roots`); the
    handshake fails otherwise. Without, anything is taken, as opportunistic TLS between mail servers must:
    what it replaces is no TLS at all (RFC 7435).
    """
    if verify:
        trust = None
        if roots is not None:
            certificates = [Certificate(_x509(root)) for root in roots]  # type: ignore[no-untyped-call]  # upstream
            trust = trustRootFromCertificates(certificates)  # type: ignore[no-untyped-call]  # upstream
        return optionsForClientTLS(hostname, trust)
    return _OpportunisticCreator(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _OpportunisticCreator:
    def __init__(self, hostname: str) -> None:
        self._name = hostname.rstrip(".")
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        self._context.set_mode(SSL.MODE_RELEASE_BUFFERS)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        # RFC 6066 section 3: no literal addresses in SNI.
        if Peer.of(self._name).address is None:
            connection.set_tlsext_host_name(self._name.encode("ascii" if self._name.isascii() else "idna"))
        return connection


@implementer(IOpenSSLServerConnectionCreator)
class _ServerCreator:
    def __init__(self, make: Callable[[], SSL.Connection]) -> None:
        self._make = make

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._make()


class _Reticent(TLSMemoryBIOProtocol):
    """TLS that keeps its session tickets until the protocol above writes or either side closes.

    A client that only uploads never reads: TLS 1.3's tickets are still in its socket when it closes, its
    kernel then answers with a reset, and the end of the upload is lost (lftp with GnuTLS; curl 6149).
    pyOpenSSL cannot switch the tickets off, but what is not taken out of OpenSSL's buffer is not sent.
    """

    _receiving = False
    _spoken = False

    def _flushReceiveBIO(self) -> None:
        self._receiving = True
        try:
            super()._flushReceiveBIO()  # type: ignore[no-untyped-call]  # upstream
        finally:
            self._receiving = False

    def _flushSendBIO(self) -> None:
        # Before TLS 1.3 a ticket is part of the handshake, which the client waits for.
        unasked = self._receiving and self._handshakeDone and not self._spoken
        if not unasked or self._tlsConnection.get_protocol_version() != SSL.TLS1_3_VERSION:
            super()._flushSendBIO()  # type: ignore[no-untyped-call]  # upstream

    def _write(self, octets: bytes) -> None:
        self._spoken = True
        super()._write(octets)  # type: ignore[no-untyped-call]  # upstream

    def _shutdownTLS(self) -> None:
        self._spoken = True
        super()._shutdownTLS()  # type: ignore[no-untyped-call]  # upstream


class _LayerFactory(TLSMemoryBIOFactory):
    """Makes TLS layers that write at once unless a clock is given."""

    def __init__(
        self,
        creator: object,
        client: bool,
        factory: IProtocolFactory,
        clock: IReactorTime | None,
        layer: type[TLSMemoryBIOProtocol] = TLSMemoryBIOProtocol,
    ) -> None:
        self.protocol = layer if clock is None else BufferingTLSTransport
        # Only BufferingTLSTransport uses the clock; without one given, Twisted would import the global
        # reactor to have one.
        super().__init__(creator, client, factory, clock or Clock())  # type: ignore[arg-type]  # either side


class _Only(Factory):
    """Builds the one protocol that exists already."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> IProtocol:  # type: ignore[override]
        return self._protocol


def layer(
    transport: ITransport,
    protocol: IProtocol,
    creator: IOpenSSLServerConnectionCreator | IOpenSSLClientConnectionCreator,
    client: bool,
) -> TLSMemoryBIOProtocol:
    """Put TLS between a transport in use and `protocol`, which is connected to the layer; for STARTTLS.

    Unlike `transport.startTLS` it works on any transport and never asks for the global reactor. Whoever
    calls it passes the layer what the transport receives from now on (`dataReceived`, `connectionLost`).
    """
    made = _LayerFactory(creator, client, _Only(protocol), None).buildProtocol(None)
    made.makeConnection(transport)  # type: ignore[no-untyped-call]  # upstream
    return made


def handle_of(transport: Any) -> SSL.Connection | None:
    """OpenSSL's view of a transport's TLS; None for a transport without. It outlives the connection, which
    the transport's own reference to it does not."""
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    return handle if isinstance(handle, SSL.Connection) else None


def description(transport: Any) -> str:
    """For Received lines and the log: "TLSv1.3 TLS_AES_256_GCM_SHA384"; "" for a transport without TLS."""
    handle = handle_of(transport)
    return "" if handle is None else f"{handle.get_protocol_version_name()} {handle.get_cipher_name()}"


def exporter(transport: Any) -> bytes | None:
    """Channel binding of type tls-exporter, RFC 9266; None when there is none to be had.

    Only TLS 1.3: under TLS 1.2 it is unique only with the extended master secret (section 3 there), and
    whether that was negotiated is not told to us.
    """
    handle = handle_of(transport)
    if handle is None or handle.get_protocol_version() != SSL.TLS1_3_VERSION:
        return None
    return handle.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def client_certificate(transport: Any) -> x509.Certificate | None:
    """The certificate that the client presented and that was verified; None when there is none."""
    handle = handle_of(transport)
    return None if handle is None else handle.get_peer_certificate(as_cryptography=True)
