"""Telling secondaries that a zone has changed, until they say that they have heard (RFC 1996)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.protocol import DatagramProtocol

from mailftp.dns.answers import name_text
from mailftp.dns.servers import Server
from mailftp.dns.zone import Zone
from mailftp.wire.journal import Journal

#: Seconds to wait for a word, try after try: some two minutes, after which the secondary's own refresh has to
#: do. RFC 1996 section 3.6 leaves the times to us; a packet that is lost should not cost a minute.
WAITS = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


@dataclass(frozen=True, slots=True)
class _Task:
    zone: dns.name.Name
    server: Server


class Notifier:
    """One for the whole server. `change` says what there is to tell; `stop` ends what is under way."""

    def __init__(self, reactor: Any) -> None:
        """`reactor` provides IReactorTime and IReactorUDP."""
        self._reactor = reactor
        self._journal = Journal("dns")
        #: The serial that each was last told, or is being told.
        self._serials: dict[_Task, int] = {}
        self._running: dict[_Task, Deferred[None]] = {}

    def change(self, zones: Iterable[Zone], servers: Iterable[Server], source: str = "") -> None:
        """Tell every server of each zone whose serial it was not told. `source` is the address that we answer
        on, from which secondaries expect to hear; "" leaves it to the kernel."""
        wanted = {_Task(zone.origin, server): zone for zone in zones for server in servers}
        for gone in self._serials.keys() - wanted.keys():
            del self._serials[gone]
            self._end(gone)
        for task, zone in wanted.items():
            if self._serials.get(task) != zone.serial:
                self._serials[task] = zone.serial
                self._end(task)
                self._begin(task, zone, source)

    def stop(self) -> None:
        self._serials.clear()
        for task in list(self._running):
            self._end(task)

    def _begin(self, task: _Task, zone: Zone, source: str) -> None:
        running = Deferred.fromCoroutine(self._tell(task, zone, source))
        self._running[task] = running

        def ended(_: object) -> None:
            if self._running.get(task) is running:
                del self._running[task]

        running.addBoth(ended)

    def _end(self, task: _Task) -> None:
        running = self._running.pop(task, None)
        if running is not None:
            running.cancel()

    async def _tell(self, task: _Task, zone: Zone, source: str) -> None:
        name, reason = name_text(zone.origin), ""
        try:
            for seconds in WAITS:
                notice = Notice(zone)
                try:
                    heard = notice.send(self._reactor, task.server, source)
                    rcode = await heard.addTimeout(seconds, self._reactor)
                except TimeoutError:
                    reason = "no answer"
                    continue
                except (OSError, error.CannotListenError) as fault:
                    reason = str(fault)
                    await self._pause(seconds)
                    continue
                finally:
                    notice.close()
                if rcode == dns.rcode.NOERROR:
                    self._journal.record(
                        "dns notified", zone=name, server=str(task.server), serial=zone.serial
                    )
                    return
                reason = dns.rcode.to_text(rcode)
                await self._pause(seconds)
            self._journal.warn("dns not notified", zone=name, server=str(task.server), reason=reason)
        except CancelledError:
            # There is newer news, or the server stops.
            return
        except Exception:
            self._journal.fault("dns_fault", question=f"NOTIFY of {name} to {task.server}")

    def _pause(self, seconds: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, waiting.callback, None)
        return waiting


class Notice(DatagramProtocol):
    """One packet to one server, and its answer; a port of its own for each."""

    noisy = False

    def __init__(self, zone: Zone) -> None:
        message = dns.message.make_query(
            zone.origin, dns.rdatatype.SOA, use_edns=False, id=secrets.randbelow(65536), flags=dns.flags.AA
        )
        message.set_opcode(dns.opcode.NOTIFY)
        # Section 3.7: with the SOA, a secondary that has it already need not ask.
        message.answer.append(zone.soa)
        self._wire = message.to_wire()
        self._port: Any = None
        self._heard: Deferred[dns.rcode.Rcode] = Deferred()

    def send(self, reactor: Any, server: Server, source: str) -> Deferred[dns.rcode.Rcode]:
        """The reply code. Fails with OSError where the packet cannot leave, or nobody listens."""
        interface = source or ("::" if server.family == 6 else "0.0.0.0")
        self._port = reactor.listenUDP(0, self, interface)
        self._port.connect(server.address, server.port)
        self._port.write(self._wire)
        return self._heard

    def close(self) -> None:
        if self._port is not None:
            self._port.stopListening()
            self._port = None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        # A connected socket hears nobody else; the id and the opcode say that it is the answer to this.
        same = datagram[:2] == self._wire[:2]
        if len(datagram) >= 12 and same and datagram[2] & 0xF8 == 0xA0 and not self._heard.called:
            self._heard.callback(dns.rcode.Rcode(datagram[3] & 0xF))

    def connectionRefused(self) -> None:
        if not self._heard.called:
            self._heard.errback(ConnectionRefusedError("nothing listens there"))

    def stopProtocol(self) -> None:
        """On epoll a refused datagram is a hangup: Twisted closes the port and tells nobody."""
        if self._port is not None:
            self._port = None
            self.connectionRefused()
