"""One message to one domain: host after host until one of them has answered for every recipient."""

from __future__ import annotations

import os
from dataclasses import dataclass

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.python.threadpool import ThreadPool

from mailftp.delivery.destinations import Connections, Link
from mailftp.delivery.routes import Hop, Router
from mailftp.delivery.signing import Signer
from mailftp.delivery.verdict import Job, NotNow, Result, Verdict, by_reply, for_all
from mailftp.smtp.client import ConnectionFault, OutgoingBody, Target, TransactionResult, connect
from mailftp.store.engine import Store, StoreFault
from mailftp.store.queries import Bodies, OpenBody, ReadStart
from mailftp.store.records import ForwardPath, QueueMessage, QueueRecipient

#: Recipients of one transaction: what RFC 5321 section 4.5.3.1.8 has every server take.
RECIPIENTS = 100
#: Of a message in a file, what is read to find its header.
HEADER = 64 * 1024
#: Seconds for a TCP connection to come about.
CONNECT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Means:
    """What attempts are made with."""

    store: Store
    router: Router
    connections: Connections
    reactor: IReactorTime
    threads: ThreadPool
    helo: str
    password: str = ""
    #: Makes TLS connections for the smarthost instead of one that trusts the machine's authorities.
    creator: IOpenSSLClientConnectionCreator | None = None
    signer: Signer | None = None


class Attempt:
    """`run` once. `stop` makes it end with what it knows, at the next step."""

    def __init__(self, means: Means, job: Job) -> None:
        self._means, self._job = means, job
        self._left = list(job.recipients)
        self._verdicts: list[Verdict] = []
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> list[Verdict]:
        """A verdict for each recipient of the job. Raises only what is an error of ours."""
        if self._job.give_up:
            # RFC 3463 section 3.1: no code fits better, and the text says it.
            return for_all(self._job, NotNow("5.0.0", "returned by the postmaster", permanent=True))
        try:
            hops = await self._means.router.hops(self._job.domain, self._job.route)
        except NotNow as fault:
            return for_all(self._job, fault)
        except CancelledError:
            return for_all(self._job, _given_up())
        try:
            body = await load_body(self._means, self._job.message)
        except (StoreFault, OSError, CancelledError) as fault:
            return for_all(self._job, NotNow("4.3.0", f"the message could not be read: {fault}"))
        try:
            try:
                ready = await self._signed(body)
            except CancelledError:
                return for_all(self._job, _given_up())
            await self._try_all(hops, ready)
        finally:
            if body.descriptor >= 0:
                os.close(body.descriptor)
        return self._verdicts

    async def _signed(self, body: OutgoingBody) -> OutgoingBody:
        """The last that is done to a message: what changes an octet of it comes before."""
        signer, message = self._means.signer, self._job.message
        return body if signer is None else await signer.signed(message.id, message.transfer, body)

    async def _try_all(self, hops: tuple[Hop, ...], body: OutgoingBody) -> None:
        last: Verdict | None = None
        for hop in hops:
            if self._stopping:
                break
            try:
                await self._try_host(hop, body)
            except ConnectionFault as fault:
                last = self._broken(hop, fault)
                if fault.undecided:
                    # It has the whole message and may have kept it: another host now would be a second copy.
                    break
            if not self._left:
                return
        for recipient in self._left:
            self._verdicts.append(_moved(last, recipient) if last else _deferred(recipient))

    async def _try_host(self, hop: Hop, body: OutgoingBody) -> None:
        """Settle what is left by this host. Raises ConnectionFault with the rest still left."""
        link = self._means.connections.take(hop)
        if link is not None:
            try:
                await self._send_all(link, body)
                return
            except ConnectionFault as fault:
                if fault.undecided or fault.reply is not None:
                    raise
                # It closed the connection as we began: it only did not want to wait. A new one, then.
        await self._send_all(await self._open(hop), body)

    async def _open(self, hop: Hop) -> Link:
        means = self._means
        target = Target(
            host=hop.host,
            address=hop.address,
            port=hop.port,
            helo=means.helo,
            lmtp=hop.lmtp,
            tls=hop.tls,
            username=hop.username,
            password=means.password if hop.username else "",
        )
        creator = means.creator if hop.tls in ("required", "implicit") else None
        client = await connect(means.reactor, target, CONNECT_SECONDS, threads=means.threads, creator=creator)
        return Link(hop, client)

    async def _send_all(self, link: Link, body: OutgoingBody) -> None:
        try:
            while self._left and not self._stopping:
                await self._send_some(link, self._left[:RECIPIENTS], body)
        finally:
            self._means.connections.give(link)

    async def _send_some(self, link: Link, some: list[QueueRecipient], body: OutgoingBody) -> None:
        transfer = self._job.message.transfer
        paths = tuple(ForwardPath(r.address, r.orcpt, r.notify) for r in some)
        link.used += 1
        try:
            result = await link.client.send(
                transfer.reverse_path, paths, body, ret=transfer.ret, envid=transfer.envid
            )
        except ConnectionFault as fault:
            self._settle(link, some, TransactionResult(fault.replies, fault.dialogue))
            raise
        self._settle(link, some, result)

    def _settle(self, link: Link, some: list[QueueRecipient], result: TransactionResult) -> None:
        for recipient in some:
            reply = result.replies.get(recipient.address)
            if reply is not None:
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

    def _broken(self, hop: Hop, fault: ConnectionFault) -> Verdict:
        """What is said of those that are left when no host does better."""
        remote = f"{hop.host} [{hop.address}]:{hop.port}"
        text = str(fault) if remote in str(fault) else f"{remote}: {fault}"
        status = "4.4.2" if fault.dialogue else "4.4.1"
        return Verdict(
            self._left[0] if self._left else self._job.recipients[0],
            Result.LATER,
            status,
            text,
            remote=remote,
            dialogue=fault.dialogue,
        )


def _moved(verdict: Verdict, recipient: QueueRecipient) -> Verdict:
    return Verdict(
        recipient,
        verdict.result,
        verdict.status,
        verdict.text,
        remote=verdict.remote,
        dialogue=verdict.dialogue,
    )


def _given_up() -> NotNow:
    return NotNow("4.3.2", "the server was stopped")


def _deferred(recipient: QueueRecipient) -> Verdict:
    return Verdict(recipient, Result.LATER, "4.3.2", "the server was stopped")


async def load_body(means: Means, message: QueueMessage) -> OutgoingBody:
    """The message ready to be sent; its `descriptor`, when it has one, is the caller's to close. Raises
    StoreFault or OSError."""
    transfer, ref = message.transfer, message.body
    if not ref.large:
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
