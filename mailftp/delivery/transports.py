"""Ways for mail to leave that an application brings: a twisted.plugin named by a `[[delivery.rules]]`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import getPlugins
from zope.interface import Attribute, Interface

from mailftp.delivery.verdict import NotNow
from mailftp.smtp.client import Reply
from mailftp.store.records import ForwardPath
from mailftp.wire.journal import Journal

#: Octets of a message that is given to a transport whole; larger ones are returned to their sender.
LARGEST = 64 * 1024 * 1024
#: Seconds that a transport has: what an SMTP client waits for the end of data (RFC 5321 section 4.5.3.2.6).
SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One message for recipients of one domain."""

    #: Its number in the queue.
    id: int
    #: "" is the null sender.
    reverse_path: str
    recipients: tuple[ForwardPath, ...]
    #: As it would be sent, with its trace header and signatures, CRLF line ends, nothing stuffed.
    message: bytes
    #: The number of the attempt, from 1.
    attempt: int


class IMailTransport(Interface):
    name = Attribute("What a rule calls it: plugin:NAME.")

    def deliver(mail: OutgoingMail) -> Awaitable[Mapping[str, Reply]]:
        """Answer for each recipient's address as an SMTP server would: 2xx it is delivered, 4xx it is tried
        again later, 5xx it goes back to its sender. A recipient that is left out is tried again; so are all
        when this fails, which the log tells, or has not ended after ten minutes, when it is cancelled.

        The same message may come again, with a higher `attempt`: when the server dies before it has noted
        the answer."""


class Transports:
    """Those that are installed, by name."""

    def __init__(self, transports: Iterable[IMailTransport] = (), clock: IReactorTime | None = None) -> None:
        self._by_name = {transport.name: transport for transport in transports}
        self._clock = clock
        self._journal = Journal("delivery")

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    async def deliver(self, name: str, mail: OutgoingMail) -> Mapping[str, Reply]:
        """Raises NotNow: the transport is not there, failed, or took too long."""
        transport = self._by_name.get(name)
        if transport is None:
            raise NotNow("4.3.5", f"no plugin brings the transport {name}")
        try:
            answer = Deferred.fromCoroutine(_awaited(transport, mail))
            if self._clock is not None:
                answer.addTimeout(SECONDS, self._clock)
            replies = await answer
            return {address: reply for address, reply in replies.items() if reply.code // 100 in (2, 4, 5)}
        except TimeoutError:
            raise NotNow("4.4.2", f"{name} did not end within {SECONDS:g} seconds")
        except CancelledError:
            raise
        except Exception:
            self._journal.fault("transport_fault", transport=name, queue=mail.id)
            raise NotNow("4.3.0", f"an error in {name}")


async def _awaited(transport: IMailTransport, mail: OutgoingMail) -> Mapping[str, Reply]:
    return await transport.deliver(mail)


def installed(clock: IReactorTime) -> Transports:
    """What the plugins of installed packages bring."""
    return Transports(getPlugins(IMailTransport), clock)
