"""A far side that fails as it is told, and a house that sends it mail; all in memory
(tests.delivery.network).

A `Script` says what the far side answers at each step, where it hangs up, and what it claims to know. The
steps, in their order: banner, EHLO (LHLO), HELO, STARTTLS, "EHLO tls", AUTH, MAIL, "RCPT bob", "RCPT eve",
DATA, ".", RSET, QUIT; of LMTP ". bob" and ". eve" in place of ".". With CHUNKING a piece is
BDAT, and "." where it is the last.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from mailftp.delivery import DeliveryService
from mailftp.intake.intake import Intake
from mailftp.settings import Delivery, Settings, Smarthost
from mailftp.store.memory import MemoryStore
from mailftp.store.queries import Bodies, MailboxSince, QueueAttempts, QueueList
from mailftp.store.records import Attempt, ForwardPath, QueueFilter, QueueMessage, RecipientState, Transfer
from mailftp.store.units import Accept, AddAccount
from tests.delivery.network import Line, Network
from tests.dns.table import Table
from tests.smtp.far_side import certificate
from tests.store.messages import VERIFIER, staged

MESSAGE = b"From: alice@a.test\r\nSubject: hello\r\nMessage-ID: <1@a.test>\r\n\r\nBody.\r\n.dot\r\n"
PREFIX = b"Received: here\r\n"
#: Of the settings: the second attempt comes after any stall of the first.
RETRY = 7200.0

USUAL = ("PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES")
REPLIES: dict[str, bytes] = {
    "banner": b"220 far.test ESMTP\r\n",
    "HELO": b"250 far.test\r\n",
    "STARTTLS": b"220 2.0.0 go ahead\r\n",
    "AUTH": b"235 2.7.0 welcome\r\n",
    "MAIL": b"250 2.1.0 sender ok\r\n",
    "RCPT": b"250 2.1.5 recipient ok\r\n",
    "DATA": b"354 go ahead\r\n",
    ".": b"250 2.0.0 taken\r\n",
    "RSET": b"250 2.0.0 reset\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}
KNOWN = ("DATA", "HELO", "STARTTLS", "QUIT", "EHLO", "LHLO", "RCPT")
_POSITIVE = re.compile(rb"2[0-9]{2}(?:[ \r\n])", re.DOTALL)
_ADDRESS = re.compile(rb"<([^@>]*)@")


@cache
def server_context() -> SSL.Context:
    context: SSL.Context = certificate("far.test")[0].getContext()
    return context


@dataclass
class Script:
    #: Step -> the octets that it answers with; None: it forgets to answer, and goes on.
    says: dict[str, bytes | None] = field(default_factory=dict)
    extensions: tuple[str, ...] = USUAL
    lmtp: bool = False
    #: STARTTLS is offered, and the handshake is made.
    tls: bool = False
    #: Something before it makes nothing of BDAT: the piece behind it are commands to it.
    overwrites_bdat: bool = False
    #: It hangs up after so many octets of its own, or of ours; by a reset or in order.
    cut_saying: int | None = None
    cut_hearing: int | None = None
    #: It hangs up in place of the answer at this step, or after it.
    hangs_up_at: str = ""
    hangs_up_after: str = ""
    reset: bool = False
    #: It answers nothing at this step, and nothing any more.
    silent_at: str = ""
    #: It does not read what comes after its answer at this step.
    deaf_after: str = ""
    #: Octets of this answer come one by one with so many seconds between them, and then no more.
    drips: str = ""
    drip_seconds: float = 100.0
    #: Behind its answer at this step come these octets, past TLS.
    beside_tls: tuple[str, bytes] | None = None


@dataclass
class Host:
    """Where the far ends of all connections keep what they took."""

    network: Network
    script: Script
    #: The recipients' local parts and the message, of each transaction whose end was answered with 2xx.
    taken: list[tuple[tuple[str, ...], bytes]] = field(default_factory=list)
    connections: int = 0
    #: Octets that a far end said and heard, for the longest connection.
    said: bytes = b""
    heard: bytes = b""
    #: Every command of every connection.
    lines: list[bytes] = field(default_factory=list)

    def __call__(self) -> ScriptedEnd:
        self.connections += 1
        return ScriptedEnd(self, self.script)

    @property
    def copies(self) -> Counter[str]:
        return Counter(name for names, _ in self.taken for name in names)


class ScriptedEnd:
    def __init__(self, host: Host, script: Script) -> None:
        self.host, self.script = host, script
        self.line: Line
        self._buffer = b""
        self._said = self._heard = 0
        self._all_said, self._all_heard = b"", b""
        self._in_data = self._secure = self._frozen = False
        self._names: list[str] = []
        #: Octets that the piece still has, and whether it is the last; of a message in pieces, what came.
        self._chunk: tuple[int, bool] | None = None
        self._pieces = b""
        self._login_steps = 0
        self._dripping: IDelayedCall | None = None

    # A connection's life.

    def connected(self, line: Line) -> None:
        self.line = line
        self._answer("banner")

    def lost(self) -> None:
        if self._dripping is not None:
            self._dripping.cancel()
        if len(self._all_said) > len(self.host.said):
            self.host.said = self._all_said
        if len(self._all_heard) > len(self.host.heard):
            self.host.heard = self._all_heard

    def received(self, data: bytes) -> None:
        cut = self.script.cut_hearing
        if cut is not None and self._heard + len(data) > cut:
            data = data[: cut - self._heard]
        self._heard += len(data)
        self._all_heard += data
        self._buffer += data
        while not (self.line.hung_up or self._frozen) and self._step():
            pass
        if cut is not None and self._heard >= cut:
            self.line.hang_up(self.script.reset)

    def _step(self) -> bool:
        if self._in_data:
            return self._message()
        if self._chunk is not None:
            return self._piece(*self._chunk)
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            return False
        self._buffer = rest
        self.host.lines.append(line)
        self._command(line)
        return True

    def _message(self) -> bool:
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
        if end < 2 and not self._buffer.startswith(b".\r\n"):
            return False
        message, self._buffer = self._buffer[:end], self._buffer[end + 3 :]
        self._in_data = False
        groups = [[name] for name in self._names] if self.script.lmtp else [self._names]
        for names in groups:
            step = f". {names[0]}" if self.script.lmtp else "."
            if _POSITIVE.match(self._reply(step) or b""):
                self.host.taken.append((tuple(names), message))
        # All are its own now; then it says so, as far as it gets.
        for names in groups:
            self._answer(f". {names[0]}" if self.script.lmtp else ".")
        self._names = []
        return True

    def _piece(self, size: int, last: bool) -> bool:
        """RFC 3030 section 2."""
        if len(self._buffer) < size:
            return False
        self._pieces, self._buffer = self._pieces + self._buffer[:size], self._buffer[size:]
        self._chunk = None
        if not self._names:
            self._say(b"503 5.5.1 no recipients\r\n")
        elif not last:
            self._answer("BDAT")
        else:
            if _POSITIVE.match(self._reply(".") or b""):
                self.host.taken.append((tuple(self._names), self._pieces))
            self._answer(".")
        if last:
            self._names, self._pieces = [], b""
        return True

    def _command(self, line: bytes) -> None:
        verb = line.split(b" ")[0].upper().decode("latin-1")
        step = verb
        if self._login_steps or verb == "AUTH":
            self._login(line)
            return
        if verb == "RCPT":
            found = _ADDRESS.search(line)
            step = f"RCPT {found[1].decode('latin-1')}" if found else verb
            if found and _POSITIVE.match(self._reply(step) or b""):
                self._names.append(found[1].decode("latin-1"))
        elif verb in ("EHLO", "LHLO") and self._secure:
            step = f"{verb} tls"
        elif verb in ("RSET", "MAIL"):
            self._names, self._pieces = [], b""
        elif verb == "BDAT" and not self.script.overwrites_bdat:
            words = line.split(b" ")
            self._chunk = int(words[1]), words[2:] == [b"LAST"]
            return
        elif verb not in KNOWN:
            self._say(b"500 5.5.2 what\r\n")
            return
        self._answer(step)
        if verb == "DATA" and (self._reply("DATA") or b"").startswith(b"354"):
            self._in_data = True
        elif verb == "STARTTLS" and self.script.tls and (self._reply(step) or b"").startswith(b"220"):
            self._secure = True
            self.line.start_tls(server_context())
        elif verb == "QUIT":
            self.line.hang_up()

    def _login(self, line: bytes) -> None:
        """PLAIN in one step; LOGIN asks for the name and the password."""
        if line.upper().startswith(b"AUTH LOGIN"):
            self._login_steps = 2
            self._answer("AUTH LOGIN")
        elif self._login_steps == 2:
            self._login_steps = 1
            self._answer("AUTH name")
        else:
            self._login_steps = 0
            self._answer("AUTH")

    # What it says.

    def _reply(self, step: str) -> bytes | None:
        says = self.script.says
        verb = step.split(" ")[0]
        for key in (step, verb):
            if key in says:
                return says[key]
        if verb in ("EHLO", "LHLO"):
            words = ["far.test", *self.script.extensions]
            if self.script.tls and not self._secure:
                words.append("STARTTLS")
            lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
            return "".join(f"{text}\r\n" for text in lines).encode("utf-8", "surrogateescape")
        if step in ("AUTH LOGIN", "AUTH name"):
            return b"334 VXNlcm5hbWU6\r\n"
        if step == "DATA" and not self._names:
            return b"503 5.5.1 no recipients\r\n"
        return REPLIES.get(verb, b"250 2.0.0 ok\r\n")

    def _answer(self, step: str) -> None:
        script = self.script
        if script.hangs_up_at == step:
            self.line.hang_up(script.reset)
            return
        reply = self._reply(step)
        self._frozen = step in (script.silent_at, script.drips)
        if script.drips == step:
            self._drip(reply or b"")
        elif reply is not None and not self._frozen:
            self._say(reply)
        if script.beside_tls is not None and script.beside_tls[0] == step:
            self.line.say_raw(script.beside_tls[1])
        if script.deaf_after == step:
            self.line.reading = False
        if script.hangs_up_after == step:
            self.line.hang_up(script.reset)

    def _drip(self, octets: bytes) -> None:
        if octets:
            self._dripping = self.host.network.callLater(self.script.drip_seconds, self._drop, octets)

    def _drop(self, octets: bytes) -> None:
        self._dripping = None
        self._say(octets[:1])
        self._drip(octets[1:])

    def _say(self, octets: bytes) -> None:
        cut = self.script.cut_saying
        if cut is not None:
            octets = octets[: max(0, cut - self._said)]
        self._said += len(octets)
        if len(octets) < 100_000:
            self._all_said += octets
        self.line.say(octets)
        if cut is not None and self._said >= cut:
            self.line.hang_up(self.script.reset)


class House:
    """Alice's house: what she sends to bob and eve at b.test goes to the far side of the script, what she
    sends to carol at c.test to one without fault."""

    def __init__(
        self, script: Script, *, smarthost: bool = False, folder: Path | None = None, **delivery
    ) -> None:
        self.network = Network()
        self.network.advance(1_000_000_000)
        self.far, self.good = Host(self.network, script), Host(self.network, Script())
        self.network.listen("127.0.0.2", 25, self.far)
        self.network.listen("127.0.0.3", 25, self.good)
        lmtp = "lmtp:" if script.lmtp else ""
        routes = {"b.test": f"{lmtp}127.0.0.2:25", "c.test": "127.0.0.3:25"}
        if smarthost:
            assert folder is not None
            (folder / "secret").write_text("hungry\n")
            delivery["smarthost"] = Smarthost("127.0.0.2:25", "alice", folder / "secret")
            del routes["b.test"]
        settings = Settings(
            folder=None,
            data=Path("/nonexistent/data"),
            hostname="mx.a.test",
            domains=("a.test",),
            delivery=Delivery(routes=routes, retry=(RETRY,), delay_warning=4 * RETRY, **delivery),
        )
        #: What the wall clock is ahead of the one that only counts: it can be set.
        self.ahead = 0.0
        self.settings = settings
        self.store = MemoryStore(self.now)
        result(self.store.start())
        self.alice = result(self.store.commit(AddAccount("alice@a.test", VERIFIER)))
        self.service = self.deliverer()

    def now(self) -> float:
        return self.network.seconds() + self.ahead

    def deliverer(self, hostname: str = "mx.a.test") -> DeliveryService:
        """A delivery on this store; a node of another name, or the same one after a restart."""
        settings = replace(self.settings, hostname=hostname)
        return DeliveryService(
            settings,
            self.store,
            Table(),
            Intake(settings, self.store, self.now),
            self.network,
            (("127.0.0.1", 1),),
            now=self.now,
            chance=lambda: 0.5,
        )

    def send(self, *recipients: str, message: bytes = MESSAGE, **transfer) -> int:
        body = result(Deferred.fromCoroutine(staged(self.store, message)))
        paths = tuple(map(ForwardPath, recipients))
        envelope = Transfer("alice@a.test", paths, PREFIX, context="smtp-1", **transfer)
        return result(self.store.commit(Accept(body, self.now(), (), envelope))).queued

    def run(self) -> None:
        """Until nobody works on anything any more, however long a far side takes."""
        if not self.service.running:
            self.service.startService()
        self.network.settle()
        while any(r.lease_owner for message in self.queue() for r in message.recipients):
            self.network.pass_time(10)

    def retry(self) -> None:
        """The time of the next attempt."""
        self.network.pass_time(RETRY)
        self.run()

    def stop(self) -> None:
        """Raises AssertionError when something is left."""
        stopping = self.service.stopService()
        self.network.pass_time(60)
        result(stopping)
        assert self.network.open_connections == 0, "a connection is left open"
        calls = self.network.getDelayedCalls()
        assert not calls, f"calls are left: {calls}"

    # What there is.

    def queue(self) -> tuple[QueueMessage, ...]:
        return result(self.store.read(QueueList(QueueFilter(states=frozenset(RecipientState)))))

    def states(self) -> dict[str, str]:
        return {
            r.address.partition("@")[0]: r.state.value for message in self.queue() for r in message.recipients
        }

    def attempts(self, number: int) -> dict[str, list[Attempt]]:
        """By the recipient's local part."""
        names = {r.id: r.address.partition("@")[0] for m in self.queue() for r in m.recipients}
        found: dict[str, list[Attempt]] = {}
        for attempt in result(self.store.read(QueueAttempts(number))):
            found.setdefault(names[attempt.recipient_id], []).append(attempt)
        return found

    def inbox(self) -> list[bytes]:
        """Alice's: the reports that she had."""
        changes = result(self.store.read(MailboxSince(self.alice.id)))
        bodies = [result(self.store.read(Bodies((m.body,)))) for m in changes.messages]
        return [data for (data,) in bodies]


def result(deferred):
    """What a Deferred that has fired has; AssertionError where it has not, and its failure raised."""
    found: list[object] = []
    deferred.addBoth(found.append)
    assert found, "it has not fired"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
