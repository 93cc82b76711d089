"""Addresses that make the server fail on purpose, to test what sends mail: only with `[delivery] capture`,
where nobody's mail depends on it.

The local part says what happens, whatever the domain:

================== =====================================================================
fail-CODE          RCPT is refused with CODE, 400 to 599; MAIL, where it is the sender
fail-data-CODE     the message is refused at its end
slow-SECONDS       RCPT is answered after so many seconds, 55 at most
timeout            RCPT is never answered
timeout-data       the end of the message is never answered, and it is not kept
drop               the connection is closed at RCPT, without a word
drop-data          it is closed at the end of the message, which is not kept
drop-after-data    the message is kept, and the connection closed before that is said
================== =====================================================================

The last is what makes a sender send twice (RFC 5321 section 6.1).
"""

from __future__ import annotations

import re

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mailftp.intake.envelope import Envelope
from mailftp.intake.hooks import MailHook
from mailftp.intake.refused import HungUp, Refused
from mailftp.message.address import Address
from mailftp.store.records import StagedBody

#: Seconds of silence before the connection is closed: longer than the ten minutes that a client waits for the
#: end of data at most (RFC 5321 section 4.5.3.2.6).
SILENCE = 660.0

_FAIL = re.compile(r"fail-(data-)?([45][0-9]{2})", re.ASCII | re.IGNORECASE)
_SLOW = re.compile(r"slow-([0-9]|[1-4][0-9]|5[0-5])", re.ASCII | re.IGNORECASE)


class FaultRules(MailHook):
    """Keeps no state of its own: what was named is in the envelope."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def mail(self, envelope: Envelope) -> object:
        if envelope.sender is not None:
            _fail(envelope.sender, "")
        return None

    async def rcpt(self, envelope: Envelope, address: Address) -> object:
        """Raises Refused or HungUp. A recipient whose fault is yet to come is taken like any other."""
        _fail(address, "")
        name = address.local.lower()
        if name == "drop":
            raise HungUp
        if name == "timeout":
            raise HungUp(SILENCE)
        slow = _SLOW.fullmatch(name)
        if slow is not None:
            await deferLater(self._clock, int(slow[1]))
        return None

    def data(self, envelope: Envelope, body: StagedBody) -> object:
        """Raises Refused or HungUp; the first recipient that asks for a fault has it."""
        for recipient in envelope.recipients:
            _fail(recipient.address, "data-")
            match recipient.address.local.lower():
                case "drop-data":
                    raise HungUp
                case "timeout-data":
                    raise HungUp(SILENCE)
                case "drop-after-data":
                    envelope.hang_up = True
        return None


def _fail(address: Address, when: str) -> None:
    asked = _FAIL.fullmatch(address.local)
    if asked is not None and (asked[1] or "").lower() == when:
        code = int(asked[2])
        raise Refused(code, f"{code // 100}.0.0", f"{address} asked for this")
