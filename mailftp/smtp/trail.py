"""What a connection leaves in the log: what it refused, what it accepted, and what went wrong."""

from __future__ import annotations

from twisted.python.failure import Failure

from mailftp.intake.intake import Envelope
from mailftp.smtp.syntax import Reply
from mailftp.store.records import Accepted
from mailftp.wire import tally
from mailftp.wire.journal import Journal
from mailftp.wire.peer import Peer

#: Recipients named in a log line; the rest are a number.
_NAMED = 5


class Trail:
    """The lines of one connection, under its context id."""

    __slots__ = ("_journal", "_peer")

    def __init__(self, journal: Journal, peer: Peer) -> None:
        self._journal = journal
        self._peer = str(peer)

    def fault(self, failure: Failure) -> None:
        """With its traceback."""
        self._journal.fault("fault", failure, peer=self._peer)

    def refused(self, reply: Reply, **fields: object) -> None:
        """`fields` are addresses; None is the null sender."""
        shown = {name: "<>" if value is None else str(value) for name, value in fields.items()}
        self._journal.record("refused", reply=_shown(reply), peer=self._peer, **shown)

    def closed(self, reply: Reply) -> None:
        """By us, with a reply that says why."""
        self._journal.record("closed", reply=_shown(reply), peer=self._peer)

    def accepted(self, envelope: Envelope, accepted: Accepted, size: int) -> None:
        """`size` is the body's, in octets."""
        tally.accepted_octets[self._journal.context.partition("-")[0]] += size
        named = ", ".join(str(recipient.address) for recipient in envelope.recipients[:_NAMED])
        self._journal.record(
            "accepted",
            id=envelope.id,
            sender=envelope.reverse_path or "<>",
            to=named,
            recipients=len(envelope.recipients),
            size=size,
            filed=len(accepted.filed),
            queued=accepted.queued,
            peer=self._peer,
            tls=envelope.origin.tls,
            checks=envelope.checks,
        )


def _shown(reply: Reply) -> str:
    return f"{reply.code} {reply.status} {reply.text}"
