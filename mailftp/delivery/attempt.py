"""One message to one domain: host after host until one of them has answered for every recipient."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from mailftp.delivery.at_hand import BodiesAtHand
from mailftp.delivery.destinations import Answer, Connections, Link
from mailftp.delivery.downgrade import explained, holds, to_remember
from mailftp.delivery.release import release
from mailftp.delivery.routes import Hop, Router
from mailftp.delivery.schedule import expired
from mailftp.delivery.signing import Signer
from mailftp.delivery.transports import LARGEST, OutgoingMail, Transports
from mailftp.delivery.verdict import Job, NotNow, Result, Verdict, by_reply, for_all
from mailftp.intake.intake import Intake
from mailftp.message.seven_bit import as_seven_bit
from mailftp.smtp.client import (
    ConnectionFault,
    OutgoingBody,
    Reply,
    Target,
    TransactionResult,
    Wishes,
    connect,
)
from mailftp.smtp.client_limits import most_recipients
from mailftp.store.engine import Store, StoreFault
from mailftp.store.queries import Bodies, FindTLSMemory, OpenBody, ReadStart
from mailftp.store.records import ForwardPath, Handling, QueueMessage, QueueRecipient, TLSMemory
from mailftp.store.units import RememberTLS

#: Recipients of one transaction: what RFC 5321 section 4.5.3.1.8 has every server take.
RECIPIENTS = 100
#: Of a message in a file, what is read to find its header.
HEADER = 64 * 1024
#: Seconds for a TCP connection to come about.
CONNECT_SECONDS = 30.0
#: RFC 3463 section 3.8, X.7.4: security features are not supported.
DOWNGRADED = "4.7.4"


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with."""

    store: Store
    router: Router
    connections: Connections
    reactor: IReactorTime
    threads: ThreadPool
    helo: str
    #: Makes TLS connections for the smarthost instead of one that trusts the machine's authorities.
    creator: IOpenSSLClientConnectionCreator | None = None
    signer: Signer | None = None
    #: Files what was held and is for this house.
    intake: Intake | None = None
    #: Seconds since the epoch.
    now: Callable[[], float] = time.time
    transports: Transports = field(default_factory=Transports)
    at_hand: BodiesAtHand = field(default_factory=BodiesAtHand)
    #: Seconds that STARTTLS of a domain is remembered; 0: it is not.
    tls_memory: float = 0.0


class Attempt:
    """`run` once. `stop` makes it end with what it knows, at the next step. `dead` says why the destination
    is not to be called now, or ""."""

    def __init__(self, means: Means, job: Job, dead: str = "") -> None:
        self._dead = dead
        self._means, self._job = means, job
        self._left = list(job.recipients)
        #: The message as far sides with and without 8BITMIME get it.
        self._ready: dict[bool, OutgoingBody] = {}
        self._verdicts: list[Verdict] = []
        self._stopping = False
        #: Why it ends when it is cut.
        self.ending = "the server was stopped"
        #: One of its hosts has greeted us.
        self.met = False
        self._hurried = ""
        #: Hosts that offer CHUNKING and do not know BDAT.
        self._without_chunks: set[Hop] = set()
        #: STARTTLS of the domain's hosts counts, and what was remembered of it; what is to be written down.
        self._remembers = False
        self._memory: TLSMemory | None = None
        self.tls_learnt: RememberTLS | None = None
        #: How the destination took it, and in words why it is silent, if it is.
        self.answer, self.reason = Answer.UNKNOWN, ""

    def stop(self) -> None:
        self._stopping = True

    def hurry(self) -> None:
        """It has said nothing for long enough; whoever calls this cancels `run` then."""
        self._stopping = True
        self.ending = self._hurried = "it kept us waiting for its first word while other mail waited"
        self._note(Answer.SILENT, self.ending)

    async def run(self) -> list[Verdict]:
        """A verdict for each recipient of the job. Raises only what is an error of ours."""
        if self._job.give_up:
            # RFC 3463 section 3.1: no code fits better, and the text says it.
            return for_all(self._job, NotNow("5.0.0", "returned by the postmaster", permanent=True))
        handling = self._job.message.transfer.handling
        if expired(handling, self._means.now()):
            return for_all(
                self._job, NotNow("5.4.7", "the time by which it had to be delivered is over", True)
            )
        intake = self._means.intake
        if handling.hold_until and intake is not None and intake.serves(self._job.domain):
            try:
                return await release(self._means, intake, self._job)
            except (StoreFault, OSError, CancelledError) as fault:
                return for_all(self._job, NotNow("4.3.0", f"the message could not be read: {fault}"))
        return await self._go()

    async def _go(self) -> list[Verdict]:
        """By the way that the operator, a rule or the domain says."""
        rule = None if self._job.route else self._job.rule
        if rule is None and not self._job.route and self._dead:
            return for_all(self._job, NotNow("4.4.1", f"not tried again so soon: {self._dead}"))
        if rule is not None and rule.to == "refuse":
            code, status, text = rule.refusal.split(" ", 2)
            return [by_reply(recipient, Reply(int(code), status, text)) for recipient in self._left]
        try:
            if rule is not None and rule.to.startswith("plugin:"):
                return await self._by_plugin(rule.to.removeprefix("plugin:"))
            hops = await self._means.router.hops(self._job.domain, self._job.route, rule)
            await self._recall()
            body = await self._load()
        except NotNow as fault:
            return for_all(self._job, fault)
        except CancelledError:
            return for_all(self._job, NotNow("4.3.2", self.ending))
        try:
            await self._try_all(hops, body)
        except CancelledError:
            self._verdicts += [self._deferred(recipient) for recipient in self._left]
        finally:
            if body.descriptor >= 0:
                os.close(body.descriptor)
        return self._verdicts

    async def _recall(self) -> None:
        """Raises NotNow: not to know is no reason to send in the clear."""
        means, job = self._means, self._job
        if not means.tls_memory or job.route or not means.router.leads_home(job.domain, job.rule):
            return
        try:
            self._memory = await means.store.read(FindTLSMemory(job.domain))
        except (StoreFault, OSError) as fault:
            raise NotNow("4.3.0", f"whether {job.domain} took mail over STARTTLS cannot be read: {fault}")
        self._remembers = True

    async def _load(self) -> OutgoingBody:
        """Raises NotNow."""
        try:
            return await load_body(self._means, self._job.message)
        except (StoreFault, OSError) as fault:
            raise NotNow("4.3.0", f"the message could not be read: {fault}")

    async def _by_plugin(self, name: str) -> list[Verdict]:
        """Raises NotNow."""
        job, transfer, ref = self._job, self._job.message.transfer, self._job.message.body
        if ref.size > LARGEST:
            raise NotNow("5.3.4", f"the message is too large for {name}", permanent=True)
        try:
            data = await self._means.store.read(ReadStart(ref, ref.size))
        except (StoreFault, OSError) as fault:
            raise NotNow("4.3.0", f"the message could not be read: {fault}")
        body = await self._signed(OutgoingBody(transfer.prefix, len(data), data, eightbit=transfer.eightbit))
        paths = tuple(ForwardPath(r.address, r.orcpt, r.notify) for r in job.recipients)
        mail = OutgoingMail(
            job.message.id, transfer.reverse_path, paths, body.prefix + data, job.recipients[0].attempt
        )
        replies = await self._means.transports.deliver(name, mail)
        nothing = Reply(451, "4.3.0", f"{name} said nothing of this recipient")
        return [
            by_reply(recipient, replies.get(recipient.address, nothing), remote=name)
            for recipient in job.recipients
        ]

    async def _signed(self, body: OutgoingBody) -> OutgoingBody:
        """The last that is done to a message: what changes an octet of it comes before."""
        signer, message = self._means.signer, self._job.message
        return body if signer is None else await signer.signed(message.id, message.transfer, body)

    async def _for(self, link: Link, body: OutgoingBody) -> OutgoingBody:
        """As this far side can have it: in 7 bits where it does not offer 8BITMIME, and then signed."""
        seven = body.eightbit and "8BITMIME" not in link.client.extensions
        if seven not in self._ready:
            self._ready[seven] = await self._signed(await self._in_seven_bits(body) if seven else body)
        return self._ready[seven]

    async def _in_seven_bits(self, body: OutgoingBody) -> OutgoingBody:
        means = self._means
        data = await deferToThreadPool(
            means.reactor,  # type: ignore[arg-type]  # the reactor, of which most of us use the clock
            means.threads,
            _seven_bit,
            body,
        )
        return replace(body, length=len(data), data=data, descriptor=-1, eightbit=False)

    async def _try_all(self, hops: tuple[Hop, ...], body: OutgoingBody) -> None:
        last: Verdict | None = None
        downgraded: Verdict | None = None
        refusing = 0
        for hop in hops:
            if self._stopping:
                break
            try:
                await self._try_host(hop, body)
            except ConnectionFault as fault:
                refusing += fault.no_mail
                # RFC 7504 section 3: it is for good when no host of the domain is left to ask.
                last = self._broken(hop, fault, permanent=refusing == len(hops))
                if last.status == DOWNGRADED:
                    # It tells more than that another host did not answer.
                    downgraded = last
                self._note(Answer.BUSY if fault.dialogue else Answer.SILENT, last.text)
                if fault.undecided:
                    # It has the whole message and may have kept it: another host now would be a second copy.
                    downgraded = None
                    break
            if not self._left:
                return
        last = downgraded or last
        for recipient in self._left:
            self._verdicts.append(_moved(last, recipient) if last else self._deferred(recipient))

    async def _try_host(self, hop: Hop, body: OutgoingBody) -> None:
        """Settle what is left by this host. Raises ConnectionFault with the rest still left."""
        hop = replace(hop, tls=self._required(hop))
        link = self._means.connections.take(hop)
        if link is not None:
            self.met = True
            try:
                await self._send_all(link, body)
            except ConnectionFault as fault:
                if fault.undecided:
                    raise
                self._without(hop, fault)
                # It closed the connection as we began, or says 421 to one message more: it only did not want
                # to wait, or to go on. A new one, then.
        while self._left and not self._stopping:
            try:
                await self._send_all(await self._open(hop), body)
            except ConnectionFault as fault:
                # Once a host: without CHUNKING it does not come again.
                if not self._without(hop, fault):
                    raise

    def _without(self, hop: Hop, fault: ConnectionFault) -> bool:
        """Whether the host can be had by a new connection with DATA."""
        if fault.no_chunks:
            self._without_chunks.add(hop)
        return fault.no_chunks

    async def _open(self, hop: Hop) -> Link:
        means = self._means
        target = Target(
            host=hop.host,
            address=hop.address,
            port=hop.port,
            helo=means.helo,
            lmtp=hop.lmtp,
            tls=hop.tls,
            tlsa=hop.tlsa,
            domain=hop.domain,
            username=hop.username,
            password=hop.password,
            source=hop.source,
            socks=hop.socks,
            socks_login=hop.socks_login,
            chunking=hop not in self._without_chunks,
        )
        creator = means.creator if hop.tls in ("required", "implicit") else None
        client = await connect(means.reactor, target, CONNECT_SECONDS, threads=means.threads, creator=creator)
        self.met = True
        return Link(hop, client)

    def _required(self, hop: Hop) -> str:
        """RFC 8689 section 4.2.1: no step in the clear, and none to a host that cannot prove who it is."""
        required = self._job.message.transfer.handling.requiretls and hop.tls in ("opportunistic", "none")
        if required:
            return "required"
        insisted = holds(self._memory, self._means.tls_memory, self._means.now())
        return "encrypted" if insisted and hop.tls == "opportunistic" else hop.tls

    async def _send_all(self, link: Link, body: OutgoingBody) -> None:
        try:
            ready = await self._for(link, body)
            recipients = most_recipients(link.client.extensions, RECIPIENTS)
            while self._left and not self._stopping and not link.spent:
                await self._send_some(link, self._left[:recipients], ready)
        finally:
            self._means.connections.give(link)

    async def _send_some(self, link: Link, some: list[QueueRecipient], body: OutgoingBody) -> None:
        transfer = self._job.message.transfer
        paths = tuple(ForwardPath(r.address, r.orcpt, r.notify) for r in some)
        link.used += 1
        try:
            result = await link.client.send(
                transfer.reverse_path,
                paths,
                body,
                ret=transfer.ret,
                envid=transfer.envid,
                wishes=_wishes(transfer.handling, self._means.now()),
            )
        except ConnectionFault as fault:
            self._settle(link, some, TransactionResult(fault.replies, fault.dialogue))
            raise
        self._settle(link, some, result)

    def _note(self, answer: Answer, reason: str = "") -> None:
        """The best that any of its hosts did counts. A host of the operator's choice says nothing about who
        else is silent."""
        chosen = self._job.route or self._job.rule is not None
        if answer.weight > self.answer.weight and not (chosen and answer is Answer.SILENT):
            self.answer, self.reason = answer, reason

    def _settle(self, link: Link, some: list[QueueRecipient], result: TransactionResult) -> None:
        for recipient in some:
            reply = result.replies.get(recipient.address)
            if reply is not None:
                self._note(Answer.ANSWERED)
                self._learn(link, reply)
                self._left.remove(recipient)
                verdict = by_reply(
                    recipient,
                    reply,
                    remote=link.client.remote,
                    tls=link.client.tls,
                    dialogue=result.dialogue,
                    reports_itself="DSN" in link.client.extensions,
                    final=link.hop.lmtp,
                )
                self._verdicts.append(verdict)

    def _learn(self, link: Link, reply: Reply) -> None:
        """A host that took mail over STARTTLS. One that refuses all may be anybody."""
        if not self._remembers or reply.code >= 400 or not link.client.tls or link.hop.tls == "implicit":
            return
        seconds, now = self._means.tls_memory, self._means.now()
        self.tls_learnt = to_remember(self._job.domain, link.hop.host, self._memory, seconds, now)

    def _deferred(self, recipient: QueueRecipient) -> Verdict:
        return Verdict(recipient, Result.LATER, "4.3.2", self.ending)

    def _broken(self, hop: Hop, fault: ConnectionFault, permanent: bool) -> Verdict:
        """What is said of those that are left when no host does better."""
        remote = f"{hop.host} [{hop.address}]:{hop.port}"
        text = self._hurried or str(fault)
        text = text if remote in text else f"{remote}: {text}"
        # RFC 3463 section 3.4: X.3.2 is a host that takes no mail.
        status = "5.3.2" if permanent else "4.4.2" if fault.dialogue else "4.4.1"
        dialogue = fault.dialogue
        if fault.tls_failed and self._memory is not None and self._required(hop) == "encrypted":
            text = explained(text, self._memory, self._means.tls_memory)
            status, dialogue = DOWNGRADED, f"{dialogue}\n*: {text}"
        return Verdict(
            self._left[0] if self._left else self._job.recipients[0],
            Result.FAILED if permanent else Result.LATER,
            status,
            text,
            remote=remote,
            dialogue=dialogue,
        )


def _seven_bit(body: OutgoingBody) -> bytes:
    """On a thread."""
    data = body.data
    if data is None:
        with open(os.dup(body.descriptor), "rb") as file:
            data = os.pread(file.fileno(), body.length, 0)
    return as_seven_bit(data)


def _moved(verdict: Verdict, recipient: QueueRecipient) -> Verdict:
    return Verdict(
        recipient,
        verdict.result,
        verdict.status,
        verdict.text,
        remote=verdict.remote,
        dialogue=verdict.dialogue,
    )


def _wishes(handling: Handling, now: float) -> Wishes:
    """What the next host is asked, with the time that is left (RFC 2852 section 4.1.4)."""
    return Wishes(
        requiretls=handling.requiretls,
        priority=handling.priority,
        by_seconds=int(handling.deliver_by - now) if handling.by_mode else 0,
        by_mode=handling.by_mode,
    )


async def load_body(means: Means, message: QueueMessage) -> OutgoingBody:
    """The message ready to be sent; its `descriptor`, when it has one, is the caller's to close. Raises
    StoreFault or OSError."""
    transfer, ref = message.transfer, message.body
    if not ref.large:
        data = means.at_hand.get(message.id)
        if data is None:
            (data,) = await means.store.read(Bodies((ref,)))
        return OutgoingBody(
            transfer.prefix,
            len(data),
            data,
            eightbit=transfer.eightbit,
            smtputf8=transfer.smtputf8 and _utf8_header(data),
        )
    smtputf8 = transfer.smtputf8 and _utf8_header(await means.store.read(ReadStart(ref, HEADER)))
    descriptor = await means.store.read(OpenBody(ref))
    return OutgoingBody(
        transfer.prefix, ref.size, None, descriptor, eightbit=transfer.eightbit, smtputf8=smtputf8
    )


def _utf8_header(data: bytes) -> bool:
    """RFC 6531's parameter is needed for a header in UTF-8, not for a client that just might have had one."""
    return not data.partition(b"\r\n\r\n")[0].isascii()
