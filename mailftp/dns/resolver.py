"""A stub resolver on dnspython's codec: UDP with TCP fallback, retries, a cache by TTL, forwards by domain.

Only floor 1 knows how questions are sent; what an MX answer means is in mailftp.dns.mail.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime

from mailftp.dns.answers import (
    MAX_TTL,
    UNREADABLE,
    Answer,
    ChainFault,
    NoSuchData,
    NoSuchName,
    Outcome,
    Question,
    ResolutionFault,
    Step,
    Unresolved,
    domain_name,
    name_text,
    read_step,
)
from mailftp.dns.cache import Remembered
from mailftp.dns.exchange import Network, NoReply, TooLarge
from mailftp.dns.machine import ROUNDS, Machine
from mailftp.dns.servers import Routing, Server
from mailftp.settings import DNS
from mailftp.wire.journal import Journal

__all__ = ["Answer", "NoSuchData", "NoSuchName", "ResolutionFault", "Resolver", "Unresolved"]

TCP_SECONDS = 8.0
#: A whole question gives up after this, however many servers and aliases there are.
QUESTION_SECONDS = 25.0
#: A server that was silent is asked last for this long.
SUSPECT_SECONDS = 30.0
#: A failure is remembered too, or each message to a broken domain would wait for it anew (RFC 9520).
FAILURE_TTL = 1
#: Questions at the network at once; more wait for their turn.
UNDER_WAY = 200

Key = tuple[dns.name.Name, dns.rdatatype.RdataType]

#: RFC 6761 section 6.3: localhost is never asked of anybody.
_LOCALHOST = dns.name.Name([b"localhost", b""])
_LOOPBACK = {dns.rdatatype.A: "127.0.0.1", dns.rdatatype.AAAA: "::1"}


class Resolver:
    """Give it to whoever asks; `stop` it when the last of them is done."""

    def __init__(
        self,
        settings: DNS,
        reactor: IReactorTime,
        resolv_conf: Path = Path("/etc/resolv.conf"),
        hosts: Path | None = Path("/etc/hosts"),
    ) -> None:
        """`reactor` provides IReactorUDP and IReactorTCP as well. `resolv_conf` is read where no servers are
        set; both small files are read again when they change. Raises ValueError for a server or domain in the
        settings that cannot be read."""
        self._routing = Routing(settings.servers, settings.forward)
        self._machine = Machine(None if self._routing.default else resolv_conf, hosts)
        self._trust_ad = settings.trust_ad
        #: Servers that do not give the question back as it was: they are asked in lower case.
        self._lowering: set[Server] = set()
        self._turn = 0
        self._network = Network(reactor)
        self._clock = reactor
        self._cache: Remembered[Key] = Remembered()
        self._waiting: dict[Key, list[Deferred[Answer]]] = {}
        self._running: set[Deferred[None]] = set()
        self._suspects: dict[Server, float] = {}
        self._turns = DeferredSemaphore(UNDER_WAY)
        self._stopped = False
        self._journal = Journal("dns")

    def lookup(self, name: str, kind: str) -> Deferred[Answer]:
        """`kind` is a type's mnemonic ("MX"). Fails with one of ResolutionFault's three. Questions for one
        name and type that are under way are asked once."""
        answer: Deferred[Answer] = Deferred(lambda given_up: self._leave(given_up))
        try:
            key = domain_name(name), dns.rdatatype.from_text(kind)
        except ValueError as fault:
            answer.errback(NoSuchName(str(fault)))
            return answer
        if self._stopped:
            answer.errback(Unresolved(f"{kind} of {name}: the resolver is stopped"))
            return answer
        now = self._clock.seconds()
        self._machine.look(now)
        kept = self._cache.get(key, now)
        if self._machine.hosts.tell(key):
            _settle(answer, self._from_hosts(key), 0)
        elif kept is not None:
            _settle(answer, *kept)
        elif key in self._waiting:
            self._waiting[key].append(answer)
        else:
            self._waiting[key] = [answer]
            running = self._turns.run(lambda: Deferred.fromCoroutine(self._answer_all(key)))
            self._running.add(running)
            running.addBoth(self._ended, running)
        return answer

    def _from_hosts(self, key: Key) -> Outcome:
        """An address in the machine's own list stands alone: one of the other family is not asked for."""
        records = self._machine.hosts.records.get(key, ())
        if records:
            return Outcome(0, answer=Answer(records, name_text(key[0]), 0, False))
        what = f"{dns.rdatatype.to_text(key[1])} of {name_text(key[0])}"
        return Outcome(0, fault=NoSuchData, text=f"{what}: the hosts file has none")

    def stop(self) -> Deferred[None]:
        """Fail what is under way, close sockets."""
        self._stopped = True
        for running in list(self._running):
            running.cancel()
        # Those whose question had not had its turn yet.
        for name, kind in list(self._waiting):
            what = f"{dns.rdatatype.to_text(kind)} of {name_text(name)}"
            self._tell((name, kind), Outcome(0, text=f"{what}: the resolver is stopped"), 0)
        return Deferred.fromCoroutine(self._network.all_closed())

    async def _answer_all(self, key: Key) -> None:
        """Ask, remember, and tell everybody who waits."""
        name, kind = key
        what = f"{dns.rdatatype.to_text(kind)} of {name_text(name)}"
        try:
            outcome = await Deferred.fromCoroutine(self._resolve(name, kind, what)).addTimeout(
                QUESTION_SECONDS, self._clock
            )
        except TimeoutError:
            outcome = Outcome(FAILURE_TTL, text=f"{what}: no answer in {QUESTION_SECONDS:.0f} seconds")
        except CancelledError:
            outcome = Outcome(0, text=f"{what}: the resolver is stopped")
        except Exception:
            self._journal.fault("dns_fault", question=what)
            outcome = Outcome(0, text=f"{what}: an error in the resolver")
        ttl = min(outcome.ttl, MAX_TTL)
        self._cache.put(key, outcome, outcome.size, ttl, self._clock.seconds())
        self._tell(key, outcome, ttl)

    def _tell(self, key: Key, outcome: Outcome, ttl: int) -> None:
        for answer in self._waiting.pop(key, ()):
            _settle(answer, outcome, ttl)

    async def _resolve(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, what: str) -> Outcome:
        """Follow the aliases from server to server until there are records, or there is nothing."""
        if name.is_subdomain(_LOCALHOST):
            return _local(name, kind, what)
        chain, ttl, authentic = [name], MAX_TTL, True
        try:
            while True:
                servers = self._servers(chain[-1])
                reply = await self._ask(servers, chain[-1], kind)
                authentic = authentic and self._trusted(servers) and bool(reply.flags & dns.flags.AD)
                step = read_step(reply, chain, kind, self._believed(servers))
                ttl = min(ttl, step.ttl)
                if step.missing is not None:
                    words = "no such name" if step.missing is NoSuchName else "no such record"
                    return Outcome(ttl, fault=step.missing, text=f"{what}: {words}")
                if step.records:
                    return _found(step, ttl, authentic)
        except (ChainFault, NoReply) as fault:
            return Outcome(FAILURE_TTL, text=f"{what}: {fault}")

    def _believed(self, servers: tuple[Server, ...]) -> Callable[[dns.name.Name], bool]:
        """Whether these servers are the ones to say something of a name: what `forward` sends elsewhere is
        not theirs, wherever their aliases lead."""
        return lambda alias: self._servers(alias) == servers

    def _servers(self, name: dns.name.Name) -> tuple[Server, ...]:
        return self._routing.of(name) or self._machine.resolv_conf.servers

    def _trusted(self, servers: tuple[Server, ...]) -> bool:
        """Whether their AD bit counts: by the settings, or by `options trust-ad` of resolv.conf(5)."""
        conf = self._machine.resolv_conf
        return self._trust_ad or not self._routing.default and servers == conf.servers and conf.trust_ad

    def _order(self, servers: tuple[Server, ...], now: float) -> list[Server]:
        """Those that were silent last."""
        if servers == self._machine.resolv_conf.servers and self._machine.resolv_conf.rotate:
            self._turn += 1
            first = self._turn % len(servers)
            servers = servers[first:] + servers[:first]
        return sorted(servers, key=lambda server: self._suspects.get(server, 0) > now)

    async def _ask(
        self, servers: tuple[Server, ...], name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> dns.message.Message:
        """The first usable reply of these servers, in rounds with growing patience. Raises NoReply."""
        said: dict[Server, str] = {}
        rounds = ROUNDS if self._routing.default else self._machine.resolv_conf.rounds
        for seconds in rounds:
            now = self._clock.seconds()
            for server in self._order(servers, now):
                try:
                    reply = await self._ask_one(server, name, kind, seconds)
                except NoReply as fault:
                    said[server] = str(fault)
                except TimeoutError:
                    said[server] = "no answer in time"
                else:
                    self._suspects.pop(server, None)
                    if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                        return reply
                    said[server] = dns.rcode.to_text(reply.rcode())
                    continue
                self._suspects[server] = now + SUSPECT_SECONDS
        raise NoReply(", ".join(f"{server}: {words}" for server, words in said.items()))

    async def _ask_one(
        self, server: Server, name: dns.name.Name, kind: dns.rdatatype.RdataType, seconds: float
    ) -> dns.message.Message:
        for edns in (True, False):
            question = Question.of(name, kind, edns, mixed=server not in self._lowering)
            try:
                if self._machine.resolv_conf.use_tcp:
                    raise TooLarge
                reply = await self._network.ask_udp(server, question, seconds)
            except TooLarge:
                reply = await self._network.ask_tcp(server, question, TCP_SECONDS)
                if not question.echoed:
                    self._lowering.add(server)
            if reply.rcode() not in UNREADABLE:
                break
        return reply

    def _ended(self, _: object, running: Deferred[None]) -> None:
        self._running.discard(running)

    def _leave(self, given_up: Deferred[Answer]) -> None:
        """Whoever asked no longer wants to know; the question goes on for the others and for the cache."""
        for waiting in self._waiting.values():
            if given_up in waiting:
                waiting.remove(given_up)


def _settle(answer: Deferred[Answer], outcome: object, ttl: int) -> None:
    assert isinstance(outcome, Outcome)
    try:
        answer.callback(outcome.take(ttl))
    except ResolutionFault as fault:
        answer.errback(fault)


def _found(step: Step, ttl: int, authentic: bool) -> Outcome:
    answer = Answer(step.records, name_text(step.name), ttl, authentic)
    # What an Rdata costs in memory beyond its octets was measured as some 200 octets each.
    size = 200 + sum(200 + len(record.to_wire() or b"") for record in step.records)
    return Outcome(ttl, size, answer)


def _local(name: dns.name.Name, kind: dns.rdatatype.RdataType, what: str) -> Outcome:
    if kind not in _LOOPBACK:
        return Outcome(MAX_TTL, fault=NoSuchData, text=f"{what}: no such record")
    record = dns.rdata.from_text(dns.rdataclass.IN, kind, _LOOPBACK[kind])
    return Outcome(MAX_TTL, answer=Answer((record,), name_text(name), MAX_TTL, False))
