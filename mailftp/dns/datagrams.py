"""Queries by UDP: a socket that is read in batches and answers from the address that was asked.

Twisted's UDP port tells its protocol one datagram at a time and cannot say to which of our addresses it
came. On a machine with several addresses, a socket that is bound to all of them must answer from the one that
was asked, or the client drops the answer as a forgery.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mailftp.wire.journal import Journal

#: Octets of one query. A name has 255, and options add some hundreds; a client that announces more is held
#: no memory for.
QUERY = 4096
#: Datagrams in one turn of the reactor: about a millisecond, so that a flood does not keep everybody waiting.
BATCH = 64
#: Octets that the kernel keeps for us while we do something else.
BUFFER = 1 << 20

# Linux: bits/in.h. Python names them from 3.12 on.
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_ANCILLARY = socket.CMSG_SPACE(20)

Answering = Callable[[bytes, str], "bytes | None"]


@implementer(IReadDescriptor)
class DatagramSocket:
    """A bound socket; `answer` gives the reply to a query from a host, or None."""

    def __init__(self, host: str, port: int, reactor: Any, answer: Answering) -> None:
        """Binds, and does not read yet. `host` "" is every IPv4 address, "::" every one. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._answer, self._reactor = answer, reactor
        self._journal = Journal("dns")
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._everywhere = host in ("", "0.0.0.0", "::")
            if self._everywhere:
                level, option = (
                    (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)
                    if family == socket.AF_INET6
                    else (socket.IPPROTO_IP, _IP_PKTINFO)
                )
                self._socket.setsockopt(level, option, 1)
            address, _, scope = host.partition("%")
            where: tuple[Any, ...] = (address, port)
            if scope:
                where = (address, port, 0, socket.if_nametoindex(scope))
            self._socket.bind(where)
        except OSError:
            self._socket.close()
            raise

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        self._reactor.addReader(self)

    def close(self) -> None:
        """Answers no more. Idempotent."""
        if self._socket.fileno() != -1:
            self._reactor.removeReader(self)
            self._socket.close()

    # IReadDescriptor.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "dns"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor is ending."""
        self.close()

    def doRead(self) -> None:
        read = self._read_with_address if self._everywhere else self._read
        for _ in range(BATCH):
            if self._socket.fileno() == -1:
                return
            try:
                read()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # The kernel tells of an earlier answer that found nobody.
                continue

    def _read(self) -> None:
        packet, peer = self._socket.recvfrom(QUERY + 1)
        # Port 0 cannot be answered; what was cut is no query.
        if peer[1] and len(packet) <= QUERY:
            reply = self._reply(packet, peer[0])
            if reply is not None:
                try:
                    self._socket.sendto(reply, peer)
                except OSError as fault:
                    self._unanswered(fault, peer)

    def _read_with_address(self) -> None:
        packet, ancillary, flags, peer = self._socket.recvmsg(QUERY, _ANCILLARY)
        if peer[1] and not flags & socket.MSG_TRUNC:
            reply = self._reply(packet, peer[0])
            if reply is not None:
                try:
                    self._socket.sendmsg([reply], list(map(_from, ancillary)), 0, peer)
                except OSError as fault:
                    self._unanswered(fault, peer)

    def _reply(self, packet: bytes, host: str) -> bytes | None:
        try:
            return self._answer(packet, host)
        except Exception:
            self._journal.fault("dns_fault", question=packet[:300].hex())
            return None

    def _unanswered(self, fault: OSError, peer: tuple[Any, ...]) -> None:
        """No route back, or the socket's buffer is full: the client asks again."""
        reason = errno.errorcode.get(fault.errno or 0, str(fault))
        self._journal.detail("dns unanswered", peer=peer[0], reason=reason)


def _from(came: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """The ancillary data that sends from the address that a query came to."""
    level, kind, data = came
    if level == socket.IPPROTO_IP:
        # struct in_pktinfo: the interface, the local address, the one in the header. Which interface the
        # answer leaves by is the routing table's.
        return level, kind, struct.pack("=i4s4s", 0, data[4:8], bytes(4))
    # struct in6_pktinfo; a link-local address is nothing without its interface.
    return level, kind, data
