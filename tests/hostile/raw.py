"""A client that says exactly the octets that it is given, over a real socket, with TLS when it is told to."""

from __future__ import annotations

import base64
import socket
import ssl
from types import TracebackType

from tests.interop.running import PATIENCE

#: Settings for tests of anything else: hashes that cost nothing, and no wait after a wrong password.
QUICK = "[auth]\nfailure_delay = 0\nargon2 = { time_cost = 1, memory_cost = 8 }\n"


def unverified(alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A client's TLS that takes any certificate: who the server is, is not the question here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def plain(name: str, password: str, authorization: str = "") -> bytes:
    """The octets of SASL PLAIN, in base64."""
    return base64.b64encode(f"{authorization}\0{name}\0{password}".encode())


class Raw:
    """One connection. Every wait is bounded; an end of the connection is b"" or ConnectionError."""

    def __init__(self, port: int, address: str = "127.0.0.1", source: str = "") -> None:
        self.socket: socket.socket = socket.create_connection(
            (address, port), PATIENCE, (source, 0) if source else None
        )
        self._held = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def start_tls(self, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None) -> None:
        assert self._held == b"", self._held
        self.socket = (context or unverified()).wrap_socket(self.socket, session=session)

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def line(self) -> bytes:
        """The next line without its CRLF; ConnectionError at the end."""
        while b"\r\n" not in self._held:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(f"closed after {self._held!r}")
            self._held += more
        line, _, self._held = self._held.partition(b"\r\n")
        return line

    def reply(self) -> bytes:
        """The next reply of SMTP, FTP or POP3: its last line."""
        while True:
            line = self.line()
            if not (line[:3].isdigit() and line[3:4] == b"-") and not line.startswith(b" "):
                return line

    def ask(self, line: str | bytes, expect: str = "") -> bytes:
        """Say a line; the last line of the reply, which begins as expected."""
        octets = line if isinstance(line, bytes) else line.encode()
        self.send(octets + b"\r\n")
        reply = self.reply()
        assert reply.startswith(expect.encode()), (line, reply)
        return reply

    def rest(self) -> bytes:
        """Everything until the server closes; a reset is an end as well."""
        try:
            while more := self.socket.recv(65536):
                self._held += more
        except (ConnectionError, ssl.SSLError):
            pass
        held, self._held = self._held, b""
        return held


def ftp(port: int, name: str, password: str, address: str = "127.0.0.1") -> Raw:
    """A session that is logged in, in binary."""
    client = Raw(port, address)
    client.reply()
    client.ask(f"USER {name}", "331")
    client.ask(f"PASS {password}", "230")
    client.ask("TYPE I", "200")
    return client


def passive(control: Raw, address: str = "127.0.0.1") -> Raw:
    """A passive data connection of it."""
    return Raw(int(control.ask("EPSV", "229").split(b"|")[3]), address)


def store(control: Raw, command: str | bytes, octets: bytes) -> bytes:
    """An upload; the last reply."""
    data = passive(control)
    control.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
    first = control.reply()
    if not first.startswith(b"1"):
        data.close()
        return first
    data.send(octets)
    data.close()
    return control.reply()


def retrieve(control: Raw, command: str | bytes) -> tuple[bytes, bytes]:
    """(the last reply, what came)."""
    data = passive(control)
    control.send((command if isinstance(command, bytes) else command.encode()) + b"\r\n")
    first = control.reply()
    with data:
        return (control.reply() if first.startswith(b"1") else first), (
            data.rest() if first.startswith(b"1") else b""
        )
