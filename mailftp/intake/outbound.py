"""What the intake knows of who sends what is accepted: it can take a message over as it is committed."""

from __future__ import annotations

from typing import Protocol

from mailftp.store.records import QueueMessage, StagedBody, Transfer
from mailftp.store.units import Claim


class Outbound(Protocol):
    def claim(self, transfer: Transfer) -> Claim | None:
        """Whoever gets one commits the message with it, and then calls `claimed` once."""

    def claimed(self, message: QueueMessage | None, body: StagedBody) -> None:
        """It is committed, under the lease of the claim, and may be sent; None when it was not accepted."""
