"""What an application may say at each stage of a mail: to refuse it, to wait, or to take it for itself.

A hook is asked in the order in which an SMTP dialogue goes, so that what it refuses is refused in the
dialogue and never by a bounce. Mail must not slip past a hook that fails: the client is then told 451.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isawaitable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.plugin import IPlugin
from zope.interface import Interface, implementer

from mailftp.intake.envelope import Envelope, Origin
from mailftp.message.address import Address
from mailftp.store.records import Accepted, StagedBody
from mailftp.wire.peer import Peer

#: Seconds that the hooks of one stage may take together; a client waits 300 for an answer (RFC 5321 section
#: 4.5.3.2), and would send the message again after that.
STAGE_SECONDS = 60.0

#: What `rcpt` answers for a recipient that is the application's own.
TAKEN: Final = "taken"


class IMailHook(Interface):
    """A method for each stage. Each may raise `mailftp.intake.refused.Refused`, and may be a coroutine or
    give a Deferred; what it answers counts only for `rcpt`."""

    def connect(peer: Peer) -> object:
        """Before the greeting; refused, the connection is closed."""

    def ehlo(origin: Origin) -> object:
        """HELO, EHLO or LHLO was said, `origin.helo`."""

    def mail(envelope: Envelope) -> object:
        """MAIL was said, and its sender may send."""

    def rcpt(envelope: Envelope, address: Address) -> object:
        """RCPT was said; nobody has looked yet whether the recipient exists. TAKEN: it is the application's,
        and the message is neither filed nor queued for it."""

    def data(envelope: Envelope, body: StagedBody) -> object:
        """The message is here whole, and not yet promised: up to 64 KiB it is `body.data`, a larger one the
        file `body.path`, there until this has answered. For recipients that were TAKEN, an application keeps
        it here: after this comes 250."""

    def delivered(envelope: Envelope, accepted: Accepted) -> object:
        """It is durable, and 250 is on its way; to refuse comes too late. Nobody waits for this one."""


@implementer(IPlugin, IMailHook)
class MailHook:
    """A hook that has nothing to say; a hook of one's own overrides what it wants."""

    def connect(self, peer: Peer) -> object:
        return None

    def ehlo(self, origin: Origin) -> object:
        return None

    def mail(self, envelope: Envelope) -> object:
        return None

    def rcpt(self, envelope: Envelope, address: Address) -> object:
        return None

    def data(self, envelope: Envelope, body: StagedBody) -> object:
        return None

    def delivered(self, envelope: Envelope, accepted: Accepted) -> object:
        return None


class Stages:
    """The hooks of a server, one after the other; false when there are none."""

    def __init__(self, hooks: Sequence[IMailHook], clock: IReactorTime) -> None:
        self._hooks, self._clock = tuple(hooks), clock

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def ask(self, stage: str, *what: object) -> Deferred[object]:
        """TAKEN when a hook has said so, else None. Fails with Refused, with TimeoutError after
        STAGE_SECONDS, and with whatever a hook raises; the hooks after it are not asked."""
        asked = Deferred.fromCoroutine(self._ask(stage, what))
        asked.addTimeout(STAGE_SECONDS, self._clock)
        return asked

    async def _ask(self, stage: str, what: tuple[object, ...]) -> object:
        for hook in self._hooks:
            answer = getattr(hook, stage)(*what)
            if isawaitable(answer):
                answer = await answer
            if answer == TAKEN:
                return TAKEN
        return None
