"""What happens to a connection, as its protocol is told: the methods that a protocol room overrides."""

from __future__ import annotations

import enum

from twisted.python.failure import Failure


class Expiry(enum.Enum):
    """Which of a connection's clocks ran out."""

    IDLE = "idle"
    LOGIN = "login"


class Events:
    """Each method does what suits a protocol that has nothing to say to it."""

    def close(self) -> None:
        """Close when all that was sent has left."""
        raise NotImplementedError("Connection knows how")

    def opened(self) -> None:
        """The client is known and, on an implicit TLS port, encrypted: time for the greeting."""

    def received(self, data: bytes) -> None:
        """Octets came. Replies sent from here leave in one write when it returns.

        Never called while paused, before `secured`, or after `close`.
        """

    def cleared(self) -> None:
        """`end_tls` is complete: the connection is in the clear again."""

    def secured(self) -> None:
        """The handshake that `start_tls` began is complete."""

    def expired(self, clock: Expiry) -> None:
        """A clock ran out. Say so in the protocol's words, then `close`."""
        self.close()

    def ended(self) -> None:
        """The client has sent all that it will send, but may still read (`printf ... | nc`).

        Every octet before the end has been through `received`. Whoever has replies yet to come overrides
        this and closes after them.
        """
        self.close()

    def drain(self) -> None:
        """The server is stopping: finish what is in flight, say so (421, -ERR [SYS/TEMP], BYE),
        then `close`.

        Whoever is not done when the drain time is over is aborted.
        """
        self.close()

    def closed(self, reason: Failure) -> None:
        """The connection is gone. Called once for each connection that was `opened`."""

    def refusal(self, reason: str) -> bytes:
        """What a client that is one too many is told, in the protocol's words ("421 ...")."""
        return b""
